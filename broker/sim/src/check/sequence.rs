//! A producer's batches are applied once and in order: in the committed history its sequence never
//! repeats, and for a producer with acks=all it has no gap either.

use std::collections::{BTreeMap, BTreeSet};

use super::{Check, Property, violated};
use crate::content::BatchId;
use crate::message::Tp;

#[derive(Default)]
pub struct Sequences {
    /// Epoch and next sequence of each producer.
    next: BTreeMap<(Tp, i64), (i16, i32)>,
    /// Producers that may lose acknowledged batches (acks 0 and 1).
    pub lossy: BTreeSet<i64>,
    /// Partitions of which a replica forgot producers, as Kafka's would have: it was filled anew
    /// behind deleted records, or died before it had written down what it knew of them. It takes a
    /// retry for a first batch.
    pub forgetful: BTreeSet<Tp>,
}

impl Sequences {
    pub fn committed(&mut self, tp: Tp, batch: &BatchId) -> Check {
        if batch.producer < 0 {
            return Ok(());
        }
        let count = (batch.last - batch.base + 1) as i32;
        let (epoch, next) = *self.next.get(&(tp, batch.producer)).unwrap_or(&(-1, 0));
        let fresh = batch.producer_epoch > epoch;
        let wanted = if fresh { 0 } else { next };
        let gap = batch.sequence > wanted && !self.lossy.contains(&batch.producer);
        let wrong = batch.producer_epoch < epoch || batch.sequence < wanted || gap;
        if wrong && !self.forgetful.contains(&tp) {
            return violated(
                Property::Sequence,
                format!("partition {tp}: {} where {wanted} was next", batch.text()),
            );
        }
        let after = (batch.producer_epoch, batch.sequence + count);
        self.next.insert((tp, batch.producer), after);
        Ok(())
    }
}
