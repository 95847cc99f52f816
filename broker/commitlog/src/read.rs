//! The read side of a log: valid without the owner's lock, for as long as anyone holds it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use base::{ErrorCode, Offset, ProducerId};
use parking_lot::RwLock;

use crate::aborted_index::AbortedTxn;
use crate::fs::{LazyFile, SegmentFile};
use crate::segment::Segment;
use crate::{LogContext, LogError};

/// May a read wait for the disk?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Only page-cache hits: [`ReadError::WouldBlock`] otherwise. For network threads.
    Resident,
    /// May block. For the reader pool.
    Blocking,
}

impl Access {
    /// The open file. A file that must be opened first is not for a thread that may not wait.
    pub(crate) fn open(
        self,
        file: &Arc<LazyFile>,
        context: &LogContext,
    ) -> io::Result<Arc<SegmentFile>> {
        match self {
            Access::Blocking => file.get(&*context.fs, &context.files),
            Access::Resident => file.get_open().ok_or(io::ErrorKind::WouldBlock.into()),
        }
    }

    pub(crate) fn read(self, file: &SegmentFile, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        match self {
            Access::Blocking => file.read_at(buf, pos),
            Access::Resident => file.read_at_nowait(buf, pos),
        }
    }
}

#[derive(thiserror::Error, Debug)]
pub enum ReadError {
    #[error("offset {offset} is outside {start}..={end}")]
    OutOfRange { offset: Offset, start: Offset, end: Offset },
    /// Repeat the call with [`Access::Blocking`] on a thread that may block.
    #[error("the read would wait for the disk")]
    WouldBlock,
    #[error(transparent)]
    Log(#[from] LogError),
}

impl ReadError {
    pub fn code(&self) -> ErrorCode {
        match self {
            ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            ReadError::WouldBlock => ErrorCode::UnknownServerError,
            ReadError::Log(error) => error.code(),
        }
    }
}

/// A byte range of one segment that a fetch may return as it is. The last batch may be cut off,
/// as Kafka's fetch allows; the first is whole.
#[derive(Clone, Debug)]
pub struct FetchSlice {
    pub file: Arc<SegmentFile>,
    pub position: u64,
    pub len: usize,
    /// Base offset of the first batch: at or below the offset asked for.
    pub base_offset: Offset,
}

/// An aborted transaction that overlaps a read, for the fetch response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbortedTransaction {
    pub producer_id: ProducerId,
    pub first_offset: Offset,
}

/// What the owner publishes to readers.
#[derive(Debug)]
pub(crate) struct Shared {
    pub context: LogContext,
    /// Sorted by base offset; never empty. Replaced as a whole, so a reader keeps what it took.
    pub segments: RwLock<Arc<Vec<Arc<Segment>>>>,
    pub start: AtomicI64,
    pub end: AtomicI64,
}

impl Shared {
    pub fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        self.segments.read().clone()
    }
}

/// Index of the segment that holds `offset`: the last one that begins at or below it.
pub(crate) fn segment_at(segments: &[Arc<Segment>], offset: Offset) -> usize {
    segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1)
}

/// Cheap to clone and to hold. Sees appends as soon as they are in the log.
#[derive(Clone, Debug)]
pub struct LogReader {
    pub(crate) shared: Arc<Shared>,
}

impl LogReader {
    pub fn start_offset(&self) -> Offset {
        self.shared.start.load(Ordering::Acquire)
    }

    pub fn end_offset(&self) -> Offset {
        self.shared.end.load(Ordering::Acquire)
    }

    /// Up to `max_bytes` of batches from the one that holds `offset`, none of them at or beyond
    /// `max_offset` (exclusive: a high watermark, last stable offset or the log end). With
    /// `at_least_one` the first batch is returned whole even if larger than `max_bytes`; without it
    /// nothing is then, as a client takes a piece of one batch for a batch that it can never read.
    /// `Ok(None)`: nothing to read there yet, or no room for it. Never crosses into the next
    /// segment.
    pub fn read(
        &self,
        offset: Offset,
        max_bytes: usize,
        max_offset: Offset,
        at_least_one: bool,
        access: Access,
    ) -> Result<Option<FetchSlice>, ReadError> {
        let limit = self.limit(offset, max_offset)?;
        if offset >= limit {
            return Ok(None);
        }
        let context = &self.shared.context;
        let segments = self.shared.segments();
        for segment in &segments[segment_at(&segments, offset)..] {
            if segment.base_offset >= limit {
                break;
            }
            let Some(first) = segment.locate(offset, context, access)? else { continue };
            if first.base_offset >= limit {
                break;
            }
            let end = segment.position_of(limit, context, access)?;
            let available = end.saturating_sub(first.position) as usize;
            let len = available.min(max_bytes.max(first.size));
            if len == 0 || !at_least_one && first.size > max_bytes {
                break;
            }
            let file = access
                .open(&segment.log, context)
                .map_err(|e| read_error(e, "open", &segment.log))?;
            let base_offset = first.base_offset;
            return Ok(Some(FetchSlice { file, position: first.position, len, base_offset }));
        }
        Ok(None)
    }

    fn limit(&self, offset: Offset, max_offset: Offset) -> Result<Offset, ReadError> {
        let (start, end) = (self.start_offset(), self.end_offset());
        if offset < start || offset > end {
            return Err(ReadError::OutOfRange { offset, start, end });
        }
        Ok(max_offset.min(end))
    }

    /// Bytes between `offset` and `max_offset`, for `fetch.min.bytes`: exact near the log's end;
    /// elsewhere it may be too much, never too little. Reads no disk.
    pub fn bytes_between(&self, offset: Offset, max_offset: Offset) -> u64 {
        let Ok(limit) = self.limit(offset, max_offset) else { return 0 };
        if offset >= limit {
            return 0;
        }
        let context = &self.shared.context;
        let segments = self.shared.segments();
        let at = segment_at(&segments, offset);
        let segment = &segments[at];
        if segments.get(at + 1).is_some_and(|next| next.base_offset < limit) {
            return segment.size();
        }
        let from = match segment.locate(offset, context, Access::Resident) {
            Ok(Some(first)) => first.position,
            _ => 0,
        };
        let to = segment.position_of(limit, context, Access::Resident);
        to.unwrap_or_else(|_| segment.size()).saturating_sub(from)
    }

    /// Transactions aborted within `offset..upper_bound`, for read_committed fetches.
    pub fn aborted_transactions(
        &self,
        offset: Offset,
        upper_bound: Offset,
    ) -> Result<Vec<AbortedTransaction>, ReadError> {
        let mut found = Vec::new();
        let segments = self.shared.segments();
        for segment in &segments[segment_at(&segments, offset)..] {
            for txn in segment.aborted.read(&self.shared.context)? {
                if txn.last_offset >= offset && txn.first_offset < upper_bound {
                    let AbortedTxn { producer_id, first_offset, .. } = txn;
                    found.push(AbortedTransaction { producer_id, first_offset });
                }
                // All that was open below the bound was decided when this was written.
                if txn.last_stable_offset >= upper_bound {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }
}

pub(crate) fn read_error(error: io::Error, operation: &'static str, file: &LazyFile) -> ReadError {
    match error.kind() {
        io::ErrorKind::WouldBlock => ReadError::WouldBlock,
        _ => ReadError::Log(LogError::io(operation, &file.path(), error)),
    }
}

/// For callers that may wait for the disk, so that `WouldBlock` is an error like any other.
pub(crate) fn into_log_error(error: ReadError) -> LogError {
    match error {
        ReadError::Log(error) => error,
        ReadError::OutOfRange { offset, start, end } => {
            LogError::OffsetOutOfRange { offset, start, end }
        }
        ReadError::WouldBlock => {
            LogError::io("read", std::path::Path::new("log"), std::io::ErrorKind::WouldBlock.into())
        }
    }
}
