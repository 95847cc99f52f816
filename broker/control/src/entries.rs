//! Records on their way into the quorum's log, cut into entries. An entry is applied at once and is
//! bounded in size, while a broker that is fenced may be in any number of ISRs.

use std::collections::VecDeque;

use metadata::MetadataRecord;

/// Records of one entry, unless more of them belong together. Some hundred kilobytes, which are
/// applied within milliseconds.
const ENTRY_RECORDS_MAX: usize = 2_000;

#[derive(Default)]
pub(crate) struct Entries {
    /// Each part goes into one entry.
    parts: VecDeque<Vec<MetadataRecord>>,
    records: usize,
}

impl Entries {
    /// Records that may be committed one by one.
    pub(crate) fn divisible(records: Vec<MetadataRecord>) -> Entries {
        let mut entries = Entries::default();
        entries.add(records, true);
        entries
    }

    pub(crate) fn add(&mut self, records: Vec<MetadataRecord>, is_divisible: bool) {
        self.records += records.len();
        if !is_divisible || records.len() <= ENTRY_RECORDS_MAX {
            self.parts.extend((!records.is_empty()).then_some(records));
            return;
        }
        let mut records = records.into_iter();
        loop {
            let part: Vec<MetadataRecord> = records.by_ref().take(ENTRY_RECORDS_MAX).collect();
            if part.is_empty() {
                return;
            }
            self.parts.push_back(part);
        }
    }

    /// Records so far.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// The next entry: as many parts as fit.
    pub(crate) fn next(&mut self) -> Option<Vec<MetadataRecord>> {
        let mut entry = self.parts.pop_front()?;
        while let Some(part) =
            self.parts.pop_front_if(|part| entry.len() + part.len() <= ENTRY_RECORDS_MAX)
        {
            entry.extend(part);
        }
        Some(entry)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use base::BrokerId;
    use metadata::BrokerStateRecord;

    use super::*;

    fn records(from: i32, count: usize) -> Vec<MetadataRecord> {
        let record = |id| BrokerStateRecord { broker_id: BrokerId(id), broker_epoch: 1 };
        (from..).take(count).map(|id| MetadataRecord::FenceBroker(record(id))).collect()
    }

    #[test]
    fn entries_are_bounded_and_keep_the_order() {
        let mut entries = Entries::default();
        let all = [(3, true), (0, true), (2 * ENTRY_RECORDS_MAX + 7, true), (5, false)];
        let (mut from, mut expected) = (0, Vec::new());
        for (count, is_divisible) in all {
            expected.extend(records(from, count));
            entries.add(records(from, count), is_divisible);
            from += count as i32;
        }
        assert_eq!(entries.records(), expected.len());
        let mut found = Vec::new();
        while let Some(entry) = entries.next() {
            assert!(!entry.is_empty() && entry.len() <= ENTRY_RECORDS_MAX);
            found.extend(entry);
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn what_belongs_together_stays_together() {
        let mut entries = Entries::default();
        entries.add(records(0, 1), false);
        entries.add(records(1, ENTRY_RECORDS_MAX + 1), false);
        assert_eq!(entries.next().unwrap().len(), 1);
        assert_eq!(entries.next().unwrap().len(), ENTRY_RECORDS_MAX + 1);
        assert!(entries.next().is_none());
    }
}
