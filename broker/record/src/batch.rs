//! The 61-byte header of a batch, viewed and patched in place, and iteration over concatenated
//! batches. Base offset and leader epoch lie before the checksummed part, so a leader patches
//! them without hashing again; everything from `attributes` on is covered by the CRC.

use std::fmt;

use base::{ErrorCode, LeaderEpoch, Offset, ProducerId, TimestampMs};

use crate::{Compression, crc};

pub const HEADER_BYTES: usize = base::limits::BATCH_HEADER_BYTES;
/// Bytes before the part that the length field counts: base offset and length.
pub const LENGTH_OVERHEAD: usize = 12;
pub const MAGIC: i8 = 2;
pub const NO_PRODUCER_ID: ProducerId = -1;
pub const NO_SEQUENCE: i32 = -1;
pub const NO_TIMESTAMP: TimestampMs = -1;

const LENGTH_AT: usize = 8;
const EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const LAST_DELTA_AT: usize = 23;
const BASE_TIMESTAMP_AT: usize = 27;
const MAX_TIMESTAMP_AT: usize = 35;
const PRODUCER_ID_AT: usize = 43;
const PRODUCER_EPOCH_AT: usize = 51;
const SEQUENCE_AT: usize = 53;
const COUNT_AT: usize = 57;

/// Who set the timestamps of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TimestampType {
    #[default]
    CreateTime,
    LogAppendTime,
}

/// Why bytes are not a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BatchError {
    /// Fewer bytes than a header, or than the header's length says.
    Truncated {
        available: usize,
        needed: usize,
    },
    /// The length field is below the size of a header.
    Length(i32),
    /// Not format version 2.
    Magic(i8),
    Crc {
        stored: u32,
        computed: u32,
    },
    /// The attributes name a codec that does not exist.
    Codec(i16),
}

impl BatchError {
    pub fn code(&self) -> ErrorCode {
        match self {
            BatchError::Magic(0 | 1) => ErrorCode::UnsupportedForMessageFormat,
            _ => ErrorCode::CorruptMessage,
        }
    }
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BatchError::Truncated { available, needed } => {
                write!(f, "batch is cut off: {available} bytes of {needed}")
            }
            BatchError::Length(n) => write!(f, "batch length {n} is below the header's size"),
            BatchError::Magic(m) => write!(f, "batch has magic {m}, only {MAGIC} is supported"),
            BatchError::Crc { stored, computed } => {
                write!(f, "batch is corrupt (stored crc = {stored}, computed crc = {computed})")
            }
            BatchError::Codec(id) => write!(f, "unknown compression codec {id}"),
        }
    }
}

impl std::error::Error for BatchError {}

/// The attribute bits of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    const CODEC: i16 = 7;
    const LOG_APPEND_TIME: i16 = 8;
    const TRANSACTIONAL: i16 = 16;
    const CONTROL: i16 = 32;
    const DELETE_HORIZON: i16 = 64;

    pub fn new(codec: Compression, timestamps: TimestampType) -> Attributes {
        Attributes(codec.id()).with_timestamp_type(timestamps)
    }

    pub fn with_timestamp_type(self, timestamps: TimestampType) -> Attributes {
        match timestamps {
            TimestampType::CreateTime => Attributes(self.0 & !Self::LOG_APPEND_TIME),
            TimestampType::LogAppendTime => Attributes(self.0 | Self::LOG_APPEND_TIME),
        }
    }

    pub fn with_codec(self, codec: Compression) -> Attributes {
        Attributes(self.0 & !Self::CODEC | codec.id())
    }

    pub fn with_transactional(self, on: bool) -> Attributes {
        if on { Attributes(self.0 | Self::TRANSACTIONAL) } else { self }
    }

    pub fn with_control(self, on: bool) -> Attributes {
        if on { Attributes(self.0 | Self::CONTROL) } else { self }
    }

    pub fn codec(self) -> Result<Compression, BatchError> {
        let id = self.0 & Self::CODEC;
        Compression::from_id(id).ok_or(BatchError::Codec(id))
    }

    pub fn timestamp_type(self) -> TimestampType {
        match self.0 & Self::LOG_APPEND_TIME {
            0 => TimestampType::CreateTime,
            _ => TimestampType::LogAppendTime,
        }
    }

    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    pub fn with_delete_horizon(self, on: bool) -> Attributes {
        let without = self.0 & !Self::DELETE_HORIZON;
        Attributes(if on { without | Self::DELETE_HORIZON } else { without })
    }

    /// The base timestamp is the expiry of the batch's tombstones, not a record's time.
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }
}

/// A decoded header. Parsing checks the magic and the length field, nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    pub base_offset: Offset,
    /// Bytes after the length field; at least 49. [`BatchHeader::size`] is the whole batch.
    pub length: i32,
    pub leader_epoch: LeaderEpoch,
    pub crc: u32,
    pub attributes: Attributes,
    pub last_offset_delta: i32,
    pub base_timestamp: TimestampMs,
    pub max_timestamp: TimestampMs,
    pub producer_id: ProducerId,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

macro_rules! get {
    ($buf:expr, $at:expr, $type:ty) => {{
        const LEN: usize = size_of::<$type>();
        let mut bytes = [0u8; LEN];
        bytes.copy_from_slice(&$buf[$at..$at + LEN]);
        <$type>::from_be_bytes(bytes)
    }};
}

impl BatchHeader {
    /// Reads the header at the start of `buf`, which may end right after the header.
    #[inline]
    pub fn parse(buf: &[u8]) -> Result<BatchHeader, BatchError> {
        let Some((head, _)) = buf.split_first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::Truncated { available: buf.len(), needed: HEADER_BYTES });
        };
        let magic = head[MAGIC_AT] as i8;
        if magic != MAGIC {
            return Err(BatchError::Magic(magic));
        }
        let length = get!(head, LENGTH_AT, i32);
        if length < (HEADER_BYTES - LENGTH_OVERHEAD) as i32 {
            return Err(BatchError::Length(length));
        }
        Ok(BatchHeader {
            base_offset: get!(head, 0, i64),
            length,
            leader_epoch: get!(head, EPOCH_AT, i32),
            crc: get!(head, CRC_AT, u32),
            attributes: Attributes(get!(head, ATTRIBUTES_AT, i16)),
            last_offset_delta: get!(head, LAST_DELTA_AT, i32),
            base_timestamp: get!(head, BASE_TIMESTAMP_AT, i64),
            max_timestamp: get!(head, MAX_TIMESTAMP_AT, i64),
            producer_id: get!(head, PRODUCER_ID_AT, i64),
            producer_epoch: get!(head, PRODUCER_EPOCH_AT, i16),
            base_sequence: get!(head, SEQUENCE_AT, i32),
            record_count: get!(head, COUNT_AT, i32),
        })
    }

    /// Writes all fields, the stored CRC included, into the first 61 bytes of `out`.
    pub fn write(&self, out: &mut [u8; HEADER_BYTES]) {
        out[..8].copy_from_slice(&self.base_offset.to_be_bytes());
        out[LENGTH_AT..EPOCH_AT].copy_from_slice(&self.length.to_be_bytes());
        out[EPOCH_AT..MAGIC_AT].copy_from_slice(&self.leader_epoch.to_be_bytes());
        out[MAGIC_AT] = MAGIC as u8;
        out[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&self.crc.to_be_bytes());
        out[ATTRIBUTES_AT..LAST_DELTA_AT].copy_from_slice(&self.attributes.0.to_be_bytes());
        out[LAST_DELTA_AT..BASE_TIMESTAMP_AT]
            .copy_from_slice(&self.last_offset_delta.to_be_bytes());
        out[BASE_TIMESTAMP_AT..MAX_TIMESTAMP_AT]
            .copy_from_slice(&self.base_timestamp.to_be_bytes());
        out[MAX_TIMESTAMP_AT..PRODUCER_ID_AT].copy_from_slice(&self.max_timestamp.to_be_bytes());
        out[PRODUCER_ID_AT..PRODUCER_EPOCH_AT].copy_from_slice(&self.producer_id.to_be_bytes());
        out[PRODUCER_EPOCH_AT..SEQUENCE_AT].copy_from_slice(&self.producer_epoch.to_be_bytes());
        out[SEQUENCE_AT..COUNT_AT].copy_from_slice(&self.base_sequence.to_be_bytes());
        out[COUNT_AT..].copy_from_slice(&self.record_count.to_be_bytes());
    }

    /// The header with the CRC that its own fields and `body` (the bytes after the header) have.
    pub fn with_crc_of(mut self, body: &[u8]) -> BatchHeader {
        let mut bytes = [0u8; HEADER_BYTES];
        self.write(&mut bytes);
        self.crc = crc::crc32c_of_two(&bytes[ATTRIBUTES_AT..], body);
        self
    }

    /// Bytes of the whole batch, header included.
    #[inline]
    pub fn size(&self) -> usize {
        LENGTH_OVERHEAD + self.length as usize
    }

    #[inline]
    pub fn last_offset(&self) -> Offset {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    #[inline]
    pub fn next_offset(&self) -> Offset {
        self.last_offset().saturating_add(1)
    }

    /// Sequence of the last record; [`NO_SEQUENCE`] if the batch has none.
    pub fn last_sequence(&self) -> i32 {
        match self.base_sequence {
            NO_SEQUENCE => NO_SEQUENCE,
            base => sequence_add(base, self.last_offset_delta),
        }
    }

    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes.is_transactional()
    }

    pub fn is_control(&self) -> bool {
        self.attributes.is_control()
    }

    /// From when on the batch's tombstones, or its marker, may go; `None` where nobody said so.
    pub fn delete_horizon(&self) -> Option<TimestampMs> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }

    pub fn compression(&self) -> Result<Compression, BatchError> {
        self.attributes.codec()
    }

    /// Compares the stored CRC with that of `batch`, which must be the whole batch.
    #[inline]
    pub fn check_crc(&self, batch: &[u8]) -> Result<(), BatchError> {
        let Some(covered) = batch.get(ATTRIBUTES_AT..self.size()) else {
            return Err(BatchError::Truncated { available: batch.len(), needed: self.size() });
        };
        let computed = crc::crc32c(covered);
        if computed != self.crc {
            return Err(BatchError::Crc { stored: self.crc, computed });
        }
        Ok(())
    }
}

/// Adds to a sequence number, which wraps from 2^31-1 to 0.
pub fn sequence_add(sequence: i32, increment: i32) -> i32 {
    (i64::from(sequence) + i64::from(increment)).rem_euclid(1 << 31) as i32
}

/// One batch within a larger buffer: header and all its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    pub header: BatchHeader,
    /// Exactly `header.size()` bytes.
    pub bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The batch at the start of `buf`, which must hold it whole.
    pub fn parse(buf: &'a [u8]) -> Result<Batch<'a>, BatchError> {
        let header = BatchHeader::parse(buf)?;
        match buf.get(..header.size()) {
            Some(bytes) => Ok(Batch { header, bytes }),
            None => Err(BatchError::Truncated { available: buf.len(), needed: header.size() }),
        }
    }

    /// The records part, as stored (maybe compressed).
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..]
    }

    pub fn check_crc(&self) -> Result<(), BatchError> {
        self.header.check_crc(self.bytes)
    }
}

/// Iterates over concatenated batches. A batch that is cut off at the end is an error item;
/// fetched ranges end like that, see [`BatchError::Truncated`]. No CRC is checked.
pub fn batches(buf: &[u8]) -> Batches<'_> {
    Batches { rest: buf }
}

#[derive(Clone, Debug)]
pub struct Batches<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<Batch<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let batch = Batch::parse(self.rest);
        self.rest = match &batch {
            Ok(batch) => &self.rest[batch.bytes.len()..],
            Err(_) => &[],
        };
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sequences_wrap() {
        assert_eq!(sequence_add(i32::MAX, 1), 0);
        assert_eq!(sequence_add(i32::MAX - 1, 3), 1);
        assert_eq!(sequence_add(5, 0), 5);
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for batch in batches(&bytes).flatten() {
                prop_assert_eq!(batch.bytes.len(), batch.header.size());
            }
        }

        #[test]
        fn a_header_writes_back_what_was_parsed(mut bytes in any::<[u8; HEADER_BYTES]>()) {
            bytes[MAGIC_AT] = 2;
            bytes[LENGTH_AT] = 0;
            bytes[LENGTH_AT + 2] = 1;
            let header = BatchHeader::parse(&bytes).unwrap();
            let mut out = [0u8; HEADER_BYTES];
            header.write(&mut out);
            prop_assert_eq!(out, bytes);
        }
    }
}
