//! What a log knows of its producers: sequence numbers of the last batches, so that a retry is
//! recognised and a gap refused, and open transactions, so that the last stable offset is known.
//! Rebuilt from a snapshot and the batches after it, hence a pure function of the log.
//!
//! Invariants: at most five batches per producer, in sequence order and of one epoch; every open
//! transaction is in `ongoing` under its first offset; `undecided` holds those that a marker ended
//! at or above the high watermark.

use std::collections::BTreeMap;

use base::{ErrorCode, Offset, ProducerId, TimestampMs};
use record::{BatchHeader, ControlRecord, ControlType, NO_SEQUENCE, Origin, sequence_add};

use crate::aborted_index::AbortedTxn;
use crate::verification::Proof;
use crate::{AppendError, ProducerSnapshotEntry};

const REMEMBERED: usize = base::limits::PRODUCER_BATCHES_REMEMBERED;
const NO_EPOCH: i16 = -1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BatchMetadata {
    pub last_sequence: i32,
    pub last_offset: Offset,
    pub offset_delta: i32,
    pub timestamp: TimestampMs,
}

impl BatchMetadata {
    fn first_sequence(&self) -> i32 {
        sequence_add(self.last_sequence, -self.offset_delta)
    }

    pub fn first_offset(&self) -> Offset {
        self.last_offset - i64::from(self.offset_delta)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ProducerEntry {
    pub epoch: i16,
    pub coordinator_epoch: i32,
    pub last_timestamp: TimestampMs,
    pub txn_first_offset: Option<Offset>,
    batches: [Option<BatchMetadata>; REMEMBERED],
}

impl ProducerEntry {
    pub fn new() -> ProducerEntry {
        ProducerEntry {
            epoch: NO_EPOCH,
            coordinator_epoch: -1,
            last_timestamp: -1,
            txn_first_offset: None,
            batches: [None; REMEMBERED],
        }
    }

    pub fn last_batch(&self) -> Option<&BatchMetadata> {
        self.batches.iter().rev().find_map(Option::as_ref)
    }

    /// Panics when the batches are not those of one run through the log.
    pub fn validate(&self) {
        let known = self.batches.iter().flatten();
        let held = self.batches.iter().take_while(|slot| slot.is_some()).count();
        assert_eq!(held, known.clone().count(), "a gap between batches: {self:?}");
        let offsets = known.map(|batch| batch.last_offset);
        assert!(offsets.is_sorted_by(|a, b| a < b), "batches out of order: {self:?}");
    }

    fn last_sequence(&self) -> i32 {
        self.last_batch().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    pub fn set_epoch(&mut self, epoch: i16) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches = [None; REMEMBERED];
        }
    }

    pub fn push(&mut self, batch: BatchMetadata) {
        match self.batches.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => *slot = Some(batch),
            None => {
                self.batches.rotate_left(1);
                self.batches[REMEMBERED - 1] = Some(batch);
            }
        }
        self.last_timestamp = batch.timestamp;
    }

    fn duplicate(&self, header: &BatchHeader) -> Option<BatchMetadata> {
        if header.producer_epoch != self.epoch {
            return None;
        }
        let last = header.last_sequence();
        self.batches.iter().flatten().copied().find(|batch| {
            batch.first_sequence() == header.base_sequence && batch.last_sequence == last
        })
    }
}

/// A batch passed the producer checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sequence {
    Next,
    /// It is in the log already.
    Duplicate(BatchMetadata),
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct ProducerState {
    entries: BTreeMap<ProducerId, ProducerEntry>,
    /// First offset of each open transaction.
    ongoing: BTreeMap<Offset, ProducerId>,
    /// First and last offset of those decided at or above the high watermark.
    undecided: BTreeMap<Offset, Offset>,
}

impl ProducerState {
    pub fn entries(&self) -> &BTreeMap<ProducerId, ProducerEntry> {
        &self.entries
    }

    pub fn insert(&mut self, id: ProducerId, entry: ProducerEntry) {
        if let Some(first) = entry.txn_first_offset {
            self.ongoing.insert(first, id);
        }
        self.entries.insert(id, entry);
    }

    /// Whether a transaction of this epoch of the producer has records here.
    pub fn has_open(&self, id: ProducerId, epoch: i16) -> bool {
        let entry = self.entries.get(&id);
        entry.is_some_and(|e| e.txn_first_offset.is_some() && e.epoch == epoch)
    }

    /// The rules of idempotence, fencing and transactions for data of a client or coordinator.
    pub fn check(
        &self,
        header: &BatchHeader,
        origin: Origin,
        proof: &Proof<'_>,
    ) -> Result<Sequence, AppendError> {
        if !header.has_producer_id() {
            return Ok(Sequence::Next);
        }
        let fresh = ProducerEntry::new();
        let entry = self.entries.get(&header.producer_id).unwrap_or(&fresh);
        if origin == Origin::Client
            && let Some(batch) = entry.duplicate(header)
        {
            return Ok(Sequence::Duplicate(batch));
        }
        if header.is_transactional()
            && !self.has_open(header.producer_id, header.producer_epoch)
            && proof.is_missing()
        {
            let message = "Record was not part of an ongoing transaction";
            return Err(AppendError::invalid(ErrorCode::InvalidTxnState, message));
        }
        if header.producer_epoch < entry.epoch {
            return Err(stale_epoch(header, entry.epoch));
        }
        if origin == Origin::Client {
            check_sequence(header, entry, proof)?;
        }
        if entry.txn_first_offset.is_some() && !header.is_transactional() {
            return Err(AppendError::invalid(
                ErrorCode::InvalidTxnState,
                format!("Expected transactional write from producer {}", header.producer_id),
            ));
        }
        Ok(Sequence::Next)
    }

    /// The rules for a marker: neither its producer's epoch nor its coordinator's may be older than
    /// what was written. In the second version of transactions its epoch is a new one (KIP-1228),
    /// but for a marker that is written again after the transaction's end.
    pub fn check_marker(
        &self,
        header: &BatchHeader,
        marker: &ControlRecord,
        transaction_version: i8,
    ) -> Result<(), AppendError> {
        let Some(entry) = self.entries.get(&header.producer_id) else { return Ok(()) };
        let epoch = header.producer_epoch;
        let is_stale = match transaction_version {
            2.. if epoch == entry.epoch => entry.txn_first_offset.is_some() && epoch != i16::MAX,
            _ => epoch < entry.epoch,
        };
        if is_stale {
            return Err(stale_epoch(header, entry.epoch));
        }
        if entry.coordinator_epoch > marker.coordinator_epoch {
            return Err(AppendError::invalid(
                ErrorCode::TransactionCoordinatorFenced,
                format!(
                    "Coordinator epoch {} is smaller than the last known {}",
                    marker.coordinator_epoch, entry.coordinator_epoch
                ),
            ));
        }
        Ok(())
    }

    /// Notes a data batch that is in the log. Its header carries the final offsets.
    pub fn appended(&mut self, header: &BatchHeader) {
        if !header.has_producer_id() {
            return;
        }
        let entry = self.entries.entry(header.producer_id).or_insert_with(ProducerEntry::new);
        entry.set_epoch(header.producer_epoch);
        entry.last_timestamp = header.max_timestamp;
        if header.base_sequence != NO_SEQUENCE {
            entry.push(BatchMetadata {
                last_sequence: header.last_sequence(),
                last_offset: header.last_offset(),
                offset_delta: header.last_offset_delta,
                timestamp: header.max_timestamp,
            });
        }
        if header.is_transactional() && entry.txn_first_offset.is_none() {
            entry.txn_first_offset = Some(header.base_offset);
            self.ongoing.insert(header.base_offset, header.producer_id);
        }
    }

    /// Notes a transaction marker that is in the log.
    pub fn marker(&mut self, header: &BatchHeader, marker: &ControlRecord) {
        if let ControlType::Other(_) = marker.kind {
            return;
        }
        let entry = self.entries.entry(header.producer_id).or_insert_with(ProducerEntry::new);
        entry.set_epoch(header.producer_epoch);
        entry.coordinator_epoch = marker.coordinator_epoch;
        entry.last_timestamp = header.max_timestamp;
        // A marker without records in this partition ends nothing here.
        if let Some(first_offset) = entry.txn_first_offset.take() {
            self.ongoing.remove(&first_offset);
            self.undecided.insert(first_offset, header.last_offset());
        }
    }

    /// The index entry of the transaction that this marker is going to abort, if any.
    pub fn aborted_by(&self, header: &BatchHeader, marker: &ControlRecord) -> Option<AbortedTxn> {
        if marker.kind != ControlType::Abort {
            return None;
        }
        let first_offset = self.entries.get(&header.producer_id)?.txn_first_offset?;
        let last_offset = header.last_offset();
        let others = self.ongoing.keys().find(|first| **first != first_offset);
        Some(AbortedTxn {
            producer_id: header.producer_id,
            first_offset,
            last_offset,
            last_stable_offset: others.copied().unwrap_or(last_offset + 1),
        })
    }

    pub fn first_unstable_offset(&self) -> Option<Offset> {
        let ongoing = self.ongoing.first_key_value().map(|(first, _)| *first);
        let undecided = self.undecided.first_key_value().map(|(first, _)| *first);
        match (ongoing, undecided) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        if !self.undecided.is_empty() {
            self.undecided.retain(|_, last| *last >= high_watermark);
        }
    }

    /// Forgets idle producers without an open transaction.
    pub fn expire(&mut self, now_ms: TimestampMs, expiration_ms: i64) -> usize {
        let before = self.entries.len();
        self.entries.retain(|_, entry| {
            entry.txn_first_offset.is_some()
                || now_ms.saturating_sub(entry.last_timestamp) < expiration_ms
        });
        before - self.entries.len()
    }

    /// The log begins at `start` now: what was wholly below is decided for good.
    pub fn truncate_from_start(&mut self, start: Offset) {
        self.undecided.retain(|_, last| *last >= start);
    }

    pub fn clear(&mut self) {
        *self = ProducerState::default();
    }

    /// Panics when an invariant at the head of this file is broken. It looks at every producer.
    pub fn validate(&self) {
        let mut open = 0;
        for (id, entry) in &self.entries {
            entry.validate();
            let Some(first) = entry.txn_first_offset else { continue };
            open += 1;
            let owner = self.ongoing.get(&first);
            assert_eq!(owner, Some(id), "the transaction at {first} is not among the open ones");
        }
        assert_eq!(open, self.ongoing.len(), "a transaction of nobody is open: {:?}", self.ongoing);
        for (first, last) in &self.undecided {
            assert!(first <= last, "a marker before its transaction: {first}, {last}");
        }
    }

    #[cfg(test)]
    pub fn forget_ongoing(&mut self) {
        self.ongoing.clear();
    }

    pub fn describe(&self) -> Vec<ProducerSnapshotEntry> {
        let describe = |(id, entry): (&ProducerId, &ProducerEntry)| ProducerSnapshotEntry {
            producer_id: *id,
            producer_epoch: entry.epoch,
            last_sequence: entry.last_sequence(),
            last_timestamp: entry.last_timestamp,
            coordinator_epoch: entry.coordinator_epoch,
            current_txn_first_offset: entry.txn_first_offset,
        };
        self.entries.iter().map(describe).collect()
    }
}

fn stale_epoch(header: &BatchHeader, last_seen: i16) -> AppendError {
    AppendError::invalid(
        ErrorCode::InvalidProducerEpoch,
        format!(
            "Epoch of producer {} is {}, and the last seen epoch is {last_seen}",
            header.producer_id, header.producer_epoch
        ),
    )
}

fn check_sequence(
    header: &BatchHeader,
    entry: &ProducerEntry,
    proof: &Proof<'_>,
) -> Result<(), AppendError> {
    let first = header.base_sequence;
    let last_seen = entry.last_sequence();
    let is_ahead = proof.verification.is_some_and(|verification| {
        let is_new = verification.bumps_epoch && entry.last_batch().is_none();
        first > verification.lowest_sequence || is_new && first != 0
    });
    let in_order = if is_ahead {
        // An earlier batch waits for its verification, or failed in it.
        false
    } else if entry.epoch == NO_EPOCH {
        // Nothing is known: retention may have removed all that this producer wrote before.
        true
    } else if header.producer_epoch != entry.epoch {
        first == 0
    } else {
        first == sequence_add(last_seen, 1)
    };
    if in_order {
        return Ok(());
    }
    Err(AppendError::invalid(
        ErrorCode::OutOfOrderSequenceNumber,
        format!(
            "Out of order sequence number for producer {}: {first} (incoming seq. number), \
             {last_seen} (current end sequence number)",
            header.producer_id
        ),
    ))
}

#[cfg(test)]
mod tests;
