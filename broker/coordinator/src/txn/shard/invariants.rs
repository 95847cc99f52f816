//! The invariants of a shard of transactional ids, asserted after events where debug assertions are
//! on: in tests and simulations.

use std::collections::BTreeSet;

use super::TxnShard;

/// A shard with more ids than that is not looked through after each event.
const IDS_LOOKED_THROUGH: usize = 64;

impl TxnShard {
    /// Panics when an invariant of this shard is broken. In release builds nothing.
    pub(super) fn validate(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        let appends = || self.appends.iter().map(|appended| appended.append);
        assert!(appends().is_sorted_by(|a, b| a < b), "appends are in order: {self:?}");
        assert!(appends().all(|id| id <= self.last_append), "an append of the future: {self:?}");
        if self.ids.len() <= IDS_LOOKED_THROUGH {
            self.validate_ids();
        }
    }

    fn validate_ids(&self) {
        let appending = self.ids.values().filter(|entry| entry.is_appending).count();
        assert_eq!(appending, self.appends.len(), "an append is of one id: {self:?}");
        let mut errands = BTreeSet::new();
        for (id, entry) in &self.ids {
            assert!(entry.known.is_some() || entry.is_appending, "nothing is known of {id}");
            if let Some(known) = &entry.known {
                known.value.validate();
            }
            let Some(errand) = entry.errand else { continue };
            let is_decided = entry.known.as_ref().is_some_and(|k| k.value.state.is_prepared());
            assert!(is_decided, "markers of {id} are written, and nothing is decided: {self:?}");
            assert!(!entry.is_appending, "{id} is complete before its markers are: {self:?}");
            assert!(errands.insert(errand), "two ids have one errand: {self:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use base::testing::said_of;

    use super::super::*;

    /// A shard that knows one id, whose record is committed.
    fn shard() -> TxnShard {
        let mut shard = TxnShard::new(TxnConfig::kafka_defaults());
        let mut effects = Vec::new();
        let request = InitProducer {
            id: "t".into(),
            timeout_ms: 1_000,
            expected: None,
            new_producer_id: Some(7),
            level: 2,
        };
        shard.handle(0, Ticket(1), TxnRequest::Init(request), &mut effects);
        shard.committed(0, AppendId(1), &mut effects);
        shard
    }

    fn said(fault: impl FnOnce(&mut TxnShard)) -> String {
        said_of(shard(), TxnShard::validate, fault)
    }

    fn entry(shard: &mut TxnShard) -> &mut Entry {
        shard.ids.get_mut("t").expect("it is known")
    }

    fn value(shard: &mut TxnShard) -> &mut Transaction {
        &mut entry(shard).known.as_mut().expect("it is committed").value
    }

    #[test]
    fn a_planted_fault_is_seen() {
        assert!(said(|s| entry(s).is_appending = true).contains("an append is of one id"));
        assert!(said(|s| entry(s).known = None).contains("nothing is known of t"));
        assert!(said(|s| entry(s).errand = Some(1)).contains("nothing is decided"));
        assert!(said(|s| value(s).producer_epoch = -1).contains("an epoch is not negative"));
        assert!(said(|s| value(s).state = TxnState::Ongoing).contains("an open transaction"));
        assert!(said(|s| value(s).next_producer_id = Some(8)).contains("changes at the end"));
    }
}
