//! The group coordinator on the leader of `__consumer_offsets`: loading by replay, requests, and
//! the way of its records through the log. A shard serves once everything it loaded is committed,
//! and hears of its own appends by the high watermark.

use std::collections::{BTreeMap, VecDeque};

use base::{ErrorCode, Offset};
use bytes::Bytes;
use commitlog::{Log, Origin};
use coordinator::{
    AppendId, Effect, GroupConfig, GroupRecord, GroupReply, GroupRequest, GroupShard, Shard as _,
    Ticket,
};
use record::{BatchBuilder, BatchOptions, batches, records};

use crate::check::Property;
use crate::message::{Addr, Body, Tp};
use crate::world::World;

use super::Timer;
use super::serve::read_log;

pub(crate) struct Shard {
    core: GroupShard,
    /// Serves once the high watermark is there.
    load_end: Offset,
    serving: bool,
    /// Appends that are not committed, with the high watermark that they need.
    appends: VecDeque<(Offset, AppendId)>,
    waiting: BTreeMap<Ticket, (u64, (Addr, u64))>,
    /// The tick that is scheduled.
    tick_at_ms: Option<i64>,
    /// A look at the high watermark is scheduled.
    look_due: bool,
}

/// Pause before a load that failed is tried again.
const LOAD_RETRY_MS: i64 = 100;

/// The replication of the offsets must not be what groups wait for in a run of seconds.
fn group_config() -> GroupConfig {
    GroupConfig {
        session_timeout_ms_min: 500,
        initial_rebalance_delay_ms: 100,
        commit_timeout_ms: 1_000,
        new_member_join_timeout_ms: 5_000,
        ..GroupConfig::kafka_defaults()
    }
}

impl World {
    /// This broker leads the partition: what its log says becomes the shard's state.
    pub(crate) fn load_shard(&mut self, n: usize, tp: Tp) {
        if tp != self.offsets_tp() {
            return;
        }
        self.unload_shard(n, tp);
        let Some(replica) = self.nodes[n].replicas.get_mut(&tp) else { return };
        let mut core = GroupShard::new(group_config());
        if let Err(error) = replay(&replica.log, &mut core) {
            if self.disks[n].spoiled {
                self.trace(|_| format!("  {n}/{tp} load of groups: {error}"));
                return self.after(LOAD_RETRY_MS, n, Timer::ShardLoad { tp });
            }
            let detail = format!("node {n}: load of groups: {error}");
            return self.fail(Property::Recovery, detail);
        }
        replica.shard = Some(Shard {
            core,
            load_end: replica.log.end_offset(),
            serving: false,
            appends: VecDeque::new(),
            waiting: BTreeMap::new(),
            tick_at_ms: None,
            look_due: false,
        });
        self.shard_may_look(n, tp);
    }

    pub(crate) fn load_shard_again(&mut self, n: usize, tp: Tp) {
        let replica = self.nodes[n].replicas.get(&tp);
        if replica.is_some_and(|replica| replica.core.is_leader() && replica.shard.is_none()) {
            self.load_shard(n, tp);
        }
    }

    pub(crate) fn unload_shard(&mut self, n: usize, tp: Tp) {
        let Some(replica) = self.nodes[n].replicas.get_mut(&tp) else { return };
        if let Some(shard) = replica.shard.take() {
            let mut effects = Vec::new();
            shard.core.unload(&mut effects);
            let mut waiting = shard.waiting;
            for effect in effects {
                if let Effect::Reply { ticket, reply } = effect
                    && let Some((id, from)) = waiting.remove(&ticket)
                {
                    self.answer_group(n, tp, from, id, reply);
                }
            }
        }
    }

    fn answer_group(&mut self, n: usize, tp: Tp, to: (Addr, u64), id: u64, reply: GroupReply) {
        let epoch = self.nodes[n].replicas.get(&tp).map_or(-1, |r| r.core.leader_epoch());
        self.answer(n, to, Body::GroupAnswer { id, epoch, reply });
    }

    /// The high watermark moved: the coordinator looks at it outside of this critical section.
    pub(crate) fn shard_may_look(&mut self, n: usize, tp: Tp) {
        let replica = self.nodes[n].replicas.get_mut(&tp);
        if let Some(shard) = replica.and_then(|replica| replica.shard.as_mut())
            && !shard.look_due
        {
            shard.look_due = true;
            self.after(0, n, Timer::ShardLook { tp });
        }
    }

    pub(crate) fn shard_looks(&mut self, n: usize, tp: Tp) {
        let now = self.now_ms;
        let Some(replica) = self.nodes[n].replicas.get_mut(&tp) else { return };
        let high_watermark = replica.core.high_watermark();
        let Some(shard) = replica.shard.as_mut() else { return };
        shard.look_due = false;
        let mut effects = Vec::new();
        if !shard.serving && high_watermark >= shard.load_end {
            shard.serving = true;
            shard.core.start(now, &mut effects);
        }
        while let Some(&(required, id)) = shard.appends.front() {
            if required > high_watermark {
                break;
            }
            shard.appends.pop_front();
            shard.core.committed(now, id, &mut effects);
        }
        self.shard_effects(n, tp, effects);
    }

    pub(crate) fn serve_group(
        &mut self,
        n: usize,
        from: (Addr, u64),
        id: u64,
        request: GroupRequest,
    ) {
        let (now, tp) = (self.now_ms, self.offsets_tp());
        let ticket = Ticket(self.fresh_id());
        let replica = self.nodes[n].replicas.get_mut(&tp);
        let shard = replica.and_then(|replica| replica.shard.as_mut());
        let error = match shard {
            Some(shard) if shard.serving => {
                let mut effects = Vec::new();
                shard.waiting.insert(ticket, (id, from));
                shard.core.handle(now, ticket, request, &mut effects);
                return self.shard_effects(n, tp, effects);
            }
            Some(_) => ErrorCode::CoordinatorLoadInProgress,
            None => ErrorCode::NotCoordinator,
        };
        let reply: GroupReply = request.refuse(error);
        self.answer_group(n, tp, from, id, reply);
    }

    pub(crate) fn shard_tick(&mut self, n: usize, tp: Tp) {
        let now = self.now_ms;
        let replica = self.nodes[n].replicas.get_mut(&tp);
        let Some(shard) = replica.and_then(|replica| replica.shard.as_mut()) else { return };
        let mut effects = Vec::new();
        if shard.tick_at_ms.is_some_and(|at| at <= now) {
            shard.tick_at_ms = None;
        }
        if shard.serving {
            shard.core.tick(now, &mut effects);
        }
        self.shard_effects(n, tp, effects);
    }

    /// Carries out effects in their order; an append that fails at once yields more of them.
    fn shard_effects(&mut self, n: usize, tp: Tp, effects: Vec<Effect>) {
        let mut todo = VecDeque::from(effects);
        while let Some(effect) = todo.pop_front() {
            match effect {
                Effect::Reply { ticket, reply } => {
                    let replica = self.nodes[n].replicas.get_mut(&tp);
                    let shard = replica.and_then(|replica| replica.shard.as_mut());
                    let waiting = shard.and_then(|shard| shard.waiting.remove(&ticket));
                    if let Some((id, from)) = waiting {
                        self.answer_group(n, tp, from, id, reply);
                    }
                }
                Effect::Append { id, records } => {
                    let appended = self.append_group_records(n, tp, &records);
                    let now = self.now_ms;
                    let replica = self.nodes[n].replicas.get_mut(&tp);
                    let Some(shard) = replica.and_then(|replica| replica.shard.as_mut()) else {
                        return;
                    };
                    match appended {
                        Ok(required) => {
                            shard.appends.push_back((required, id));
                            self.shard_may_look(n, tp);
                        }
                        Err(error) => {
                            let mut more = Vec::new();
                            shard.core.append_failed(now, id, error, &mut more);
                            todo.extend(more);
                        }
                    }
                }
            }
        }
        self.after_shard(n, tp);
    }

    /// The invariants of the shard, and its next tick.
    fn after_shard(&mut self, n: usize, tp: Tp) {
        let now = self.now_ms;
        let replica = self.nodes[n].replicas.get_mut(&tp);
        let Some(shard) = replica.and_then(|replica| replica.shard.as_mut()) else { return };
        let check = shard.core.check();
        let next = shard.core.next_deadline().filter(|_| shard.serving);
        if let Some(at) = next
            && shard.tick_at_ms.is_none_or(|scheduled| at < scheduled)
        {
            shard.tick_at_ms = Some(at.max(now));
            self.after((at - now).max(0), n, Timer::ShardTick { tp });
        }
        if let Err(detail) = check {
            self.fail(Property::GroupAssignment, format!("node {n}: {detail}"));
        }
    }

    fn append_group_records(
        &mut self,
        n: usize,
        tp: Tp,
        records: &[GroupRecord],
    ) -> Result<Offset, ErrorCode> {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for record in records {
            let (key, value) = record.encode().map_err(|_| ErrorCode::UnknownServerError)?;
            builder.append(self.now_ms, Some(&key), value.as_deref(), &[]);
        }
        let bytes = builder.finish();
        let (_, required) = self.append(n, tp, -1, &bytes, Origin::Coordinator)?;
        Ok(required)
    }
}

fn replay(log: &Log, shard: &mut GroupShard) -> Result<(), String> {
    let mut at = log.start_offset();
    while at < log.end_offset() {
        let bytes = read_log(log, at, log.end_offset())?;
        let before = at;
        for batch in batches(&bytes).map_while(Result::ok) {
            let all = records(&batch, 1 << 20).map_err(|error| error.0.to_owned())?;
            for record in all.iter() {
                let record = record.map_err(|error| error.0.to_owned())?;
                let key = Bytes::copy_from_slice(record.key.unwrap_or_default());
                let value = record.value.map(Bytes::copy_from_slice);
                let record = GroupRecord::decode(key, value).map_err(|e| e.to_string())?;
                if let Some(record) = record {
                    shard.replay(record);
                }
            }
            at = batch.header.next_offset();
        }
        if at == before {
            return Err(format!("nothing to read at {at}"));
        }
    }
    Ok(())
}
