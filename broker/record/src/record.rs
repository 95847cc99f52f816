//! Records inside a batch: iteration over the decompressed bytes of the records part.

use std::borrow::Cow;
use std::fmt;

use base::{Offset, TimestampMs};

use crate::{Batch, TimestampType, decompress, varint};

/// The records part of a batch is not what its header or its framing promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordError(pub &'static str);

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid record: {}", self.0)
    }
}

impl std::error::Error for RecordError {}

/// One record; key, value and headers borrow from the decompressed batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    pub offset: Offset,
    pub timestamp: TimestampMs,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    header_count: u32,
    headers: &'a [u8],
}

impl<'a> Record<'a> {
    pub fn headers(&self) -> RecordHeaders<'a> {
        RecordHeaders { left: self.header_count, rest: self.headers }
    }
}

/// Headers of a record: name and value. Names are bytes, since producers need not send UTF-8.
#[derive(Clone, Debug)]
pub struct RecordHeaders<'a> {
    left: u32,
    rest: &'a [u8],
}

impl<'a> Iterator for RecordHeaders<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = take_bytes(&mut self.rest).ok()??;
        let value = take_bytes(&mut self.rest).ok()?;
        Some((name, value))
    }
}

/// The decompressed records of one batch.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    data: Cow<'a, [u8]>,
    base_offset: Offset,
    base_timestamp: TimestampMs,
    append_time: Option<TimestampMs>,
    count: i32,
}

/// Decompresses the records of a batch, at most `limit` bytes of them.
pub fn records<'a>(batch: &Batch<'a>, limit: usize) -> Result<Records<'a>, RecordError> {
    let header = &batch.header;
    let codec = header.compression().map_err(|_| RecordError("unknown codec"))?;
    let data = match codec {
        crate::Compression::None => Cow::Borrowed(batch.body()),
        codec => Cow::Owned(
            decompress(codec, batch.body(), limit)
                .map_err(|_| RecordError("decompression failed or exceeded its limit"))?,
        ),
    };
    let append_time = (header.attributes.timestamp_type() == TimestampType::LogAppendTime)
        .then_some(header.max_timestamp);
    Ok(Records {
        data,
        base_offset: header.base_offset,
        base_timestamp: header.base_timestamp,
        append_time,
        count: header.record_count,
    })
}

/// A record, and how it is stored.
pub(crate) struct Framed<'a> {
    pub record: Record<'a>,
    /// All of it, with the length in front.
    pub bytes: &'a [u8],
    pub attributes: u8,
    /// From the offset delta on.
    pub tail: &'a [u8],
}

impl Records<'_> {
    pub fn iter(&self) -> impl Iterator<Item = Result<Record<'_>, RecordError>> {
        self.framed().map(|framed| framed.map(|framed| framed.record))
    }

    pub(crate) fn framed(&self) -> impl Iterator<Item = Result<Framed<'_>, RecordError>> {
        let mut rest: &[u8] = &self.data;
        let mut left = self.count.max(0);
        std::iter::from_fn(move || {
            left = left.checked_sub(1).filter(|&l| l >= 0)?;
            let record = self.parse(&mut rest);
            if record.is_err() {
                left = 0;
            }
            Some(record)
        })
    }

    fn parse<'a>(&'a self, rest: &mut &'a [u8]) -> Result<Framed<'a>, RecordError> {
        let whole = *rest;
        let mut body = take_sized(rest)?;
        let bytes = &whole[..whole.len() - rest.len()];
        let (&attributes, tail) = body.split_first().ok_or(RecordError("empty record"))?;
        body = tail;
        let timestamp_delta = take_i64(&mut body)?;
        let tail = body;
        let offset_delta = take_i32(&mut body)?;
        let key = take_bytes(&mut body)?;
        let value = take_bytes(&mut body)?;
        let header_count = take_i32(&mut body)?;
        let header_count =
            u32::try_from(header_count).map_err(|_| RecordError("negative header count"))?;
        check_headers(header_count, body)?;
        let timestamp = self.base_timestamp.wrapping_add(timestamp_delta);
        let record = Record {
            offset: self.base_offset.saturating_add(i64::from(offset_delta)),
            timestamp: self.append_time.unwrap_or(timestamp),
            key,
            value,
            header_count,
            headers: body,
        };
        Ok(Framed { record, bytes, attributes, tail })
    }
}

fn check_headers(count: u32, mut rest: &[u8]) -> Result<(), RecordError> {
    for _ in 0..count {
        take_bytes(&mut rest)?.ok_or(RecordError("null header name"))?;
        take_bytes(&mut rest)?;
    }
    if rest.is_empty() { Ok(()) } else { Err(RecordError("bytes after the last header")) }
}

fn take_i32(rest: &mut &[u8]) -> Result<i32, RecordError> {
    let (value, used) = varint::read_i32(rest).ok_or(RecordError("bad varint"))?;
    *rest = &rest[used..];
    Ok(value)
}

fn take_i64(rest: &mut &[u8]) -> Result<i64, RecordError> {
    let (value, used) = varint::read_i64(rest).ok_or(RecordError("bad varint"))?;
    *rest = &rest[used..];
    Ok(value)
}

fn take_sized<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], RecordError> {
    take_bytes(rest)?.ok_or(RecordError("negative length"))
}

/// A length-prefixed run of bytes; length -1 is null.
fn take_bytes<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordError> {
    let len = take_i32(rest)?;
    if len == -1 {
        return Ok(None);
    }
    let len = usize::try_from(len).map_err(|_| RecordError("negative length"))?;
    let (bytes, tail) = rest.split_at_checked(len).ok_or(RecordError("record is cut off"))?;
    *rest = tail;
    Ok(Some(bytes))
}
