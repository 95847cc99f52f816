//! The invariants at the head of `log.rs`, asserted after changes where debug assertions are on: in
//! tests and simulations. An append costs what it changes; what moves segments looks at all.

use std::sync::Arc;

use record::BatchHeader;

use crate::log::Log;

/// A log with more segments than that is not looked through after each change.
const SEGMENTS_LOOKED_THROUGH: usize = 64;

impl Log {
    /// After a batch was appended. In release builds nothing.
    #[inline]
    pub(crate) fn validate_appended(&self, header: &BatchHeader) {
        if !cfg!(debug_assertions) {
            return;
        }
        self.validate_positions();
        if let Some(entry) = self.producers.entries().get(&header.producer_id) {
            entry.validate();
        }
    }

    /// After segments, positions or what is known of producers has changed. In release builds
    /// nothing.
    pub(crate) fn validate_after(&self) {
        if !cfg!(debug_assertions) || self.is_torn {
            return;
        }
        if self.shared.segments().len() <= SEGMENTS_LOOKED_THROUGH {
            self.validate();
        } else {
            self.validate_positions();
        }
    }

    fn validate_positions(&self) {
        let (start, end) = (self.start_offset(), self.end_offset());
        assert!(start <= end, "the log starts at {start}, beyond its end {end}: {:?}", self.dir);
        assert!(self.synced <= end, "synced up to {}, beyond the end {end}", self.synced);
        let recovery = self.recovery_point;
        assert!(recovery <= self.synced, "recovery point {recovery} above {}", self.synced);
        assert!(self.cleaned <= end, "cleaned up to {}, beyond the end {end}", self.cleaned);
        let active_end = self.active.next_offset();
        assert_eq!(active_end, end, "the active segment ends at the log's end: {:?}", self.dir);
    }

    /// Panics when an invariant is broken. It looks at every segment and every producer.
    pub fn validate(&self) {
        self.validate_positions();
        let segments = self.shared.segments();
        for pair in segments.windows(2) {
            let (next, base) = (pair[0].next_offset(), pair[1].base_offset);
            assert!(pair[0].base_offset < base, "segments are not sorted: {base}");
            assert!(next <= base, "segments overlap: one ends at {next}, the next is {base}");
        }
        let is_last = segments.last().is_some_and(|last| Arc::ptr_eq(last, &self.active));
        assert!(is_last, "the active segment is not the last: {:?}", self.dir);
        let bytes: u64 = segments.iter().map(|segment| segment.size()).sum();
        assert_eq!(bytes, self.size(), "the size is not that of the segments: {:?}", self.dir);
        let end = self.end_offset();
        for entry in self.epochs.entries() {
            assert!(entry.start <= end, "an epoch of the future: {entry:?}, the end is {end}");
        }
        self.producers.validate();
    }
}

#[cfg(test)]
mod tests {
    use base::ProducerId;
    use base::testing::said_of;

    use super::*;
    use crate::producer_state::ProducerEntry;
    use crate::tests::{append, mem_fs, open};

    /// What [`Log::validate`] says of a log of several segments in which something is broken.
    fn said(fault: impl FnOnce(&mut Log)) -> String {
        let mut log = open(&mem_fs());
        for _ in 0..10 {
            append(&mut log, 10);
        }
        assert!(log.shared.segments().len() > 1, "it has segments");
        said_of(log, Log::validate_after, fault)
    }

    #[test]
    fn a_planted_fault_is_seen() {
        assert!(said(|log| log.set_start(101)).contains("beyond its end 100"));
        assert!(said(|log| log.synced = 101).contains("synced up to 101"));
        assert!(said(|log| log.recovery_point = 1).contains("recovery point 1"));
        assert!(said(|log| log.cleaned = 101).contains("cleaned up to 101"));
        assert!(said(|log| log.set_end(99)).contains("the active segment ends"));
        assert!(said(|log| log.sealed_bytes += 1).contains("the size is not"));
        assert!(said(|log| log.note_epoch(9, 101)).contains("an epoch of the future"));
        let reversed = |log: &mut Log| {
            log.publish(log.shared.segments().iter().rev().cloned().collect());
        };
        assert!(said(reversed).contains("segments are not sorted"));
        let shorter = |log: &mut Log| {
            let segments = log.shared.segments().to_vec();
            log.publish(segments[..segments.len() - 1].to_vec());
        };
        assert!(said(shorter).contains("not the last"));
    }

    #[test]
    fn a_transaction_that_the_stable_offset_would_pass_over_is_seen() {
        let lost = |log: &mut Log| {
            let mut entry = ProducerEntry::new();
            let id: ProducerId = 7;
            log.producers.insert(id, entry.clone());
            entry.txn_first_offset = Some(3);
            log.producers.insert(id, entry);
            log.producers.forget_ongoing();
        };
        assert!(said(lost).contains("is not among the open ones"));
    }
}
