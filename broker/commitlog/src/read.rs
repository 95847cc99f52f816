//! The read side of a log: valid without the owner's lock, for as long as anyone holds it.

use std::io;
use std::sync::Arc;

use base::{ErrorCode, Offset, ProducerId};

use crate::LogError;

/// May a read wait for the disk?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Only page-cache hits: [`ReadError::WouldBlock`] otherwise. For network threads.
    Resident,
    /// May block. For the reader pool.
    Blocking,
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

/// A log file that is opened when used and closed when idle. Stays readable after the segment
/// was deleted or its descriptor evicted, for as long as [`FetchSlice`]s of it live.
#[derive(Debug)]
pub struct SegmentFile {}

impl SegmentFile {
    /// Fills `buf` from `pos`; fewer bytes only at the end.
    pub fn read_at(&self, _buf: &mut [u8], _pos: u64) -> io::Result<usize> {
        unimplemented!()
    }

    /// Whether sendfile of the range would not wait for the disk.
    pub fn is_resident(&self, _pos: u64, _len: usize) -> bool {
        unimplemented!()
    }

    pub fn will_need(&self, _pos: u64, _len: usize) {
        unimplemented!()
    }

    /// For sendfile. `None` on [`crate::fs::MemFs`].
    pub fn as_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        unimplemented!()
    }
}

/// A byte range of one segment that a fetch may return as it is. The last batch may be cut off,
/// as Kafka's fetch allows; the first is whole if `at_least_one` was asked for.
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

/// Cheap to clone and to hold. Sees appends as soon as they are in the log.
#[derive(Clone, Debug)]
pub struct LogReader {}

impl LogReader {
    pub fn start_offset(&self) -> Offset {
        unimplemented!()
    }

    pub fn end_offset(&self) -> Offset {
        unimplemented!()
    }

    /// Up to `max_bytes` of batches from the one that holds `offset`, none of them at or beyond
    /// `max_offset` (exclusive: a high watermark, last stable offset or the log end). With
    /// `at_least_one` the first batch is returned whole even if larger than `max_bytes`.
    /// `Ok(None)`: nothing to read there yet. Never crosses into the next segment.
    pub fn read(
        &self,
        _offset: Offset,
        _max_bytes: usize,
        _max_offset: Offset,
        _at_least_one: bool,
        _access: Access,
    ) -> Result<Option<FetchSlice>, ReadError> {
        unimplemented!()
    }

    /// Bytes between `offset` and `max_offset`, without reading any disk: exact within the
    /// active segment's tail, else rounded to index entries. For `fetch.min.bytes`.
    pub fn bytes_between(&self, _offset: Offset, _max_offset: Offset) -> u64 {
        unimplemented!()
    }

    /// Transactions aborted within `offset..upper_bound`, for read_committed fetches.
    pub fn aborted_transactions(
        &self,
        _offset: Offset,
        _upper_bound: Offset,
    ) -> Result<Vec<AbortedTransaction>, ReadError> {
        unimplemented!()
    }
}
