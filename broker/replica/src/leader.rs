//! What only a leader knows: where its followers are, which ISR change is in flight, who waits.
//! The high watermark is the smallest log end of the *maximal* ISR (committed members, plus those
//! of a pending expansion; members of a pending shrink still count), plus any eligible replica
//! that is caught up and could join: otherwise a steady load would keep it out for ever.
//! The leader's own log counts as far as it is durable, where the topic asks for that.

use base::Offset;

use crate::effect::Effect;
use crate::partition::Partition;

impl Partition {
    /// The log grew from `end` on: from now the members of the ISR have the lag time to follow.
    pub(crate) fn leader_grew(&mut self, now_ms: i64, end: Offset) {
        let Some(leader) = self.leader_state.as_mut() else { return };
        for follower in leader.followers.iter_mut().filter(|f| self.isr.contains(&f.id)) {
            follower.leader_grew(now_ms, end);
        }
    }

    /// Moves the high watermark if the followers allow it, completes the waiters, wakes the
    /// readers. Called after everything that may have changed one of them on a leader.
    ///
    /// Under the minimum the high watermark stands still, and with it the waiters: the ISR may be
    /// back before their time is over, as with Kafka.
    pub(crate) fn settle(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        self.advance_high_watermark(now_ms, effects);
        let high_watermark = self.high_watermark;
        let Some(leader) = self.leader_state.as_mut() else { return };
        leader.waiters.complete_up_to(high_watermark, effects);
        self.note_stable_offset(effects);
    }

    fn advance_high_watermark(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        let Some(leader) = self.leader_state.as_ref() else { return };
        if self.is_under_min_isr() {
            return;
        }
        let mut bound = self.log.end.min(self.durable_end);
        for follower in &leader.followers {
            let in_maximal_isr = self.isr.contains(&follower.id)
                || leader.pending.as_ref().is_some_and(|pending| pending.contains(follower.id));
            let may_join = follower.eligible
                && follower.is_caught_up(self.log.end, now_ms, self.settings.lag_time_max_ms);
            if in_maximal_isr || may_join {
                match follower.end {
                    Some(end) => bound = bound.min(end),
                    None => return,
                }
            }
        }
        if bound > self.high_watermark {
            self.high_watermark = bound;
            effects.push(Effect::HighWatermark(bound));
            if self.settings.tells_commits {
                effects.push(Effect::WakeFollowers);
            }
        }
    }

    /// Wakes consumers when what they may read has moved.
    pub(crate) fn note_stable_offset(&mut self, effects: &mut Vec<Effect>) {
        let readable = (self.high_watermark, self.last_stable_offset());
        if readable != self.noted_readable {
            self.noted_readable = readable;
            effects.push(Effect::WakeConsumers);
        }
    }
}
