//! The thread that owns the log's files. It takes what waits in the queue, writes it in order and
//! syncs once, then runs the callbacks.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tokio::sync::{mpsc, oneshot};

use super::atomic_file::{self, crc32c};
use super::segment::Segments;
use crate::edge::log_id;
use crate::formats::{Position, decode};
use crate::types::{LogFlushed, LogId};

pub const VOTE_FILE: &str = "vote";
pub const PURGED_FILE: &str = "purged";
const COMMITTED_FILE: &str = "committed";
/// Bytes that the committed mark may take: 8 of length and CRC, then the content.
const COMMITTED_BYTES_MAX: usize = 256;
/// Appends that share a sync; bounds the delay of the first of them.
const GROUP_MAX: usize = 64;

pub enum Command {
    Append { frames: Vec<(u64, Vec<u8>)>, flushed: LogFlushed },
    Vote { content: Vec<u8>, done: oneshot::Sender<()> },
    Truncate { from: u64, done: oneshot::Sender<()> },
    Purge { upto: u64, content: Vec<u8>, done: oneshot::Sender<()> },
    Committed { content: Vec<u8> },
    Stop { done: oneshot::Sender<()> },
}

pub struct Writer {
    dir: PathBuf,
    segments: Segments,
    committed: File,
    queue: mpsc::Receiver<Command>,
    waiting: Vec<LogFlushed>,
}

impl Writer {
    pub fn new(
        dir: PathBuf,
        segments: Segments,
        committed: File,
        queue: mpsc::Receiver<Command>,
    ) -> Writer {
        Writer { dir, segments, committed, queue, waiting: Vec::new() }
    }

    pub fn run(mut self) {
        crate::quorum::raise_priority();
        while let Some(command) = self.queue.blocking_recv() {
            let mut next = Some(command);
            while let Some(command) = next.take() {
                if let Command::Stop { done } = command {
                    self.sync();
                    done.send(()).ok();
                    return;
                }
                self.execute(command);
                if self.waiting.len() < GROUP_MAX {
                    next = self.queue.try_recv().ok();
                }
            }
            self.sync();
        }
        self.sync();
    }

    fn execute(&mut self, command: Command) {
        match command {
            Command::Append { frames, flushed } => {
                for (index, payload) in &frames {
                    self.segments.append(*index, payload);
                }
                self.waiting.push(flushed);
            }
            Command::Vote { content, done } => {
                // What was appended under the old vote must not become durable after the new one.
                self.sync();
                atomic_file::write(&self.dir.join(VOTE_FILE), atomic_file::VOTE, &content);
                done.send(()).ok();
            }
            Command::Truncate { from, done } => {
                self.sync();
                self.segments.truncate_from(from);
                done.send(()).ok();
            }
            Command::Purge { upto, content, done } => {
                self.sync();
                // First the mark, then the files: a crash between leaves files too many.
                atomic_file::write(&self.dir.join(PURGED_FILE), atomic_file::PURGED, &content);
                self.segments.purge(upto);
                done.send(()).ok();
            }
            Command::Committed { content } => self.write_committed(&content),
            Command::Stop { .. } => {}
        }
    }

    fn sync(&mut self) {
        self.segments.sync();
        for flushed in self.waiting.drain(..) {
            flushed.io_completed(Ok(()));
        }
    }

    /// Only a hint for the next start (how far to replay at once), so it is neither synced nor
    /// atomic: a mark that cannot be read counts as none.
    fn write_committed(&mut self, content: &[u8]) {
        let mut bytes = Vec::with_capacity(8 + content.len());
        bytes.extend_from_slice(&(content.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&crc32c(content).to_le_bytes());
        bytes.extend_from_slice(content);
        if let Err(error) = self.committed.write_all_at(&bytes, 0) {
            tracing::warn!(%error, "the committed mark of the metadata log is not written");
        }
    }
}

/// Opens the committed mark and reads it.
pub fn open_committed(dir: &Path) -> io::Result<(File, Option<LogId>)> {
    let path = dir.join(COMMITTED_FILE);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let mut bytes = [0u8; COMMITTED_BYTES_MAX];
    let mut have = 0;
    while have < bytes.len() {
        match file.read_at(&mut bytes[have..], have as u64)? {
            0 => break,
            n => have += n,
        }
    }
    let committed = parse_committed(&bytes[..have]).unwrap_or_default();
    Ok((file, committed))
}

fn parse_committed(bytes: &[u8]) -> Option<Option<LogId>> {
    let len = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let crc = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?);
    let content = bytes.get(8..8usize.checked_add(len)?)?;
    if crc32c(content) != crc {
        return None;
    }
    decode::<Option<Position>>(content).ok().map(log_id)
}
