//! What a log holds, as far as properties are concerned: one line per batch. The model of the
//! committed history and the copies of every replica are lists of these.

use base::{LeaderEpoch, Offset};
use record::batches;

/// A batch by everything that must never change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchId {
    pub base: Offset,
    pub last: Offset,
    pub epoch: LeaderEpoch,
    /// Of the bytes that neither offset nor epoch are part of: the content.
    pub crc: u32,
    pub producer: i64,
    pub producer_epoch: i16,
    pub sequence: i32,
}

impl BatchId {
    /// As a short text for traces and violations.
    pub fn text(&self) -> String {
        format!(
            "{}..={} e{} crc {:08x} p{}.{} seq {}",
            self.base,
            self.last,
            self.epoch,
            self.crc,
            self.producer,
            self.producer_epoch,
            self.sequence
        )
    }
}

/// The batches of a fetched range; one that is cut off at the end is left out.
pub fn batch_ids(bytes: &[u8]) -> Vec<BatchId> {
    let whole = batches(bytes).map_while(Result::ok);
    whole
        .map(|batch| BatchId {
            base: batch.header.base_offset,
            last: batch.header.last_offset(),
            epoch: batch.header.leader_epoch,
            crc: batch.header.crc,
            producer: batch.header.producer_id,
            producer_epoch: batch.header.producer_epoch,
            sequence: batch.header.base_sequence,
        })
        .collect()
}

/// The index of the first batch that reaches `offset` or beyond.
pub fn index_at(content: &[BatchId], offset: Offset) -> usize {
    content.partition_point(|batch| batch.last < offset)
}
