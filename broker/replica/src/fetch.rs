//! Answers to reads on the leader: fencing by leader epoch, the divergence check of KIP-595, the
//! range of offsets, and how far followers and consumers may read.

use base::{BrokerId, ErrorCode, LeaderEpoch, Offset};

use crate::effect::{Effect, ReadPlan};
use crate::event::{ConsumerFetch, EpochEnd, EpochLookup, FollowerFetch, Isolation};
use crate::partition::{Partition, Role};

impl Partition {
    /// A follower's fetch: checks it, notes its position (which may move the high watermark and
    /// the ISR) and says what to read. An answer with `OffsetOutOfRange` should carry the log
    /// start, so that the follower can restart there.
    pub fn follower_fetch(
        &mut self,
        now_ms: i64,
        fetch: &FollowerFetch,
        lookup: EpochLookup<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<ReadPlan, ErrorCode> {
        let plan = self.follower_read(fetch, lookup)?;
        if plan.diverging.is_some() {
            // Its offset lies on another history: it says nothing about ours.
            return Ok(plan);
        }
        let before = self.marks();
        self.note_fetch(now_ms, fetch, effects);
        self.validate_after(before);
        Ok(ReadPlan {
            high_watermark: self.high_watermark,
            last_stable_offset: self.last_stable_offset(),
            ..plan
        })
    }

    fn note_fetch(&mut self, now_ms: i64, fetch: &FollowerFetch, effects: &mut Vec<Effect>) {
        let (end, in_isr) = (self.log.end, self.isr.contains(&fetch.replica));
        let floor = self.high_watermark;
        let Some(leader) = self.leader_state.as_mut() else { return };
        let floor = floor.max(leader.epoch_start);
        let Some(follower) = leader.follower_mut(fetch.replica) else { return };
        if follower.log_start != fetch.log_start {
            effects.push(Effect::LowWatermark);
        }
        follower.fetched(now_ms, fetch, end);
        follower.wants_in = !in_isr && fetch.fetch_offset >= floor;
        let wants_in = follower.wants_in;
        if wants_in {
            // First, so that the high watermark waits for the new member from now on.
            self.expand_isr(now_ms, effects);
        }
        self.settle(now_ms, effects);
    }

    /// What a follower in a long poll may read now, without noting its position again.
    pub fn follower_read(
        &self,
        fetch: &FollowerFetch,
        lookup: EpochLookup<'_>,
    ) -> Result<ReadPlan, ErrorCode> {
        self.check_leader(fetch.current_leader_epoch)?;
        let follower = self.leader_state.as_ref().and_then(|l| l.follower(fetch.replica));
        let Some(follower) = follower else {
            return Err(ErrorCode::NotLeaderOrFollower);
        };
        if fetch.broker_epoch >= 0 && fetch.broker_epoch < follower.broker_epoch {
            // A request of an earlier incarnation, late on the network.
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        self.plan(fetch.fetch_offset, fetch.last_fetched_epoch, self.log.end, lookup)
    }

    /// A consumer's fetch: the leader answers, and a follower up to its own high watermark where
    /// the consumer takes that (KIP-392).
    pub fn consumer_fetch(
        &self,
        fetch: &ConsumerFetch,
        lookup: EpochLookup<'_>,
    ) -> Result<ReadPlan, ErrorCode> {
        self.check_epoch(fetch.current_leader_epoch)?;
        match self.role() {
            Role::Leader => {}
            Role::Follower { .. } if fetch.any_replica => {}
            Role::Follower { .. } | Role::Idle => return Err(ErrorCode::NotLeaderOrFollower),
        }
        let max_offset = match fetch.isolation {
            Isolation::ReadUncommitted => self.high_watermark,
            Isolation::ReadCommitted => self.last_stable_offset(),
        };
        // What a follower has beyond its high watermark may be of a history that it gives up: a
        // difference there says nothing of the consumer.
        let is_beyond = !self.is_leader() && fetch.fetch_offset > self.high_watermark;
        let last_fetched_epoch = if is_beyond { -1 } else { fetch.last_fetched_epoch };
        self.plan(fetch.fetch_offset, last_fetched_epoch, max_offset, lookup)
    }

    fn plan(
        &self,
        fetch_offset: Offset,
        last_fetched_epoch: LeaderEpoch,
        max_offset: Offset,
        lookup: EpochLookup<'_>,
    ) -> Result<ReadPlan, ErrorCode> {
        let diverging = self.divergence(fetch_offset, last_fetched_epoch, lookup)?;
        if diverging.is_none() && fetch_offset > self.log.end {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        Ok(ReadPlan {
            from: fetch_offset,
            max_offset,
            diverging,
            leader_epoch: self.leader_epoch,
            high_watermark: self.high_watermark,
            last_stable_offset: self.last_stable_offset(),
            log_start: self.log.start,
            log_end: self.log.end,
        })
    }

    fn divergence(
        &self,
        fetch_offset: Offset,
        last_fetched_epoch: LeaderEpoch,
        lookup: EpochLookup<'_>,
    ) -> Result<Option<EpochEnd>, ErrorCode> {
        if fetch_offset < self.log.start {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        if last_fetched_epoch < 0 {
            return Ok(None);
        }
        let end =
            self.epoch_end_offset(last_fetched_epoch, lookup).ok_or(ErrorCode::OffsetOutOfRange)?;
        let diverges = end.epoch < last_fetched_epoch || end.end_offset < fetch_offset;
        Ok(diverges.then_some(end))
    }

    /// OffsetForLeaderEpoch: the largest known epoch `<= epoch` and its end; `None` where the log
    /// does not know one.
    pub fn epoch_end_offset(
        &self,
        epoch: LeaderEpoch,
        lookup: EpochLookup<'_>,
    ) -> Option<EpochEnd> {
        if epoch == self.leader_epoch && self.is_leader() {
            return Some(EpochEnd { epoch, end_offset: self.log.end });
        }
        lookup(epoch)
    }

    /// Leader and epoch check of ListOffsets, OffsetForLeaderEpoch, DeleteRecords
    /// (`current_leader_epoch` -1: unchecked).
    pub fn check_leader(&self, current_leader_epoch: LeaderEpoch) -> Result<(), ErrorCode> {
        self.check_epoch(current_leader_epoch)?;
        if self.is_leader() { Ok(()) } else { Err(ErrorCode::NotLeaderOrFollower) }
    }

    fn check_epoch(&self, current_leader_epoch: LeaderEpoch) -> Result<(), ErrorCode> {
        if current_leader_epoch >= 0 {
            if current_leader_epoch < self.leader_epoch {
                return Err(ErrorCode::FencedLeaderEpoch);
            }
            if current_leader_epoch > self.leader_epoch {
                return Err(ErrorCode::UnknownLeaderEpoch);
            }
        }
        Ok(())
    }

    /// Below which offset the answer to a lookup by timestamp must lie, and the error for one that
    /// finds nothing there: the high watermark may lag after an election, and what is above it
    /// may have been seen before.
    pub fn timestamp_bound(
        &self,
        isolation: Isolation,
    ) -> Result<(Offset, Option<ErrorCode>), ErrorCode> {
        match self.latest_offset(isolation) {
            Ok(latest) => Ok((latest, None)),
            Err(code @ ErrorCode::OffsetNotAvailable) => Ok(match isolation {
                Isolation::ReadUncommitted => (self.high_watermark, Some(code)),
                Isolation::ReadCommitted => (self.last_stable_offset(), Some(code)),
            }),
            Err(code) => Err(code),
        }
    }

    /// The offset below which no live replica has records any more; -1 while one of them has not
    /// said. It is what DeleteRecords waits for and answers.
    pub fn low_watermark(&self, is_alive: &dyn Fn(BrokerId) -> bool) -> Result<Offset, ErrorCode> {
        let leader = self.leader_state.as_ref().ok_or(ErrorCode::NotLeaderOrFollower)?;
        let live = leader.followers.iter().filter(|follower| is_alive(follower.id));
        Ok(live.map(|follower| follower.log_start).fold(self.log.start, Offset::min))
    }

    /// The "latest" offset of ListOffsets: high watermark or last stable offset.
    /// `OffsetNotAvailable` after an election until the high watermark has reached the start of
    /// the epoch, so that it never goes back for a client.
    pub fn latest_offset(&self, isolation: Isolation) -> Result<Offset, ErrorCode> {
        let leader = self.leader_state.as_ref().ok_or(ErrorCode::NotLeaderOrFollower)?;
        if self.high_watermark < leader.epoch_start {
            return Err(ErrorCode::OffsetNotAvailable);
        }
        Ok(match isolation {
            Isolation::ReadUncommitted => self.high_watermark,
            Isolation::ReadCommitted => self.last_stable_offset(),
        })
    }

    /// May a produce with these acks be appended? The epoch to stamp its batches with.
    pub fn check_produce(&self, acks: i16) -> Result<LeaderEpoch, ErrorCode> {
        if !(-1..=1).contains(&acks) {
            return Err(ErrorCode::InvalidRequiredAcks);
        }
        if !self.is_leader() {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        if acks == -1 && self.is_under_min_isr() {
            return Err(ErrorCode::NotEnoughReplicas);
        }
        Ok(self.leader_epoch)
    }
}
