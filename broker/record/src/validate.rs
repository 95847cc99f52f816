//! What a leader checks before it appends a batch: Kafka's rules (`LogValidator`), in one light
//! pass over the record framing. Keys and values are skipped, not copied; compressed batches are
//! decompressed in a stream of bounded length and thrown away.
//!
//! Order of checks: header, CRC, then each record. A batch is built anew only if its topic
//! stores another codec or its records do not carry the offsets 0, 1, 2, ... relative to the
//! batch; else the producer's bytes are what is stored.

use base::{ErrorCode, TimestampMs};

use crate::batch::NO_TIMESTAMP;
use crate::walk::{self, Framing};
use crate::{
    Batch, BatchBuilder, BatchError, BatchHeader, BatchOptions, Compression, LimitExceeded,
    TimestampType, records,
};

/// Bytes that one batch may decompress to, whatever the topic says: the memory and the time of a
/// broker are no topic's.
pub const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;
/// Beyond [`EXPANSION_FREE`], a batch may expand so many times: what expands further is a bomb.
const EXPANSION_MAX: usize = 256;
/// What any batch may expand to, however small it is: a few records of one repeated byte.
const EXPANSION_FREE: usize = 16 << 20;
/// Bytes held in memory to build a batch anew in another codec.
const REBUILD_BYTES_MAX: usize = 64 << 20;
/// Building a byte anew takes so many times what looking at it takes.
const REBUILD_EFFORT: usize = 8;
/// The same for a record whose bytes are only skipped.
const RECORD_EFFORT: usize = 8;
/// Offending records named in one error.
const RECORDS_NAMED_MAX: usize = 100;

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
    /// This codec, at this level (`None`: the codec's default).
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
    /// Bytes of one record of a compressed batch (`max.decompressed.message.bytes`).
    pub decompressed_record_bytes_max: i32,
    pub now_ms: TimestampMs,
}

/// How much work a caller is ready for, in bytes that come out of a decompressor. The time that
/// validation takes goes by them, not by the bytes of the batch.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    left: usize,
    /// The first batch is worth any.
    is_first_free: bool,
}

impl Effort {
    pub const UNLIMITED: Effort = Effort { left: usize::MAX, is_first_free: false };

    /// So much for all batches together.
    pub const fn of(bytes: usize) -> Effort {
        Effort { left: bytes, is_first_free: false }
    }

    /// As much as the first batch takes, then what is left of this.
    pub const fn at_least_one(bytes: usize) -> Effort {
        Effort { left: bytes, is_first_free: true }
    }

    fn limit(&self) -> usize {
        if self.is_first_free { usize::MAX } else { self.left }
    }

    fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
        self.is_first_free = false;
    }
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

impl Invalid {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Invalid {
        Invalid { code, message: message.into(), records: Vec::new() }
    }

    fn record(message: impl Into<String>) -> Invalid {
        Invalid::new(ErrorCode::InvalidRecord, message)
    }
}

impl From<BatchError> for Invalid {
    fn from(error: BatchError) -> Invalid {
        let code = match error {
            BatchError::Codec(_) => ErrorCode::InvalidRecord,
            error => error.code(),
        };
        Invalid::new(code, error.to_string())
    }
}

/// What to append for a valid batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The header to write: timestamps and CRC final, base offset and leader epoch still the
    /// producer's.
    pub header: BatchHeader,
    /// The whole batch where it had to be built anew; else the producer's bytes stand.
    pub rebuilt: Option<Vec<u8>>,
}

/// The checks that need only the header.
pub fn validate_header(header: &BatchHeader, origin: Origin) -> Result<(), Invalid> {
    header.compression()?;
    if origin == Origin::Coordinator {
        return Ok(());
    }
    if header.base_offset != 0 {
        let offset = header.base_offset;
        return Err(Invalid::record(format!(
            "The base offset of the batch should be 0, not {offset}"
        )));
    }
    if header.record_count <= 0 {
        let count = header.record_count;
        return Err(Invalid::record(format!("Invalid reported count for record batch: {count}")));
    }
    if i64::from(header.last_offset_delta) + 1 != i64::from(header.record_count) {
        return Err(Invalid::record(format!(
            "Inconsistent batch offset range [0, {}] and count of records {}",
            header.last_offset_delta, header.record_count
        )));
    }
    if header.is_control() {
        return Err(Invalid::record("Clients are not allowed to write control records"));
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        return Err(Invalid::record(format!(
            "Invalid sequence number {} in record batch with producerId {}",
            header.base_sequence, header.producer_id
        )));
    }
    Ok(())
}

/// Checks a batch in full: header, CRC, framing of each record, keys and timestamps.
pub fn validate(batch: &Batch<'_>, rules: &Rules) -> Result<Verdict, Invalid> {
    let verdict = validate_within(batch, rules, &mut { Effort::UNLIMITED })?;
    // Nothing takes more than that.
    verdict.ok_or_else(|| too_large(usize::MAX))
}

/// As [`validate`]; `None` if that takes more than the effort that is left.
pub fn validate_within(
    batch: &Batch<'_>,
    rules: &Rules,
    effort: &mut Effort,
) -> Result<Option<Verdict>, Invalid> {
    let header = batch.header;
    validate_header(&header, rules.origin)?;
    batch.check_crc()?;
    if header.is_control() {
        return Ok(Some(Verdict { header, rebuilt: None }));
    }
    let source = header.compression()?;
    let mut check = RecordChecks::new(&header, rules);
    let visit = |framing| check.record(framing);
    let Some(bytes) = walk_within(batch, source, effort, visit)? else {
        return Ok(None);
    };
    let (max_timestamp, offsets_in_order) = check.finish()?;
    let (codec, level) = match rules.compression {
        TargetCompression::Producer => (source, None),
        TargetCompression::Codec(codec, level) => (codec, level),
    };
    let is_rebuilt = codec != source || !offsets_in_order;
    let effort_of_rebuilding = if is_rebuilt { bytes.saturating_mul(REBUILD_EFFORT) } else { 0 };
    if effort_of_rebuilding > effort.limit() {
        return Ok(None);
    }
    let looking = match source {
        Compression::None => effort_of_skipping(&header, batch.body().len()),
        _ => bytes,
    };
    effort.spend(looking.saturating_add(effort_of_rebuilding));
    if is_rebuilt {
        return rebuild(batch, bytes, codec, level, rules).map(Some);
    }
    let header = stamp(header, max_timestamp, rules, batch.body());
    Ok(Some(Verdict { header, rebuilt: None }))
}

/// What the pass over the records of an uncompressed batch takes, whatever their count says.
fn effort_of_skipping(header: &BatchHeader, body_bytes: usize) -> usize {
    const RECORD_BYTES_MIN: usize = 7;
    let count = usize::try_from(header.record_count).unwrap_or(0);
    count.min(body_bytes / RECORD_BYTES_MIN).saturating_mul(RECORD_EFFORT)
}

/// The pass over the records: how many bytes they are, or `None` if it takes too much.
fn walk_within(
    batch: &Batch<'_>,
    codec: Compression,
    effort: &Effort,
    visit: impl FnMut(Framing),
) -> Result<Option<usize>, Invalid> {
    let (header, body) = (&batch.header, batch.body());
    if codec == Compression::None && effort_of_skipping(header, body.len()) > effort.limit() {
        return Ok(None);
    }
    let most = body.len().saturating_mul(EXPANSION_MAX).max(EXPANSION_FREE);
    let most = most.min(DECOMPRESSED_BYTES_MAX);
    let is_short = effort.limit() < most;
    let limit = most.min(effort.limit());
    match walk::walk(codec, body, header.record_count, limit, visit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(walk::WalkError::Framing(what)) => Err(Invalid::record(what)),
        // Its window may be what is too large for so little: whoever may take long will tell.
        Err(walk::WalkError::Decompression(_)) if is_short => Ok(None),
        Err(walk::WalkError::Decompression(error)) if LimitExceeded::is(&error) => {
            Err(too_large(most))
        }
        Err(walk::WalkError::Decompression(error)) => {
            Err(Invalid::new(ErrorCode::CorruptMessage, format!("Decompression failed: {error}")))
        }
    }
}

/// Kafka has no such limit, so it has no code for it. Producers split a batch that is too large,
/// and never send a corrupt one differently.
fn too_large(most: usize) -> Invalid {
    let message = format!("The record batch expands to more than {most} bytes, the broker's limit");
    Invalid::new(ErrorCode::MessageTooLarge, message)
}

/// [`validate`] for bytes that may be anything: exactly one whole batch, as a produce request
/// must carry per partition.
pub fn validate_bytes(bytes: &[u8], rules: &Rules) -> Result<Verdict, Invalid> {
    let batch = Batch::parse(bytes)?;
    if batch.bytes.len() != bytes.len() {
        return Err(Invalid::record("Produce requests must carry exactly one record batch"));
    }
    validate(&batch, rules)
}

/// Sets type and largest timestamp as the topic wants them; the CRC only if something changed.
fn stamp(header: BatchHeader, max: TimestampMs, rules: &Rules, body: &[u8]) -> BatchHeader {
    let mut stamped = header;
    stamped.attributes = header.attributes.with_timestamp_type(rules.timestamp_type);
    stamped.max_timestamp = match rules.timestamp_type {
        TimestampType::CreateTime => max,
        TimestampType::LogAppendTime => rules.now_ms,
    };
    if stamped == header { header } else { stamped.with_crc_of(body) }
}

/// The per-record rules, and what the pass over the records found out.
struct RecordChecks<'a> {
    header: &'a BatchHeader,
    rules: &'a Rules,
    next: i32,
    max_timestamp: TimestampMs,
    offsets_in_order: bool,
    is_compressed: bool,
    bad_timestamp: bool,
    bad: usize,
    named: Vec<InvalidRecord>,
}

impl<'a> RecordChecks<'a> {
    fn new(header: &'a BatchHeader, rules: &'a Rules) -> RecordChecks<'a> {
        RecordChecks {
            header,
            rules,
            next: 0,
            max_timestamp: NO_TIMESTAMP,
            offsets_in_order: true,
            is_compressed: header.compression() != Ok(Compression::None),
            bad_timestamp: false,
            bad: 0,
            named: Vec::new(),
        }
    }

    #[inline]
    fn record(&mut self, framing: Framing) {
        // As readers see it: the attribute gives every record the batch's largest timestamp.
        let timestamp = match self.header.attributes.timestamp_type() {
            TimestampType::CreateTime => {
                self.header.base_timestamp.wrapping_add(framing.timestamp_delta)
            }
            TimestampType::LogAppendTime => self.header.max_timestamp,
        };
        self.offsets_in_order &= framing.offset_delta == self.next;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let most = self.rules.decompressed_record_bytes_max;
        if self.is_compressed && framing.size > most {
            let size = framing.size;
            self.refuse(|| {
                format!(
                    "Record of {size} bytes is larger than max.decompressed.message.bytes ({most})"
                )
            });
        } else if self.rules.compacted && !framing.has_key {
            self.refuse(|| "Compacted topic cannot accept message without key".to_owned());
        } else {
            self.check_timestamp(timestamp);
        }
        self.next += 1;
    }

    #[inline]
    fn check_timestamp(&mut self, timestamp: TimestampMs) {
        let Rules { now_ms, timestamp_before_max_ms, timestamp_after_max_ms, .. } = *self.rules;
        let from_producer = self.header.attributes.timestamp_type() == TimestampType::CreateTime;
        // Kafka's order: where a producer's time counts and there is one, only its range does.
        let is_told =
            self.rules.timestamp_type == TimestampType::CreateTime && timestamp != NO_TIMESTAMP;
        let outside = is_told
            && (now_ms.saturating_sub(timestamp) > timestamp_before_max_ms
                || timestamp.saturating_sub(now_ms) > timestamp_after_max_ms);
        if outside {
            self.bad_timestamp = true;
            self.refuse(|| {
                format!(
                    "Timestamp {timestamp} of message is out of range: it should be within \
                     [{}, {}]",
                    now_ms.saturating_sub(timestamp_before_max_ms),
                    now_ms.saturating_add(timestamp_after_max_ms)
                )
            });
        } else if !is_told && !from_producer {
            self.bad_timestamp = true;
            self.refuse(|| "Producer should not set timestamp type to LogAppendTime".to_owned());
        }
    }

    #[cold]
    fn refuse(&mut self, message: impl FnOnce() -> String) {
        self.bad += 1;
        if self.named.len() < RECORDS_NAMED_MAX {
            self.named.push(InvalidRecord { index: self.next, message: Some(message()) });
        }
    }

    fn finish(self) -> Result<(TimestampMs, bool), Invalid> {
        debug_assert!(self.named.len() <= self.bad, "a good record is named");
        if self.bad == 0 {
            return Ok((self.max_timestamp, self.offsets_in_order));
        }
        let (code, message) = if self.bad_timestamp {
            let message = "One or more records have been rejected due to invalid timestamp";
            (ErrorCode::InvalidTimestamp, message.to_owned())
        } else {
            let message = format!(
                "One or more records have been rejected due to {} record errors in total",
                self.bad
            );
            (ErrorCode::InvalidRecord, message)
        };
        Err(Invalid { code, message, records: self.named })
    }
}

/// A batch, whose records are so many bytes, in another codec or with offsets in order.
fn rebuild(
    batch: &Batch<'_>,
    bytes: usize,
    codec: Compression,
    level: Option<i32>,
    rules: &Rules,
) -> Result<Verdict, Invalid> {
    let header = &batch.header;
    if bytes > REBUILD_BYTES_MAX {
        return Err(too_large(REBUILD_BYTES_MAX));
    }
    let records = records(batch, REBUILD_BYTES_MAX)
        .map_err(|error| Invalid::new(ErrorCode::CorruptMessage, error.to_string()))?;
    let mut builder = BatchBuilder::new(BatchOptions {
        compression: codec,
        compression_level: level,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        transactional: header.is_transactional(),
        ..BatchOptions::default()
    });
    for record in records.iter() {
        let record = record.map_err(|error| Invalid::record(error.to_string()))?;
        builder.append_raw(record.timestamp, record.key, record.value, record.headers());
    }
    let mut built = builder.finish();
    let rebuilt = BatchHeader::parse(&built)?;
    let stamped = stamp(rebuilt, rebuilt.max_timestamp, rules, &built[crate::HEADER_BYTES..]);
    if let Some(head) = built.first_chunk_mut() {
        stamped.write(head);
    }
    Ok(Verdict { header: stamped, rebuilt: Some(built) })
}

#[cfg(test)]
mod tests;
