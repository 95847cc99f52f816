//! A segment that is written anew: its log goes through one buffer into a `.cleaned` file, its
//! indexes are collected and written at the end. The files are opened once and written by their
//! handles, since a directory of the same name may be another topic's meanwhile.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{Offset, TimestampMs};
use record::BatchHeader;

use crate::LogError;
use crate::aborted_index::AbortedTxn;
use crate::format::{CLEANED, Suffix, file_name};
use crate::fs::{File, Fs, OpenMode};
use crate::index::{Entry, OffsetEntry, TimeEntry};
use crate::segment::NO_TIMESTAMP;

/// Positions in a segment are Kafka's signed 32-bit integers.
const SEGMENT_BYTES_MAX: u64 = i32::MAX as u64;

/// The files of a segment in the order in which they get their names: the log's is the last.
pub(crate) const KINDS: [Suffix; 4] =
    [Suffix::OffsetIndex, Suffix::TimeIndex, Suffix::TransactionIndex, Suffix::Log];

/// What the new segment is, beside its files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Written {
    pub bytes: u64,
    pub next_offset: Offset,
    pub index: (usize, Option<OffsetEntry>),
    pub time_index: (usize, Option<TimeEntry>),
    pub aborted: usize,
    pub max_timestamp: (TimestampMs, Offset),
}

pub(crate) struct SegmentWriter {
    base: Offset,
    files: Vec<(PathBuf, Arc<dyn File>)>,
    index_interval_bytes: u64,
    buf: Vec<u8>,
    buf_bytes: usize,
    flushed: u64,
    bytes_since_index: u64,
    offsets: Vec<OffsetEntry>,
    times: Vec<TimeEntry>,
    pub aborted: Vec<AbortedTxn>,
    next_offset: Offset,
    max_timestamp: (TimestampMs, Offset),
    /// The same, of batches that have records.
    newest_record: (TimestampMs, Offset),
}

impl SegmentWriter {
    /// Creates the files, or empties what an earlier attempt left.
    pub fn create(
        fs: &dyn Fs,
        dir: &Path,
        base: Offset,
        index_interval_bytes: u64,
        buf_bytes: usize,
    ) -> Result<SegmentWriter, LogError> {
        let mut files = Vec::with_capacity(KINDS.len());
        for kind in KINDS {
            let path = dir.join(format!("{}{CLEANED}", file_name(base, kind)));
            let file =
                fs.open(&path, OpenMode::Create).map_err(|e| LogError::io("create", &path, e))?;
            file.set_len(0).map_err(|e| LogError::io("truncate", &path, e))?;
            files.push((path, file));
        }
        Ok(SegmentWriter {
            base,
            files,
            index_interval_bytes,
            buf: Vec::new(),
            buf_bytes,
            flushed: 0,
            bytes_since_index: 0,
            offsets: Vec::new(),
            times: Vec::new(),
            aborted: Vec::new(),
            next_offset: base,
            max_timestamp: (NO_TIMESTAMP, base),
            newest_record: (NO_TIMESTAMP, base),
        })
    }

    /// Appends a whole batch.
    pub fn append(&mut self, header: &BatchHeader, bytes: &[u8]) -> Result<(), LogError> {
        let position = self.flushed + self.buf.len() as u64;
        if position + bytes.len() as u64 > SEGMENT_BYTES_MAX {
            let reason = "the cleaned segment is larger than a segment may be".to_owned();
            return Err(LogError::Corrupt { path: self.files[3].0.clone(), reason });
        }
        let newest = (header.max_timestamp, header.last_offset());
        if newest.0 > self.max_timestamp.0 {
            self.max_timestamp = newest;
        }
        if newest.0 > self.newest_record.0 && header.record_count > 0 {
            self.newest_record = newest;
        }
        if self.bytes_since_index > self.index_interval_bytes && position > 0 {
            let offset = self.relative(header.last_offset());
            follow(&mut self.offsets, OffsetEntry { offset, position: position as u32 });
            self.note_time();
            self.bytes_since_index = 0;
        }
        self.bytes_since_index += bytes.len() as u64;
        self.next_offset = header.next_offset();
        self.buf.extend_from_slice(bytes);
        if self.buf.len() >= self.buf_bytes { self.flush() } else { Ok(()) }
    }

    fn relative(&self, offset: Offset) -> u32 {
        u32::try_from(offset - self.base).unwrap_or(u32::MAX)
    }

    /// As an append does: the newest record so far. A batch that was emptied has none.
    fn note_time(&mut self) {
        let (timestamp, offset) = self.newest_record;
        if timestamp > NO_TIMESTAMP {
            let offset = self.relative(offset);
            follow(&mut self.times, TimeEntry { timestamp, offset });
        }
    }

    fn flush(&mut self) -> Result<(), LogError> {
        let (path, file) = &self.files[3];
        file.write_all_at(&[IoSlice::new(&self.buf)], self.flushed)
            .map_err(|e| LogError::io("write", path, e))?;
        self.flushed += self.buf.len() as u64;
        self.buf.clear();
        Ok(())
    }

    /// Writes what is left and the indexes, and makes it all durable but for the names.
    pub fn finish(mut self) -> Result<Written, LogError> {
        self.flush()?;
        self.note_time();
        let contents = [encode(&self.offsets), encode(&self.times), {
            self.aborted.iter().flat_map(AbortedTxn::encode).collect()
        }];
        for ((path, file), bytes) in self.files.iter().zip(&contents) {
            file.write_all_at(&[IoSlice::new(bytes)], 0)
                .map_err(|e| LogError::io("write", path, e))?;
        }
        for (path, file) in &self.files {
            let path = path.clone();
            file.sync().map_err(|source: io::Error| LogError::Fsync { path, source })?;
        }
        Ok(Written {
            bytes: self.flushed,
            next_offset: self.next_offset,
            index: (self.offsets.len(), self.offsets.last().copied()),
            time_index: (self.times.len(), self.times.last().copied()),
            aborted: self.aborted.len(),
            max_timestamp: self.max_timestamp,
        })
    }
}

fn follow<E: Entry>(entries: &mut Vec<E>, entry: E) {
    if entries.last().is_none_or(|last| last.precedes(&entry)) {
        entries.push(entry);
    }
}

fn encode<E: Entry>(entries: &[E]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * E::BYTES);
    for entry in entries {
        entry.encode(&mut bytes);
    }
    bytes
}
