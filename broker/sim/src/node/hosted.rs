//! One replica on a broker: core, log, and what waits on them. Events go in here, effects are
//! carried out here, and after each the replica's properties are checked.

use std::collections::BTreeMap;

use base::{ErrorCode, LeaderEpoch, Offset};
use commitlog::Log;
use replica::{Effect, EpochEnd, Event, FollowerFetch, LogOffsets, Partition};

use crate::check::positions;
use crate::message::{Addr, Body, Tp};
use crate::node::group::Shard;
use crate::plan::Mutation;
use crate::world::World;

use super::Timer;

pub(crate) struct Replica {
    pub(crate) core: Partition,
    pub(crate) log: Log,
    pub(crate) following: Option<Following>,
    pub(crate) parked: Vec<Parked>,
    pub(crate) tickets: BTreeMap<u64, Waiting>,
    pub(crate) shard: Option<Shard>,
    /// The content below was compared with the committed history.
    checked_to: Offset,
}

/// Whom a follower fetches from.
pub(crate) struct Following {
    pub(crate) leader: usize,
    pub(crate) epoch: LeaderEpoch,
    /// The request under way.
    pub(crate) request: Option<u64>,
}

/// A follower's fetch in its long poll.
pub(crate) struct Parked {
    pub(crate) id: u64,
    pub(crate) from: (Addr, u64),
    pub(crate) fetch: FollowerFetch,
}

/// A produce that waits for its commit.
pub(crate) struct Waiting {
    pub(crate) id: u64,
    pub(crate) from: (Addr, u64),
    pub(crate) base: Offset,
    /// The high watermark that it waits for.
    pub(crate) required: Offset,
}

impl Replica {
    pub(crate) fn new(core: Partition, log: Log) -> Replica {
        Replica {
            core,
            log,
            following: None,
            parked: Vec::new(),
            tickets: BTreeMap::new(),
            shard: None,
            checked_to: 0,
        }
    }

    pub(crate) fn offsets(&self) -> LogOffsets {
        log_offsets(&self.log)
    }
}

pub(crate) fn log_offsets(log: &Log) -> LogOffsets {
    LogOffsets {
        start: log.start_offset(),
        end: log.end_offset(),
        first_unstable: log.first_unstable_offset(),
    }
}

/// The log's epoch cache, as the core asks it.
pub(crate) fn epoch_end(log: &Log, epoch: LeaderEpoch) -> Option<EpochEnd> {
    let found = log.epoch_end_offset(epoch);
    (found.epoch >= 0).then_some(EpochEnd { epoch: found.epoch, end_offset: found.end_offset })
}

impl World {
    /// Feeds one event to a core and carries out what it asks for.
    pub(crate) fn drive(&mut self, n: usize, tp: Tp, event: Event) {
        let mut effects = Vec::new();
        let now = self.now_ms;
        let Some(replica) = self.nodes[n].replicas.get_mut(&tp) else { return };
        replica.core.on(now, event, &mut effects);
        self.carry_out(n, tp, effects);
    }

    pub(crate) fn log_changed(&mut self, n: usize, tp: Tp) {
        if let Some(replica) = self.nodes[n].replicas.get(&tp) {
            let log = replica.offsets();
            self.drive(n, tp, Event::LogChanged(log));
        }
    }

    pub(crate) fn carry_out(&mut self, n: usize, tp: Tp, effects: Vec<Effect>) {
        for effect in effects {
            self.trace(|_| format!("  {n}/{tp} {effect:?}"));
            match effect {
                Effect::BecomeLeader { epoch, start_offset } => {
                    self.become_leader(n, tp, epoch, start_offset);
                }
                Effect::Follow { leader, epoch } => self.follow(n, tp, leader, epoch),
                Effect::Idle => self.stop_following(n, tp),
                Effect::ProposeIsr(proposal) => self.propose_isr(n, tp, proposal),
                Effect::HighWatermark(high_watermark) => {
                    if let Some(replica) = self.nodes[n].replicas.get_mut(&tp) {
                        replica.log.on_high_watermark(high_watermark);
                    }
                }
                Effect::WakeConsumers => self.shard_may_look(n, tp),
                // Nobody waits for deletions here.
                Effect::LowWatermark => {}
                Effect::WakeFollowers => self.wake_followers(n, tp),
                Effect::Complete { ticket, result } => self.complete(n, tp, ticket, result),
            }
        }
        self.check_replica(n, tp);
    }

    fn check_replica(&mut self, n: usize, tp: Tp) {
        let Some(replica) = self.nodes[n].replicas.get_mut(&tp) else { return };
        replica.core.validate();
        let broken = self.mutation == Mutation::Assertion && replica.core.high_watermark() > 0;
        assert!(!broken, "the mutation: as if a core had found itself wrong");
        let positions = positions::positions(&replica.core, &replica.log);
        let new = replica.core.high_watermark();
        let who = (n, replica.core.leader_epoch());
        let range = (replica.checked_to, new);
        replica.checked_to = new;
        self.check(positions);
        if range.0 != range.1 {
            let before = self.checks.committed[tp].len();
            let check = self.checks.high_watermark(tp, who, range, &self.disks[n].content[tp]);
            self.check(check);
            if self.checks.committed[tp].len() > before {
                self.check_in_sync(tp);
            }
        }
        self.mix(&[5, n as u64, tp as u64, new as u64]);
    }

    fn become_leader(&mut self, n: usize, tp: Tp, epoch: LeaderEpoch, start: Offset) {
        let incarnation = self.nodes[n].incarnation;
        let leads = self.checks.epochs.leads(tp, epoch, (n, incarnation));
        self.check(leads);
        let complete = self.checks.complete(tp, (n, epoch), &self.disks[n].content[tp]);
        self.check(complete);
        let Some(replica) = self.nodes[n].replicas.get_mut(&tp) else { return };
        replica.following = None;
        if let Err(error) = replica.log.assign_epoch(epoch, start) {
            // A leader that cannot record its epoch must not append in it.
            return self.abort_on(n, &error);
        }
        self.load_shard(n, tp);
    }

    fn complete(&mut self, n: usize, tp: Tp, ticket: u64, result: Result<(), ErrorCode>) {
        let Some(replica) = self.nodes[n].replicas.get_mut(&tp) else { return };
        if let Some(Waiting { id, from, base, .. }) = replica.tickets.remove(&ticket) {
            let result = result.map(|()| base);
            self.answer(n, from, Body::ProduceAnswer { id, result });
        }
    }

    pub(crate) fn tick_replicas(&mut self, n: usize) {
        let tps: Vec<Tp> = self.nodes[n].replicas.keys().copied().collect();
        for tp in tps {
            self.drive(n, tp, Event::Tick);
        }
        let pause = self.plan.lag_time_max_ms / 2;
        self.after(pause, n, Timer::Tick);
    }

    /// Appends to a leader's log and tells the core. The base offset, or why not.
    pub(crate) fn append(
        &mut self,
        n: usize,
        tp: Tp,
        acks: i16,
        bytes: &[u8],
        origin: commitlog::Origin,
    ) -> Result<(Offset, Offset), ErrorCode> {
        let now = self.now_ms;
        let Some(replica) = self.nodes[n].replicas.get_mut(&tp) else {
            return Err(ErrorCode::UnknownTopicOrPartition);
        };
        let epoch = replica.core.check_produce(acks)?;
        let info = match replica.log.append_as_leader(bytes, epoch, origin, now) {
            Ok(info) => info,
            Err(error) => {
                let code = error.code();
                self.trace(|_| format!("  {n}/{tp} append: {error}"));
                if let commitlog::AppendError::Log(error) = &error
                    && error.is_fatal()
                {
                    self.abort_on(n, error);
                }
                return Err(code);
            }
        };
        if !info.duplicate {
            let base = info.first_offset;
            let mut batches = crate::content::batch_ids(bytes);
            for batch in &mut batches {
                batch.last = base + (batch.last - batch.base);
                batch.base = base;
                batch.epoch = epoch;
            }
            self.written(n, tp, &batches);
            self.log_changed(n, tp);
        }
        Ok((info.first_offset, info.last_offset + 1))
    }

    /// Notes what was written to a log.
    pub(crate) fn written(&mut self, n: usize, tp: Tp, batches: &[crate::content::BatchId]) {
        for batch in batches {
            let content = &mut self.disks[n].content[tp];
            let check = self.checks.matching.written(tp, batch, content.last());
            content.push(*batch);
            self.check(check);
            self.mix(&[6, batch.base as u64, u64::from(batch.crc)]);
        }
    }

    /// The fetch as a broken leader sees it: one batch further than it is, or without the epoch
    /// by which it would find a divergence. Without a mutation, the fetch.
    pub(crate) fn mutated(&self, n: usize, tp: Tp, fetch: &FollowerFetch) -> FollowerFetch {
        let mut fetch = *fetch;
        match self.mutation {
            Mutation::HighWatermark => {
                let content = &self.disks[n].content[tp];
                let next = content.get(crate::content::index_at(content, fetch.fetch_offset));
                fetch.fetch_offset = next.map_or(fetch.fetch_offset, |batch| batch.last + 1);
            }
            Mutation::NoTruncation => fetch.last_fetched_epoch = -1,
            Mutation::None
            | Mutation::IsrWithoutCompareAndSet
            | Mutation::EarlyAck
            | Mutation::ForgottenProducers
            | Mutation::Assertion => {}
        }
        fetch
    }
}
