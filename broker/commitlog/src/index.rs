//! The sparse indexes of a segment, one implementation for both entry types: `.index` maps
//! offsets to positions, `.timeindex` maps timestamps to offsets. Entries are fixed-size,
//! big-endian and strictly increasing.
//!
//! New entries collect in memory and reach the file in batches, so an append costs no write
//! here; the newest stay in memory because that is where readers look. An index is only a hint
//! where to start: a missing entry costs a longer walk, so a full disk never fails an append here.

use std::io::{self, IoSlice};
use std::sync::Arc;

use parking_lot::RwLock;

use crate::access::Access;
use crate::fs::{LazyFile, SegmentFile};
use crate::{LogContext, LogError};

/// Entries written together, and kept in memory after that.
const BATCH_ENTRIES: usize = 256;
/// Entries held while the disk refuses them; more are dropped.
const UNWRITTEN_ENTRIES_MAX: usize = 4096;
/// Bytes of an index read at once.
const BLOCK_BYTES: usize = 3072;

pub(crate) trait Entry: Copy {
    const BYTES: usize;
    /// What lookups compare.
    fn key(&self) -> i64;
    fn encode(&self, out: &mut Vec<u8>);
    /// `bytes` has exactly [`Entry::BYTES`].
    fn decode(bytes: &[u8]) -> Self;
    /// All zeros: a file that another program preallocated and left so.
    fn is_padding(&self) -> bool;
    /// Both fields grow from `self` to `next`.
    fn precedes(&self, next: &Self) -> bool;
}

/// `.index`: the batch whose last offset is `offset` begins at `position`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OffsetEntry {
    /// Relative to the segment's base.
    pub offset: u32,
    pub position: u32,
}

/// `.timeindex`: the largest timestamp so far, and the last offset of its batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TimeEntry {
    pub timestamp: i64,
    /// Relative to the segment's base.
    pub offset: u32,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
}

impl Entry for OffsetEntry {
    const BYTES: usize = 8;

    fn key(&self) -> i64 {
        i64::from(self.offset)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.offset.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> OffsetEntry {
        OffsetEntry { offset: u32_at(bytes, 0), position: u32_at(bytes, 4) }
    }

    fn is_padding(&self) -> bool {
        self.offset == 0 && self.position == 0
    }

    fn precedes(&self, next: &OffsetEntry) -> bool {
        self.offset < next.offset && self.position < next.position
    }
}

impl Entry for TimeEntry {
    const BYTES: usize = 12;

    fn key(&self) -> i64 {
        self.timestamp
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> TimeEntry {
        let timestamp = u64::from(u32_at(bytes, 0)) << 32 | u64::from(u32_at(bytes, 4));
        TimeEntry { timestamp: timestamp as i64, offset: u32_at(bytes, 8) }
    }

    fn is_padding(&self) -> bool {
        self.timestamp == 0 && self.offset == 0
    }

    fn precedes(&self, next: &TimeEntry) -> bool {
        self.timestamp < next.timestamp && self.offset < next.offset
    }
}

#[derive(Debug)]
pub(crate) struct Index<E> {
    file: Arc<LazyFile>,
    state: RwLock<State<E>>,
}

#[derive(Debug)]
struct State<E> {
    /// Entries in the file.
    written: usize,
    /// Number of the first entry in `tail`; at most `written`.
    tail_start: usize,
    tail: Vec<E>,
    last: Option<E>,
}

impl<E> State<E> {
    fn count(&self) -> usize {
        self.tail_start + self.tail.len()
    }
}

impl<E: Entry> Index<E> {
    pub fn new(file: Arc<LazyFile>) -> Index<E> {
        let state = State { written: 0, tail_start: 0, tail: Vec::new(), last: None };
        Index { file, state: RwLock::new(state) }
    }

    pub fn file(&self) -> &Arc<LazyFile> {
        &self.file
    }

    pub fn count(&self) -> usize {
        self.state.read().count()
    }

    pub fn last(&self) -> Option<E> {
        self.state.read().last
    }

    /// Appends an entry that follows the last one; others are ignored.
    pub fn append(&self, entry: E, context: &LogContext) {
        let mut state = self.state.write();
        let unwritten = state.count() - state.written;
        if state.last.is_some_and(|last| !last.precedes(&entry))
            || unwritten >= UNWRITTEN_ENTRIES_MAX
        {
            return;
        }
        state.tail.push(entry);
        state.last = Some(entry);
        if unwritten + 1 >= BATCH_ENTRIES && self.write(&mut state, context).is_ok() {
            let excess = state.tail.len().saturating_sub(BATCH_ENTRIES);
            state.tail.drain(..excess);
            state.tail_start += excess;
        }
    }

    fn write(&self, state: &mut State<E>, context: &LogContext) -> io::Result<Arc<SegmentFile>> {
        let file = self.file.create(&*context.fs, &context.files)?;
        let mut bytes = Vec::new();
        for entry in &state.tail[state.written - state.tail_start..] {
            entry.encode(&mut bytes);
        }
        if !bytes.is_empty() {
            let position = (state.written * E::BYTES) as u64;
            file.write_all_at(&[IoSlice::new(&bytes)], position)?;
            state.written = state.count();
        }
        Ok(file)
    }

    /// Brings the file up to date; it exists afterwards even if it is empty.
    pub fn write_out(&self, context: &LogContext) -> io::Result<Arc<SegmentFile>> {
        self.write(&mut self.state.write(), context)
    }

    /// Frees the entries in memory that are in the file.
    pub fn forget_tail(&self) {
        let mut state = self.state.write();
        if state.written == state.count() {
            state.tail_start = state.written;
            state.tail = Vec::new();
        }
    }

    /// The entry with the largest key at or below `key`.
    pub fn floor(&self, key: i64, context: &LogContext, access: Access) -> io::Result<Option<E>> {
        let on_disk = {
            let state = self.state.read();
            if state.tail.first().is_some_and(|first| first.key() <= key) {
                let at = state.tail.partition_point(|entry| entry.key() <= key);
                return Ok(state.tail.get(at.wrapping_sub(1)).copied());
            }
            state.tail_start
        };
        if on_disk == 0 {
            return Ok(None);
        }
        self.floor_on_disk(on_disk, key, context, access)
    }

    fn floor_on_disk(
        &self,
        count: usize,
        key: i64,
        context: &LogContext,
        access: Access,
    ) -> io::Result<Option<E>> {
        let file = access.open(&self.file, context)?;
        let per_block = BLOCK_BYTES / E::BYTES;
        // Binary search over blocks by their first entry, then within one block in memory.
        let (mut low, mut high) = (0, count.div_ceil(per_block));
        let mut block = [0u8; BLOCK_BYTES];
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let first = &mut block[..E::BYTES];
            access.read(&file, first, (middle * per_block * E::BYTES) as u64)?;
            if E::decode(first).key() <= key {
                low = middle;
            } else {
                high = middle;
            }
        }
        let entries = per_block.min(count - low * per_block);
        let bytes = &mut block[..entries * E::BYTES];
        let n = access.read(&file, bytes, (low * per_block * E::BYTES) as u64)?;
        let entries = bytes[..n].chunks_exact(E::BYTES).map(E::decode);
        Ok(entries.take_while(|entry| entry.key() <= key).last())
    }

    /// All entries, for recovery and truncation; may block.
    pub fn entries(&self, context: &LogContext) -> io::Result<Vec<E>> {
        let state = self.state.read();
        let mut bytes = vec![0; state.tail_start * E::BYTES];
        if state.tail_start > 0 {
            let file = self.file.get(&*context.fs, &context.files)?;
            let n = file.read_at(&mut bytes, 0)?;
            bytes.truncate(n);
        }
        let mut entries: Vec<E> = bytes.chunks_exact(E::BYTES).map(E::decode).collect();
        entries.extend_from_slice(&state.tail);
        Ok(entries)
    }

    /// Keeps the entries for which `keep` holds; it holds for a prefix of them.
    pub fn truncate(
        &self,
        context: &LogContext,
        keep: impl Fn(&E) -> bool,
    ) -> Result<(), LogError> {
        let entries = self.entries(context).map_err(|e| self.error("read", e))?;
        let count = entries.partition_point(keep);
        self.reset(context, entries, count)
    }

    /// Entries that go are gone durably: were they to come back after a crash, they would point
    /// into a history that is no more.
    fn reset(
        &self,
        context: &LogContext,
        mut entries: Vec<E>,
        count: usize,
    ) -> Result<(), LogError> {
        entries.truncate(count);
        let mut state = self.state.write();
        let file =
            self.file.create(&*context.fs, &context.files).map_err(|e| self.error("create", e))?;
        let len = file.len().map_err(|e| self.error("stat", e))?;
        let written = state.written.min(count);
        if len > (written * E::BYTES) as u64 {
            file.set_len((written * E::BYTES) as u64).map_err(|e| self.error("truncate", e))?;
            file.sync().map_err(|source| LogError::Fsync { path: self.file.path(), source })?;
        }
        let last = entries.last().copied();
        let tail = entries.split_off(written);
        *state = State { written, tail_start: written, tail, last };
        Ok(())
    }

    fn error(&self, operation: &'static str, error: io::Error) -> LogError {
        LogError::io(operation, &self.file.path(), error)
    }

    /// Empties index and file.
    pub fn clear(&self, context: &LogContext) -> Result<(), LogError> {
        self.reset(context, Vec::new(), 0)
    }

    /// Takes over what an existing file says, if size and last entry make sense: the quick check
    /// for files that were synced. `accept` judges the last entry.
    pub fn load(&self, context: &LogContext, accept: impl Fn(&E) -> bool) -> io::Result<bool> {
        let file = match self.file.get(&*context.fs, &context.files) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e),
        };
        let len = file.len()?;
        if !len.is_multiple_of(E::BYTES as u64) {
            return Ok(false);
        }
        let count = (len / E::BYTES as u64) as usize;
        let mut last = None;
        if count > 0 {
            let mut bytes = [0u8; 16];
            file.read_at(&mut bytes[..E::BYTES], len - E::BYTES as u64)?;
            let entry = E::decode(&bytes[..E::BYTES]);
            if entry.is_padding() || !accept(&entry) {
                return Ok(false);
            }
            last = Some(entry);
        }
        *self.state.write() = State { written: count, tail_start: count, tail: Vec::new(), last };
        Ok(true)
    }

    /// Takes over a file that was written whole.
    pub fn adopt(&self, count: usize, last: Option<E>) {
        *self.state.write() = State { written: count, tail_start: count, tail: Vec::new(), last };
    }

    /// As `load`, but checks every entry against its predecessor: for files that were never
    /// synced. Entries from the first bad one on are dropped; whether any was is returned.
    pub fn load_checked(
        &self,
        context: &LogContext,
        accept: impl Fn(&E) -> bool,
    ) -> Result<bool, LogError> {
        let file = match self.file.get(&*context.fs, &context.files) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(self.error("open", e)),
        };
        let len = file.len().map_err(|e| self.error("stat", e))?;
        let mut bytes = vec![0; len as usize];
        let n = file.read_at(&mut bytes, 0).map_err(|e| self.error("read", e))?;
        let mut good: Vec<E> = Vec::new();
        for entry in bytes[..n].chunks_exact(E::BYTES).map(E::decode) {
            let follows = good.last().is_none_or(|last| last.precedes(&entry));
            if !follows || entry.is_padding() || !accept(&entry) {
                break;
            }
            good.push(entry);
        }
        let intact = good.len() * E::BYTES == bytes.len();
        let count = good.len();
        self.state.write().written = count;
        self.reset(context, good, count)?;
        Ok(intact)
    }
}
