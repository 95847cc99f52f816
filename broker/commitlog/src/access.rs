//! How files of a log are read: with or without waiting for the disk, and what can go wrong.

use std::io;
use std::sync::Arc;

use base::{ErrorCode, Offset};

use crate::LogContext;
use crate::error::LogError;
use crate::fs::{LazyFile, SegmentFile};

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
