//! Log matching (Raft's property, kept here by KIP-101): a batch is identified by its base offset
//! and epoch. All copies have the same content and the same predecessor, so by induction two
//! replicas that agree on (offset, epoch) agree on everything before it.

use std::collections::BTreeMap;

use base::{LeaderEpoch, Offset};

use super::{Check, Property, violated};
use crate::content::BatchId;
use crate::message::Tp;

type Position = (Offset, LeaderEpoch);

#[derive(Default)]
pub struct LogMatching {
    seen: BTreeMap<(Tp, Position), (BatchId, Option<Position>)>,
    first_ms: BTreeMap<(Tp, Position), i64>,
}

impl LogMatching {
    /// When the batch was written to the first replica, its leader.
    pub fn first_written_ms(&self, tp: Tp, batch: &BatchId) -> Option<i64> {
        self.first_ms.get(&(tp, (batch.base, batch.epoch))).copied()
    }

    /// `batch` was written to some replica, right after `before`.
    pub fn written(
        &mut self,
        tp: Tp,
        batch: &BatchId,
        before: Option<&BatchId>,
        now_ms: i64,
    ) -> Check {
        let before = before.map(|batch| (batch.base, batch.epoch));
        let key = (tp, (batch.base, batch.epoch));
        self.first_ms.entry(key).or_insert(now_ms);
        let (known, known_before) = self.seen.entry(key).or_insert((*batch, before));
        if known == batch && *known_before == before {
            return Ok(());
        }
        let (known, batch) = (known.text(), batch.text());
        violated(
            Property::LogMatching,
            format!("partition {tp}: {known} after {known_before:?} and {batch} after {before:?}"),
        )
    }
}
