//! Opening the logs that are on disk at start: every log directory is checked to be ours, its
//! checkpoints and its clean-shutdown marker are read, and the logs are recovered in parallel. They
//! wait here until an image claims them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base::{BrokerEpoch, Offset, TopicId, TopicPartition};
use commitlog::checkpoint::{self, MetaProperties, OffsetCheckpoint};
use commitlog::fs::{File, OpenMode};
use commitlog::{LoadState, Log, LogContext, LogError, PartitionDir, classify_dir};
use parking_lot::Mutex;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::settings;
use crate::clock;
use crate::config::Config;

/// Kafka's name for it.
const LOCK_FILE: &str = ".lock";

/// Why the broker cannot start on its log directories.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("{dir}: {problem}")]
    Dir { dir: String, problem: String },
}

/// A log from disk and the topic whose data it is.
pub(super) struct LoadedLog {
    pub(super) topic_id: TopicId,
    pub(super) log: Log,
    pub(super) high_watermark: Offset,
}

/// Keeps other brokers from a log directory for as long as it lives.
#[derive(Debug)]
pub struct DirLock {
    _file: Arc<dyn File>,
}

/// What the disks hold.
#[derive(Default)]
pub struct LoadedLogs {
    pub(super) logs: HashMap<TopicPartition, LoadedLog>,
    /// One per log directory. Held until the logs are closed.
    pub locks: Vec<DirLock>,
    /// One id per log directory, in their order.
    pub directory_ids: Vec<TopicId>,
    /// The cluster that the directories belong to; `None` if they are new.
    pub cluster_id: Option<String>,
    /// The broker epoch in the clean-shutdown markers, if every directory has one.
    pub clean_shutdown_epoch: Option<BrokerEpoch>,
}

/// How far the recovery of the logs is.
#[derive(Default, Debug)]
pub struct Recovery {
    total: AtomicUsize,
    done: AtomicUsize,
}

impl Recovery {
    /// Logs that are open, and logs that were found; none before the directories were read.
    pub fn progress(&self) -> Option<(usize, usize)> {
        let total = self.total.load(Ordering::Relaxed);
        (total > 0).then(|| (self.done.load(Ordering::Relaxed), total))
    }
}

/// A directory of a partition that is to be opened.
struct Found {
    dir: PathBuf,
    partition: TopicPartition,
    state: LoadState,
    high_watermark: Offset,
}

/// Reads all log directories. Blocks for as long as recovery takes.
pub fn load_logs(
    config: &Config,
    context: &LogContext,
    recovery: &Recovery,
) -> Result<LoadedLogs, LoadError> {
    let mut loaded = LoadedLogs::default();
    let mut found = Vec::new();
    let mut markers = Vec::new();
    for dir in &config.log_dirs {
        let io = |error| LogError::io("create", dir, error);
        context.fs.create_dir_all(dir).map_err(io)?;
        loaded.locks.push(lock_dir(context, dir)?);
        claim_dir(config, context, dir, &mut loaded)?;
        let marker = checkpoint::take_clean_shutdown(&*context.fs, dir)?;
        markers.push(marker);
        find_partitions(context, dir, marker.is_some(), &mut found)?;
    }
    let epochs: Option<Vec<BrokerEpoch>> = markers.into_iter().collect();
    loaded.clean_shutdown_epoch = epochs.and_then(|epochs| epochs.into_iter().min());
    let threads = config.log.recovery_threads.max(1) * config.log_dirs.len();
    recovery.total.store(found.len(), Ordering::Relaxed);
    loaded.logs = open_all(config, context, &found, threads, &recovery.done)?;
    Ok(loaded)
}

/// Two brokers on one directory would both append to its logs, and neither would notice. The lock
/// goes with the process, however it ends; where the file system has none, it is done without.
fn lock_dir(context: &LogContext, dir: &Path) -> Result<DirLock, LoadError> {
    let path = dir.join(LOCK_FILE);
    let io = |error| LogError::io("open", &path, error);
    let file = context.fs.open(&path, OpenMode::Create).map_err(io)?;
    if let Some(fd) = file.as_fd() {
        match rustix::fs::flock(fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let problem = format!("is in use by another broker, which has locked {LOCK_FILE}");
                return Err(LoadError::Dir { dir: dir.display().to_string(), problem });
            }
            Err(error) => tracing::warn!(dir = %dir.display(), %error, "lock log directory"),
        }
    }
    Ok(DirLock { _file: file })
}

/// Checks that a directory belongs to this broker, or notes its id if it is new.
fn claim_dir(
    config: &Config,
    context: &LogContext,
    dir: &Path,
    loaded: &mut LoadedLogs,
) -> Result<(), LoadError> {
    let problem = |problem| LoadError::Dir { dir: dir.display().to_string(), problem };
    let Some(properties) = checkpoint::read_meta_properties(&*context.fs, dir)? else {
        loaded.directory_ids.push(TopicId::from_random(uuid::Uuid::new_v4().as_u128()));
        return Ok(());
    };
    if properties.node_id != config.broker_id.0 {
        let id = properties.node_id;
        return Err(problem(format!("belongs to node {id}, but node.id is {}", config.broker_id)));
    }
    let expected = loaded.cluster_id.as_ref().or(config.cluster_id.as_ref());
    if expected.is_some_and(|id| *id != properties.cluster_id) {
        return Err(problem(format!("belongs to another cluster, {}", properties.cluster_id)));
    }
    loaded.cluster_id = Some(properties.cluster_id);
    loaded.directory_ids.push(properties.directory_id);
    Ok(())
}

/// Writes `meta.properties` where it is missing, once the cluster's id is known.
pub fn write_meta_properties(
    config: &Config,
    context: &LogContext,
    cluster_id: &str,
    directory_ids: &[TopicId],
) -> Result<(), LogError> {
    for (dir, &directory_id) in config.log_dirs.iter().zip(directory_ids) {
        if checkpoint::read_meta_properties(&*context.fs, dir)?.is_none() {
            let properties = MetaProperties {
                cluster_id: cluster_id.to_owned(),
                node_id: config.broker_id.0,
                directory_id,
            };
            checkpoint::write_meta_properties(&*context.fs, dir, &properties)?;
        }
    }
    Ok(())
}

fn find_partitions(
    context: &LogContext,
    dir: &Path,
    clean_shutdown: bool,
    found: &mut Vec<Found>,
) -> Result<(), LoadError> {
    let fs = &*context.fs;
    let recovery_points = OffsetCheckpoint::RecoveryPoint.read(fs, dir)?;
    let log_starts = OffsetCheckpoint::LogStart.read(fs, dir)?;
    let high_watermarks = OffsetCheckpoint::HighWatermark.read(fs, dir)?;
    let of = |map: &BTreeMap<TopicPartition, Offset>, id: &TopicPartition| {
        map.get(id).copied().unwrap_or(0)
    };
    for name in fs.list(dir).map_err(|error| LogError::io("list", dir, error))? {
        let path = dir.join(&name);
        match classify_dir(&name) {
            PartitionDir::Live(partition) if !is_metadata(&partition) => {
                let state = LoadState {
                    clean_shutdown,
                    recovery_point: of(&recovery_points, &partition),
                    log_start: of(&log_starts, &partition),
                };
                let high_watermark = of(&high_watermarks, &partition);
                found.push(Found { dir: path, partition, state, high_watermark });
            }
            PartitionDir::Deleted => {
                fs.remove_dir_all(&path).map_err(|error| LogError::io("remove", &path, error))?;
            }
            PartitionDir::Live(_) | PartitionDir::Other => {}
        }
    }
    Ok(())
}

fn is_metadata(partition: &TopicPartition) -> bool {
    &*partition.topic == "__cluster_metadata"
}

/// Opens the logs on several threads; the first failure stops the start.
fn open_all(
    config: &Config,
    context: &LogContext,
    found: &[Found],
    threads: usize,
    done: &AtomicUsize,
) -> Result<HashMap<TopicPartition, LoadedLog>, LoadError> {
    let next = AtomicUsize::new(0);
    let opened = Mutex::new(HashMap::new());
    let failed = Mutex::new(None);
    let log_config = settings::before_metadata(config).log;
    std::thread::scope(|scope| {
        for _ in 0..threads.min(found.len()) {
            scope.spawn(|| {
                while let Some(item) = found.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if failed.lock().is_some() {
                        return;
                    }
                    match open_one(context, item, &log_config) {
                        Ok(Some(log)) => {
                            done.fetch_add(1, Ordering::Relaxed);
                            opened.lock().insert(item.partition.clone(), log);
                        }
                        Ok(None) => {
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => *failed.lock() = Some(error),
                    }
                }
            });
        }
    });
    match failed.into_inner() {
        Some(error) => Err(error),
        None => Ok(opened.into_inner()),
    }
}

fn open_one(
    context: &LogContext,
    found: &Found,
    config: &Arc<commitlog::LogConfig>,
) -> Result<Option<LoadedLog>, LoadError> {
    let Some(topic_id) = checkpoint::read_partition_metadata(&*context.fs, &found.dir)? else {
        // The creation did not finish: without an id nobody can know whose data it would be.
        tracing::warn!(dir = %found.dir.display(), "remove directory without partition.metadata");
        let io = |error| LogError::io("remove", &found.dir, error);
        context.fs.remove_dir_all(&found.dir).map_err(io)?;
        return Ok(None);
    };
    let (log, report) = Log::open(
        context,
        &found.dir,
        found.partition.clone(),
        config.clone(),
        found.state,
        clock::wall_ms(),
    )?;
    for finding in &report.findings {
        tracing::warn!(partition = %found.partition, "{finding}");
    }
    Ok(Some(LoadedLog { topic_id, log, high_watermark: found.high_watermark }))
}
