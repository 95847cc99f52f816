//! What can go wrong in a log, by what the caller must do about it.

use std::io;
use std::path::{Path, PathBuf};

use base::{ErrorCode, Offset};
use record::Invalid;

/// The log could not do what was asked.
#[derive(thiserror::Error, Debug)]
pub enum LogError {
    #[error("{operation} {path}")]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Fatal: after a failed fsync the kernel may have dropped the pages it could not write, so
    /// what is on disk is unknown and a retry may lie. The process must stop and recover.
    #[error("fsync {path}")]
    Fsync {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file of ours says something it cannot say.
    #[error("{path} is corrupt: {reason}")]
    Corrupt { path: PathBuf, reason: String },
    /// A path is taken by something that is not known to belong to the partition: it is left alone.
    #[error("{path} is left alone: {reason}")]
    NotOurs { path: PathBuf, reason: String },
    /// The offset asked for is not one that the operation can take.
    #[error("offset {offset} is outside {start}..={end}")]
    OffsetOutOfRange { offset: Offset, start: Offset, end: Offset },
    /// Bytes from the leader do not continue this log.
    #[error("replicated batch starts at {found}, the log ends at {expected}")]
    Discontinuous { expected: Offset, found: Offset },
    /// A cut failed after its first change: what the log says of itself is not what the disk has.
    /// It takes nothing more until it was opened again, see [`crate::ReopenWork`].
    #[error("{dir} is torn: a cut failed half-way")]
    Torn { dir: PathBuf },
}

impl LogError {
    pub fn io(operation: &'static str, path: &Path, source: io::Error) -> LogError {
        LogError::Io { operation, path: path.to_owned(), source }
    }

    /// A file or directory is not there (any more).
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, LogError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// There is no room for it: the disk is full, or the quota used up.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        let kind = match self {
            LogError::Io { source, .. } => source.kind(),
            _ => return false,
        };
        matches!(kind, StorageFull | QuotaExceeded)
    }

    /// The broker must abort at once, see [`LogError::Fsync`].
    pub fn is_fatal(&self) -> bool {
        matches!(self, LogError::Fsync { .. })
    }

    pub fn code(&self) -> ErrorCode {
        match self {
            LogError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            LogError::Corrupt { .. } | LogError::Discontinuous { .. } => ErrorCode::CorruptMessage,
            LogError::Io { .. }
            | LogError::Fsync { .. }
            | LogError::Torn { .. }
            | LogError::NotOurs { .. } => ErrorCode::KafkaStorageError,
        }
    }
}

/// An append was refused; nothing was written.
#[derive(thiserror::Error, Debug)]
pub enum AppendError {
    /// The batch broke a rule. `records` names the offending ones where there are any.
    #[error("{}", .0.message)]
    Invalid(Invalid),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl AppendError {
    pub fn code(&self) -> ErrorCode {
        match self {
            AppendError::Invalid(invalid) => invalid.code,
            AppendError::Log(error) => error.code(),
        }
    }

    pub(crate) fn invalid(code: ErrorCode, message: impl Into<String>) -> AppendError {
        AppendError::Invalid(Invalid { code, message: message.into(), records: Vec::new() })
    }
}

impl From<Invalid> for AppendError {
    fn from(invalid: Invalid) -> AppendError {
        AppendError::Invalid(invalid)
    }
}
