//! What only a leader has: its followers, the ISR change in flight, who waits.

use base::{BrokerEpoch, BrokerId, Offset};

use crate::effect::IsrProposal;
use crate::event::FollowerFetch;
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
    pub(crate) last_fetch_ms: i64,
    pub(crate) last_fetch_leader_end: Offset,
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
