//! What becomes of one batch when a log is cleaned: Kafka's rules (`Cleaner.cleanInto`), as a pure
//! function of the batch, the offset map and the transactions.
//!
//! | what                                        | stays                                         |
//! |---------------------------------------------|-----------------------------------------------|
//! | a record beyond the map                     | always, but that of an aborted transaction    |
//! | a record with a value                       | while no later one has its key                |
//! | a tombstone                                 | the same, and until its delete horizon        |
//! | a record without a key                      | never                                         |
//! | a record of an aborted transaction          | never                                         |
//! | a marker                                    | while its transaction has batches, and then   |
//! |                                             | until its delete horizon                      |
//! | the last batch of a producer, or of a group | at least empty                                |
//!
//! The delete horizon of a batch is set when a cleaning first keeps a tombstone in it, or a marker
//! whose transaction is gone: who reads on within `delete.retention.ms` meets them.

use std::collections::BTreeMap;

use base::{Offset, ProducerId, TimestampMs};
use record::{
    Batch, BatchHeader, ControlRecord, DECOMPRESSED_BYTES_MAX, Record, Records, records, retain,
    without_records,
};

use crate::aborted_index::AbortedTxn;
use crate::clean::offset_map::OffsetMap;
use crate::clean::transactions::Decided;

/// What is known of a producer's newest batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerEnd {
    /// Offset of its last record of data; `None` if a marker came after its epoch changed.
    pub(crate) last_offset: Option<Offset>,
    pub(crate) epoch: i16,
}

pub(crate) type ProducerEnds = BTreeMap<ProducerId, ProducerEnd>;

#[derive(Debug)]
pub(crate) enum Outcome {
    /// Byte for byte as it is.
    Keep,
    Rewrite(Vec<u8>),
    Drop,
}

pub(crate) struct Filter<'a> {
    pub map: &'a OffsetMap,
    pub decided: &'a mut Decided,
    pub ends: &'a ProducerEnds,
    pub now_ms: TimestampMs,
    pub delete_retention_ms: i64,
}

/// What stays of a batch, by the numbers of its records.
struct Kept {
    keep: Vec<bool>,
    count: usize,
    has_tombstone: bool,
}

impl Filter<'_> {
    /// Judges the next batch of the log. `is_last`: it is kept, maybe empty, so that its segment
    /// ends where it ended. An aborted transaction that ends here is noted in `aborted`.
    pub fn batch(
        &mut self,
        batch: &Batch<'_>,
        is_last: bool,
        aborted: &mut Vec<AbortedTxn>,
    ) -> Result<Outcome, String> {
        let header = &batch.header;
        let records = records(batch, DECOMPRESSED_BYTES_MAX).map_err(|e| e.to_string())?;
        let (discard, is_spent_marker) = if header.is_control() {
            let record = marker_of(&records)?;
            let marker = self.decided.control(header, record.as_ref());
            aborted.extend(marker.aborted);
            let is_due = header.delete_horizon().is_some_and(|horizon| horizon <= self.now_ms);
            (marker.is_spent && is_due, marker.is_spent)
        } else {
            (self.decided.is_aborted(header), false)
        };
        let kept = if discard { None } else { Some(self.kept(header, &records)?) };
        let Some(kept) = kept.filter(|kept| kept.count > 0) else {
            let stays = is_last || self.is_end_of_producer(header);
            return match (stays, header.record_count) {
                (false, _) => Ok(Outcome::Drop),
                // It is empty already.
                (true, 0) => Ok(Outcome::Keep),
                (true, _) => {
                    without_records(header).map(Outcome::Rewrite).map_err(|e| e.to_string())
                }
            };
        };
        let sets_horizon =
            (kept.has_tombstone || is_spent_marker) && header.delete_horizon().is_none();
        if kept.count == kept.keep.len() && !sets_horizon {
            return Ok(Outcome::Keep);
        }
        let horizon = sets_horizon.then(|| self.now_ms.saturating_add(self.delete_retention_ms));
        // One that was set before stands where it is.
        let made = retain(batch, &records, |at| kept.keep[at], horizon);
        made.map(Outcome::Rewrite).map_err(|e| e.to_string())
    }

    fn kept(&self, header: &BatchHeader, records: &Records<'_>) -> Result<Kept, String> {
        let mut kept = Kept { keep: Vec::new(), count: 0, has_tombstone: false };
        let is_control = header.is_control();
        for record in records.iter() {
            let record = record.map_err(|e| e.to_string())?;
            let stays = is_control || self.stays(header, &record);
            kept.keep.push(stays);
            kept.count += usize::from(stays);
            kept.has_tombstone |= stays && !is_control && record.value.is_none();
        }
        Ok(kept)
    }

    fn stays(&self, header: &BatchHeader, record: &Record<'_>) -> bool {
        if record.offset >= self.map.end() {
            return true;
        }
        let Some(key) = record.key else { return false };
        let is_latest = self.map.get(key).is_none_or(|latest| record.offset >= latest);
        let is_kept_tombstone = || header.delete_horizon().is_none_or(|at| self.now_ms < at);
        is_latest && (record.value.is_some() || is_kept_tombstone())
    }

    /// What a restart knows of the producer comes from this batch.
    fn is_end_of_producer(&self, header: &BatchHeader) -> bool {
        if !header.has_producer_id() {
            return false;
        }
        self.ends.get(&header.producer_id).is_some_and(|end| match end.last_offset {
            Some(offset) => header.last_offset() == offset,
            None => header.is_control() && header.producer_epoch == end.epoch,
        })
    }
}

/// What a control batch says; `None` for one that was emptied.
pub(crate) fn marker_of(records: &Records<'_>) -> Result<Option<ControlRecord>, String> {
    let Some(first) = records.iter().next() else { return Ok(None) };
    let first = first.map_err(|e| e.to_string())?;
    ControlRecord::parse(&first).map(Some).ok_or_else(|| "a control record is damaged".to_owned())
}
