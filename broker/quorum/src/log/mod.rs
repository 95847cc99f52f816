//! The Raft log of this node: votes and entries on the disk, and all live entries in memory.
//!
//! One thread, `quorum-log`, owns the files. Votes, appends, truncations and purges reach it
//! through one bounded queue, so that they become durable in the order in which Raft issued them.
//! Appends that wait in the queue together share one fdatasync (group commit); their callbacks
//! run after it. Readers see an entry as soon as `append` returned, which is what openraft asks.
//!
//! Entries stay in memory because they are few: a snapshot every few thousand entries (or some
//! megabytes) lets openraft purge what came before.

pub mod atomic_file;
mod segment;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::Arc;

use openraft::entry::RaftEntry;
use openraft::storage::{LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::edge::{position, raft_entry};
use crate::formats::{Ballot, Body, LogEntry, Position, Unreadable, decode, encode};
use crate::types::{Entry, LogFlushed, LogId, Records, TypeConfig, Vote};
use writer::{Command, Writer};

/// Commands that may wait for the writer thread; beyond it `append` waits.
const QUEUE_LENGTH: usize = 256;
/// One read of entries returns no more than this (but at least one entry), so that a replication
/// request stays far below the largest frame.
const READ_BYTES_MAX: usize = 8 << 20;

/// What of the log is in memory. `entries` are consecutive and begin after `purged`.
#[derive(Default)]
struct Cache {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    entries: VecDeque<Entry>,
}

impl Cache {
    fn first(&self) -> Option<u64> {
        self.entries.front().map(RaftEntry::index)
    }

    fn last_log_id(&self) -> Option<LogId> {
        self.entries.back().map(RaftEntry::log_id).or(self.purged)
    }

    fn has(&self, log_id: &LogId) -> bool {
        if self.purged.as_ref() >= Some(log_id) {
            return true;
        }
        let at = self.first().and_then(|first| log_id.index.checked_sub(first));
        let entry = at.and_then(|at| self.entries.get(at as usize));
        entry.is_some_and(|e| e.log_id() == *log_id)
    }

    fn drop_upto(&mut self, index: u64) {
        while self.first().is_some_and(|first| first <= index) {
            self.entries.pop_front();
        }
    }

    /// Panics where debug assertions are on and what is said of `entries` is not so. It looks at
    /// both ends only.
    fn validate(&self) {
        let (Some(first), Some(last)) = (self.entries.front(), self.entries.back()) else { return };
        let (first, last) = (first.log_id(), last.log_id());
        let indexes = first.index + self.entries.len() as u64;
        debug_assert_eq!(indexes, last.index + 1, "entries are not consecutive: {first}, {last}");
        debug_assert!(first <= last, "a term goes back: {first}, {last}");
        let purged = self.purged.as_ref();
        debug_assert!(purged < Some(&first), "a purged entry is kept: {first}, {purged:?}");
    }
}

/// The log as openraft's storage. Clones share it; the files are closed when the last is dropped.
#[derive(Clone)]
pub struct LogStore {
    cache: Arc<Mutex<Cache>>,
    commands: mpsc::Sender<Command>,
}

/// Whether anything was ever written here, seen without starting the writer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Content {
    pub has_vote: bool,
    pub has_entries: bool,
}

impl LogStore {
    /// Reads everything and starts the writer thread. `dir` exists.
    pub fn open(dir: &Path) -> io::Result<LogStore> {
        let mut cache = Cache::default();
        if let Some(bytes) = atomic_file::read(&dir.join(writer::VOTE_FILE), atomic_file::VOTE)? {
            cache.vote = Some(decode::<Ballot>(&bytes)?.into());
        }
        let purged = dir.join(writer::PURGED_FILE);
        if let Some(bytes) = atomic_file::read(&purged, atomic_file::PURGED)? {
            cache.purged = Some(decode::<Position>(&bytes)?.into());
        }
        let mut expected = None;
        let mut unreadable = None;
        let mut segments = segment::Segments::open(dir, &mut |index, payload| {
            let what = format!("entry {index} of the metadata log");
            let entry = decode::<LogEntry>(payload).map_err(|e| Unreadable::new(&what, e))?;
            if let Body::Records(Records(records)) = &entry.body
                && metadata::decode_records(records).is_err()
            {
                unreadable.get_or_insert(index);
            }
            let entry = raft_entry(entry)?;
            if entry.index() != index || expected.is_some_and(|e| e != index) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("entry {index} of the metadata log is not the expected one"),
                ));
            }
            expected = Some(index + 1);
            cache.entries.push_back(entry);
            Ok(())
        })?;
        if let Some(purged) = cache.purged {
            cache.drop_upto(purged.index);
            // A crash may have come between the mark and the removal of the files.
            segments.purge(purged.index);
            if cache.first().is_some_and(|first| first != purged.index + 1) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("the metadata log has a hole after {purged}"),
                ));
            }
        }
        let (committed_file, committed) = writer::open_committed(dir)?;
        // The mark is not synced with the log: after a power cut it may point beyond the log.
        // What this release cannot read is met once Raft runs, which then waits instead of failing.
        let readable = |id: &LogId| unreadable.is_none_or(|first| id.index < first);
        cache.committed = committed.filter(|id| cache.has(id) && readable(id));

        let (commands, queue) = mpsc::channel(QUEUE_LENGTH);
        let writer = Writer::new(dir.to_owned(), segments, committed_file, queue);
        std::thread::Builder::new().name("quorum-log".into()).spawn(move || writer.run())?;
        Ok(LogStore { cache: Arc::new(Mutex::new(cache)), commands })
    }

    pub fn content(&self) -> Content {
        let cache = self.cache.lock();
        Content { has_vote: cache.vote.is_some(), has_entries: cache.last_log_id().is_some() }
    }

    /// Entries that are kept.
    pub fn entries(&self) -> usize {
        self.cache.lock().entries.len()
    }

    pub fn vote(&self) -> Option<Vote> {
        self.cache.lock().vote
    }

    /// Ends the writer thread after everything queued before is on the disk.
    pub async fn close(&self) {
        let (done, wait) = oneshot::channel();
        if self.commands.send(Command::Stop { done }).await.is_ok() {
            wait.await.ok();
        }
    }

    async fn send(&self, command: Command) -> io::Result<()> {
        self.commands.send(command).await.map_err(|_| stopped())
    }

    async fn wait_for(
        &self,
        command: impl FnOnce(oneshot::Sender<()>) -> Command,
    ) -> io::Result<()> {
        let (done, wait) = oneshot::channel();
        self.send(command(done)).await?;
        wait.await.map_err(|_| stopped())
    }
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the metadata log is closed")
}

fn payload_bytes(entry: &Entry) -> usize {
    match &entry.payload {
        openraft::EntryPayload::Normal(Records(bytes)) => bytes.len(),
        _ => 512,
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let cache = self.cache.lock();
        let Some(first) = cache.first() else { return Ok(Vec::new()) };
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&start) => start + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&end) => end + 1,
            Bound::Excluded(&end) => end,
            Bound::Unbounded => u64::MAX,
        };
        let from = (start.saturating_sub(first) as usize).min(cache.entries.len());
        let to = (end.saturating_sub(first) as usize).clamp(from, cache.entries.len());
        Ok(cache.entries.range(from..to).cloned().collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.vote())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let mut entries = self.try_get_log_entries(start..end).await?;
        let mut bytes = 0;
        let fits = entries.iter().take_while(|e| {
            bytes += payload_bytes(e);
            bytes <= READ_BYTES_MAX
        });
        let fits = fits.count().max(1);
        entries.truncate(fits);
        Ok(entries)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let cache = self.cache.lock();
        Ok(LogState { last_purged_log_id: cache.purged, last_log_id: cache.last_log_id() })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let content = encode(&Ballot::from(*vote))?;
        self.wait_for(|done| Command::Vote { content, done }).await?;
        let old = self.cache.lock().vote.replace(*vote);
        debug_assert!(old.is_none_or(|old| *vote >= old), "a vote is taken back: {old:?}, {vote}");
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.cache.lock().committed = committed;
        self.send(Command::Committed { content: encode(&position(committed))? }).await
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.cache.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, flushed: LogFlushed) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let mut frames = Vec::with_capacity(entries.len());
        for entry in &entries {
            frames.push((entry.index(), encode(&LogEntry::from(entry))?));
        }
        {
            let mut cache = self.cache.lock();
            if let (Some(last), Some(entry)) = (cache.entries.back(), entries.first())
                && last.index() + 1 != entry.index()
            {
                let what = format!("entry {} does not follow {}", entry.index(), last.index());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
            cache.entries.extend(entries);
            cache.validate();
        }
        self.send(Command::Append { frames, flushed }).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.map_or(0, |id| id.index + 1);
        {
            let mut cache = self.cache.lock();
            while cache.entries.back().is_some_and(|e| e.index() >= from) {
                cache.entries.pop_back();
            }
            cache.validate();
        }
        self.wait_for(|done| Command::Truncate { from, done }).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        {
            let mut cache = self.cache.lock();
            if cache.purged >= Some(upto) {
                return Ok(());
            }
            cache.purged = Some(upto);
            cache.drop_upto(upto.index);
            cache.validate();
        }
        let content = encode(&Position::from(upto))?;
        self.wait_for(|done| Command::Purge { upto: upto.index, content, done }).await
    }
}
