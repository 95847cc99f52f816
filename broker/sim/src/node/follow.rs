//! A follower's loop for one partition: fetch, do what the core makes of the answer, fetch again.

use base::{BrokerId, LeaderEpoch};
use commitlog::LogError;
use replica::{Event, FetchAnswer, FollowerFetch, FollowerStep};

use crate::check::Property;
use crate::content::batch_ids;
use crate::message::{Addr, Body, Tp};
use crate::plan::Mutation;
use crate::world::World;

use super::Timer;
use super::hosted::{Following, epoch_end};

const FETCH_TIMEOUT_MS: i64 = 500;
const BACKOFF_MS: i64 = 40;

impl World {
    pub(crate) fn follow(&mut self, n: usize, tp: Tp, leader: BrokerId, epoch: LeaderEpoch) {
        self.unload_shard(n, tp);
        let Some(replica) = self.nodes[n].replicas.get_mut(&tp) else { return };
        replica.following = Some(Following { leader: leader.0 as usize, epoch, request: None });
        self.send_fetch(n, tp);
    }

    pub(crate) fn stop_following(&mut self, n: usize, tp: Tp) {
        self.unload_shard(n, tp);
        if let Some(replica) = self.nodes[n].replicas.get_mut(&tp) {
            replica.following = None;
        }
    }

    pub(crate) fn send_fetch(&mut self, n: usize, tp: Tp) {
        let id = self.fresh_id();
        let broker_epoch = self.nodes[n].broker_epoch();
        let me = self.nodes[n].id;
        let Some(replica) = self.nodes[n].replicas.get_mut(&tp) else { return };
        let last_epoch = replica.log.latest_epoch().unwrap_or(-1);
        let Some(following) = replica.following.as_mut() else { return };
        if following.request.is_some() {
            return;
        }
        following.request = Some(id);
        let fetch = FollowerFetch {
            replica: me,
            broker_epoch,
            eligible: false,
            current_leader_epoch: following.epoch,
            fetch_offset: replica.log.end_offset(),
            last_fetched_epoch: last_epoch,
            log_start: replica.log.start_offset(),
        };
        let leader = Addr::Node(following.leader);
        self.send(Addr::Node(n), leader, Body::Fetch { id, tp, fetch });
        self.after(FETCH_TIMEOUT_MS, n, Timer::FetchTimeout { tp, id });
    }

    pub(crate) fn fetch_timed_out(&mut self, n: usize, tp: Tp, id: u64) {
        if self.take_request(n, tp, id) {
            self.send_fetch(n, tp);
        }
    }

    /// Whether the request was the one under way.
    fn take_request(&mut self, n: usize, tp: Tp, id: u64) -> bool {
        let replica = self.nodes[n].replicas.get_mut(&tp);
        let following = replica.and_then(|replica| replica.following.as_mut());
        match following {
            Some(following) if following.request == Some(id) => {
                following.request = None;
                true
            }
            _ => false,
        }
    }

    /// Late answers are looked at, too: the core must know which ones are void.
    pub(crate) fn fetch_answered(
        &mut self,
        n: usize,
        id: u64,
        tp: Tp,
        answer: &FetchAnswer,
        bytes: &[u8],
    ) {
        let mine = self.take_request(n, tp, id);
        let Some(replica) = self.nodes[n].replicas.get(&tp) else { return };
        let log = &replica.log;
        let step = replica.core.fetch_answer(answer, &|epoch| epoch_end(log, epoch));
        self.trace(|_| format!("  {n}/{tp} {step:?} {} bytes, {answer:?}", bytes.len()));
        match step {
            FollowerStep::Stale => {}
            FollowerStep::Append { log_start } => {
                if !self.replicate(n, tp, answer, bytes, log_start) {
                    if mine {
                        self.after(BACKOFF_MS, n, Timer::FetchAgain { tp });
                    }
                    return;
                }
            }
            FollowerStep::Truncate { to } => self.truncate(n, tp, to),
            FollowerStep::RestartAt { offset } => self.restart_log(n, tp, offset),
            FollowerStep::Backoff(_) => {
                if mine {
                    self.after(BACKOFF_MS, n, Timer::FetchAgain { tp });
                }
                return;
            }
        }
        if mine {
            self.send_fetch(n, tp);
        }
    }

    /// False if the disk refused.
    fn replicate(
        &mut self,
        n: usize,
        tp: Tp,
        answer: &FetchAnswer,
        bytes: &[u8],
        log_start: i64,
    ) -> bool {
        let now = self.now_ms;
        let Some(replica) = self.nodes[n].replicas.get_mut(&tp) else { return false };
        let end = replica.log.end_offset();
        if !bytes.is_empty()
            && let Err(error) = replica.log.append_as_follower(bytes, now)
        {
            self.trace(|_| format!("  {n}/{tp} replicate: {error}"));
            let refused = &mut self.disks[n].refused[tp];
            for batch in batch_ids(bytes) {
                if batch.base >= end && !refused.contains(&batch) {
                    refused.push(batch);
                }
            }
            if error.is_fatal() {
                self.abort_on(n, &error);
            } else {
                self.log_failed(n, tp);
            }
            return false;
        }
        if log_start > replica.log.start_offset() && log_start <= replica.log.end_offset() {
            // What its leader deleted was committed.
            let deleted = replica.log.delete_records(log_start, log_start);
            self.trace(|_| format!("  {n}/{tp} deletes below {log_start}: {deleted:?}"));
        }
        let Some(replica) = self.nodes[n].replicas.get_mut(&tp) else { return false };
        let log = replica.offsets();
        let new: Vec<_> = batch_ids(bytes)
            .into_iter()
            .filter(|batch| batch.base >= end && batch.last < log.end)
            .collect();
        self.written(n, tp, &new);
        let leader_high_watermark = answer.high_watermark;
        self.drive(n, tp, Event::Replicated { log, leader_high_watermark });
        true
    }

    fn truncate(&mut self, n: usize, tp: Tp, to: i64) {
        let Some(replica) = self.nodes[n].replicas.get_mut(&tp) else { return };
        match replica.log.truncate_to(to) {
            Ok(info) => {
                self.disks[n].content[tp].retain(|batch| batch.last < info.end_offset);
                self.must_know_producers(n, tp, "truncation");
                self.log_changed(n, tp);
            }
            Err(error) if error.is_fatal() => self.died_of_a_cut(n, tp, &error),
            Err(_) => self.log_failed(n, tp),
        }
    }

    fn restart_log(&mut self, n: usize, tp: Tp, offset: i64) {
        let now = self.now_ms;
        let has_had = self.has_had(n, tp, offset);
        let forgets = self.mutation == Mutation::ForgottenProducers;
        let Some(replica) = self.nodes[n].replicas.get_mut(&tp) else { return };
        let start = replica.log.start_offset();
        if forgets && replica.log.truncate_to(start).is_err() {
            return self.log_failed(n, tp);
        }
        match replica.log.truncate_fully_and_start_at(offset, now) {
            Ok(_) => {
                self.starts_at(n, tp, offset);
                if has_had {
                    self.must_know_producers(n, tp, "restart at its own end");
                } else {
                    self.may_forget_producers(n, tp);
                }
                self.log_changed(n, tp);
            }
            Err(error) if error.is_fatal() => self.died_of_a_cut(n, tp, &error),
            Err(_) => self.log_failed(n, tp),
        }
    }

    /// The core hears of what is true now, as from the real driver; a torn log is opened again.
    fn log_failed(&mut self, n: usize, tp: Tp) {
        self.log_changed(n, tp);
        if self.nodes[n].replicas.get(&tp).is_some_and(|replica| replica.log.is_torn()) {
            self.trace(|_| format!("  {n}/{tp} is torn"));
            self.disks[n].synced[tp] = 0;
            self.disks[n].torn[tp] = true;
            self.drive(n, tp, Event::LogTorn);
            self.reopen_log(n, tp);
        }
    }

    /// How much of the log is gone nobody knows: what the next process finds is where it begins.
    pub(super) fn died_of_a_cut(&mut self, n: usize, tp: Tp, error: &LogError) {
        self.abort_on(n, error);
        self.disks[n].synced[tp] = 0;
        self.disks[n].torn[tp] = true;
    }

    /// The replica's log holds nothing below `offset`: what lies before was committed and deleted.
    pub(super) fn starts_at(&mut self, n: usize, tp: Tp, offset: i64) {
        let committed = &self.checks.committed[tp];
        let below = committed.partition_point(|batch| batch.last < offset);
        self.disks[n].content[tp] = committed[..below].to_vec();
        if self.checks.committed_end(tp) < offset {
            let detail = format!("partition {tp} node {n} restarts at {offset}");
            self.fail(Property::HighWatermarkContent, detail);
        }
    }
}
