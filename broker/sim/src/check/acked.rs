//! An acknowledgement of acks=all is a promise: the batch is part of the committed history at the
//! offset that was told, and whoever leads later has the whole committed history.

use base::{LeaderEpoch, Offset};

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

    /// The leader of an epoch has everything that was committed in the epochs before it. (What
    /// was committed later is of no concern to a broker that hears late that it was elected.)
    pub fn complete(
        &self,
        tp: Tp,
        (who, epoch): (usize, LeaderEpoch),
        content: &[BatchId],
    ) -> Check {
        let earlier = self.committed_in[tp].iter().map(|&committed_in| committed_in < epoch);
        let differs = self.committed[tp]
            .iter()
            .enumerate()
            .zip(earlier)
            .find(|((at, batch), earlier)| *earlier && content.get(*at) != Some(*batch))
            .map(|(entry, _)| entry);
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
