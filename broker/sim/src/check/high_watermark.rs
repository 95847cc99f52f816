//! Below a high watermark content is final: what the first replica showed there, every replica
//! shows, for ever. The first to show it extends the model of the committed history.

use base::{LeaderEpoch, Offset};

use super::{Check, Checks, Property, violated};
use crate::content::{BatchId, index_at};
use crate::message::Tp;

impl Checks {
    /// A replica with this content moved its high watermark from `old` to `new`, in this epoch.
    pub fn high_watermark(
        &mut self,
        tp: Tp,
        (who, epoch): (usize, LeaderEpoch),
        (old, new): (Offset, Offset),
        content: &[BatchId],
    ) -> Check {
        let first = index_at(content, old.min(new));
        for (at, &batch) in content.iter().enumerate().skip(first) {
            if batch.last >= new {
                break;
            }
            match self.committed[tp].get(at) {
                Some(known) if *known == batch => {}
                Some(known) => {
                    let (known, batch) = (known.text(), batch.text());
                    return violated(
                        Property::HighWatermarkContent,
                        format!("partition {tp} node {who}: committed {known}, now {batch}"),
                    );
                }
                None if at == self.committed[tp].len() => {
                    self.sequences.committed(tp, &batch)?;
                    self.committed[tp].push(batch);
                    self.committed_in[tp].push(epoch);
                }
                None => {
                    return violated(
                        Property::HighWatermarkContent,
                        format!("partition {tp} node {who}: a gap before {}", batch.text()),
                    );
                }
            }
        }
        let end = content.last().map_or(0, |batch| batch.last + 1);
        if new > end {
            return violated(
                Property::HighWatermarkContent,
                format!("partition {tp} node {who}: high watermark {new} above content end {end}"),
            );
        }
        Ok(())
    }
}
