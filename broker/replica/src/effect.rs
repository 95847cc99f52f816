//! What the core asks of its driver. Effects are carried out in order, before the next event.

use base::{BrokerEpoch, BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionEpoch};

use crate::event::EpochEnd;

/// A change of the ISR for the controller's compare-and-set on `(leader_epoch, partition_epoch)`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IsrProposal {
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    /// With the broker epoch under which the member last fetched; -1 where unknown (the leader
    /// itself, or a member that has not fetched in this epoch).
    pub isr: Vec<(BrokerId, BrokerEpoch)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// This replica leads from `epoch` on: record `epoch -> start_offset` in the log's epoch cache
    /// before the next append, and stop fetching.
    BecomeLeader { epoch: LeaderEpoch, start_offset: Offset },
    /// Fetch from this leader, with `epoch` as the current leader epoch. Emitted again with every
    /// new leader epoch; requests in flight for older epochs are answered `FollowerStep::Stale`.
    Follow { leader: BrokerId, epoch: LeaderEpoch },
    /// No leader (or not hosted any more): stop fetching.
    Idle,
    /// Send to the controller; the answer comes back as `Event::IsrAnswer`.
    ProposeIsr(IsrProposal),
    /// The high watermark moved (checkpoint, retention, transactions' unreplicated markers).
    HighWatermark(Offset),
    /// Readers bounded by high watermark or last stable offset look again (or must be answered
    /// with an error, after a change of role).
    WakeConsumers,
    /// Followers in a long poll look again: the log end moved or the role changed, or, where
    /// consumers read from them, the high watermark did.
    WakeFollowers,
    /// A follower's log start moved: deletions that wait for all replicas look again.
    LowWatermark,
    /// The produce behind the ticket is committed, or failed.
    Complete { ticket: u64, result: Result<(), ErrorCode> },
}

/// What a read may return. `diverging` set: no records, only the diverging epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadPlan {
    pub from: Offset,
    /// Exclusive bound: log end for followers, high watermark or last stable offset for consumers.
    /// Not above `from` when there is nothing to read yet.
    pub max_offset: Offset,
    pub diverging: Option<EpochEnd>,
    pub leader_epoch: LeaderEpoch,
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
    pub log_start: Offset,
    pub log_end: Offset,
}

/// What a follower does with a fetch answer.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FollowerStep {
    /// The answer belongs to an older epoch, another leader or another position: drop it.
    Stale,
    /// Append the records (there may be none), raise the log start to `log_start` if lower, then
    /// report `Event::Replicated`.
    Append { log_start: Offset },
    /// Truncate the log to this end offset, report `Event::LogChanged`, fetch again at once.
    Truncate { to: Offset },
    /// Delete everything, continue at this offset, report `Event::LogChanged`, fetch again.
    RestartAt { offset: Offset },
    /// Fetch again after a pause, or after the next image.
    Backoff(ErrorCode),
}
