//! Opening the logs that are on disk at start: every log directory is checked to be ours, its
//! checkpoints and its clean-shutdown marker are read, and the logs are recovered in parallel. They
//! wait here until an image claims them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base::{BrokerEpoch, Offset, TopicId, TopicPartition};
use commitlog::Position;
use commitlog::checkpoint::{self, MetaProperties, OffsetCheckpoint};
use commitlog::directory::{self, PartitionDir, classify_dir};
use commitlog::fs::{File, OpenMode};
use commitlog::{CheckpointWriter, Checkpoints, LoadState, Log, LogContext, LogError};
use parking_lot::Mutex;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::offline_replicas::Offline;
use super::settings;
use crate::log_dirs::LogDirs;
use config::Config;
use process::{clock, random};

/// Kafka's name for it.
const LOCK_FILE: &str = ".lock";

/// Why the broker cannot start on its log directories.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("{dir}: {problem}")]
    Dir { dir: String, problem: String },
    #[error("{0}")]
    Dirs(String),
}

/// A log on disk is known by its name and by the topic whose data it is.
pub(super) type LogKey = (TopicPartition, TopicId);
pub(super) type LogsOnDisk = BTreeMap<LogKey, LoadedLog>;

/// A log from disk.
pub(super) struct LoadedLog {
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
    pub(super) logs: LogsOnDisk,
    /// One per log directory. Held until the logs are closed.
    pub locks: Vec<DirLock>,
    /// The log directories that can be used, each with its id.
    pub directory_ids: Vec<(PathBuf, TopicId)>,
    /// The cluster that the directories belong to; `None` if they are new.
    pub cluster_id: Option<String>,
    /// How the directories do; those that could not be read are offline.
    pub dirs: Arc<LogDirs>,
    /// Replicas whose logs could not be opened.
    pub(super) offline: Offline,
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
    clean_shutdown: bool,
    checkpoints: Arc<Checkpoints>,
}

/// Reads all log directories. Blocks for as long as recovery takes.
pub fn load_logs(
    config: &Config,
    context: &LogContext,
    dirs: Arc<LogDirs>,
    recovery: &Recovery,
) -> Result<LoadedLogs, LoadError> {
    let mut loaded = LoadedLogs { dirs, ..LoadedLogs::default() };
    let (mut found, mut unbound) = (Vec::new(), Vec::new());
    let mut markers = Vec::new();
    for dir in &config.log_dirs {
        match read_dir(config, context, dir, &mut loaded) {
            Ok(read) => {
                markers.push(read.marker);
                found.extend(read.found);
                if !read.is_bound {
                    unbound.push(dir.clone());
                }
            }
            // The disk is at fault, and the others serve. A start on somebody else's is refused.
            Err(LoadError::Log(error)) => {
                loaded.dirs.fail(dir, with_cause(&error));
                markers.push(None);
            }
            Err(error) => return Err(error),
        }
    }
    let epochs: Option<Vec<BrokerEpoch>> = markers.into_iter().collect();
    loaded.clean_shutdown_epoch = epochs.and_then(|epochs| epochs.into_iter().min());
    let threads = config.log.recovery_threads.max(1) * config.log_dirs.len();
    recovery.total.store(found.len(), Ordering::Relaxed);
    loaded.logs = open_all(config, context, &found, threads, &recovery.done, &loaded)?;
    bind_checkpoints(context, &unbound, &loaded.logs);
    match loaded.dirs.end_of_process() {
        Some(problem) => Err(LoadError::Dirs(problem)),
        None => Ok(loaded),
    }
}

/// What a log directory holds.
struct DirRead {
    found: Vec<Found>,
    /// Of a clean shutdown.
    marker: Option<BrokerEpoch>,
    /// The checkpoints say whose logs they speak of.
    is_bound: bool,
}

/// Everything about a log directory but its logs.
fn read_dir(
    config: &Config,
    context: &LogContext,
    dir: &Path,
    loaded: &mut LoadedLogs,
) -> Result<DirRead, LoadError> {
    let io = |error| LogError::io("create", dir, error);
    context.fs.create_dir_all(dir).map_err(io)?;
    let lock = lock_dir(context, dir)?;
    let (directory_id, cluster_id) = claim_dir(config, context, dir, loaded)?;
    let marker = match checkpoint::take_clean_shutdown(&*context.fs, dir) {
        Err(error @ LogError::Corrupt { .. }) => {
            tracing::error!(%error, "counts as an unclean stop");
            None
        }
        marker => marker?,
    };
    let checkpoints = Arc::new(Checkpoints::read(&*context.fs, dir)?);
    for damage in checkpoints.damaged() {
        tracing::error!(error = damage, "counts as empty");
    }
    let is_bound = checkpoints.are_bound();
    let mut found = Vec::new();
    find_partitions(context, dir, marker.is_some(), &checkpoints, &mut found)?;
    loaded.locks.push(lock);
    loaded.directory_ids.push((dir.to_owned(), directory_id));
    loaded.cluster_id = cluster_id.or(loaded.cluster_id.take());
    Ok(DirRead { found, marker, is_bound })
}

pub(super) fn with_cause(error: &LogError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
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

/// Checks that a directory belongs to this broker. Returns its id, or a new one, and the cluster
/// that it belongs to.
fn claim_dir(
    config: &Config,
    context: &LogContext,
    dir: &Path,
    loaded: &LoadedLogs,
) -> Result<(TopicId, Option<String>), LoadError> {
    let problem = |problem| LoadError::Dir { dir: dir.display().to_string(), problem };
    let Some(properties) = checkpoint::read_meta_properties(&*context.fs, dir)? else {
        return Ok((TopicId::from_random(random::bits()), None));
    };
    if properties.node_id != config.broker_id.0 {
        let id = properties.node_id;
        return Err(problem(format!("belongs to node {id}, but node.id is {}", config.broker_id)));
    }
    let expected = loaded.cluster_id.as_ref().or(config.cluster_id.as_ref());
    if expected.is_some_and(|id| *id != properties.cluster_id) {
        return Err(problem(format!("belongs to another cluster, {}", properties.cluster_id)));
    }
    Ok((properties.directory_id, Some(properties.cluster_id)))
}

/// Writes `meta.properties` where it is missing, once the cluster's id is known.
pub fn write_meta_properties(
    config: &Config,
    context: &LogContext,
    cluster_id: &str,
    directory_ids: &[(PathBuf, TopicId)],
) -> Result<(), LogError> {
    for &(ref dir, directory_id) in directory_ids {
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
    checkpoints: &Arc<Checkpoints>,
    found: &mut Vec<Found>,
) -> Result<(), LoadError> {
    let fs = &*context.fs;
    for name in fs.list(dir).map_err(|error| LogError::io("list", dir, error))? {
        let path = dir.join(&name);
        match classify_dir(&name) {
            PartitionDir::Live(partition) => {
                let checkpoints = checkpoints.clone();
                found.push(Found { dir: path, partition, clean_shutdown, checkpoints });
            }
            PartitionDir::Deleted => {
                if let Err(error) = directory::remove(fs, &path) {
                    warn_left(&path, &error);
                }
            }
            PartitionDir::Other => {}
        }
    }
    Ok(())
}

/// Writes down whose logs the checkpoints of these log directories speak of, before any topic can
/// get the name of another.
fn bind_checkpoints(context: &LogContext, unbound: &[PathBuf], logs: &LogsOnDisk) {
    for log_dir in unbound {
        let here =
            logs.iter().filter(|(_, loaded)| loaded.log.dir().parent() == Some(log_dir.as_path()));
        let position = |((_, id), loaded): (&LogKey, &LoadedLog)| {
            position(&loaded.log, *id, loaded.high_watermark)
        };
        let positions: Vec<_> = here.map(position).collect();
        let mut writer = CheckpointWriter::default();
        // A disk without room keeps nobody from starting; all that writes checkpoints tries again.
        if let Err(error) = writer.write(&*context.fs, log_dir, &[], &positions) {
            tracing::error!(dir = %log_dir.display(), %error, "write checkpoints");
        }
    }
}

/// Opens the logs on several threads. One that cannot be opened is offline, and the others serve.
fn open_all(
    config: &Config,
    context: &LogContext,
    found: &[Found],
    threads: usize,
    done: &AtomicUsize,
    loaded: &LoadedLogs,
) -> Result<LogsOnDisk, LoadError> {
    let next = AtomicUsize::new(0);
    let opened = Mutex::new(LogsOnDisk::new());
    let failed = Mutex::new(None);
    let log_config = settings::before_metadata(config).log;
    let open_next = || {
        while let Some(item) = found.get(next.fetch_add(1, Ordering::Relaxed)) {
            if failed.lock().is_some() {
                return;
            }
            match open_one(context, item, &log_config) {
                Ok(log) => {
                    done.fetch_add(1, Ordering::Relaxed);
                    let twice = log.and_then(|(key, log)| opened.lock().insert(key, log));
                    if let Some(twice) = twice {
                        *failed.lock() = Some(found_twice(&item.dir, &twice));
                    }
                }
                Err(LoadError::Log(error)) => {
                    done.fetch_add(1, Ordering::Relaxed);
                    not_opened(item, &error, loaded);
                }
                Err(error) => *failed.lock() = Some(error),
            }
        }
    };
    match threads.min(found.len()) {
        0 | 1 => open_next(),
        threads => std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(open_next);
            }
        }),
    }
    match failed.into_inner() {
        Some(error) => Err(error),
        None => Ok(opened.into_inner()),
    }
}

/// Its files stay as they are: they may be all that is left of it.
fn not_opened(found: &Found, error: &LogError, loaded: &LoadedLogs) {
    let (partition, error) = (&found.partition, with_cause(error));
    tracing::error!(%partition, error, "the log cannot be opened, the replica is offline");
    loaded.offline.not_opened(partition.clone(), &found.dir);
}

/// Nobody can know which of two logs has what was acknowledged.
fn found_twice(dir: &Path, other: &LoadedLog) -> LoadError {
    let problem = format!("holds the same partition as {}", other.log.dir().display());
    LoadError::Dir { dir: dir.display().to_string(), problem }
}

/// `None`: what is there is not known to be ours.
fn open_one(
    context: &LogContext,
    found: &Found,
    config: &Arc<commitlog::LogConfig>,
) -> Result<Option<(LogKey, LoadedLog)>, LoadError> {
    let topic_id = match directory::owner(&*context.fs, &found.dir) {
        Ok(topic_id) => topic_id,
        // A log of ours whose mark is damaged is no reason to make an empty one elsewhere.
        Err(error @ LogError::NotOurs { .. })
            if !directory::is_marked(&*context.fs, &found.dir) =>
        {
            warn_left(&found.dir, &error);
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let partition = found.partition.clone();
    let of = |kind| found.checkpoints.offset(kind, &partition, topic_id).unwrap_or(0);
    let state = LoadState {
        clean_shutdown: found.clean_shutdown,
        recovery_point: of(OffsetCheckpoint::RecoveryPoint),
        log_start: of(OffsetCheckpoint::LogStart),
        cleaned: of(OffsetCheckpoint::Cleaner),
    };
    let high_watermark = of(OffsetCheckpoint::HighWatermark);
    let now_ms = clock::wall_ms();
    let (log, report) =
        Log::open(context, &found.dir, partition.clone(), config.clone(), state, now_ms)?;
    for finding in &report.findings {
        tracing::warn!(%partition, "{finding}");
    }
    Ok(Some(((partition, topic_id), LoadedLog { log, high_watermark })))
}

/// Something in a log directory stays where it is.
pub(super) fn warn_left(dir: &Path, error: &LogError) {
    let why = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    tracing::warn!(dir = %dir.display(), %error, why, "leave directory alone");
}

pub(super) fn position(log: &Log, topic_id: TopicId, high_watermark: Offset) -> Position {
    Position {
        partition: log.partition().clone(),
        topic_id,
        recovery_point: log.recovery_point(),
        log_start: log.start_offset(),
        high_watermark,
        cleaned: log.cleaned_offset(),
    }
}
