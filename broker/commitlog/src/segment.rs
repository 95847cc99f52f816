//! One segment: a log file, its indexes, and where things are in it. Appends come from the log's
//! owner alone; lookups come from any reader at any time.
//!
//! Invariants: `tail.size` bytes of the file are whole batches with growing offsets; offsets in
//! `[base_offset, tail.next_offset)`; the ring holds the newest batches without a gap, so that
//! followers and tailing consumers are served without touching index or file.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use base::{Offset, TimestampMs};
use parking_lot::RwLock;
use record::{BatchHeader, HEADER_BYTES};

use crate::aborted_index::AbortedIndex;
use crate::access::{Access, ReadError, into_log_error, read_error};
use crate::format::Suffix;
use crate::fs::{LazyFile, SegmentFile};
use crate::index::{Index, OffsetEntry, TimeEntry};
use crate::{LogContext, LogError};

/// Newest batches whose place is kept in memory.
const RING_ENTRIES: usize = 16;
/// Bytes read at once on the walk from an index entry to a batch: several small batches.
const WALK_BYTES: usize = 2048;
pub(crate) const NO_TIMESTAMP: TimestampMs = -1;

#[derive(Debug)]
pub(crate) struct Segment {
    pub base_offset: Offset,
    pub log: Arc<LazyFile>,
    pub index: Index<OffsetEntry>,
    pub time_index: Index<TimeEntry>,
    pub aborted: AbortedIndex,
    tail: RwLock<Tail>,
    max_timestamp: AtomicI64,
    /// Last offset of the batch with the largest timestamp.
    max_timestamp_offset: AtomicI64,
}

#[derive(Debug)]
struct Tail {
    size: u64,
    next_offset: Offset,
    /// Only while the segment is written to.
    ring: Option<Box<Ring>>,
}

#[derive(Debug, Default)]
struct Ring {
    /// Base offset relative to the segment's, and position.
    entries: [(u32, u32); RING_ENTRIES],
    count: usize,
}

/// A batch found in a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Located {
    pub base_offset: Offset,
    pub position: u64,
    pub size: usize,
}

impl Tail {
    /// The batch that holds `offset`, if the ring reaches back that far.
    fn locate(&self, segment_base: Offset, offset: Offset) -> Option<Located> {
        let ring = self.ring.as_deref()?;
        let oldest = ring.count.saturating_sub(RING_ENTRIES);
        let mut end = self.size;
        for i in (oldest..ring.count).rev() {
            let (base, position) = ring.entries[i % RING_ENTRIES];
            let (base_offset, position) = (segment_base + i64::from(base), u64::from(position));
            if base_offset <= offset {
                return Some(Located { base_offset, position, size: (end - position) as usize });
            }
            end = position;
        }
        None
    }
}

impl Segment {
    pub fn new(dir: &Arc<Path>, base_offset: Offset) -> Segment {
        let file = |suffix| LazyFile::new(dir, base_offset, suffix);
        Segment {
            base_offset,
            log: file(Suffix::Log),
            index: Index::new(file(Suffix::OffsetIndex)),
            time_index: Index::new(file(Suffix::TimeIndex)),
            aborted: AbortedIndex::new(file(Suffix::TransactionIndex)),
            tail: RwLock::new(Tail { size: 0, next_offset: base_offset, ring: None }),
            max_timestamp: AtomicI64::new(NO_TIMESTAMP),
            max_timestamp_offset: AtomicI64::new(base_offset),
        }
    }

    pub fn size(&self) -> u64 {
        self.tail.read().size
    }

    /// Offset after the last batch.
    pub fn next_offset(&self) -> Offset {
        self.tail.read().next_offset
    }

    pub fn max_timestamp(&self) -> TimestampMs {
        self.max_timestamp.load(Ordering::Relaxed)
    }

    pub fn max_timestamp_offset(&self) -> Offset {
        self.max_timestamp_offset.load(Ordering::Relaxed)
    }

    pub fn relative(&self, offset: Offset) -> u32 {
        u32::try_from(offset - self.base_offset).unwrap_or(u32::MAX)
    }

    /// Publishes a batch that was written at the end of the file.
    pub fn appended(&self, header: &BatchHeader) {
        self.note_timestamp(header.max_timestamp, header.last_offset());
        let relative = self.relative(header.base_offset);
        let mut tail = self.tail.write();
        let position = tail.size as u32;
        let continues = tail.next_offset == header.base_offset;
        let ring = tail.ring.get_or_insert_default();
        if !continues {
            ring.count = 0;
        }
        ring.entries[ring.count % RING_ENTRIES] = (relative, position);
        ring.count += 1;
        tail.size += header.size() as u64;
        tail.next_offset = header.next_offset();
    }

    pub fn note_timestamp(&self, timestamp: TimestampMs, offset: Offset) {
        if timestamp > self.max_timestamp() {
            self.max_timestamp.store(timestamp, Ordering::Relaxed);
            self.max_timestamp_offset.store(offset, Ordering::Relaxed);
        }
    }

    /// Sets what recovery or truncation found.
    pub fn set_end(&self, size: u64, next_offset: Offset) {
        *self.tail.write() = Tail { size, next_offset, ring: None };
    }

    pub fn set_max_timestamp(&self, timestamp: TimestampMs, offset: Offset) {
        self.max_timestamp.store(timestamp, Ordering::Relaxed);
        self.max_timestamp_offset.store(offset, Ordering::Relaxed);
    }

    /// The segment will not be written to again.
    pub fn seal(&self) {
        self.tail.write().ring = None;
    }

    pub fn open(&self, context: &LogContext) -> Result<Arc<SegmentFile>, LogError> {
        self.log
            .get(&*context.fs, &context.files)
            .map_err(|e| LogError::io("open", &self.log.path(), e))
    }

    /// The first batch that ends at or after `offset`; `None` past the end of the segment.
    pub fn locate(
        &self,
        offset: Offset,
        context: &LogContext,
        access: Access,
    ) -> Result<Option<Located>, ReadError> {
        let size = {
            let tail = self.tail.read();
            if offset >= tail.next_offset {
                return Ok(None);
            }
            // The ring answers only from its oldest entry on; an offset in a gap between batches
            // (compaction leaves them) is never within it, for only appends fill it.
            if let Some(found) = tail.locate(self.base_offset, offset) {
                return Ok(Some(found));
            }
            tail.size
        };
        let start = self.floor_position(offset, context, access)?;
        self.walk_from(start, size, context, access, |header| header.last_offset() >= offset)
    }

    fn floor_position(
        &self,
        offset: Offset,
        context: &LogContext,
        access: Access,
    ) -> Result<u64, ReadError> {
        let relative = (offset - self.base_offset).max(0);
        let entry = self
            .index
            .floor(relative, context, access)
            .map_err(|e| read_error(e, "read", self.index.file()))?;
        Ok(entry.map_or(0, |entry| u64::from(entry.position)))
    }

    /// Walks the batches from `position` to the first that `matches`.
    pub fn walk_from(
        &self,
        mut position: u64,
        size: u64,
        context: &LogContext,
        access: Access,
        mut matches: impl FnMut(&BatchHeader) -> bool,
    ) -> Result<Option<Located>, ReadError> {
        let file = access.open(&self.log, context).map_err(|e| read_error(e, "open", &self.log))?;
        let mut buf = [0u8; WALK_BYTES];
        let (mut at, mut have) = (0, 0);
        while position < size {
            if have - at < HEADER_BYTES {
                let wanted = buf.len().min((size - position) as usize);
                have = access
                    .read(&file, &mut buf[..wanted], position)
                    .map_err(|e| read_error(e, "read", &self.log))?;
                at = 0;
            }
            let header = BatchHeader::parse(&buf[at..have]).map_err(|e| LogError::Corrupt {
                path: self.log.path(),
                reason: format!("at position {position}: {e}"),
            })?;
            if matches(&header) {
                let base_offset = header.base_offset;
                return Ok(Some(Located { base_offset, position, size: header.size() }));
            }
            position += header.size() as u64;
            at = (at + header.size()).min(have);
        }
        Ok(None)
    }

    /// Largest timestamp of the first batch. Blocks.
    pub fn first_timestamp(&self, context: &LogContext) -> Result<Option<TimestampMs>, LogError> {
        let mut first = None;
        let found = self.walk_from(0, self.size(), context, Access::Blocking, |header| {
            first = Some(header.max_timestamp);
            true
        });
        found.map_err(into_log_error)?;
        Ok(first)
    }

    /// Where the batches at and beyond `limit` begin.
    pub fn position_of(
        &self,
        limit: Offset,
        context: &LogContext,
        access: Access,
    ) -> Result<u64, ReadError> {
        {
            let tail = self.tail.read();
            if limit >= tail.next_offset {
                return Ok(tail.size);
            }
        }
        let found = self.locate(limit, context, access)?;
        Ok(found.map_or_else(|| self.size(), |found| found.position))
    }

    /// Adds index entries for a batch about to be appended at `position`.
    pub fn index_batch(&self, header: &BatchHeader, position: u64, context: &LogContext) {
        if position == 0 {
            // Where a lookup without an entry begins anyway.
            return;
        }
        let offset = self.relative(header.last_offset());
        self.index.append(OffsetEntry { offset, position: position as u32 }, context);
        self.index_time(context);
    }

    /// Adds the largest timestamp so far to the time index.
    pub fn index_time(&self, context: &LogContext) {
        let timestamp = self.max_timestamp();
        if timestamp > NO_TIMESTAMP {
            let offset = self.relative(self.max_timestamp_offset());
            self.time_index.append(TimeEntry { timestamp, offset }, context);
        }
    }
}
