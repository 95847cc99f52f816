//! How the log directories do: which of them failed, and how much room is left on each. All access
//! to files of logs passes [`WatchedFs`], so that no error is missed, whoever made the call.
//!
//! A directory is **offline** from the first failure of its disk on until the process ends: nothing
//! is written to it any more, and no failed sync is tried again. A **full** disk is no failure.
//! While less than the reserve is free, records of clients are refused; the topics of the broker
//! itself may use half of the reserve, and checkpoints, indexes and the metadata log all of it.

mod watched;

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use commitlog::fs::{Fs, Room};
use rustix::io::Errno;
use tokio::sync::watch;

pub use watched::WatchedFs;

/// The reserve is at most this part of the volume.
const RESERVE_SHARE: u64 = 20;
/// A directory that was full has room again when so much more than the reserve is free.
const RELIEF_SHARE: i64 = 8;

/// Whose records a segment holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    Clients,
    /// Groups must be able to commit where consumers can read.
    Broker,
}

/// What an error of the file system says about the directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The disk is full, or the quota used up.
    Full,
    /// The disk failed.
    Failed,
    /// Neither: a file is missing, descriptors ran out, a read would wait.
    Passing,
}

/// Judges an error of anything but a sync; after a failed sync nobody knows what is on the disk,
/// whatever the reason.
pub fn judge(error: &io::Error) -> Verdict {
    let Some(errno) = Errno::from_io_error(error) else {
        return match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Verdict::Full,
            io::ErrorKind::WriteZero | io::ErrorKind::Other => Verdict::Failed,
            _ => Verdict::Passing,
        };
    };
    match errno {
        Errno::NOSPC | Errno::DQUOT => Verdict::Full,
        Errno::IO
        | Errno::ROFS
        | Errno::NXIO
        | Errno::NODEV
        | Errno::STALE
        | Errno::NOTCONN
        | Errno::HOSTDOWN
        | Errno::TIMEDOUT
        | Errno::SHUTDOWN
        | Errno::UCLEAN
        | Errno::BADMSG
        | Errno::REMOTEIO
        | Errno::NOMEDIUM
        | Errno::ACCESS
        | Errno::PERM => Verdict::Failed,
        _ => Verdict::Passing,
    }
}

#[derive(Debug)]
struct LogDir {
    path: PathBuf,
    /// Why it is offline.
    failure: OnceLock<String>,
    /// Bytes that are free, as far as is known: measured, less what was written since.
    free: AtomicI64,
    reserve: AtomicI64,
    is_full: AtomicBool,
}

/// The log directories of this broker.
#[derive(Debug)]
pub struct LogDirs {
    dirs: Vec<LogDir>,
    /// The one that the metadata log is in, if it is in one of them.
    metadata: Option<usize>,
    reserve_bytes: u64,
    /// Counts the directories that went offline.
    offline: watch::Sender<usize>,
}

impl Default for LogDirs {
    fn default() -> LogDirs {
        LogDirs::new(&[], Path::new(""), 0)
    }
}

impl LogDirs {
    pub fn new(dirs: &[PathBuf], metadata_log_dir: &Path, reserve_bytes: u64) -> LogDirs {
        let new = |path: &PathBuf| LogDir {
            path: path.clone(),
            failure: OnceLock::new(),
            free: AtomicI64::new(i64::MAX),
            reserve: AtomicI64::new(0),
            is_full: AtomicBool::new(false),
        };
        LogDirs {
            metadata: dirs.iter().position(|dir| metadata_log_dir.starts_with(dir)),
            dirs: dirs.iter().map(new).collect(),
            reserve_bytes,
            offline: watch::channel(0).0,
        }
    }

    /// The directory that a file or a partition's directory is in.
    fn of(&self, path: &Path) -> Option<&LogDir> {
        self.dirs.get(self.position(path)?)
    }

    fn position(&self, path: &Path) -> Option<usize> {
        self.dirs.iter().position(|dir| path.starts_with(&dir.path))
    }

    /// The disk below this path failed: its directory is offline from now on.
    pub fn fail(&self, path: &Path, why: impl Display) {
        let Some(dir) = self.of(path) else { return };
        if dir.failure.set(why.to_string()).is_ok() {
            tracing::error!(dir = %dir.path.display(), %why, "log directory failed, it is offline");
            self.offline.send_modify(|count| *count += 1);
        }
    }

    pub fn is_offline(&self, path: &Path) -> bool {
        self.of(path).is_some_and(|dir| dir.failure.get().is_some())
    }

    pub fn is_full(&self, path: &Path) -> bool {
        self.of(path).is_some_and(|dir| dir.is_full.load(Ordering::Relaxed))
    }

    /// The offline directories and why they are.
    pub fn offline(&self) -> Vec<(&Path, &str)> {
        let dirs = self.dirs.iter();
        dirs.filter_map(|LogDir { path, failure, .. }| {
            Some((path.as_path(), failure.get()?.as_str()))
        })
        .collect()
    }

    /// How many directories are full.
    pub fn full_count(&self) -> usize {
        self.dirs.iter().filter(|dir| dir.is_full.load(Ordering::Relaxed)).count()
    }

    /// Changes when a directory goes offline.
    pub fn news(&self) -> watch::Receiver<usize> {
        self.offline.subscribe()
    }

    /// Why the process cannot go on: without the metadata log, or without any directory.
    pub fn end_of_process(&self) -> Option<String> {
        let offline = self.offline();
        let metadata = self.metadata.and_then(|at| self.dirs.get(at));
        if let Some(dir) = metadata
            && let Some(why) = dir.failure.get()
        {
            let path = dir.path.display();
            return Some(format!("the directory of the metadata log failed: {path}: {why}"));
        }
        let (path, why) = offline.last()?;
        (offline.len() == self.dirs.len())
            .then(|| format!("no log directory is left, the last: {}: {why}", path.display()))
    }

    /// Looks how much room there is.
    pub fn measure(&self, fs: &dyn Fs) {
        for dir in self.dirs.iter().filter(|dir| dir.failure.get().is_none()) {
            match fs.room(&dir.path) {
                Ok(Some(room)) => dir.measured(room, self.reserve_bytes),
                // The system does not tell: then the disk's own errors have to.
                Ok(None) => dir.relieve(i64::MAX),
                Err(error) if judge(&error) == Verdict::Failed => self.fail(&dir.path, error),
                Err(error) => tracing::debug!(dir = %dir.path.display(), %error, "measure room"),
            }
        }
    }
}

impl LogDir {
    /// Whether a segment in it may grow by `bytes`.
    fn admit(&self, bytes: usize, owner: Owner) -> io::Result<()> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let reserve = self.reserve.load(Ordering::Relaxed);
        let floor = match owner {
            Owner::Clients => reserve,
            Owner::Broker => reserve / 2,
        };
        let left = self.free.fetch_sub(bytes, Ordering::Relaxed).saturating_sub(bytes);
        if left >= floor {
            return Ok(());
        }
        self.free.fetch_add(bytes, Ordering::Relaxed);
        self.filled();
        Err(io::ErrorKind::StorageFull.into())
    }

    fn check(&self) -> io::Result<()> {
        match self.failure.get() {
            Some(_) => Err(io::Error::other("the log directory is offline")),
            None => Ok(()),
        }
    }

    fn measured(&self, room: Room, reserve_bytes: u64) {
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let reserve = bytes(reserve_bytes.min(room.total_bytes / RESERVE_SHARE));
        self.reserve.store(reserve, Ordering::Relaxed);
        self.relieve(bytes(room.free_bytes));
    }

    fn relieve(&self, free: i64) {
        self.free.store(free, Ordering::Relaxed);
        let reserve = self.reserve.load(Ordering::Relaxed);
        if free >= reserve + reserve / RELIEF_SHARE && self.is_full.swap(false, Ordering::Relaxed) {
            tracing::info!(dir = %self.path.display(), free, "log directory has room again");
        }
    }

    /// Once per fill: producers try again and again.
    fn filled(&self) {
        if !self.is_full.swap(true, Ordering::Relaxed) {
            let (dir, reserve) = (self.path.display(), self.reserve.load(Ordering::Relaxed));
            tracing::error!(%dir, reserve, "log directory is full: it takes no records");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
