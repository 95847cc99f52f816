//! The log cleaner of this broker: which compacted log is cleaned next, by how many threads at
//! most, with how much memory and how fast. Each replica is cleaned on its own, by leaders and
//! followers alike (`commitlog/src/clean`). A log that cannot be cleaned is left alone from then
//! on, named by a metric and the log; the others are cleaned as before.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base::{TopicId, TopicPartition};
use commitlog::checkpoint::OffsetCheckpoint;
use commitlog::{CleanError, CleanLimits, CleanStats, CleanWork, LogError};
use parking_lot::Mutex;

use super::hosted::Partition;
use super::index::Partitions;
use super::load::with_cause;
use crate::throttle::Throttle;
use process::{clock, random};

/// Longest pause of a throttled cleaning before it looks whether to stop.
const PAUSE_MS_MAX: i64 = 100;
/// Bytes after which a cleaning looks at its rate.
const PACE_BYTES: u64 = 64 * 1024;
/// Largest memory for keys of one thread, as in Kafka.
const MAP_BYTES_MAX: u64 = i32::MAX as u64;
const IO_BYTES_MIN: u64 = 4096;

type Key = (TopicPartition, TopicId);

/// What the cleaner's threads share.
#[derive(Debug, Default)]
pub struct Cleaner {
    /// One thread at a time looks for the dirtiest log.
    choosing: Mutex<()>,
    logs: Mutex<Logs>,
    throttle: Mutex<Throttle>,
}

#[derive(Debug, Default)]
struct Logs {
    in_progress: BTreeSet<Key>,
    uncleanable: BTreeSet<Key>,
}

/// A log that may be worth it.
struct Candidate {
    partition: Arc<Partition>,
    work: CleanWork,
    ratio: f64,
}

impl Partitions {
    /// Cleans the dirtiest log that is due. False if none is, or it failed. Blocks.
    pub fn clean_dirtiest(&self, must_stop: &dyn Fn() -> bool) -> bool {
        let Some(Candidate { partition, work, ratio }) = self.take_dirtiest() else {
            return false;
        };
        let key = key_of(&partition);
        let cleaned = self.clean(&partition, work, must_stop);
        self.cleaner.logs.lock().in_progress.remove(&key);
        match cleaned {
            Ok(stats) => {
                let CleanStats { keys, bytes_read, bytes_written } = stats;
                let partition = &partition.id;
                tracing::debug!(%partition, ratio, keys, bytes_read, bytes_written, "clean log");
                true
            }
            Err(CleanError::Stopped) => false,
            Err(error @ CleanError::Superseded) => {
                tracing::debug!(partition = %partition.id, %error, "clean log");
                false
            }
            Err(CleanError::Log(error)) => {
                self.failed(&partition, &error);
                false
            }
        }
    }

    /// How long the cleaner waits when there is nothing to do.
    pub fn cleaner_backoff(&self) -> Duration {
        let backoff_ms = self.config.log.cleaner.backoff_ms;
        Duration::from_millis(self.dynamic("log.cleaner.backoff.ms", backoff_ms))
    }

    /// Whether the cleaner's checkpoint says too much of a log since this was asked last.
    pub fn cleaned_was_cut(&self) -> bool {
        self.outbox.cleaned_was_cut.swap(false, Ordering::AcqRel)
    }

    /// A broker config that may be changed while the broker runs.
    fn dynamic<T: FromStr>(&self, name: &str, configured: T) -> T {
        let image = self.image();
        let value = image.dynamic_broker_value(self.broker, name);
        value.and_then(|value| value.trim().parse().ok()).unwrap_or(configured)
    }

    /// The dirtiest log of those that are due, which no other thread takes until it is told so.
    fn take_dirtiest(&self) -> Option<Candidate> {
        let _choosing = self.cleaner.choosing.lock();
        let now_ms = clock::expiry_ms();
        let mut dirtiest: Option<Candidate> = None;
        let mut largest = 0.0f64;
        for partition in self.all() {
            if !partition.log_config.load().compact || self.dirs.is_offline(partition.dir()) {
                continue;
            }
            let key = key_of(&partition);
            let is_taken =
                |logs: &Logs| logs.in_progress.contains(&key) || logs.uncleanable.contains(&key);
            if is_taken(&self.cleaner.logs.lock()) {
                continue;
            }
            let work = partition.look(|state| match state.is_closed() {
                true => None,
                false => state.log().clean_work(state.core().last_stable_offset(), now_ms),
            });
            let Some(work) = work else { continue };
            let ratio = work.dirt().ratio();
            largest = largest.max(ratio);
            match work.is_due(now_ms) {
                Ok(true) if dirtiest.as_ref().is_none_or(|best| ratio > best.ratio) => {
                    dirtiest = Some(Candidate { partition, work, ratio });
                }
                Ok(_) => {}
                Err(error) => self.failed(&partition, &error),
            }
        }
        let percent = (largest * 100.0).round() as i64;
        self.outbox.metrics.cleaner.max_dirty_percent.set(percent);
        let candidate = dirtiest?;
        self.cleaner.logs.lock().in_progress.insert(key_of(&candidate.partition));
        Some(candidate)
    }

    fn clean(
        &self,
        partition: &Arc<Partition>,
        mut work: CleanWork,
        must_stop: &dyn Fn() -> bool,
    ) -> Result<CleanStats, CleanError> {
        partition.look(|state| state.log().note_producers(&mut work));
        let limits = self.limits();
        let mut moved = 0;
        let mut pace = |bytes| {
            moved += bytes;
            let is_much = moved >= PACE_BYTES;
            !must_stop() && (!is_much || self.pace(std::mem::take(&mut moved), must_stop))
        };
        let mut cleaning = work.begin(limits, &mut pace)?;
        while let Some(group) = cleaning.next_group(&mut pace)? {
            let swapped = partition.with(|state| match state.is_closed() {
                true => Ok(false),
                false => state.mutate_log(|log| log.swap(&group, limits.now_ms)),
            })?;
            if !swapped {
                return Err(CleanError::Superseded);
            }
        }
        let (end, truncations) = cleaning.finish()?;
        partition.with(|state| {
            if !state.is_closed() {
                state.mutate_log(|log| log.cleaned(end, truncations));
            }
        });
        let (metrics, stats) = (&self.outbox.metrics, cleaning.stats);
        metrics.cleaner.cleanings.inc();
        metrics.cleaner.bytes_read.inc_by(stats.bytes_read);
        metrics.cleaner.bytes_written.inc_by(stats.bytes_written);
        if let Err(error) = self.write_checkpoints(&[OffsetCheckpoint::Cleaner]) {
            // The old one makes the next cleaning longer, and is written over by the next.
            tracing::warn!(%error, "write the checkpoint of the log cleaner");
        }
        Ok(stats)
    }

    fn limits(&self) -> CleanLimits {
        let config = &self.config.log.cleaner;
        let threads = config.threads.max(1) as u64;
        let dedupe_bytes = self.dynamic("log.cleaner.dedupe.buffer.size", config.dedupe_bytes);
        let io_bytes = self.dynamic("log.cleaner.io.buffer.size", config.io_bytes);
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let seed = random::bits();
        CleanLimits {
            map_bytes: bytes((dedupe_bytes / threads).min(MAP_BYTES_MAX)),
            load_factor: self.dynamic("log.cleaner.io.buffer.load.factor", config.load_factor),
            io_bytes: bytes((io_bytes / threads / 2).max(IO_BYTES_MIN)),
            seeds: [seed as u64, (seed >> 64) as u64],
            now_ms: clock::expiry_ms(),
        }
    }

    /// Counts what was read and written, by all threads, and waits for what is too much.
    fn pace(&self, bytes: u64, must_stop: &dyn Fn() -> bool) -> bool {
        let configured = self.config.log.cleaner.io_bytes_per_second_max;
        let rate = self.dynamic("log.cleaner.io.max.bytes.per.second", configured);
        let rate = (rate < u64::MAX as f64).then_some(rate.max(1.0) as u64);
        let mut owed = bytes as usize;
        loop {
            if must_stop() {
                return false;
            }
            let now_ms = clock::monotonic_ms();
            let wait_ms = {
                let mut throttle = self.cleaner.throttle.lock();
                throttle.set_rate(rate, now_ms);
                throttle.spend(std::mem::take(&mut owed), now_ms);
                throttle.wait_ms(now_ms)
            };
            let Some(wait_ms) = wait_ms else { return true };
            let pause_ms = wait_ms.clamp(1, PAUSE_MS_MAX).unsigned_abs();
            std::thread::park_timeout(Duration::from_millis(pause_ms));
        }
    }

    /// A log whose disk is full is tried again; one that cannot be read is left alone.
    fn failed(&self, partition: &Partition, error: &LogError) {
        let (id, cause) = (&partition.id, with_cause(error));
        if error.is_full() {
            tracing::warn!(partition = %id, cause, "there is no room to clean the log");
            return;
        }
        tracing::error!(partition = %id, cause, "cannot clean the log, leave it alone");
        let (metrics, mut logs) = (&self.outbox.metrics, self.cleaner.logs.lock());
        logs.uncleanable.insert(key_of(partition));
        // Of partitions that are gone nothing is told any more.
        let there: BTreeMap<Key, ()> = self.all().iter().map(|p| (key_of(p), ())).collect();
        logs.uncleanable.retain(|key| there.contains_key(key));
        metrics.cleaner.uncleanable.reset();
        for (id, _) in &logs.uncleanable {
            let number = id.partition.to_string();
            metrics.cleaner.uncleanable.with_label_values(&[&*id.topic, &*number]).set(1);
        }
        metrics.cleaner.uncleanable_count.set(logs.uncleanable.len() as i64);
    }
}

fn key_of(partition: &Partition) -> Key {
    (partition.id.clone(), partition.topic_id)
}
