//! The append path. A batch is checked in one pass, its offsets and epoch are patched in a copy
//! of the 61-byte header, and header and body go to the file in one vectored write: the request's
//! bytes are neither copied nor changed, and nothing is allocated. No fsync, no index write and
//! no other file happens here, except that a full segment creates its successor.
//!
//! Validation needs nothing of the log but its settings, so that it runs before the partition's
//! lock is taken ([`Validated::new`]): a batch may expand to hundreds of megabytes, and a caller
//! that may not take long says how much it is ready for ([`Validated::within`]). What depends on
//! the log's state (offsets, epoch, sequence numbers) is decided when it is appended.
//!
//! Order: everything is validated, then a segment is rolled if needed, then the file is written,
//! then indexes and producer state are updated, and last the end offset is published. An error
//! before the publication leaves the log as it was. One append of a leader is one batch, so that it
//! is in the log or it is not.

use std::io::IoSlice;

use base::{ErrorCode, LeaderEpoch, ProducerId, TimestampMs, TopicPartition};
use record::{
    Batch, BatchError, BatchHeader, Compression, ControlRecord, Effort, HEADER_BYTES, Origin,
    Rules, TargetCompression, TimestampType, Verdict, batches, end_transaction_marker, records,
    validate_within,
};

use crate::log::{AppendInfo, FollowerAppend, Log};
use crate::producer_state::Sequence;
use crate::verification::{Proof, VerificationGuard};
use crate::{AppendError, LogConfig, LogError};

/// Positions in a segment are Kafka's signed 32-bit integers.
const SEGMENT_BYTES_MAX: u64 = i32::MAX as u64;
/// A control batch holds one tiny record.
const CONTROL_BYTES_MAX: usize = 64 * 1024;

impl Log {
    /// Appends what a producer or a coordinator sent: one whole batch, uncopied. The bytes stay as
    /// they are; offsets and epoch are patched on the way to the file.
    pub fn append_as_leader(
        &mut self,
        bytes: &[u8],
        epoch: LeaderEpoch,
        origin: Origin,
        now_ms: TimestampMs,
    ) -> Result<AppendInfo, AppendError> {
        let (config, partition) = (&self.config, &self.partition);
        let validated = Validated::new(bytes, config, partition, origin, now_ms)?;
        self.append_validated(&validated, epoch, now_ms)
    }

    /// As [`Log::append_as_leader`], for what was validated before.
    pub fn append_validated(
        &mut self,
        validated: &Validated<'_>,
        epoch: LeaderEpoch,
        now_ms: TimestampMs,
    ) -> Result<AppendInfo, AppendError> {
        self.append_verified(validated, epoch, now_ms, None)
    }

    /// As [`Log::append_validated`], with the guard of what the transaction's coordinator said.
    pub fn append_verified(
        &mut self,
        validated: &Validated<'_>,
        epoch: LeaderEpoch,
        now_ms: TimestampMs,
        guard: Option<VerificationGuard>,
    ) -> Result<AppendInfo, AppendError> {
        let Validated { checked, origin, transaction_version } = validated;
        self.check_whole()?;
        let mut header = checked.verdict.header;
        let body = match &checked.verdict.rebuilt {
            Some(rebuilt) => &rebuilt[HEADER_BYTES..],
            None => checked.batch.body(),
        };
        let log_append_time = match header.attributes.timestamp_type() {
            TimestampType::CreateTime => -1,
            TimestampType::LogAppendTime => {
                // Stamped when it was validated; what overtook it since was stamped later. (The
                // clock bounds what producers may have stamped before the topic did.)
                let latest = self.active.max_timestamp().min(now_ms);
                if header.max_timestamp < latest {
                    header.max_timestamp = latest;
                    header = header.with_crc_of(body);
                }
                header.max_timestamp
            }
        };
        let info = AppendInfo {
            first_offset: 0,
            last_offset: 0,
            log_append_time,
            log_start_offset: self.start_offset(),
            duplicate: false,
            bytes: header.size(),
            records: header.record_count,
            rolled: false,
        };
        if let Some(marker) = &checked.marker {
            self.producers.check_marker(&header, marker, *transaction_version)?;
        } else if !header.is_control()
            && let Sequence::Duplicate(batch) = self.check_producer(&header, *origin, guard)?
        {
            let log_append_time = if log_append_time < 0 { -1 } else { batch.timestamp };
            return Ok(AppendInfo {
                first_offset: batch.first_offset(),
                last_offset: batch.last_offset,
                log_append_time,
                duplicate: true,
                ..info
            });
        }
        header.base_offset = self.end_offset();
        header.leader_epoch = epoch;
        let rolled = self.roll_for(&header, now_ms)?;
        let mut head = [0; HEADER_BYTES];
        header.write(&mut head);
        self.write(&[IoSlice::new(&head), IoSlice::new(body)])?;
        self.appended(&header, checked.marker.as_ref())?;
        let (first_offset, last_offset) = (header.base_offset, header.last_offset());
        Ok(AppendInfo { first_offset, last_offset, rolled, ..info })
    }

    fn check_producer(
        &self,
        header: &BatchHeader,
        origin: Origin,
        guard: Option<VerificationGuard>,
    ) -> Result<Sequence, AppendError> {
        let is_required = self.config.transaction_verification;
        let verification = self.verifications.get(header.producer_id);
        self.producers.check(header, origin, &Proof { is_required, verification, guard })
    }

    /// Appends a fetched range verbatim: whole batches with offsets and epochs set; a cut-off
    /// last batch is ignored. Headers and CRCs are checked. An empty log whose offset lies within
    /// the first batch starts anew where that batch does: the leader's start may be mid-batch.
    ///
    /// Where the disk takes only the first of them, that is a success of so many bytes: the caller
    /// must hear where the log ends now. The next call meets the error, with nothing written.
    pub fn append_as_follower(
        &mut self,
        bytes: &[u8],
        now_ms: TimestampMs,
    ) -> Result<FollowerAppend, LogError> {
        self.check_whole()?;
        if let Some(Ok(first)) = batches(bytes).next()
            && self.start_offset() == self.end_offset()
            && (first.header.base_offset + 1..=first.header.last_offset())
                .contains(&self.end_offset())
        {
            self.restart_at(first.header.base_offset)?;
        }
        let accepted = self.check_replicated(bytes)?;
        let mut rest = &bytes[..accepted];
        let mut rolled = false;
        while !rest.is_empty() {
            match self.append_next(rest, now_ms, &mut rolled) {
                Ok(size) => rest = &rest[size..],
                Err(_) if rest.len() < accepted => break,
                Err(error) => return Err(error),
            }
        }
        let last_epoch = self.latest_epoch().unwrap_or(-1);
        let bytes = accepted - rest.len();
        Ok(FollowerAppend { end_offset: self.end_offset(), bytes, last_epoch, rolled })
    }

    /// Appends what goes into one segment, or the first batches of it; returns their bytes.
    fn append_next(
        &mut self,
        bytes: &[u8],
        now_ms: TimestampMs,
        rolled: &mut bool,
    ) -> Result<usize, LogError> {
        let mut run = self.run_until_roll(bytes);
        if run == 0 {
            let header = BatchHeader::parse(bytes).map_err(|e| self.bad_batch(e))?;
            *rolled |= self.roll_for(&header, now_ms)?;
            run = header.size();
        }
        self.append_run(&bytes[..run])
    }

    /// Checks all whole batches; returns how many bytes they are.
    fn check_replicated(&self, bytes: &[u8]) -> Result<usize, LogError> {
        let mut expected = self.end_offset();
        let mut accepted = 0;
        for batch in batches(bytes) {
            let batch = match batch {
                Ok(batch) => batch,
                Err(BatchError::Truncated { .. }) => break,
                Err(e) => return Err(self.bad_batch(e)),
            };
            let header = batch.header;
            if header.base_offset < expected {
                return Err(LogError::Discontinuous { expected, found: header.base_offset });
            }
            batch.check_crc().map_err(|e| self.bad_batch(e))?;
            if header.last_offset_delta < 0 {
                return Err(self.bad_batch("negative offset delta"));
            }
            expected = header.next_offset();
            accepted += batch.bytes.len();
        }
        Ok(accepted)
    }

    fn bad_batch(&self, reason: impl ToString) -> LogError {
        LogError::Corrupt { path: self.active.log.path(), reason: reason.to_string() }
    }

    /// Bytes of the batches at the start of `bytes` that still fit the active segment.
    fn run_until_roll(&self, bytes: &[u8]) -> usize {
        let mut run = 0;
        for batch in batches(bytes).flatten() {
            if self.must_roll(&batch.header, run as u64, None) {
                break;
            }
            run += batch.bytes.len();
        }
        run
    }

    /// One write for any number of batches, then the bookkeeping for each. Returns the bytes of
    /// those that are in the log now; an error only if that is none.
    fn append_run(&mut self, bytes: &[u8]) -> Result<usize, LogError> {
        self.write(&[IoSlice::new(bytes)])?;
        let mut done = 0;
        for batch in batches(bytes).flatten() {
            let marker = if batch.header.is_control() { parse_marker(&batch) } else { None };
            match self.appended(&batch.header, marker.as_ref()) {
                Ok(()) => done += batch.bytes.len(),
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Begins a new segment if the batch does not belong into the active one.
    fn roll_for(&mut self, header: &BatchHeader, now_ms: TimestampMs) -> Result<bool, LogError> {
        let must_roll = self.must_roll(header, 0, Some(now_ms));
        if must_roll && self.active.size() > 0 {
            self.roll(now_ms)?;
        }
        Ok(must_roll)
    }

    /// Kafka's rule, for a batch that would follow `ahead` more bytes than the segment has.
    /// Without a clock only the timestamps in the data decide about age.
    fn must_roll(&self, header: &BatchHeader, ahead: u64, now_ms: Option<TimestampMs>) -> bool {
        let config = &*self.config;
        let size = self.active.size() + ahead;
        let limit = u64::from(config.segment_bytes).min(SEGMENT_BYTES_MAX);
        if size == 0 {
            return false;
        }
        let index_bytes = config.segment_index_bytes as usize;
        let age = match (self.roll.first_timestamp, now_ms) {
            (Some(first), _) if first >= 0 => header.max_timestamp.saturating_sub(first),
            (_, Some(now_ms)) => now_ms.saturating_sub(self.roll.created_ms),
            _ => 0,
        };
        size + header.size() as u64 > limit
            || age > config.segment_ms_max().saturating_sub(config.segment_jitter_ms)
            || header.last_offset() - self.active.base_offset > i64::from(i32::MAX)
            || (self.active.index.count() + 1) * 8 > index_bytes
            || (self.active.time_index.count() + 1) * 12 > index_bytes
    }

    /// Begins a new segment if the active one is older than `segment.ms`.
    pub fn roll_if_needed(&mut self, now_ms: TimestampMs) -> Result<bool, LogError> {
        self.check_whole()?;
        let config = &*self.config;
        let age = match self.roll.first_timestamp {
            Some(first) if first >= 0 => now_ms.saturating_sub(first),
            _ => now_ms.saturating_sub(self.roll.created_ms),
        };
        let due = age > config.segment_ms_max().saturating_sub(config.segment_jitter_ms);
        if due && self.active.size() > 0 {
            self.roll(now_ms)?;
            return Ok(true);
        }
        Ok(false)
    }

    fn write(&self, slices: &[IoSlice<'_>]) -> Result<(), LogError> {
        let position = self.active.size();
        let file = self.active.open(&self.context)?;
        file.write_all_at(slices, position).map_err(|e| {
            self.take_back();
            LogError::io("write", &self.active.log.path(), e)
        })
    }

    /// Something landed in the file that is not in the log. The next append overwrites it; until
    /// then a reader of the file (a restart, a tool) should not see it. Should this fail too,
    /// recovery cuts it.
    fn take_back(&self) {
        if let Ok(file) = self.active.open(&self.context) {
            let _ = file.set_len(self.active.size());
        }
    }

    /// The bookkeeping for a batch that is in the file, and its publication. Whatever may fail
    /// comes first: after an error the batch is not in the log.
    #[inline]
    fn appended(
        &mut self,
        header: &BatchHeader,
        marker: Option<&ControlRecord>,
    ) -> Result<(), LogError> {
        if let Some(marker) = marker {
            self.index_aborted(header, marker)?;
        }
        let position = self.active.size();
        self.active.note_timestamp(header.max_timestamp, header.last_offset());
        if self.roll.bytes_since_index > u64::from(self.config.index_interval_bytes) {
            self.active.index_batch(header, position, &self.context);
            self.roll.bytes_since_index = 0;
        }
        self.roll.bytes_since_index += header.size() as u64;
        self.roll.first_timestamp.get_or_insert(header.max_timestamp);
        self.note_epoch(header.leader_epoch, header.base_offset);
        match marker {
            Some(marker) => self.producers.marker(header, marker),
            // As a replay of the log takes it.
            None if header.is_control() => {}
            None => self.producers.appended(header),
        }
        if header.is_transactional() {
            self.verifications.end(header.producer_id);
        }
        self.active.appended(header);
        self.set_end(header.next_offset());
        self.validate_appended(header);
        Ok(())
    }

    /// Consumers of committed data would be given an aborted transaction that is not in the index.
    fn index_aborted(&self, header: &BatchHeader, marker: &ControlRecord) -> Result<(), LogError> {
        let Some(aborted) = self.producers.aborted_by(header, marker) else { return Ok(()) };
        self.active.aborted.append(&aborted, &self.context).inspect_err(|_| self.take_back())
    }
}

/// A batch that passed every check which needs nothing of the log but its settings.
pub struct Validated<'a> {
    checked: Checked<'a>,
    origin: Origin,
    /// Of a marker: the one that its producer speaks.
    transaction_version: i8,
}

/// What ends a producer's transaction in a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransactionMarker {
    pub producer_id: ProducerId,
    pub producer_epoch: i16,
    pub coordinator_epoch: i32,
    pub commit: bool,
    /// 2 where each transaction has its epoch.
    pub transaction_version: i8,
}

impl TransactionMarker {
    /// The control batch.
    pub fn encode(&self, now_ms: TimestampMs) -> Vec<u8> {
        let TransactionMarker { producer_id, producer_epoch, coordinator_epoch, commit, .. } =
            *self;
        end_transaction_marker(producer_id, producer_epoch, coordinator_epoch, commit, now_ms)
    }

    /// What [`TransactionMarker::encode`] gave, ready to be appended: no limit of the topic may
    /// keep a transaction open.
    pub fn validated<'a>(&self, bytes: &'a [u8]) -> Result<Validated<'a>, AppendError> {
        let batch = Batch::parse(bytes).map_err(record::Invalid::from)?;
        let marker = parse_marker(&batch);
        let verdict = Verdict { header: batch.header, rebuilt: None };
        let checked = Checked { batch, verdict, marker };
        let (origin, transaction_version) = (Origin::Coordinator, self.transaction_version);
        Ok(Validated { checked, origin, transaction_version })
    }
}

impl<'a> Validated<'a> {
    /// Checks one whole batch by the settings of the log that it is for. Allocates nothing where it
    /// stays as it is.
    pub fn new(
        bytes: &'a [u8],
        config: &LogConfig,
        partition: &TopicPartition,
        origin: Origin,
        now_ms: TimestampMs,
    ) -> Result<Validated<'a>, AppendError> {
        let effort = &mut { Effort::UNLIMITED };
        let validated = Validated::within(bytes, config, partition, origin, now_ms, effort)?;
        // Nothing takes more than that.
        validated.ok_or_else(|| AppendError::invalid(ErrorCode::MessageTooLarge, "takes too long"))
    }

    /// Whether checking them means to decompress or compress them.
    pub fn must_unpack(bytes: &[u8], config: &LogConfig) -> bool {
        let source = BatchHeader::parse(bytes).ok().and_then(|header| header.compression().ok());
        let is_target = match config.compression {
            TargetCompression::Producer => true,
            TargetCompression::Codec(codec, _) => source == Some(codec),
        };
        source.is_some_and(|source| source != Compression::None || !is_target)
    }

    /// As [`Validated::new`], and `None` if that takes more effort than is left.
    pub fn within(
        bytes: &'a [u8],
        config: &LogConfig,
        partition: &TopicPartition,
        origin: Origin,
        now_ms: TimestampMs,
        effort: &mut Effort,
    ) -> Result<Option<Validated<'a>>, AppendError> {
        let checked = Checked::within(bytes, config, partition, origin, now_ms, effort)?;
        let Some(checked) = checked else { return Ok(None) };
        if checked.batch.bytes.len() < bytes.len() {
            let message = "An append must have exactly one record batch";
            return Err(AppendError::invalid(ErrorCode::InvalidRecord, message));
        }
        Ok(Some(Validated { checked, origin, transaction_version: 0 }))
    }
}

impl<'a> Checked<'a> {
    fn within(
        bytes: &'a [u8],
        config: &LogConfig,
        partition: &TopicPartition,
        origin: Origin,
        now_ms: TimestampMs,
        effort: &mut Effort,
    ) -> Result<Option<Checked<'a>>, AppendError> {
        let batch = Batch::parse(bytes).map_err(record::Invalid::from)?;
        check_size(batch.bytes.len(), config, partition)?;
        let rules = Rules {
            origin,
            compacted: config.compact,
            timestamp_type: config.message_timestamp_type,
            timestamp_before_max_ms: config.message_timestamp_before_max_ms,
            timestamp_after_max_ms: config.message_timestamp_after_max_ms,
            compression: config.compression,
            decompressed_record_bytes_max: config.max_decompressed_message_bytes,
            now_ms,
        };
        let Some(verdict) = validate_within(&batch, &rules, effort)? else { return Ok(None) };
        if let Some(rebuilt) = &verdict.rebuilt {
            check_size(rebuilt.len(), config, partition)?;
        }
        let marker = if batch.header.is_control() { parse_marker(&batch) } else { None };
        Ok(Some(Checked { batch, verdict, marker }))
    }
}

fn check_size(
    size: usize,
    config: &LogConfig,
    partition: &TopicPartition,
) -> Result<(), AppendError> {
    let max = config.max_message_bytes as usize;
    if size > max {
        let message = format!(
            "The record batch size in the append to {partition} is {size} bytes which exceeds the \
             maximum configured value of {max}"
        );
        return Err(AppendError::invalid(ErrorCode::MessageTooLarge, message));
    }
    if size as u64 > u64::from(config.segment_bytes).min(SEGMENT_BYTES_MAX) {
        let message = format!("The record batch of {size} bytes is larger than a segment");
        return Err(AppendError::invalid(ErrorCode::RecordListTooLarge, message));
    }
    Ok(())
}

/// A batch that passed validation.
struct Checked<'a> {
    batch: Batch<'a>,
    verdict: Verdict,
    marker: Option<ControlRecord>,
}

/// The marker in a control batch with a producer; `None` for other control batches.
pub(crate) fn parse_marker(batch: &Batch<'_>) -> Option<ControlRecord> {
    if !batch.header.has_producer_id() {
        return None;
    }
    let records = records(batch, CONTROL_BYTES_MAX).ok()?;
    let first = records.iter().next()?.ok()?;
    ControlRecord::parse(&first)
}
