//! Work that waits for the disk or comes by the clock, on threads of its own: one for time, which
//! waits for no disk and no partition, so that a slow one cannot keep a lagging follower in an ISR;
//! one for checkpoints and flushes; one for retention and deletions, which may take long; those of
//! the log cleaner (`log.cleaner.threads`); and a few each for the syncs that appends wait for
//! (`flush.messages`) and for the logs of new partitions.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use commitlog::checkpoint::OffsetCheckpoint;

use server::{Broker, http};
use storage::partition;

/// Granularity of all schedules, and the longest delay of the shutdown.
const STEP: Duration = Duration::from_millis(100);
/// How often rolled segments are made durable.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
const DELETE_INTERVAL: Duration = Duration::from_secs(1);
/// How long segment files stay open unused.
const IDLE_FILES_INTERVAL: Duration = Duration::from_secs(10);
const GAUGES_INTERVAL: Duration = Duration::from_secs(1);
/// Partitions synced at the same time.
const SYNC_THREADS: usize = 4;
/// Logs made at the same time: file systems sync what waits together.
const MAKING_THREADS: usize = 4;

/// Starts the threads; they end when connections close.
pub fn start(broker: &Arc<Broker>) -> std::io::Result<Vec<JoinHandle<()>>> {
    let spawn = |name: &str, run: fn(&Broker)| {
        let broker = broker.clone();
        thread::Builder::new().name(name.into()).spawn(move || run(&broker))
    };
    let mut threads = vec![
        spawn("time", run_time)?,
        spawn("checkpoints", run_checkpoints)?,
        spawn("retention", run_retention)?,
        spawn("log-dirs", |broker| {
            partition::run_log_dirs(&broker.storage.partitions, &broker.shutdown)
        })?,
    ];
    let cleaner = &broker.config.log.cleaner;
    for _ in 0..if cleaner.enable { cleaner.threads } else { 0 } {
        threads.push(spawn("cleaner", run_cleaner)?);
    }
    for _ in 0..SYNC_THREADS {
        threads.push(spawn("sync", |broker| broker.storage.partitions.outbox().syncs.run())?);
    }
    for _ in 0..MAKING_THREADS {
        threads.push(spawn("logs", |broker| broker.storage.partitions.run_making())?);
    }
    Ok(threads)
}

/// Something that comes due again and again.
struct Schedule {
    interval: Duration,
    next: Instant,
}

impl Schedule {
    fn every(interval: Duration) -> Schedule {
        Schedule { interval, next: Instant::now() + interval }
    }

    fn every_ms(interval_ms: u64) -> Schedule {
        Schedule::every(Duration::from_millis(interval_ms.max(1)))
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let due = self.next <= now;
        if due {
            self.next = now + self.interval;
        }
        due
    }
}

fn run_time(broker: &Broker) {
    let lag_ms = broker.config.replica.lag_time_ms_max.max(2).unsigned_abs();
    let mut tick = Schedule::every_ms((lag_ms / 2).min(5_000));
    let mut gauges = Schedule::every(GAUGES_INTERVAL);
    while !broker.shutdown.is_closing() {
        thread::park_timeout(STEP);
        let now = Instant::now();
        if tick.is_due(now) {
            broker.storage.partitions.tick();
        }
        if gauges.is_due(now) {
            http::update_gauges(broker);
        }
    }
    // The threads that sync and make logs have no clock to see the end by.
    broker.storage.partitions.outbox().syncs.close();
    broker.storage.partitions.stop_making();
}

fn run_checkpoints(broker: &Broker) {
    let config = &broker.config;
    let mut high_watermarks = Schedule::every_ms(config.replica.hw_checkpoint_interval_ms);
    let mut recovery_points = Schedule::every_ms(config.log.flush_checkpoint_interval_ms);
    let mut flush = Schedule::every(FLUSH_INTERVAL);
    while !broker.shutdown.is_closing() {
        thread::park_timeout(STEP);
        let now = Instant::now();
        if flush.is_due(now) {
            broker.storage.partitions.flush_due();
        }
        let mut kinds = Vec::new();
        if high_watermarks.is_due(now) {
            kinds.push(OffsetCheckpoint::HighWatermark);
        }
        if recovery_points.is_due(now) {
            kinds.extend([OffsetCheckpoint::RecoveryPoint, OffsetCheckpoint::LogStart]);
        }
        if broker.storage.partitions.cleaned_was_cut() {
            kinds.push(OffsetCheckpoint::Cleaner);
        }
        if let Err(error) = broker.storage.partitions.write_checkpoints(&kinds) {
            tracing::error!(%error, "write checkpoints");
            broker.metrics.errors.with_label_values(&["checkpoint"]).inc();
        }
    }
}

fn run_cleaner(broker: &Broker) {
    let partitions = &broker.storage.partitions;
    let must_stop = || broker.shutdown.is_closing();
    while !must_stop() {
        if partitions.clean_dirtiest(&must_stop) {
            continue;
        }
        let begun = Instant::now();
        while !must_stop() && begun.elapsed() < partitions.cleaner_backoff() {
            thread::park_timeout(STEP);
        }
    }
}

fn run_retention(broker: &Broker) {
    let mut retention = Schedule::every_ms(broker.config.log.retention_check_interval_ms);
    let mut deletions = Schedule::every(DELETE_INTERVAL);
    let mut idle_files = Schedule::every(IDLE_FILES_INTERVAL);
    while !broker.shutdown.is_closing() {
        thread::park_timeout(STEP);
        let now = Instant::now();
        if retention.is_due(now) {
            broker.storage.partitions.retain();
        }
        if deletions.is_due(now) {
            broker.storage.partitions.remove_deleted();
        }
        if idle_files.is_due(now) {
            broker.storage.partitions.close_idle_files();
        }
    }
}
