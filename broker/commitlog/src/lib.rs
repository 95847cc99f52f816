//! The log of one partition on one broker: segments of record batches, their indexes and
//! checkpoints, in Kafka's file formats. [`Log`] is the single owner that appends; [`LogReader`]
//! is a cheap view that reads without the owner's lock. All IO goes through [`fs::Fs`]; time is
//! an argument; there is no thread and no clock in here.

pub mod checkpoint;
mod config;
mod error;
pub mod fs;
mod log;
mod read;

pub use config::{LogConfig, LogContext};
pub use error::{AppendError, LogError};
pub use log::{
    AppendInfo, DeletedFiles, EpochEndOffset, FlushWork, FollowerAppend, LoadState, Log,
    ProducerSnapshotEntry, RecoveryReport, TimestampOffset, TruncateInfo,
};
pub use read::{AbortedTransaction, Access, FetchSlice, LogReader, ReadError, SegmentFile};
pub use record::{Invalid, InvalidRecord, Origin, TargetCompression, TimestampType};
