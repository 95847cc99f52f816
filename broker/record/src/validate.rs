//! What a leader checks before it appends a batch.

use base::{ErrorCode, TimestampMs};

use crate::{Batch, BatchHeader, Compression, TimestampType};

/// Who hands a batch to the leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A produce request: every rule applies.
    Client,
    /// A coordinator on this broker: it may write control batches.
    Coordinator,
}

/// The codec in which a topic stores batches (`compression.type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TargetCompression {
    /// As the producer sent them.
    #[default]
    Producer,
    Codec(Compression, Option<i32>),
}

/// The topic's rules and the broker's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    pub origin: Origin,
    /// `cleanup.policy` contains `compact`: records need a key.
    pub compacted: bool,
    pub timestamp_type: TimestampType,
    pub timestamp_before_max_ms: i64,
    pub timestamp_after_max_ms: i64,
    pub compression: TargetCompression,
    pub now_ms: TimestampMs,
}

/// One record that was refused, by its index in the batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InvalidRecord {
    pub index: i32,
    pub message: Option<String>,
}

/// Why a batch was refused, as the produce response says it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invalid {
    pub code: ErrorCode,
    pub message: String,
    pub records: Vec<InvalidRecord>,
}

/// What to append for a valid batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The header to write: timestamps and CRC final, base offset and leader epoch still the
    /// producer's.
    pub header: BatchHeader,
    /// Offset, relative to the base, of the first record with the largest timestamp.
    pub max_timestamp_delta: i32,
    /// The whole batch where it had to be built anew (other codec or inner offsets); else the
    /// producer's bytes stand.
    pub rebuilt: Option<Vec<u8>>,
}

/// The checks that need only the header.
pub fn validate_header(_header: &BatchHeader, _origin: Origin) -> Result<(), Invalid> {
    unimplemented!()
}

/// Checks a batch in full: header, CRC, framing of each record, keys and timestamps.
pub fn validate(_batch: &Batch<'_>, _rules: &Rules) -> Result<Verdict, Invalid> {
    unimplemented!()
}
