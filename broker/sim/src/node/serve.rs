//! What a leader answers: fetches of followers with their long poll, produces, consumers.

use base::{ErrorCode, Offset};
use commitlog::{Access, Log, Origin};
use replica::{ConsumerFetch, Event, FetchAnswer, FollowerFetch, Isolation, ReadPlan};

use crate::check::{Property, Violation};
use crate::message::{Addr, Body, Tp};
use crate::plan::Mutation;
use crate::world::World;

use super::Timer;
use super::hosted::{Parked, Waiting, epoch_end};

/// Small, so that followers need several fetches to catch up.
const FETCH_BYTES_MAX: usize = 600;
const PARK_MS: i64 = 200;
const PRODUCE_TIMEOUT_MS: i64 = 700;

impl World {
    pub(crate) fn serve_fetch(
        &mut self,
        n: usize,
        from: (Addr, u64),
        id: u64,
        tp: Tp,
        mut fetch: FollowerFetch,
    ) {
        let now = self.now_ms;
        fetch.eligible = self.is_eligible(n, &fetch);
        let real = fetch.fetch_offset;
        let mutated = self.mutated(n, tp, &fetch);
        let mut effects = Vec::new();
        let plan = match self.nodes[n].replicas.get_mut(&tp) {
            Some(replica) => {
                let log = &replica.log;
                let lookup = |epoch| epoch_end(log, epoch);
                replica.core.follower_fetch(now, &mutated, &lookup, &mut effects)
            }
            None => Err(ErrorCode::UnknownTopicOrPartition),
        };
        let plan = plan.map(|plan| ReadPlan { from: real, ..plan });
        let parked = Parked { id, from, fetch };
        match self.fetch_result(n, tp, &parked, plan, false) {
            Some(body) => self.answer(n, from, body),
            None => {
                if let Some(replica) = self.nodes[n].replicas.get_mut(&tp) {
                    replica.parked.push(parked);
                }
                self.after(PARK_MS, n, Timer::ParkTimeout { tp, id });
            }
        }
        self.carry_out(n, tp, effects);
    }

    fn is_eligible(&self, n: usize, fetch: &FollowerFetch) -> bool {
        let image = self.nodes[n].published.as_ref();
        let broker = image.and_then(|image| image.broker(fetch.replica));
        broker.is_some_and(|b| b.is_active() && b.epoch == fetch.broker_epoch)
    }

    /// The answer to a follower, or nothing while it should wait.
    fn fetch_result(
        &mut self,
        n: usize,
        tp: Tp,
        parked: &Parked,
        plan: Result<ReadPlan, ErrorCode>,
        at_once: bool,
    ) -> Option<Body> {
        let node = &self.nodes[n];
        let (leader, fetch) = (node.id, &parked.fetch);
        let mut answer = FetchAnswer {
            leader,
            leader_epoch: fetch.current_leader_epoch,
            fetch_offset: fetch.fetch_offset,
            last_fetched_epoch: fetch.last_fetched_epoch,
            error: ErrorCode::None,
            diverging: None,
            high_watermark: -1,
            log_start: node.replicas.get(&tp).map_or(-1, |r| r.log.start_offset()),
        };
        let mut bytes = Vec::new();
        match plan {
            Err(error) => answer.error = error,
            Ok(plan) => {
                answer.diverging = plan.diverging;
                answer.high_watermark = plan.high_watermark;
                if plan.diverging.is_none() {
                    match self.read(n, tp, plan.from, plan.max_offset) {
                        Ok(read) if read.is_empty() && !at_once => return None,
                        Ok(read) => bytes = read,
                        Err(error) => answer.error = error,
                    }
                }
            }
        }
        Some(Body::FetchAnswer { id: parked.id, tp, answer, bytes })
    }

    fn read(
        &mut self,
        n: usize,
        tp: Tp,
        from: Offset,
        max_offset: Offset,
    ) -> Result<Vec<u8>, ErrorCode> {
        let Some(replica) = self.nodes[n].replicas.get(&tp) else { return Ok(Vec::new()) };
        read_log(&replica.log, from, max_offset).map_err(|error| {
            let detail = format!("partition {tp} node {n}: read at {from}: {error}");
            if self.disks[n].spoiled {
                self.trace(|_| detail);
            } else {
                self.fail(Property::Recovery, detail);
            }
            ErrorCode::KafkaStorageError
        })
    }

    pub(crate) fn wake_followers(&mut self, n: usize, tp: Tp) {
        let Some(replica) = self.nodes[n].replicas.get_mut(&tp) else { return };
        let parked = std::mem::take(&mut replica.parked);
        for waiting in parked {
            self.look_again(n, tp, waiting, false);
        }
    }

    pub(crate) fn park_timed_out(&mut self, n: usize, tp: Tp, id: u64) {
        let Some(replica) = self.nodes[n].replicas.get_mut(&tp) else { return };
        if let Some(at) = replica.parked.iter().position(|parked| parked.id == id) {
            let parked = replica.parked.remove(at);
            self.look_again(n, tp, parked, true);
        }
    }

    fn look_again(&mut self, n: usize, tp: Tp, parked: Parked, at_once: bool) {
        let mutated = self.mutated(n, tp, &parked.fetch);
        let Some(replica) = self.nodes[n].replicas.get(&tp) else { return };
        let log = &replica.log;
        let plan = replica.core.follower_read(&mutated, &|epoch| epoch_end(log, epoch));
        let plan = plan.map(|plan| ReadPlan { from: parked.fetch.fetch_offset, ..plan });
        match self.fetch_result(n, tp, &parked, plan, at_once) {
            Some(body) => self.answer(n, parked.from, body),
            None => {
                if let Some(replica) = self.nodes[n].replicas.get_mut(&tp) {
                    replica.parked.push(parked);
                }
            }
        }
    }

    pub(crate) fn serve_produce(
        &mut self,
        n: usize,
        from: (Addr, u64),
        id: u64,
        tp: Tp,
        acks: i16,
        bytes: &[u8],
    ) {
        let (base, required) = match self.append(n, tp, acks, bytes, Origin::Client) {
            Ok(offsets) => offsets,
            Err(error) => {
                return self.answer(n, from, Body::ProduceAnswer { id, result: Err(error) });
            }
        };
        if acks != -1 || self.mutation == Mutation::EarlyAck {
            return self.answer(n, from, Body::ProduceAnswer { id, result: Ok(base) });
        }
        let ticket = self.fresh_id();
        let waiting = Waiting { id, from, base, required };
        self.await_commit(n, tp, ticket, waiting);
        self.after(PRODUCE_TIMEOUT_MS, n, Timer::ProduceTimeout { tp, ticket });
    }

    pub(crate) fn await_commit(&mut self, n: usize, tp: Tp, ticket: u64, waiting: Waiting) {
        if let Some(replica) = self.nodes[n].replicas.get_mut(&tp) {
            let required = waiting.required;
            replica.tickets.insert(ticket, waiting);
            self.drive(n, tp, Event::AwaitCommit { ticket, required });
        }
    }

    pub(crate) fn produce_timed_out(&mut self, n: usize, tp: Tp, ticket: u64) {
        let Some(replica) = self.nodes[n].replicas.get_mut(&tp) else { return };
        if let Some(Waiting { id, from, required, .. }) = replica.tickets.remove(&ticket) {
            self.drive(n, tp, Event::CancelWait { ticket, required });
            let result = Err(ErrorCode::RequestTimedOut);
            self.answer(n, from, Body::ProduceAnswer { id, result });
        }
    }

    pub(crate) fn serve_consume(
        &mut self,
        n: usize,
        from: (Addr, u64),
        id: u64,
        tp: Tp,
        fetch: ConsumerFetch,
    ) {
        let plan = match self.nodes[n].replicas.get(&tp) {
            Some(replica) => {
                let log = &replica.log;
                replica.core.consumer_fetch(&fetch, &|epoch| epoch_end(log, epoch))
            }
            None => Err(ErrorCode::UnknownTopicOrPartition),
        };
        let result = plan.and_then(|plan| match plan.diverging {
            Some(_) => Ok((Vec::new(), plan)),
            None => self.read(n, tp, plan.from, plan.max_offset).map(|bytes| (bytes, plan)),
        });
        self.list_latest(n, tp);
        let start = self.nodes[n].replicas.get(&tp).map_or(-1, |r| r.log.start_offset());
        self.answer(n, from, Body::ConsumeAnswer { id, start, result });
    }

    /// ListOffsets for "latest", answered beside every consumer's fetch.
    fn list_latest(&mut self, n: usize, tp: Tp) {
        let Some(replica) = self.nodes[n].replicas.get(&tp) else { return };
        let epoch = replica.core.leader_epoch();
        if let Ok(latest) = replica.core.latest_offset(Isolation::ReadUncommitted) {
            let check: Result<(), Violation> = self.checks.latest.answered(tp, epoch, latest);
            self.check(check);
        }
    }
}

/// Whole batches from `from`, below `max_offset`.
pub(crate) fn read_log(log: &Log, from: Offset, max_offset: Offset) -> Result<Vec<u8>, String> {
    if from >= max_offset {
        return Ok(Vec::new());
    }
    let reader = log.reader();
    let slice = reader
        .read(from, FETCH_BYTES_MAX, max_offset, true, Access::Blocking)
        .map_err(|error| error.to_string())?;
    let Some(slice) = slice else { return Ok(Vec::new()) };
    let mut bytes = vec![0; slice.len];
    let got = slice.file.read_at(&mut bytes, slice.position).map_err(|error| error.to_string())?;
    if got < bytes.len() {
        return Err(format!("a slice of {} bytes has {got}", slice.len));
    }
    Ok(bytes)
}
