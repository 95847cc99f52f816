//! Which leader epoch began at which offset: the base of truncation after a leader change
//! (KIP-101, KIP-279). In memory as a sorted list; written to `leader-epoch-checkpoint` with each
//! flush, before the recovery point moves, because what lies above that is rebuilt from the
//! batches, which all carry their epoch.
//!
//! Invariant: epochs and start offsets both strictly increase.

use base::{LeaderEpoch, Offset};

/// Where an epoch ended: the answer of OffsetForLeaderEpoch. (-1, -1) if unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEndOffset {
    pub epoch: LeaderEpoch,
    pub end_offset: Offset,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EpochEntry {
    pub epoch: LeaderEpoch,
    pub start: Offset,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct EpochCache {
    entries: Vec<EpochEntry>,
}

impl EpochCache {
    /// `None` if the entries do not increase.
    pub fn from_entries(entries: Vec<EpochEntry>) -> Option<EpochCache> {
        let increasing =
            entries.windows(2).all(|w| w[0].epoch < w[1].epoch && w[0].start <= w[1].start);
        increasing.then(|| {
            let mut cache = EpochCache::default();
            for entry in entries {
                cache.assign(entry.epoch, entry.start);
            }
            cache
        })
    }

    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// Notes that `epoch` begins at `start`, unless it is the latest already. An epoch without
    /// records gives way to the one that begins at the same offset; a later epoch gives way too
    /// (a leader that appended nothing may follow one whose records are older than its epoch).
    /// True if anything changed.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if epoch < 0 || self.latest() == Some(epoch) {
            return false;
        }
        self.entries.retain(|entry| entry.start < start && entry.epoch < epoch);
        self.entries.push(EpochEntry { epoch, start });
        true
    }

    #[inline]
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.epoch)
    }

    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let at = self.entries.partition_point(|entry| entry.start <= offset);
        self.entries.get(at.checked_sub(1)?).map(|entry| entry.epoch)
    }

    /// The largest epoch at or below `epoch`, and the offset at which it ended.
    pub fn end_offset(&self, epoch: LeaderEpoch, log_end: Offset) -> EpochEndOffset {
        let unknown = EpochEndOffset { epoch: -1, end_offset: -1 };
        let Some(latest) = self.latest() else { return unknown };
        if epoch < 0 || epoch > latest {
            return unknown;
        }
        if epoch == latest {
            return EpochEndOffset { epoch, end_offset: log_end };
        }
        let next = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let Some(end) = self.entries.get(next).map(|entry| entry.start) else { return unknown };
        match next.checked_sub(1).and_then(|at| self.entries.get(at)) {
            Some(floor) => EpochEndOffset { epoch: floor.epoch, end_offset: end },
            // Older than all we know: it ended, at the latest, where the first known began.
            None => EpochEndOffset { epoch, end_offset: end },
        }
    }

    /// Forgets epochs that begin at or above `end`.
    pub fn truncate_from_end(&mut self, end: Offset) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.start < end);
        self.entries.len() != before
    }

    /// Forgets epochs that ended at or below `start`; the one that holds `start` begins there.
    pub fn truncate_from_start(&mut self, start: Offset) -> bool {
        let first_after = self.entries.partition_point(|entry| entry.start <= start);
        let Some(holds) = first_after.checked_sub(1) else { return false };
        let changed = holds > 0 || self.entries[holds].start != start;
        self.entries.drain(..holds);
        self.entries[0].start = start;
        changed
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn cache(entries: &[(i32, i64)]) -> EpochCache {
        let mut cache = EpochCache::default();
        for &(epoch, start) in entries {
            assert!(cache.assign(epoch, start));
        }
        cache
    }

    fn end(cache: &EpochCache, epoch: i32) -> (i32, i64) {
        let end = cache.end_offset(epoch, 100);
        (end.epoch, end.end_offset)
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let cache = cache(&[(2, 0), (4, 10), (7, 30)]);
        assert_eq!(end(&cache, 7), (7, 100));
        assert_eq!(end(&cache, 4), (4, 30));
        assert_eq!(end(&cache, 5), (4, 30));
        assert_eq!(end(&cache, 2), (2, 10));
        assert_eq!(end(&cache, 1), (1, 0));
        assert_eq!(end(&cache, 8), (-1, -1));
        assert_eq!(end(&EpochCache::default(), 0), (-1, -1));
    }

    #[test]
    fn epochs_only_grow_and_empty_ones_vanish() {
        let mut cache = cache(&[(1, 0), (2, 10)]);
        assert!(!cache.assign(2, 20));
        assert!(cache.assign(5, 10));
        assert_eq!(cache, self::cache(&[(1, 0), (5, 10)]));
        assert_eq!(cache.epoch_of(9), Some(1));
        assert_eq!(cache.epoch_of(10), Some(5));
        assert!(cache.assign(4, 12));
        assert_eq!(cache, self::cache(&[(1, 0), (4, 12)]));
    }

    #[test]
    fn both_ends_can_be_cut() {
        let mut cache = cache(&[(1, 0), (2, 10), (3, 20)]);
        assert!(cache.truncate_from_end(20));
        assert_eq!(cache.latest(), Some(2));
        assert!(cache.truncate_from_start(15));
        assert_eq!(cache, self::cache(&[(2, 15)]));
        assert_eq!(cache.epoch_of(14), None);
    }
}
