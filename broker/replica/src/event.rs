//! What the core is told. Every type carries facts only; no event carries record bytes.

use base::{BrokerEpoch, BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionEpoch};

/// Where the log stands. The driver reads it from the log under the partition's lock after every
/// change, so that the core never disagrees with the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogOffsets {
    pub start: Offset,
    /// The log end: the offset of the next record.
    pub end: Offset,
    /// First offset of the oldest transaction that is open or whose marker is not yet replicated.
    pub first_unstable: Option<Offset>,
}

/// The end of a leader epoch in a log: the start of the next epoch, or the log end for the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEnd {
    pub epoch: LeaderEpoch,
    pub end_offset: Offset,
}

/// Asks the log's epoch cache: the largest known epoch `<=` the given one and its end offset;
/// `None` when the log knows no such epoch, or only smaller ones.
pub type EpochLookup<'a> = &'a dyn Fn(LeaderEpoch) -> Option<EpochEnd>;

/// What the metadata image says of this partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    pub leader: Option<BrokerId>,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    pub replicas: Vec<BrokerId>,
    pub isr: Vec<BrokerId>,
}

/// The settings that the core needs; topic configs may change them at any time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// `min.insync.replicas`; the number of replicas bounds it.
    pub min_insync_replicas: usize,
    /// `replica.lag.time.max.ms`.
    pub lag_time_max_ms: i64,
    /// Consumers read from followers (KIP-392): a leader tells them at once how much is committed.
    pub tells_commits: bool,
}

/// Everything that happens to a replica and needs no answer of its own. (What needs one is a
/// method: `Partition::follower_fetch`, `consumer_fetch`, `fetch_answer`, …)
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A new image was applied. Idempotent; older epochs than the known ones are ignored. Never
    /// from an image that is older than this process's own registration: it may name this broker
    /// the leader of an epoch whose end its log has lost since.
    Assign(Assignment),
    /// The partition is no longer hosted here (deleted, reassigned), or the broker stops.
    Removed,
    Settings(Settings),
    /// The log changed: appended (either role), truncated, deleted from, or transactions ended.
    /// On a leader it may move the high watermark and wakes the followers.
    LogChanged(LogOffsets),
    /// A cut of the log failed half-way. To be told after the `LogChanged` of the cut. The replica
    /// has no role any more; assignments are kept for later.
    LogTorn,
    /// A torn log was opened again from disk and stands here.
    LogReopened(LogOffsets),
    /// Nothing at or above this offset is durable enough here to count for the high watermark
    /// (`flush.messages`); `Offset::MAX` where the topic does not ask for that. To be told before
    /// the log's end moves past it.
    Durable(Offset),
    /// A follower appended (or had nothing to append from) a fetch answer of its leader.
    Replicated {
        log: LogOffsets,
        leader_high_watermark: Offset,
    },
    /// A produce with acks=all wants to hear when the high watermark reaches `required`
    /// (last offset + 1). May complete at once.
    AwaitCommit {
        ticket: u64,
        required: Offset,
    },
    /// The produce timed out or its connection is gone: no completion is emitted any more.
    /// `required` is what its `AwaitCommit` said.
    CancelWait {
        ticket: u64,
        required: Offset,
    },
    /// A new image fenced or unfenced a broker (or it is shutting down, or registered anew). To
    /// be told to the partitions led here that have it as a replica: without it, a dead follower
    /// that was about to join the ISR would hold the high watermark for the lag time.
    Eligibility {
        broker: BrokerId,
        eligible: bool,
    },
    /// The answer to `Effect::ProposeIsr`.
    IsrAnswer(IsrAnswer),
    /// Time passed; due at least every `lag_time_max_ms / 2` on a leader.
    Tick,
}

/// How the controller answered an ISR proposal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IsrAnswer {
    /// The change is made and comes with the image that has it, not before: with the configs
    /// that it was decided by.
    Accepted { leader_epoch: LeaderEpoch, partition_epoch: PartitionEpoch },
    /// A definite error for this partition.
    Rejected { partition_epoch: PartitionEpoch, error: ErrorCode },
    /// No answer (timeout, no controller, connection lost): the change may or may not have been
    /// made. The core emits the same proposal again; the driver paces it (about 50 ms).
    Unknown { partition_epoch: PartitionEpoch },
}

/// A fetch of a follower, as it reached the leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FollowerFetch {
    pub replica: BrokerId,
    /// `ReplicaEpoch` of the request; -1 if unknown.
    pub broker_epoch: BrokerEpoch,
    /// The newest image has this broker unfenced, not shutting down, and under this broker epoch.
    pub eligible: bool,
    /// -1: unchecked.
    pub current_leader_epoch: LeaderEpoch,
    pub fetch_offset: Offset,
    /// Epoch of the follower's last batch; -1 when its log is empty.
    pub last_fetched_epoch: LeaderEpoch,
    /// Where the follower's log starts; -1 if unknown.
    pub log_start: Offset,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
}

/// A fetch of a consumer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConsumerFetch {
    /// -1: unchecked.
    pub current_leader_epoch: LeaderEpoch,
    pub fetch_offset: Offset,
    /// Epoch of the last batch the consumer saw; -1: unchecked (KIP-320).
    pub last_fetched_epoch: LeaderEpoch,
    pub isolation: Isolation,
    /// A follower may answer, too (KIP-392, from version 11 on).
    pub any_replica: bool,
}

/// The leader's answer to a fetch of this follower, without its records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchAnswer {
    pub leader: BrokerId,
    /// The `current_leader_epoch` that the request carried.
    pub leader_epoch: LeaderEpoch,
    /// The offset that the request asked for, and the epoch of the last batch before it (-1:
    /// none). Both must still be true: an answer that comes late may name an end that this log
    /// has again, after another batch.
    pub fetch_offset: Offset,
    pub last_fetched_epoch: LeaderEpoch,
    pub error: ErrorCode,
    pub diverging: Option<EpochEnd>,
    pub high_watermark: Offset,
    /// The leader's log start; valid with `OffsetOutOfRange` too (our leaders fill it in).
    pub log_start: Offset,
}
