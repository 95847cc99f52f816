//! One look at the partitions that may have news. Planning takes each partition's lock for a
//! moment; reading happens without it, and where it would wait for the disk, on the reader pool.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base::{BrokerId, ErrorCode, Offset};
use bytes::Bytes;
use commitlog::{AbortedTransaction, Access, FetchSlice, LogReader, ReadError};
use replica::{ConsumerFetch, EpochEnd, FollowerFetch, Isolation, ReadPlan};
use tokio::time::Instant;
use wire::messages::FetchRequest;
use wire::{FileRange, Records};

use super::want::{SessionState, Want};
use super::{FetchServer, MayRead};
use crate::Storage;
use crate::partition::{Partition, Partitions, Registration};
use crate::throttles::Side;
use metadata::Image;
use process::BlockingPool;
use process::time::now;

/// Slices up to this size are copied: cheaper than a system call of their own.
const COPY_BYTES_MAX: usize = 16 * 1024;
/// And so much of one response: what is copied takes memory until it is sent.
const COPIES_BYTES_MAX: usize = 1 << 20;

/// Who fetches.
#[derive(Clone, Debug)]
pub enum Reader {
    Consumer {
        isolation: Isolation,
        /// It takes answers of followers (KIP-392).
        any_replica: bool,
        /// The brokers in its rack, where it should be sent to one; empty elsewhere.
        near: Vec<BrokerId>,
    },
    Follower {
        id: BrokerId,
        epoch: i64,
        eligible: bool,
    },
}

/// Limits of one response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) bytes_min: usize,
    pub(super) bytes_max: usize,
    /// A high watermark that a follower does not know is told at once. Only in sessions: they know
    /// what they told.
    pub(super) tells_commits: bool,
}

/// What was found for one partition.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) index: u32,
    pub(super) code: ErrorCode,
    pub(super) high_watermark: Offset,
    pub(super) last_stable: Offset,
    pub(super) log_start: Offset,
    pub(super) diverging: Option<EpochEnd>,
    pub(super) aborted: Option<Vec<AbortedTransaction>>,
    pub(super) records: Records,
    /// Where the consumer should read instead.
    pub(super) preferred: Option<BrokerId>,
    /// There is more, for which there is no room now.
    is_held: bool,
}

/// The results of the last look.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) found: Vec<Found>,
    bytes: usize,
    /// Something must be told at once: an error or a divergence.
    is_urgent: bool,
    /// What may still be copied into the response.
    copies_left: usize,
    /// There is more for which this response has no room: it gets no better by waiting.
    is_full: bool,
    /// A throttle holds a replica back until then.
    held_until: Option<Instant>,
    /// Bytes that are there for each partition, once something came after the look.
    weights: HashMap<u32, usize>,
}

impl Limits {
    pub(super) fn of(consumer_bytes_max: i32, reader: &Reader, request: &FetchRequest) -> Limits {
        let asked = request.max_bytes.max(0) as usize;
        let bytes_max = if reader.is_follower() {
            asked
        } else {
            asked.min(consumer_bytes_max.max(0) as usize)
        };
        let bytes_min = request.min_bytes.max(0) as usize;
        Limits { bytes_min: bytes_min.min(bytes_max.max(1)), bytes_max, tells_commits: false }
    }
}

impl Reader {
    /// A consumer of the leader, with the isolation level of its request.
    pub fn consumer(isolation_level: i8) -> Reader {
        Reader::consumer_near(isolation_level, false, Vec::new())
    }

    /// A consumer that may read from followers, and is sent to one of these if there are any.
    pub fn consumer_near(isolation_level: i8, any_replica: bool, near: Vec<BrokerId>) -> Reader {
        let isolation = match isolation_level {
            1 => Isolation::ReadCommitted,
            _ => Isolation::ReadUncommitted,
        };
        Reader::Consumer { isolation, any_replica, near }
    }

    /// A broker that proved to be this one, in a registration; -1 if it does not say in which.
    pub fn follower(image: &Image, id: BrokerId, epoch: i64) -> Reader {
        let registered = image.broker(id).filter(|b| epoch == -1 || b.epoch == epoch);
        Reader::Follower { id, epoch, eligible: registered.is_some_and(|b| b.is_active()) }
    }

    fn is_committed(&self) -> bool {
        matches!(self, Reader::Consumer { isolation: Isolation::ReadCommitted, .. })
    }

    pub fn is_follower(&self) -> bool {
        matches!(self, Reader::Follower { .. })
    }

    /// Tells the leaders here where a follower stands, for every partition that its request names.
    pub(super) fn note_positions(&self, session: &mut SessionState) {
        for index in session.take_updated() {
            if let Some(Some(want)) = session.want.get_mut(index as usize) {
                // Errors come back from the plan that follows, which notes it once more.
                let _ = self.note(want);
            }
        }
    }

    /// Notes a position that the request named, once. What is refused stays to be noted: a follower
    /// that is told no error does not say it again.
    fn note(&self, want: &mut Want) -> Result<(), ErrorCode> {
        if want.is_updated && self.is_follower() {
            want.hosted.clone()?.note_follower(&self.follower_fetch(want))?;
        }
        want.is_updated = false;
        Ok(())
    }

    fn follower_fetch(&self, want: &Want) -> FollowerFetch {
        let (replica, broker_epoch, eligible) = match *self {
            Reader::Follower { id, epoch, eligible } => (id, epoch, eligible),
            Reader::Consumer { .. } => (BrokerId(-1), -1, false),
        };
        FollowerFetch {
            replica,
            broker_epoch,
            eligible,
            current_leader_epoch: want.current_leader_epoch,
            fetch_offset: want.fetch_offset,
            last_fetched_epoch: want.last_fetched_epoch,
            log_start: want.log_start,
        }
    }

    /// The throttle of a replica outside the ISR; those within it are never held back.
    fn throttled<'a>(&self, storage: &'a Storage, partition: &Partition) -> Option<&'a Side> {
        let Reader::Follower { id, .. } = *self else { return None };
        let side = &storage.throttles.leader;
        (side.names(&partition.id) && !partition.is_in_sync(id)).then_some(side)
    }

    /// The replica that the consumer should read from instead of this one.
    fn preferred(&self, partition: &Partition, offset: Offset) -> Option<BrokerId> {
        match self {
            Reader::Consumer { near, .. } if !near.is_empty() => {
                partition.preferred_read_replica(near, offset)
            }
            _ => None,
        }
    }

    /// What may be read of one partition, whose replica may have come or changed since the last
    /// look. Registers for its news.
    fn plan_at(
        &self,
        sight: Sight<'_>,
        session: &mut SessionState,
        index: u32,
    ) -> Option<Result<(Arc<Partition>, ReadPlan), Found>> {
        if matches!(session.want.get(index as usize)?, Some(want) if want.hosted.is_err()) {
            session.find_replica(sight.partitions, index);
        }
        let wait = session.wait().clone();
        let want = session.want[index as usize].as_mut()?;
        if !sight.is_readable(want) {
            return Some(Err(Found::error(index, ErrorCode::TopicAuthorizationFailed)));
        }
        let partition = match &want.hosted {
            Ok(partition) => partition.clone(),
            Err(code) => return Some(Err(Found::error(index, *code))),
        };
        let registration = Registration { wait: &wait, index };
        let plan = self.plan(want, &partition, Some(registration));
        Some(match plan.and_then(|plan| self.note(want).map(|()| plan)) {
            Ok(plan) => Ok((partition, plan)),
            Err(code) => {
                // The replica may be gone; the next look finds its successor.
                want.hosted = Err(code);
                let log_start = partition.offsets().log_start;
                Err(Found { log_start, ..Found::error(index, code) })
            }
        })
    }

    fn plan(
        &self,
        want: &Want,
        partition: &Partition,
        registration: Option<Registration<'_>>,
    ) -> Result<ReadPlan, ErrorCode> {
        match *self {
            Reader::Follower { .. } => {
                partition.plan_follower(&self.follower_fetch(want), registration)
            }
            Reader::Consumer { isolation, any_replica, .. } => {
                let fetch = ConsumerFetch {
                    current_leader_epoch: want.current_leader_epoch,
                    fetch_offset: want.fetch_offset,
                    last_fetched_epoch: want.last_fetched_epoch,
                    isolation,
                    any_replica,
                };
                partition.plan_consumer(&fetch, registration)
            }
        }
    }
}

/// What of this broker's partitions a client may look at.
#[derive(Clone, Copy)]
pub(super) struct Sight<'a> {
    pub(super) partitions: &'a Partitions,
    pub(super) may_read: Option<MayRead<'a>>,
}

impl FetchServer<'_> {
    pub(super) fn sight(&self) -> Sight<'_> {
        Sight { partitions: &self.storage.partitions, may_read: self.may_read }
    }
}

impl Sight<'_> {
    /// Whether the client may read what it wants. Of a topic that it names by an id, and that is
    /// not here, it is told that alone.
    fn is_readable(&self, want: &Want) -> bool {
        let Some(may_read) = self.may_read else { return true };
        match &want.hosted {
            Ok(partition) => may_read(&partition.id.topic),
            Err(_) => want.topic.is_empty() || may_read(&want.topic),
        }
    }
}

impl Round {
    pub(super) fn is_enough(&self, limits: &Limits) -> bool {
        self.is_urgent || self.is_full || self.bytes >= limits.bytes_min
    }

    /// Whether more came than what the last look found.
    pub(super) fn has_grown(&self) -> bool {
        !self.weights.is_empty()
    }

    /// When a replica that is held back may go on.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.held_until
    }

    /// Looks at every partition that may have news. What was not read to its end stays marked.
    pub(super) async fn look(
        &mut self,
        server: &FetchServer<'_>,
        reader: &Reader,
        limits: &Limits,
        session: &mut SessionState,
    ) {
        *self = Round::default();
        // Where memory is scarce, records are sent from their files however few they are.
        self.copies_left = if (server.is_memory_scarce)() { 0 } else { COPIES_BYTES_MAX };
        let mut served = Vec::new();
        for index in session.take_dirty() {
            let left = limits.bytes_max.saturating_sub(self.bytes);
            let Some(found) = self.look_at(server, reader, limits, session, index).await else {
                continue;
            };
            let is_redirected = found.preferred.is_some();
            if found.code.is_error() || found.diverging.is_some() || is_redirected {
                self.is_urgent = true;
                session.mark(index);
            } else if !found.records.is_empty() {
                served.push(index);
            } else if left == 0 || found.is_held {
                session.mark(index);
            }
            self.bytes += found.records.len();
            self.found.push(found);
        }
        // Next time after those that found no room: else a few partitions that are far behind
        // would keep the others of their leader from replicating at all.
        for index in served {
            session.mark(index);
        }
    }

    async fn look_at(
        &mut self,
        server: &FetchServer<'_>,
        reader: &Reader,
        limits: &Limits,
        session: &mut SessionState,
        index: u32,
    ) -> Option<Found> {
        let left = limits.bytes_max.saturating_sub(self.bytes);
        let (partition, plan) = match reader.plan_at(server.sight(), session, index)? {
            Ok(planned) => planned,
            Err(refused) => return Some(refused),
        };
        let want = session.want[index as usize].as_ref()?;
        let mut found = Found::of_plan(index, &plan);
        self.is_urgent |= limits.tells_commits && want.told_high_watermark < plan.high_watermark;
        found.preferred = reader.preferred(&partition, plan.from);
        if found.preferred.is_some() {
            return Some(found);
        }
        if plan.diverging.is_some() || plan.max_offset <= plan.from || left == 0 && self.bytes > 0 {
            return Some(found);
        }
        let at_least_one = self.bytes == 0;
        let throttle = reader.throttled(server.storage, &partition);
        if let Some(pause_ms) = throttle.and_then(Side::pause_ms) {
            found.is_held = true;
            let until = now() + Duration::from_millis(pause_ms.unsigned_abs());
            self.held_until = Some(self.held_until.map_or(until, |before| before.min(until)));
            return Some(found);
        }
        let bytes_max = want.bytes_max.min(left).min(throttle.map_or(usize::MAX, Side::room));
        let is_committed = reader.is_committed();
        let log = partition.reader();
        match read(server.reads, log, &plan, bytes_max, at_least_one, is_committed).await {
            Ok((slice, aborted)) => {
                found.take(slice, aborted, &mut self.copies_left);
                // There is data, but not a batch that fits: the next fetch has room for it.
                found.is_held = found.records.is_empty();
                self.is_full |= found.is_held && !at_least_one;
                if let Some(side) = throttle {
                    side.spend(found.records.len());
                }
            }
            Err(error) => {
                let code = error.code();
                if code != ErrorCode::OffsetOutOfRange {
                    tracing::error!(partition = %partition.id, %error, "read");
                }
                found = Found { log_start: plan.log_start, ..Found::error(index, code) };
            }
        }
        Some(found)
    }

    /// Counts what came since the look, without reading it, and registers for more. True if there
    /// is enough by now, or something else to tell: a look is worth it.
    pub(super) fn weigh(
        &mut self,
        sight: Sight<'_>,
        reader: &Reader,
        limits: &Limits,
        session: &mut SessionState,
        news: &[u32],
    ) -> bool {
        if self.weights.is_empty() {
            self.weights = self.found.iter().map(|f| (f.index, f.records.len())).collect();
        }
        for &index in news {
            let (partition, plan) = match reader.plan_at(sight, session, index) {
                None => continue,
                Some(Ok(planned)) if planned.1.diverging.is_none() => planned,
                Some(_) => return true,
            };
            let there = partition.reader().bytes_between(plan.from, plan.max_offset);
            let Some(Some(want)) = session.want.get(index as usize) else { continue };
            if limits.tells_commits && want.told_high_watermark < plan.high_watermark {
                return true;
            }
            let there = usize::try_from(there).unwrap_or(usize::MAX).min(want.bytes_max);
            self.weights.insert(index, there);
            if there > 0 {
                // As the plan registers only where there is nothing.
                let wait = session.wait().clone();
                partition.register(reader.is_follower(), &wait, index);
                if reader
                    .plan(want, &partition, None)
                    .is_ok_and(|now| now.max_offset > plan.max_offset)
                {
                    wait.tell(index);
                }
            }
        }
        self.weights.values().fold(0, |sum: usize, bytes| sum.saturating_add(*bytes))
            >= limits.bytes_min
    }

    /// Registers with the partitions that have some data, but with the others not enough.
    pub(super) fn await_more(&self, reader: &Reader, session: &mut SessionState) {
        let wait = session.wait().clone();
        for found in self.found.iter().filter(|found| !found.records.is_empty()) {
            let Some(Some(want)) = session.want.get(found.index as usize) else { continue };
            if let Ok(partition) = &want.hosted {
                let high_watermark = partition.register(reader.is_follower(), &wait, found.index);
                let (seen, now) = match reader {
                    Reader::Consumer { isolation: Isolation::ReadCommitted, .. } => {
                        (found.last_stable, partition.offsets().last_stable)
                    }
                    // A follower sees the log end, which is not kept here: its fetches never wait
                    // with data at hand (min.bytes is 1), so a spurious second look is no loss.
                    _ => (found.high_watermark, high_watermark),
                };
                // It moved since it was read: look again at once.
                if now > seen {
                    wait.tell(found.index);
                }
            }
        }
    }
}

impl Found {
    fn error(index: u32, code: ErrorCode) -> Found {
        Found {
            index,
            code,
            high_watermark: -1,
            last_stable: -1,
            log_start: -1,
            diverging: None,
            aborted: None,
            records: Records::empty(),
            preferred: None,
            is_held: false,
        }
    }

    /// A partition without records to tell.
    pub(super) fn unchanged(
        high_watermark: Offset,
        last_stable: Offset,
        log_start: Offset,
    ) -> Found {
        let none = Found::error(0, ErrorCode::None);
        Found { high_watermark, last_stable, log_start, ..none }
    }

    fn of_plan(index: u32, plan: &ReadPlan) -> Found {
        Found {
            high_watermark: plan.high_watermark,
            last_stable: plan.last_stable_offset,
            log_start: plan.log_start,
            diverging: plan.diverging,
            ..Found::error(index, ErrorCode::None)
        }
    }

    fn take(
        &mut self,
        slice: Option<FetchSlice>,
        aborted: Option<Vec<AbortedTransaction>>,
        copies_left: &mut usize,
    ) {
        self.aborted = aborted;
        if let Some(slice) = slice {
            self.records = records(slice, copies_left);
        }
    }
}

/// Small slices are copied, larger ones are sent by the kernel.
fn records(slice: FetchSlice, copies_left: &mut usize) -> Records {
    if slice.len <= COPY_BYTES_MAX.min(*copies_left) {
        let mut copy = vec![0; slice.len];
        if let Ok(read) = slice.file.read_at_nowait(&mut copy, slice.position)
            && read == slice.len
        {
            *copies_left -= slice.len;
            return Records::Bytes(Bytes::from(copy));
        }
    }
    Records::File(FileRange { file: slice.file, position: slice.position, len: slice.len })
}

/// What is there, and to readers of committed records which transactions in it were aborted.
type Read = (Option<FetchSlice>, Option<Vec<AbortedTransaction>>);

async fn read(
    reads: &BlockingPool,
    log: &LogReader,
    plan: &ReadPlan,
    bytes_max: usize,
    at_least_one: bool,
    is_committed: bool,
) -> Result<Read, ReadError> {
    let (from, end) = (plan.from, plan.max_offset);
    let look = move |log: &LogReader, access: Access| {
        let slice = log.read(from, bytes_max, end, at_least_one, access)?;
        let aborted = match &slice {
            Some(slice) if is_committed => Some(log.aborted_transactions(from, slice, access)?),
            _ => is_committed.then(Vec::new),
        };
        Ok((slice, aborted))
    };
    match look(log, Access::Resident) {
        Err(ReadError::WouldBlock) => {}
        done => return done,
    }
    let log = log.clone();
    let cold = move || look(&log, Access::Blocking);
    reads.run(cold).await.unwrap_or(Ok((None, is_committed.then(Vec::new))))
}

#[cfg(test)]
#[path = "round_tests.rs"]
mod tests;
