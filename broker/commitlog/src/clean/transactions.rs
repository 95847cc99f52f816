//! Which transactions the batches belong to that a cleaner goes through, in the order of the log:
//! records of aborted ones go at once, and a marker may go once nothing of its transaction is left.

use std::collections::{BTreeMap, BTreeSet};

use base::{Offset, ProducerId};
use record::{BatchHeader, ControlRecord, ControlType};

use crate::aborted_index::AbortedTxn;

#[derive(Default)]
pub(crate) struct Decided {
    /// By first offset; those from `next` on are not begun yet.
    aborted: Vec<AbortedTxn>,
    next: usize,
    /// Begun and not ended, with whether any batch of it is still there.
    in_aborted: BTreeMap<ProducerId, (AbortedTxn, bool)>,
    in_committed: BTreeSet<ProducerId>,
}

/// What is to become of a marker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Marker {
    /// Nothing of the transaction is left before it.
    pub is_spent: bool,
    /// The entry of the transaction index that its segment needs.
    pub aborted: Option<AbortedTxn>,
}

impl Decided {
    /// `aborted` has every aborted transaction that overlaps what will be gone through.
    pub fn new(mut aborted: Vec<AbortedTxn>) -> Decided {
        aborted.sort_unstable_by_key(|txn| txn.first_offset);
        Decided { aborted, ..Decided::default() }
    }

    fn begin_up_to(&mut self, offset: Offset) {
        while let Some(txn) = self.aborted.get(self.next).filter(|txn| txn.first_offset <= offset) {
            self.in_aborted.entry(txn.producer_id).or_insert((*txn, false));
            self.next += 1;
        }
    }

    /// Whether the batch of data belongs to an aborted transaction.
    pub fn is_aborted(&mut self, header: &BatchHeader) -> bool {
        self.begin_up_to(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        match self.in_aborted.get_mut(&header.producer_id) {
            Some((_, is_there)) => {
                *is_there = true;
                true
            }
            None => {
                self.in_committed.insert(header.producer_id);
                false
            }
        }
    }

    /// A control batch; `record` is what it says, `None` if it was emptied.
    pub fn control(&mut self, header: &BatchHeader, record: Option<&ControlRecord>) -> Marker {
        self.begin_up_to(header.last_offset());
        let kind = match record {
            Some(record) => record.kind,
            None => return Marker { is_spent: true, aborted: None },
        };
        match kind {
            ControlType::Abort => match self.in_aborted.remove(&header.producer_id) {
                Some((txn, true)) => Marker { is_spent: false, aborted: Some(txn) },
                Some((_, false)) | None => Marker { is_spent: true, aborted: None },
            },
            ControlType::Commit => {
                let is_spent = !self.in_committed.remove(&header.producer_id);
                Marker { is_spent, aborted: None }
            }
            ControlType::Other(_) => Marker { is_spent: false, aborted: None },
        }
    }
}
