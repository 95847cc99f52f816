//! A leader puts nobody out of the ISR of a quiet partition for what was appended a moment ago: all
//! was committed for longer than `replica.lag.time.max.ms`, so every member had all of it, and what
//! came since is younger than that.

use base::{BrokerId, Offset};

use super::{Check, Checks, Property, violated};
use crate::content::{BatchId, index_at};
use crate::message::Tp;

/// A leader that proposes an ISR.
pub struct Proposal<'a> {
    pub tp: Tp,
    pub leader: usize,
    pub content: &'a [BatchId],
    pub high_watermark: Offset,
    /// When that moved last in the leader's epoch.
    pub moved_ms: i64,
    /// Members that are active and shall go.
    pub leaving: Vec<BrokerId>,
}

impl Checks {
    pub fn isr_kept(&self, proposal: &Proposal<'_>, lag_max_ms: i64, now_ms: i64) -> Check {
        let Proposal { tp, leader, content, high_watermark, moved_ms, leaving } = proposal;
        let missing = content.get(index_at(content, *high_watermark));
        let Some(missing) = missing.filter(|_| now_ms - moved_ms >= lag_max_ms) else {
            return Ok(());
        };
        let age_ms = now_ms - self.matching.first_written_ms(*tp, missing).unwrap_or(i64::MIN / 2);
        if age_ms >= lag_max_ms || leaving.is_empty() {
            return Ok(());
        }
        violated(
            Property::IsrKept,
            format!(
                "partition {tp} node {leader}: {leaving:?} shall leave for {} of {age_ms} ms ago, \
                 all before it is committed for {} ms",
                missing.text(),
                now_ms - moved_ms
            ),
        )
    }
}
