//! Builds a batch record by record. Used by coordinators, tests and clients; the broker's data
//! path passes producers' batches through.

use base::{LeaderEpoch, Offset, ProducerId, TimestampMs};

use crate::batch::{HEADER_BYTES, LENGTH_OVERHEAD, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP};
use crate::{Attributes, BatchHeader, Compression, TimestampType, compress, varint};

/// A header's name and value, borrowed.
pub type HeaderRef<'a> = (&'a str, Option<&'a [u8]>);

/// What a batch says about all of its records.
#[derive(Clone, Debug)]
pub struct BatchOptions {
    pub base_offset: Offset,
    pub leader_epoch: LeaderEpoch,
    pub compression: Compression,
    /// On the codec's own scale; `None` is its default.
    pub compression_level: Option<i32>,
    pub timestamp_type: TimestampType,
    pub producer_id: ProducerId,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub transactional: bool,
    pub control: bool,
}

impl Default for BatchOptions {
    /// An uncompressed batch without a producer, to be appended at offset 0.
    fn default() -> BatchOptions {
        BatchOptions {
            base_offset: 0,
            leader_epoch: -1,
            compression: Compression::None,
            compression_level: None,
            timestamp_type: TimestampType::CreateTime,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: -1,
            base_sequence: NO_SEQUENCE,
            transactional: false,
            control: false,
        }
    }
}

#[derive(Clone, Debug)]
pub struct BatchBuilder {
    options: BatchOptions,
    /// A placeholder for the header, then the records uncompressed.
    buf: Vec<u8>,
    count: i32,
    base_timestamp: TimestampMs,
    max_timestamp: TimestampMs,
}

impl BatchBuilder {
    pub fn new(options: BatchOptions) -> BatchBuilder {
        BatchBuilder {
            options,
            buf: vec![0; HEADER_BYTES],
            count: 0,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn record_count(&self) -> i32 {
        self.count
    }

    /// Bytes of the batch so far, before compression.
    pub fn size(&self) -> usize {
        self.buf.len()
    }

    /// Appends a record at the next offset.
    pub fn append(
        &mut self,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderRef<'_>],
    ) {
        let headers = headers.iter().map(|(name, value)| (name.as_bytes(), *value));
        self.append_raw(timestamp, key, value, headers);
    }

    /// As [`BatchBuilder::append`], with headers from another record.
    pub fn append_raw<'a>(
        &mut self,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone,
    ) {
        if self.count == 0 {
            self.base_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
        let header_count = headers.clone().count() as i32;
        let header_bytes: usize = headers
            .clone()
            .map(|(name, value)| bytes_len(Some(name)) + bytes_len(value))
            .sum::<usize>();
        let len = 1
            + varint::len_i64(timestamp_delta)
            + varint::len_i32(self.count)
            + bytes_len(key)
            + bytes_len(value)
            + varint::len_i32(header_count)
            + header_bytes;
        let out = &mut self.buf;
        let end = out.len() + varint::len_i32(len as i32) + len;
        varint::write_i32(out, len as i32);
        out.push(0);
        varint::write_i64(out, timestamp_delta);
        varint::write_i32(out, self.count);
        write_bytes(out, key);
        write_bytes(out, value);
        varint::write_i32(out, header_count);
        for (name, value) in headers {
            write_bytes(out, Some(name));
            write_bytes(out, value);
        }
        debug_assert_eq!(self.buf.len(), end, "a record is as long as it says");
        self.count += 1;
    }

    /// The finished batch. An empty builder yields a batch without records.
    pub fn finish(mut self) -> Vec<u8> {
        let options = &self.options;
        let body_at = HEADER_BYTES;
        if options.compression != Compression::None {
            let level = options.compression_level;
            // Writing into memory does not fail; should a codec refuse, uncompressed is valid too.
            match compress(options.compression, level, &self.buf[body_at..]) {
                Ok(packed) => {
                    self.buf.truncate(body_at);
                    self.buf.extend_from_slice(&packed);
                }
                Err(_) => self.options.compression = Compression::None,
            }
        }
        let options = &self.options;
        let attributes = Attributes::new(options.compression, options.timestamp_type)
            .with_transactional(options.transactional)
            .with_control(options.control);
        let header = BatchHeader {
            base_offset: options.base_offset,
            length: (self.buf.len() - LENGTH_OVERHEAD) as i32,
            leader_epoch: options.leader_epoch,
            crc: 0,
            attributes,
            last_offset_delta: self.count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: options.producer_id,
            producer_epoch: options.producer_epoch,
            base_sequence: options.base_sequence,
            record_count: self.count,
        }
        .with_crc_of(&self.buf[body_at..]);
        debug_assert_eq!(header.size(), self.buf.len(), "a batch is as long as it says");
        if let Some(head) = self.buf.first_chunk_mut::<HEADER_BYTES>() {
            header.write(head);
        }
        self.buf
    }
}

fn bytes_len(bytes: Option<&[u8]>) -> usize {
    match bytes {
        None => varint::len_i32(-1),
        Some(bytes) => varint::len_i32(bytes.len() as i32) + bytes.len(),
    }
}

fn write_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => varint::write_i32(out, -1),
        Some(bytes) => {
            varint::write_i32(out, bytes.len() as i32);
            out.extend_from_slice(bytes);
        }
    }
}
