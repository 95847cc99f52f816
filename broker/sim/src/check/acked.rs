//! An acknowledgement of acks=all is a promise: the batch is part of the committed history at the
//! offset that was told, and whoever leads later has the whole committed history.

use base::Offset;

use super::{Check, Checks, Property, violated};
use crate::content::{BatchId, index_at};
use crate::message::Tp;

impl Checks {
    pub fn acked(
        &self,
        tp: Tp,
        base: Offset,
        (producer, epoch, sequence): (i64, i16, i32),
    ) -> Check {
        let committed = &self.committed[tp];
        let found = committed.get(index_at(committed, base));
        let same = found.is_some_and(|batch| {
            batch.base == base
                && batch.producer == producer
                && batch.producer_epoch == epoch
                && batch.sequence == sequence
        });
        if same {
            return Ok(());
        }
        let found = found.map(BatchId::text);
        violated(
            Property::AckedSurvives,
            format!(
                "partition {tp}: acknowledged p{producer}.{epoch} seq {sequence} at {base}, \
                 committed is {found:?}"
            ),
        )
    }

    /// A new leader (or, at the end, any replica) has everything committed.
    pub fn complete(&self, tp: Tp, who: usize, content: &[BatchId]) -> Check {
        let committed = &self.committed[tp];
        let differs =
            committed.iter().enumerate().find(|(at, batch)| content.get(*at) != Some(batch));
        match differs {
            None => Ok(()),
            Some((at, batch)) => violated(
                Property::AckedSurvives,
                format!(
                    "partition {tp} node {who} leads without {}: has {:?}",
                    batch.text(),
                    content.get(at).map(BatchId::text)
                ),
            ),
        }
    }
}
