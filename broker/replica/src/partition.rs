//! `Partition`: the state of one replica and the dispatch of its events.

use base::{BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionEpoch};

use crate::effect::{Effect, FollowerStep, ReadPlan};
use crate::event::{
    ConsumerFetch, EpochLookup, Event, FetchAnswer, FollowerFetch, Isolation, LogOffsets, Settings,
};

/// The role of this replica, as queries see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Leader,
    Follower { leader: BrokerId },
    /// No leader is known, or the partition is not hosted here any more.
    Idle,
}

/// One replica of one partition.
#[derive(Debug)]
pub struct Partition {
    id: BrokerId,
}

impl Partition {
    /// A replica on broker `id` whose log was just opened; `high_watermark` is the checkpointed
    /// one (bounded by the log here). Idle until the first `Event::Assign`.
    pub fn new(
        id: BrokerId,
        settings: Settings,
        log: LogOffsets,
        high_watermark: Offset,
    ) -> Partition {
        unimplemented!()
    }

    /// Takes one event. Effects are appended, to be carried out in order.
    pub fn on(&mut self, now_ms: i64, event: Event, effects: &mut Vec<Effect>) {
        unimplemented!()
    }

    // ---- leader: fetches ------------------------------------------------------------------

    /// A follower's fetch: checks it, notes its position (which may move the high watermark and
    /// the ISR) and says what to read. `NotLeaderOrFollower`, `FencedLeaderEpoch`,
    /// `UnknownLeaderEpoch`, `UnknownTopicOrPartition`-like errors and `OffsetOutOfRange`
    /// otherwise (answer that one with `log_start()` filled in).
    pub fn follower_fetch(
        &mut self,
        now_ms: i64,
        fetch: &FollowerFetch,
        lookup: EpochLookup<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<ReadPlan, ErrorCode> {
        unimplemented!()
    }

    /// What a follower in a long poll may read now, without noting its position again.
    pub fn follower_read(
        &self,
        fetch: &FollowerFetch,
        lookup: EpochLookup<'_>,
    ) -> Result<ReadPlan, ErrorCode> {
        unimplemented!()
    }

    /// A consumer's fetch: only the leader answers.
    pub fn consumer_fetch(
        &self,
        fetch: &ConsumerFetch,
        lookup: EpochLookup<'_>,
    ) -> Result<ReadPlan, ErrorCode> {
        unimplemented!()
    }

    // ---- leader: produce ------------------------------------------------------------------

    /// May a produce with these acks be appended? The epoch to stamp its batches with.
    pub fn check_produce(&self, acks: i16) -> Result<LeaderEpoch, ErrorCode> {
        unimplemented!()
    }

    // ---- leader: offsets ------------------------------------------------------------------

    /// Leader and epoch check of ListOffsets, OffsetForLeaderEpoch, DeleteRecords
    /// (`current_leader_epoch` -1: unchecked).
    pub fn check_leader(&self, current_leader_epoch: LeaderEpoch) -> Result<(), ErrorCode> {
        unimplemented!()
    }

    /// The "latest" offset of ListOffsets: high watermark or last stable offset.
    /// `OffsetNotAvailable` after an election until the high watermark has reached the start of
    /// the epoch, so that it never goes back for a client. Timestamp lookups are bounded by it.
    pub fn latest_offset(&self, isolation: Isolation) -> Result<Offset, ErrorCode> {
        unimplemented!()
    }

    /// OffsetForLeaderEpoch: the end of `epoch`; `None` where the log does not know it.
    pub fn epoch_end_offset(
        &self,
        epoch: LeaderEpoch,
        lookup: EpochLookup<'_>,
    ) -> Option<crate::EpochEnd> {
        unimplemented!()
    }

    // ---- follower -------------------------------------------------------------------------

    /// What to do with the leader's answer to a fetch of this replica.
    pub fn fetch_answer(&self, answer: &FetchAnswer, lookup: EpochLookup<'_>) -> FollowerStep {
        unimplemented!()
    }

    // ---- views ----------------------------------------------------------------------------

    pub fn role(&self) -> Role {
        unimplemented!()
    }
    pub fn is_leader(&self) -> bool {
        unimplemented!()
    }
    pub fn leader(&self) -> Option<BrokerId> {
        unimplemented!()
    }
    pub fn leader_epoch(&self) -> LeaderEpoch {
        unimplemented!()
    }
    pub fn partition_epoch(&self) -> PartitionEpoch {
        unimplemented!()
    }
    pub fn replicas(&self) -> &[BrokerId] {
        unimplemented!()
    }
    /// The committed ISR, as the controller last told.
    pub fn isr(&self) -> &[BrokerId] {
        unimplemented!()
    }
    pub fn high_watermark(&self) -> Offset {
        unimplemented!()
    }
    pub fn last_stable_offset(&self) -> Offset {
        unimplemented!()
    }
    pub fn log(&self) -> LogOffsets {
        unimplemented!()
    }
    /// Leader: the smallest log start and end known of a replica (DeleteRecords low watermark).
    pub fn waiting(&self) -> usize {
        unimplemented!()
    }
    /// ISR smaller than the replica set, on the leader.
    pub fn is_under_replicated(&self) -> bool {
        unimplemented!()
    }
    pub fn is_under_min_isr(&self) -> bool {
        unimplemented!()
    }
    /// How far a follower is behind, on the leader: `(log end - its position, caught up at)`.
    pub fn follower_position(&self, replica: BrokerId) -> Option<(Offset, i64)> {
        unimplemented!()
    }
    /// Panics when an invariant of this replica is broken (tests and simulations).
    pub fn validate(&self) {
        unimplemented!()
    }
}
