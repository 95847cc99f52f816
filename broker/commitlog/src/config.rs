//! Settings of one log, already validated and typed, and what all logs of a broker share.

use std::sync::Arc;

use record::{TargetCompression, TimestampType};

use crate::fs::{FileCache, Fs};

/// Topic-level settings under Kafka's names. Sizes in bytes, times in milliseconds; -1 is "no
/// limit" for retention as in Kafka.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogConfig {
    pub segment_bytes: u32,
    pub segment_ms: i64,
    /// How much earlier than `segment_ms` this log rolls, so that partitions created together
    /// do not roll together; the caller draws it from 0..=`segment.jitter.ms`.
    pub segment_jitter_ms: i64,
    pub segment_index_bytes: u32,
    pub index_interval_bytes: u32,
    pub retention_ms: i64,
    pub retention_bytes: i64,
    pub file_delete_delay_ms: i64,
    pub max_message_bytes: u32,
    /// Of one record in a compressed batch.
    pub max_decompressed_message_bytes: i32,
    pub delete_retention_ms: i64,
    /// `min.cleanable.dirty.ratio` in millionths.
    pub min_cleanable_ratio_ppm: u32,
    pub min_compaction_lag_ms: i64,
    pub max_compaction_lag_ms: i64,
    /// `cleanup.policy` contains `delete` / `compact`.
    pub delete: bool,
    pub compact: bool,
    pub compression: TargetCompression,
    pub message_timestamp_type: TimestampType,
    pub message_timestamp_before_max_ms: i64,
    pub message_timestamp_after_max_ms: i64,
    pub flush_messages: i64,
    pub flush_ms: i64,
    pub producer_id_expiration_ms: i64,
    /// Nothing of a client opens a transaction that its coordinator does not know of
    /// (`transaction.partition.verification.enable`).
    pub transaction_verification: bool,
}

impl LogConfig {
    /// Age at which the active segment is closed: a compacted log must not keep records out of the
    /// cleaner's reach for longer than `max.compaction.lag.ms`.
    pub(crate) fn segment_ms_max(&self) -> i64 {
        match self.compact && self.max_compaction_lag_ms > 0 {
            true => self.segment_ms.min(self.max_compaction_lag_ms),
            false => self.segment_ms,
        }
    }

    /// Kafka's defaults (4.4), which a topic's overrides then change.
    pub fn kafka_defaults() -> LogConfig {
        const WEEK_MS: i64 = 7 * 24 * 60 * 60 * 1000;
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: WEEK_MS,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_ms: WEEK_MS,
            retention_bytes: -1,
            file_delete_delay_ms: 60_000,
            max_message_bytes: 1_048_588,
            max_decompressed_message_bytes: i32::MAX - 8,
            delete_retention_ms: 86_400_000,
            min_cleanable_ratio_ppm: 500_000,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            delete: true,
            compact: false,
            compression: TargetCompression::Producer,
            message_timestamp_type: TimestampType::CreateTime,
            message_timestamp_before_max_ms: i64::MAX,
            message_timestamp_after_max_ms: 3_600_000,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            producer_id_expiration_ms: 86_400_000,
            transaction_verification: true,
        }
    }
}

/// What the logs of one broker share.
#[derive(Clone, Debug)]
pub struct LogContext {
    pub fs: Arc<dyn Fs>,
    /// Bounds how many segment and index files are open at once.
    pub files: Arc<FileCache>,
}

impl LogContext {
    pub fn new(fs: Arc<dyn Fs>, open_files_max: usize) -> LogContext {
        LogContext { fs, files: FileCache::new(open_files_max) }
    }
}
