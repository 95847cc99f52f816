//! What only a leader knows: where its followers are, which ISR change is in flight, who waits.
//! The high watermark is the smallest log end of the *maximal* ISR (committed members, plus those
//! of a pending expansion; members of a pending shrink still count), plus any eligible replica
//! that is caught up and could join: otherwise a steady load would keep it out for ever.
//! The leader's own log counts as far as it is durable, where the topic asks for that.

use base::{BrokerEpoch, BrokerId, Offset};

use crate::effect::{Effect, IsrProposal};
use crate::event::FollowerFetch;
use crate::partition::Partition;
use crate::waiters::Waiters;

/// A follower as its leader sees it.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) id: BrokerId,
    pub(crate) broker_epoch: BrokerEpoch,
    /// May join the ISR as far as the newest image tells.
    pub(crate) eligible: bool,
    /// Asked to join while another change was in flight.
    pub(crate) wants_in: bool,
    /// Its log end; unknown until it fetches in this epoch.
    pub(crate) end: Option<Offset>,
    /// Where its log starts; -1 until it fetches in this epoch.
    pub(crate) log_start: Offset,
    /// Last time at which it had everything that the leader had at its previous fetch.
    pub(crate) caught_up_ms: i64,
    last_fetch_ms: i64,
    last_fetch_leader_end: Offset,
}

/// "Never": older than any lag limit.
const NEVER_MS: i64 = i64::MIN / 2;

impl Follower {
    pub(crate) fn new(id: BrokerId, in_isr: bool, now_ms: i64) -> Follower {
        Follower {
            id,
            broker_epoch: -1,
            eligible: false,
            wants_in: false,
            end: None,
            log_start: -1,
            // A member of the ISR gets the full lag time to make its first fetch in this epoch.
            caught_up_ms: if in_isr { now_ms } else { NEVER_MS },
            last_fetch_ms: NEVER_MS,
            last_fetch_leader_end: Offset::MAX,
        }
    }

    /// Notes a fetch whose offset was found to be on the leader's history.
    pub(crate) fn fetched(&mut self, now_ms: i64, fetch: &FollowerFetch, leader_end: Offset) {
        if fetch.broker_epoch > self.broker_epoch {
            if self.broker_epoch >= 0 {
                self.forget_progress();
            }
            self.broker_epoch = fetch.broker_epoch;
        }
        if fetch.fetch_offset >= leader_end {
            self.caught_up_ms = self.caught_up_ms.max(now_ms);
        } else if fetch.fetch_offset >= self.last_fetch_leader_end {
            self.caught_up_ms = self.caught_up_ms.max(self.last_fetch_ms);
        }
        self.end = Some(fetch.fetch_offset);
        self.log_start = fetch.log_start;
        self.eligible = fetch.eligible;
        self.last_fetch_ms = now_ms;
        self.last_fetch_leader_end = leader_end;
    }

    /// It left the ISR or restarted: what it had before says nothing about how soon it will be
    /// back, and must not hold the high watermark.
    pub(crate) fn forget_progress(&mut self) {
        self.caught_up_ms = NEVER_MS;
        self.last_fetch_ms = NEVER_MS;
        self.last_fetch_leader_end = Offset::MAX;
        self.wants_in = false;
    }

    /// The leader's log grew past `end`. Who had all of it was caught up until now, however long
    /// ago it said so: a session does not repeat a position.
    pub(crate) fn leader_grew(&mut self, now_ms: i64, end: Offset) {
        if self.end == Some(end) && self.last_fetch_ms > NEVER_MS {
            self.caught_up_ms = self.caught_up_ms.max(now_ms);
        }
    }

    pub(crate) fn is_caught_up(&self, leader_end: Offset, now_ms: i64, lag_max_ms: i64) -> bool {
        self.end == Some(leader_end) || now_ms.saturating_sub(self.caught_up_ms) <= lag_max_ms
    }
}

/// An ISR change that the controller has not settled yet. It counts until metadata tells.
#[derive(Debug)]
pub(crate) struct PendingIsr {
    pub(crate) proposal: IsrProposal,
    /// Since when a newer image is expected, as the controller refused the epoch.
    pub(crate) awaits_metadata_since_ms: Option<i64>,
}

impl PendingIsr {
    pub(crate) fn contains(&self, id: BrokerId) -> bool {
        self.proposal.isr.iter().any(|&(member, _)| member == id)
    }
}

#[derive(Debug)]
pub(crate) struct Leader {
    /// Log end when this replica became leader.
    pub(crate) epoch_start: Offset,
    pub(crate) followers: Vec<Follower>,
    pub(crate) pending: Option<Box<PendingIsr>>,
    /// After a refusal, no new proposal before this time.
    pub(crate) propose_not_before_ms: i64,
    pub(crate) waiters: Waiters,
}

impl Leader {
    pub(crate) fn follower(&self, id: BrokerId) -> Option<&Follower> {
        self.followers.iter().find(|f| f.id == id)
    }

    pub(crate) fn follower_mut(&mut self, id: BrokerId) -> Option<&mut Follower> {
        self.followers.iter_mut().find(|f| f.id == id)
    }
}

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
