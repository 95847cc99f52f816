//! The log of one partition on one broker: segments of record batches, their indexes and
//! checkpoints, in Kafka's file formats. [`Log`] is the single owner that appends; [`LogReader`]
//! is a cheap view that reads without the owner's lock. All IO goes through [`fs::Fs`]; time is
//! an argument; there is no thread and no clock in here.

mod aborted_index;
mod access;
mod append;
pub mod checkpoint;
mod checkpoints;
mod clean;
mod config;
pub mod directory;
mod epoch_cache;
mod error;
mod flush;
mod format;
pub mod fs;
mod index;
mod invariants;
mod inventory;
mod log;
mod lookup;
mod producer_snapshot;
mod producer_state;
mod read;
mod recovery;
mod reopen;
mod replay;
mod retention;
mod scan;
mod segment;
mod truncate;
mod verification;

#[cfg(test)]
mod tests;

pub use access::{Access, ReadError};
pub use append::{TransactionMarker, Validated};
pub use checkpoints::{CheckpointWriter, Checkpoints, Position};
pub use clean::{CleanError, CleanLimits, CleanStats, CleanWork, CleanedGroup, Cleaning, Dirt};
pub use config::{LogConfig, LogContext};
pub use epoch_cache::EpochEndOffset;
pub use error::{AppendError, LogError};
pub use flush::{FlushWork, Flushed};
pub use fs::SegmentFile;
pub use log::{
    AppendInfo, DeletedFiles, FollowerAppend, LoadState, Log, ProducerSnapshotEntry,
    RecoveryReport, TimestampOffset, TruncateInfo,
};
pub use read::{AbortedTransaction, FetchSlice, LogReader};
pub use record::{Effort, Invalid, InvalidRecord, Origin, TargetCompression, TimestampType};
pub use reopen::{ReopenWork, Reopened};
pub use verification::{VerificationGuard, VerificationStart};
