//! The owner of one partition's log. This file has the state and its accessors; what is done to
//! it lives beside: `append`, `flush`, `truncate`, `retention`, `lookup`, `recovery`.
//!
//! Invariants, asserted by [`Log::validate`] after every change where debug assertions are on:
//! - start offset <= end offset; recovery point <= synced offset <= end offset.
//! - Segments are sorted, the active one is the last, each ends at or before the next begins.
//! - The active segment ends at the log's end offset.
//! - Epochs begin at or below the end offset.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use base::{LeaderEpoch, Offset, ProducerId, TimestampMs, TopicPartition};
use parking_lot::{Mutex, RwLock};

use crate::epoch_cache::{EpochCache, EpochEndOffset};
use crate::producer_state::ProducerState;
use crate::read::{LogReader, Shared};
use crate::segment::Segment;
use crate::verification::{VerificationGuard, VerificationStart, Verifications};
use crate::{LogConfig, LogContext, LogError, producer_snapshot};

/// What the checkpoints of the log directory say about a log at start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LoadState {
    /// The marker of a clean shutdown was there: no scan, indexes are trusted.
    pub clean_shutdown: bool,
    /// Everything below was flushed. 0 if unknown.
    pub recovery_point: Offset,
    /// 0 if unknown.
    pub log_start: Offset,
    /// Everything below was cleaned by keys. 0 if unknown.
    pub cleaned: Offset,
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
    /// Bytes taken; a cut-off last batch is not, nor what the disk refused behind the first ones.
    pub bytes: usize,
    pub last_epoch: LeaderEpoch,
    pub rolled: bool,
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

pub struct Log {
    pub(crate) partition: TopicPartition,
    pub(crate) dir: Arc<Path>,
    pub(crate) config: Arc<LogConfig>,
    pub(crate) context: LogContext,
    pub(crate) shared: Arc<Shared>,
    pub(crate) active: Arc<Segment>,
    pub(crate) roll: RollState,
    /// Bytes of the sealed segments.
    pub(crate) sealed_bytes: u64,
    /// Data, indexes, epochs and a producer snapshot below this are durable.
    pub(crate) recovery_point: Offset,
    /// Data below this is durable.
    pub(crate) synced: Offset,
    /// Base offset of the first segment whose indexes may not be durable.
    pub(crate) sealed: Offset,
    /// The newest segment whose name is durable, by its base offset; -1 if none is known to be.
    pub(crate) named: Offset,
    pub(crate) last_sync_ms: TimestampMs,
    pub(crate) epochs: EpochCache,
    /// Counts changes of `epochs`; those up to `epochs_flushed` are in the checkpoint file.
    pub(crate) epochs_version: u64,
    pub(crate) epochs_flushed: u64,
    pub(crate) producers: ProducerState,
    pub(crate) verifications: Verifications,
    pub(crate) snapshots: Snapshots,
    pub(crate) deletions: Vec<DeletedFiles>,
    /// Everything below was cleaned by keys; at most the end.
    pub(crate) cleaned: Offset,
    /// Counts segments that took the place of others.
    pub(crate) replacements: u32,
    /// Counts truncations. Flush work holds the lock while it writes snapshots, so that none of
    /// a history that was cut off reaches the directory.
    pub(crate) history: Arc<Mutex<u64>>,
    /// The same count. Only this log changes it, and reading it here waits for no snapshot.
    pub(crate) truncations: u64,
    /// A cut is under way, or failed: see `reopen.rs`.
    pub(crate) is_torn: bool,
}

// Tens of thousands of idle partitions: their cost is a few of these.
const _: () = assert!(size_of::<Log>() <= 784 && size_of::<Segment>() <= 512);

/// What decides when the active segment is full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RollState {
    pub created_ms: TimestampMs,
    /// Largest timestamp of the first batch.
    pub first_timestamp: Option<TimestampMs>,
    pub bytes_since_index: u64,
}

impl RollState {
    pub fn new(now_ms: TimestampMs) -> RollState {
        RollState { created_ms: now_ms, first_timestamp: None, bytes_since_index: 0 }
    }
}

/// Producer snapshots: on disk, and taken at a roll but not written yet.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    pub on_disk: BTreeSet<Offset>,
    pub pending: Vec<(Offset, Vec<u8>)>,
}

impl Log {
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    pub fn reader(&self) -> LogReader {
        LogReader { shared: self.shared.clone() }
    }

    pub fn config(&self) -> &Arc<LogConfig> {
        &self.config
    }

    pub fn update_config(&mut self, config: Arc<LogConfig>) {
        self.config = config;
    }

    pub fn start_offset(&self) -> Offset {
        self.shared.start.load(Ordering::Relaxed)
    }

    /// Offset of the next record.
    pub fn end_offset(&self) -> Offset {
        self.shared.end.load(Ordering::Relaxed)
    }

    /// Everything below is known to be durable, as is what makes a restart quick.
    pub fn recovery_point(&self) -> Offset {
        self.recovery_point
    }

    /// All records below are known to be durable.
    pub fn synced_offset(&self) -> Offset {
        self.synced
    }

    /// Bytes of all segments' log files.
    pub fn size(&self) -> u64 {
        self.sealed_bytes + self.active.size()
    }

    /// Notes that `epoch` begins at `start` (a leader does so when elected, with its log end).
    /// In memory until the next flush: what is lost by a crash before is an epoch without
    /// records, which no other replica can have seen records of either.
    pub fn assign_epoch(&mut self, epoch: LeaderEpoch, start: Offset) -> Result<(), LogError> {
        // One that is older than what is known cannot begin here: it would erase the later ones,
        // and followers would be told to cut off what they have of them.
        if self.epochs.latest().is_none_or(|latest| latest < epoch) {
            self.note_epoch(epoch, start);
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn note_epoch(&mut self, epoch: LeaderEpoch, start: Offset) {
        self.epochs_version += u64::from(self.epochs.assign(epoch, start));
    }

    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest()
    }

    /// KIP-320: the largest known epoch at or below `epoch`, and where it ends.
    pub fn epoch_end_offset(&self, epoch: LeaderEpoch) -> EpochEndOffset {
        self.epochs.end_offset(epoch, self.end_offset())
    }

    /// Epoch of the record at `offset`.
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.epoch_of(offset)
    }

    /// First offset of the oldest transaction that is open, or decided above the high watermark.
    /// The last stable offset is the smaller of this and the high watermark.
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        let first = self.producers.first_unstable_offset()?;
        Some(first.max(self.start_offset()))
    }

    /// Lets decided transactions below the high watermark become stable.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        self.producers.on_high_watermark(high_watermark);
    }

    /// Forgets producers that wrote nothing for `producer.id.expiration.ms`.
    pub fn expire_producers(&mut self, now_ms: TimestampMs) -> usize {
        let expiration_ms = self.config.producer_id_expiration_ms;
        self.verifications.expire(now_ms, expiration_ms);
        self.producers.expire(now_ms, expiration_ms)
    }

    /// A batch is to be appended that may begin a transaction here. `None`: that one is open, or
    /// nobody has to be asked; else its coordinator has to know of it before
    /// [`Log::append_verified`] takes the batch with this guard.
    pub fn start_verification(
        &mut self,
        start: VerificationStart,
        now_ms: TimestampMs,
    ) -> Option<VerificationGuard> {
        let is_open = self.producers.has_open(start.producer_id, start.epoch);
        // A producer of the second version adds its partitions by no other way.
        let must_ask = self.config.transaction_verification || start.bumps_epoch;
        (must_ask && !is_open).then(|| self.verifications.start(start, now_ms))
    }

    pub fn producers(&self) -> Vec<ProducerSnapshotEntry> {
        self.producers.describe()
    }

    /// Begins a new segment at the log's end. Creates one file; the old segment's indexes and the
    /// producer snapshot are written by the flush that the caller schedules.
    pub(crate) fn roll(&mut self, now_ms: TimestampMs) -> Result<(), LogError> {
        let end = self.end_offset();
        let segment = Arc::new(Segment::new(&self.dir, end));
        create_log_file(&segment, &self.context)?;
        self.active.index_time(&self.context);
        self.active.seal();
        self.sealed_bytes += self.active.size();
        self.snapshots.pending.push((end, producer_snapshot::encode(&self.producers)));
        let mut segments = self.shared.segments().to_vec();
        segments.push(segment.clone());
        self.publish(segments);
        self.active = segment;
        self.roll = RollState::new(now_ms);
        self.validate_after();
        Ok(())
    }

    /// Replaces the readers' list of segments.
    pub(crate) fn publish(&self, segments: Vec<Arc<Segment>>) {
        debug_assert!(!segments.is_empty());
        *self.shared.segments.write() = Arc::new(segments);
    }

    pub(crate) fn set_end(&self, end: Offset) {
        self.shared.end.store(end, Ordering::Release);
    }

    pub(crate) fn set_start(&self, start: Offset) {
        self.shared.start.store(start, Ordering::Release);
    }
}

pub(crate) fn create_log_file(segment: &Segment, context: &LogContext) -> Result<(), LogError> {
    let file = segment
        .log
        .create(&*context.fs, &context.files)
        .map_err(|e| LogError::io("create", &segment.log.path(), e))?;
    // Normally new and empty; a leftover of a roll that was cut short by an error is emptied.
    match file.len() {
        Ok(0) => Ok(()),
        Ok(_) => file.set_len(0).map_err(|e| LogError::io("truncate", &segment.log.path(), e)),
        Err(e) => Err(LogError::io("stat", &segment.log.path(), e)),
    }
}

pub(crate) fn new_shared(
    context: &LogContext,
    segments: Vec<Arc<Segment>>,
    start: Offset,
    end: Offset,
) -> Arc<Shared> {
    Arc::new(Shared {
        context: context.clone(),
        segments: RwLock::new(Arc::new(segments)),
        start: AtomicI64::new(start),
        end: AtomicI64::new(end),
    })
}
