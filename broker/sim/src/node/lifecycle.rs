//! How a broker's process starts and ends: booting from its disk, checkpoints, a clean stop, death
//! with or without loss of what the disk had not synced.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use base::Offset;
use commitlog::checkpoint::{OffsetCheckpoint, take_clean_shutdown, write_clean_shutdown};
use commitlog::fs::Fs;
use commitlog::{LoadState, Log, LogConfig, LogContext, LogError};
use metadata::{ControllerRequest, CreateTopic, CreateTopicsRequest};
use replica::{Event, Partition, Settings};

use crate::check::recovery;
use crate::content::{BatchId, batch_ids, index_at};
use crate::message::Tp;
use crate::world::{Action, DATA_TOPIC, OFFSETS_TOPIC, World};

use super::hosted::{Replica, log_offsets};
use super::serve::read_log;
use super::{Call, Disk, Registration, Timer};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stop {
    /// All logs are closed and the marker is written.
    Clean,
    Unclean,
}

/// What a death takes along.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Loss {
    /// The process alone: the page cache survives.
    Nothing,
    /// What was not synced survives wholly, partly or not at all.
    Power,
    /// Everything: a new, empty disk under the same broker id.
    Disk,
}

pub(crate) const LOG_DIR: &str = "/logs";
const CHECKPOINT_MS: i64 = 400;
const TOPICS_RETRY_MS: i64 = 200;
const REOPEN_MS: i64 = 100;

fn log_config(retention_bytes: i64) -> Arc<LogConfig> {
    Arc::new(LogConfig {
        // Small enough that segments roll within one run.
        segment_bytes: 3_000,
        segment_index_bytes: 1_200,
        index_interval_bytes: 500,
        retention_ms: -1,
        retention_bytes,
        message_timestamp_after_max_ms: i64::MAX,
        ..LogConfig::kafka_defaults()
    })
}

impl World {
    pub(crate) fn boot(&mut self, n: usize) {
        let clean_epoch = match take_clean_shutdown(&self.disks[n].fs, Path::new(LOG_DIR)) {
            Ok(epoch) => epoch,
            Err(error) => {
                self.trace(|_| format!("{n} cannot read its marker: {error}"));
                None
            }
        };
        let session = self.next_session();
        let node = &mut self.nodes[n];
        node.incarnation += 1;
        node.up = true;
        node.stopping = false;
        node.registration = Registration::Missing;
        node.published = None;
        node.session = session;
        node.believed = None;
        node.clean_epoch = clean_epoch;
        let incarnation = node.incarnation;
        self.mix(&[7, n as u64, incarnation]);
        self.trace(|_| format!("{n} boots, clean {clean_epoch:?}"));
        let stagger = self.rng.between(0, 20);
        self.after(stagger, n, Timer::Heartbeat);
        self.after(self.plan.lag_time_max_ms / 2, n, Timer::Tick);
        self.after(CHECKPOINT_MS, n, Timer::Checkpoint);
        if n == 0 && self.quorum.latest().topic_count() == 0 {
            self.after(TOPICS_RETRY_MS, n, Timer::CreateTopics);
        }
    }

    /// Creates the topics of the run, once enough brokers are there; repeated until it worked.
    pub(crate) fn create_topics(&mut self, n: usize) {
        let active = self.quorum.latest().brokers().filter(|b| b.is_active()).count();
        if active < self.plan.nodes {
            return self.after(TOPICS_RETRY_MS / 4, n, Timer::CreateTopics);
        }
        let topic = |name: &str, partitions: usize| CreateTopic {
            name: name.into(),
            partitions: partitions as i32,
            replication_factor: self.plan.replication_factor as i16,
            assignments: Vec::new(),
            configs: vec![(
                "min.insync.replicas".into(),
                Some(self.plan.min_isr.to_string().into()),
            )],
        };
        let request = CreateTopicsRequest {
            topics: vec![topic(DATA_TOPIC, self.plan.data_partitions), topic(OFFSETS_TOPIC, 1)],
            validate_only: false,
        };
        self.call(n, Call::CreateTopics, ControllerRequest::CreateTopics(request));
    }

    /// Opens a log and checks what recovery made of it. False if the process died of it.
    pub(crate) fn open_replica(&mut self, n: usize, tp: Tp) -> bool {
        let name = self.tps[tp].clone();
        let disk = &self.disks[n];
        let dir = self.log_dir(tp);
        let is_new = !disk.fs.exists(&dir);
        let context = LogContext::new(Arc::new(disk.fs.clone()), 64);
        let checkpointed = |kind: OffsetCheckpoint| {
            // What is said of it is said of a log that was removed.
            if is_new {
                return 0;
            }
            let offsets = kind.read(&disk.fs, Path::new(LOG_DIR)).unwrap_or_default();
            offsets.get(&name).copied().unwrap_or(0)
        };
        let state = LoadState {
            clean_shutdown: self.nodes[n].clean_epoch.is_some(),
            recovery_point: checkpointed(OffsetCheckpoint::RecoveryPoint),
            log_start: checkpointed(OffsetCheckpoint::LogStart),
        };
        let high_watermark = checkpointed(OffsetCheckpoint::HighWatermark);
        // Groups are rebuilt from the whole log.
        let keeps_all = tp == self.offsets_tp();
        let config = log_config(if keeps_all { -1 } else { self.plan.retention_bytes });
        let opened = Log::open(&context, &dir, name, config, state, self.now_ms);
        let log = match opened {
            Ok((log, report)) => {
                self.trace(|_| format!("  {n}/{tp} opened at {}, {report:?}", log.end_offset()));
                log
            }
            Err(error) => {
                self.abort_on(n, &error);
                return false;
            }
        };
        let found = match read_all(&log) {
            Ok(found) => found,
            Err(error) if self.disks[n].spoiled => {
                self.abort(n, Loss::Nothing, &error);
                return false;
            }
            Err(error) => {
                let detail = format!("partition {tp} node {n}: after recovery: {error}");
                self.fail(crate::check::Property::Recovery, detail);
                return false;
            }
        };
        self.recovered(n, tp, log.start_offset()..log.end_offset(), &found);
        let settings = Settings {
            min_insync_replicas: self.plan.min_isr,
            lag_time_max_ms: self.plan.lag_time_max_ms,
        };
        let core = Partition::new(self.nodes[n].id, settings, log_offsets(&log), high_watermark);
        self.nodes[n].replicas.insert(tp, Replica::new(core, log));
        self.may_forget_producers(n, tp);
        true
    }

    /// Opens a torn log again, as the real driver does, until the disk lets it.
    pub(crate) fn reopen_log(&mut self, n: usize, tp: Tp) {
        let now = self.now_ms;
        let Some(replica) = self.nodes[n].replicas.get_mut(&tp) else { return };
        let Some(work) = replica.log.reopen_work() else { return };
        let found = match work.run(now) {
            Ok(Some(found)) => found,
            Ok(None) => return,
            Err(error) if error.is_fatal() => return self.died_of_a_cut(n, tp, &error),
            Err(error) => {
                self.trace(|_| format!("  {n}/{tp} stays torn: {error}"));
                return self.after(REOPEN_MS, n, Timer::Reopen { tp });
            }
        };
        let report = found.report.clone();
        replica.log.reopened(found);
        let (log, found) = (replica.offsets(), read_all(&replica.log));
        self.trace(|_| format!("  {n}/{tp} opened again: {report:?}"));
        let found = match found {
            Ok(found) => found,
            Err(error) => return self.abort(n, Loss::Nothing, &error),
        };
        self.recovered(n, tp, log.start..log.end, &found);
        self.may_forget_producers(n, tp);
        self.drive(n, tp, Event::LogReopened(log));
    }

    /// Compares what a log was found to hold with what was written to it, and goes on from that.
    fn recovered(&mut self, n: usize, tp: Tp, range: Range<Offset>, found: &[BatchId]) {
        let end = self.disks[n].content[tp].last().map_or(0, |batch| batch.last + 1);
        if end < range.start {
            // It died while it began anew behind what its leader had deleted.
            self.starts_at(n, tp, range.start);
        }
        let disk = &mut self.disks[n];
        let refused = std::mem::take(&mut disk.refused[tp]);
        let written = &disk.content[tp];
        let synced = if disk.torn[tp] {
            disk.synced[tp]
        } else {
            written.last().map_or(0, |batch| batch.last + 1)
        };
        let kept = recovery::kept(written, range.start, found);
        let sources = (written.as_slice(), refused.as_slice());
        let check = recovery::recovered((tp, n), sources, synced, range.clone(), found);
        let below = index_at(written, range.start);
        disk.content[tp].truncate(below + kept);
        disk.torn[tp] = false;
        disk.unclean[tp] = false;
        self.check(check);
        self.written(n, tp, &found[kept..]);
    }

    /// Writes the checkpoints; sometimes makes the logs durable, as the background flush would.
    pub(crate) fn checkpoint(&mut self, n: usize) {
        let now = self.now_ms;
        let slow_ms = self.disks[n].slow.until_ms - now;
        if slow_ms > 0 {
            return self.after(slow_ms, n, Timer::Checkpoint);
        }
        self.after(CHECKPOINT_MS, n, Timer::Checkpoint);
        let flush = self.rng.chance(500);
        let mut fatal = None;
        for replica in self.nodes[n].replicas.values_mut().filter(|_| flush) {
            if let Some(work) = replica.log.flush_work() {
                match work.run() {
                    Ok(offset) => replica.log.flushed(offset, now),
                    Err(error) if error.is_fatal() => fatal = Some(error),
                    Err(_) => {}
                }
            }
        }
        if let Some(error) = fatal {
            return self.abort_on(n, &error);
        }
        self.delete_old(n);
        self.write_checkpoints(n);
    }

    /// Retention on every replica; on leaders, now and then, deletion by request.
    fn delete_old(&mut self, n: usize) {
        if self.plan.retention_bytes < 0 {
            return;
        }
        let now = self.now_ms;
        for tp in 0..self.offsets_tp() {
            let (chosen, at) = (self.rng.chance(100), self.rng.next());
            let Some(replica) = self.nodes[n].replicas.get_mut(&tp) else { continue };
            let high_watermark = replica.core.high_watermark();
            let mut result = replica.log.retention(now, high_watermark).map(|_| ());
            let committed = &self.checks.committed[tp];
            let below = committed.partition_point(|batch| batch.last < high_watermark);
            if chosen && replica.core.is_leader() && below > 0 {
                let upto = committed[at as usize % below].base;
                if upto > replica.log.start_offset() {
                    result = result.and(replica.log.delete_records(upto, high_watermark));
                }
            }
            replica.log.take_due_deletions(now);
            if let Err(error) = result {
                self.trace(|_| format!("  {n}/{tp} deletion: {error}"));
            }
            self.log_changed(n, tp);
        }
    }

    fn write_checkpoints(&mut self, n: usize) {
        let fs = &self.disks[n].fs;
        let dir = Path::new(LOG_DIR);
        let replicas = &self.nodes[n].replicas;
        let offsets = |of: &dyn Fn(&Replica) -> i64| -> Vec<_> {
            replicas.iter().map(|(&tp, replica)| (&self.tps[tp], of(replica))).collect()
        };
        let high = offsets(&|replica| replica.core.high_watermark());
        let recovery = offsets(&|replica| replica.log.recovery_point());
        let start = offsets(&|replica| replica.log.start_offset());
        // A checkpoint that cannot be written (the disk is full) leaves the old one.
        let written = OffsetCheckpoint::HighWatermark
            .write(fs, dir, high.into_iter())
            .and_then(|()| OffsetCheckpoint::RecoveryPoint.write(fs, dir, recovery.into_iter()))
            .and_then(|()| OffsetCheckpoint::LogStart.write(fs, dir, start.into_iter()));
        if let Err(error) = written {
            self.trace(|_| format!("  {n} checkpoints: {error}"));
        }
    }

    /// Controlled shutdown was granted: everything is flushed, the marker comes last.
    pub(crate) fn stop_cleanly(&mut self, n: usize) {
        // Logs that nobody opened since an unclean stop are not vouched for.
        let mut closed = self.disks[n].unclean.iter().all(|unclean| !unclean);
        let mut loss = Loss::Nothing;
        for replica in self.nodes[n].replicas.values_mut() {
            let result = replica.log.close();
            closed &= result.is_ok();
            if result.is_err_and(|error| error.is_fatal()) {
                loss = Loss::Power;
            }
        }
        if loss == Loss::Power {
            loss = self.loss_of_failed_sync(n);
        }
        let stopped = if closed { Stop::Clean } else { Stop::Unclean };
        if closed {
            self.write_checkpoints(n);
            let epoch = self.nodes[n].broker_epoch();
            let written = write_clean_shutdown(&self.disks[n].fs, Path::new(LOG_DIR), epoch);
            self.trace(|_| format!("{n} stops cleanly: {written:?}"));
        }
        self.end_process(n, stopped, loss);
    }

    /// The process gives up, as the real one does when a sync of its disk fails.
    pub(crate) fn abort_on(&mut self, n: usize, error: &LogError) {
        let loss = if error.is_fatal() { self.loss_of_failed_sync(n) } else { Loss::Nothing };
        self.abort(n, loss, &error.to_string());
    }

    pub(crate) fn abort(&mut self, n: usize, loss: Loss, reason: &str) {
        self.trace(|_| format!("{n} aborts: {reason}"));
        self.die(n, loss);
        let pause = self.rng.between(100, 600);
        self.schedule(pause, Action::Restart { node: n });
    }

    /// The process ends here and now.
    pub(crate) fn die(&mut self, n: usize, loss: Loss) {
        self.end_process(n, Stop::Unclean, loss);
    }

    fn end_process(&mut self, n: usize, stop: Stop, loss: Loss) {
        if !self.nodes[n].up {
            return;
        }
        self.mix(&[8, n as u64, loss as u64]);
        self.trace(|_| format!("{n} dies, loses {loss:?}"));
        let node = &mut self.nodes[n];
        node.up = false;
        node.paused_until_ms = 0;
        node.calls.clear();
        node.published = None;
        let session = node.session;
        let controller = node.controller.take();
        let replicas = std::mem::take(&mut node.replicas);
        for (tp, replica) in &replicas {
            self.disks[n].synced[*tp] = replica.log.recovery_point();
            self.disks[n].unclean[*tp] = stop == Stop::Unclean;
        }
        drop(replicas);
        self.quorum.orphan(controller);
        self.lose(n, loss);
        // Its connections break, and everybody who can be reached notices.
        for other in 0..self.nodes.len() {
            let delay = self.delay();
            self.schedule(delay, Action::SessionClosed { node: other, session, ended: true });
        }
    }

    fn lose(&mut self, n: usize, loss: Loss) {
        match loss {
            Loss::Nothing => {}
            Loss::Power => {
                let mut seed = self.rng.next();
                self.disks[n].fs.crash(&mut seed);
                self.disks[n].torn.fill(true);
                self.disks[n].lost = true;
            }
            Loss::Disk => {
                self.disks[n] = Disk::new(self.tps.len());
                self.disks[n].lost = true;
            }
        }
    }
}

/// The whole log, as its reader shows it.
fn read_all(log: &Log) -> Result<Vec<BatchId>, String> {
    let mut found: Vec<BatchId> = Vec::new();
    let mut at = log.start_offset();
    while at < log.end_offset() {
        let batches = batch_ids(&read_log(log, at, log.end_offset())?);
        let Some(last) = batches.last() else {
            return Err(format!("nothing to read at {at}"));
        };
        at = last.last + 1;
        found.extend(batches);
    }
    Ok(found)
}
