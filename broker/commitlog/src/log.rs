//! The owner of one partition's log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{LeaderEpoch, Offset, ProducerId, TimestampMs, TopicPartition};
use record::Origin;

use crate::{AppendError, LogConfig, LogContext, LogError, LogReader};

/// What the checkpoints of the log directory say about a log at start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LoadState {
    /// The marker of a clean shutdown was there: no scan, indexes are trusted.
    pub clean_shutdown: bool,
    /// Everything below was flushed. 0 if unknown.
    pub recovery_point: Offset,
    /// 0 if unknown.
    pub log_start: Offset,
}

/// What opening a log had to do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RecoveryReport {
    pub segments: usize,
    pub segments_scanned: usize,
    pub bytes_scanned: u64,
    pub indexes_rebuilt: usize,
    /// Bytes cut off at the first bad batch, later segments included.
    pub bytes_truncated: u64,
    /// One sentence per finding worth a log line.
    pub findings: Vec<String>,
}

/// A successful append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AppendInfo {
    pub first_offset: Offset,
    pub last_offset: Offset,
    /// -1 unless the topic stamps batches itself.
    pub log_append_time: TimestampMs,
    pub log_start_offset: Offset,
    /// The batch was in the log already; the offsets are those of then, nothing was written.
    pub duplicate: bool,
    pub bytes: usize,
    pub records: i32,
    /// A new segment was begun: [`Log::flush_work`] should run soon, off this path.
    pub rolled: bool,
}

/// A successful append of replicated batches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FollowerAppend {
    /// Log end offset after the append.
    pub end_offset: Offset,
    pub bytes: usize,
    pub last_epoch: LeaderEpoch,
    pub rolled: bool,
}

/// Where an epoch ended: the answer of OffsetForLeaderEpoch. (-1, -1) if unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEndOffset {
    pub epoch: LeaderEpoch,
    pub end_offset: Offset,
}

/// The answer of a timestamp lookup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimestampOffset {
    pub timestamp: TimestampMs,
    pub offset: Offset,
    pub leader_epoch: LeaderEpoch,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TruncateInfo {
    pub end_offset: Offset,
    pub removed_records: i64,
}

/// Files renamed to `.deleted`, to be unlinked once `due_ms` has passed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeletedFiles {
    pub due_ms: TimestampMs,
    pub paths: Vec<PathBuf>,
}

/// One producer's state, for DescribeProducers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerSnapshotEntry {
    pub producer_id: ProducerId,
    pub producer_epoch: i16,
    pub last_sequence: i32,
    pub last_timestamp: TimestampMs,
    pub coordinator_epoch: i32,
    pub current_txn_first_offset: Option<Offset>,
}

/// Makes everything below [`FlushWork::offset`] durable. Run it on a thread that may block, then
/// tell the log by [`Log::flushed`].
#[must_use]
pub struct FlushWork {}

impl FlushWork {
    pub fn offset(&self) -> Offset {
        unimplemented!()
    }

    /// [`LogError::Fsync`] is fatal to the process.
    pub fn run(&self) -> Result<Offset, LogError> {
        unimplemented!()
    }
}

pub struct Log {}

impl Log {
    /// Opens or creates the log in `dir` (`<log dir>/<topic>-<partition>`), recovering it as the
    /// table in `recovery.rs` says.
    pub fn open(
        _context: &LogContext,
        _dir: &Path,
        _partition: TopicPartition,
        _config: Arc<LogConfig>,
        _state: LoadState,
        _now_ms: TimestampMs,
    ) -> Result<(Log, RecoveryReport), LogError> {
        unimplemented!()
    }

    pub fn dir(&self) -> &Path {
        unimplemented!()
    }

    pub fn partition(&self) -> &TopicPartition {
        unimplemented!()
    }

    pub fn reader(&self) -> LogReader {
        unimplemented!()
    }

    pub fn config(&self) -> &Arc<LogConfig> {
        unimplemented!()
    }

    pub fn update_config(&mut self, _config: Arc<LogConfig>) {
        unimplemented!()
    }

    pub fn start_offset(&self) -> Offset {
        unimplemented!()
    }

    /// Offset of the next record (LEO).
    pub fn end_offset(&self) -> Offset {
        unimplemented!()
    }

    /// Everything below is known to be durable.
    pub fn recovery_point(&self) -> Offset {
        unimplemented!()
    }

    /// Bytes of all segments' log files.
    pub fn size(&self) -> u64 {
        unimplemented!()
    }

    /// Appends what a producer or a coordinator sent: one or more whole batches, uncopied. The
    /// bytes stay as they are; offsets and epoch are patched on the way to the file. All batches
    /// are validated before the first is written.
    pub fn append_as_leader(
        &mut self,
        _batches: &[u8],
        _epoch: LeaderEpoch,
        _origin: Origin,
        _now_ms: TimestampMs,
    ) -> Result<AppendInfo, AppendError> {
        unimplemented!()
    }

    /// Appends a fetched range verbatim: whole batches with offsets and epochs set; a cut-off
    /// last batch is ignored. Headers and CRCs are checked.
    pub fn append_as_follower(
        &mut self,
        _batches: &[u8],
        _now_ms: TimestampMs,
    ) -> Result<FollowerAppend, LogError> {
        unimplemented!()
    }

    /// Removes everything at and above `offset`. Batches are whole: one that spans `offset` goes.
    pub fn truncate_to(&mut self, _offset: Offset) -> Result<TruncateInfo, LogError> {
        unimplemented!()
    }

    /// Drops all data and starts at `offset` (a follower whose leader has nothing older).
    pub fn truncate_fully_and_start_at(
        &mut self,
        _offset: Offset,
        _now_ms: TimestampMs,
    ) -> Result<Option<DeletedFiles>, LogError> {
        unimplemented!()
    }

    /// Notes that `epoch` begins at `start`; written to `leader-epoch-checkpoint` at once.
    pub fn assign_epoch(&mut self, _epoch: LeaderEpoch, _start: Offset) -> Result<(), LogError> {
        unimplemented!()
    }

    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        unimplemented!()
    }

    /// KIP-320: the largest known epoch at or below `epoch`, and where it ends.
    pub fn epoch_end_offset(&self, _epoch: LeaderEpoch) -> EpochEndOffset {
        unimplemented!()
    }

    /// Epoch of the record at `offset`.
    pub fn epoch_of(&self, _offset: Offset) -> Option<LeaderEpoch> {
        unimplemented!()
    }

    /// The first record with a timestamp at or after `timestamp`. May read the disk.
    pub fn offset_for_timestamp(
        &self,
        _timestamp: TimestampMs,
    ) -> Result<Option<TimestampOffset>, LogError> {
        unimplemented!()
    }

    /// The record with the largest timestamp (the first of them). May read the disk.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampOffset>, LogError> {
        unimplemented!()
    }

    /// Deletes old segments by time, size and log start. Only what lies below
    /// `high_watermark` goes. Files are renamed now and unlinked by
    /// [`Log::take_due_deletions`].
    pub fn retention(
        &mut self,
        _now_ms: TimestampMs,
        _high_watermark: Offset,
    ) -> Result<usize, LogError> {
        unimplemented!()
    }

    /// Files whose delay is over; unlink them on a thread that may block.
    pub fn take_due_deletions(&mut self, _now_ms: TimestampMs) -> Vec<PathBuf> {
        unimplemented!()
    }

    /// DeleteRecords, and a follower's catch-up with its leader's log start: moves the start up
    /// to `offset`, which is at most the high watermark.
    pub fn delete_records(
        &mut self,
        _offset: Offset,
        _high_watermark: Offset,
    ) -> Result<(), LogError> {
        unimplemented!()
    }

    /// Begins a new segment if the active one is older than `segment.ms`.
    pub fn roll_if_needed(&mut self, _now_ms: TimestampMs) -> Result<bool, LogError> {
        unimplemented!()
    }

    /// Work that makes all that is in the log now durable; `None` if it is already.
    pub fn flush_work(&mut self) -> Option<FlushWork> {
        unimplemented!()
    }

    /// `flush.messages` or `flush.ms` ask for a flush now.
    pub fn flush_due(&self, _now_ms: TimestampMs) -> bool {
        unimplemented!()
    }

    /// The work is done: the recovery point moves up to `offset`.
    pub fn flushed(&mut self, _offset: Offset, _now_ms: TimestampMs) {
        unimplemented!()
    }

    /// First offset of the oldest transaction that is open, or decided above the high watermark.
    /// The last stable offset is the smaller of this and the high watermark.
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        unimplemented!()
    }

    /// Lets decided transactions below the high watermark become stable.
    pub fn on_high_watermark(&mut self, _high_watermark: Offset) {
        unimplemented!()
    }

    /// Forgets producers that wrote nothing for `producer.id.expiration.ms`.
    pub fn expire_producers(&mut self, _now_ms: TimestampMs) -> usize {
        unimplemented!()
    }

    pub fn producers(&self) -> Vec<ProducerSnapshotEntry> {
        unimplemented!()
    }

    /// Flushes, writes the producer snapshot and trims indexes. After it the clean-shutdown
    /// marker may be written. Blocks.
    pub fn close(&mut self) -> Result<(), LogError> {
        unimplemented!()
    }
}
