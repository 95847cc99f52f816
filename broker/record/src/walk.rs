//! The pass over the records of a batch that reads their framing and skips what they carry.
//! One walker serves slices (uncompressed: no copy) and streams (compressed: a 16 KiB window).

use std::io::{self, Read};

use crate::{Compression, Decompressor, varint};

/// Bytes of a compressed batch's records that are held at once.
const WINDOW_BYTES: usize = 16 * 1024;
/// A varint length (5), attributes (1), timestamp delta (10), offset delta (5), key length (5).
const PREFIX_BYTES: usize = 26;

/// What the walk reads of one record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Framing {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub has_key: bool,
    /// Bytes after the length, as they are once decompressed.
    pub size: i32,
}

#[derive(Debug)]
pub(crate) enum WalkError {
    Framing(&'static str),
    Decompression(io::Error),
}

impl From<io::Error> for WalkError {
    fn from(error: io::Error) -> WalkError {
        WalkError::Decompression(error)
    }
}

/// Walks exactly `count` records, after which nothing may be left. Returns how many bytes they
/// are, decompressed: at most `limit` if they are compressed.
pub(crate) fn walk(
    codec: Compression,
    body: &[u8],
    count: i32,
    limit: usize,
    mut visit: impl FnMut(Framing),
) -> Result<usize, WalkError> {
    if codec == Compression::None {
        walk_source(&mut Slice { rest: body }, count, &mut visit)?;
        return Ok(body.len());
    }
    let mut stream = Stream {
        source: Decompressor::new(codec, body, limit)?,
        window: vec![0; WINDOW_BYTES],
        start: 0,
        end: 0,
    };
    walk_source(&mut stream, count, &mut visit)?;
    Ok(limit - stream.source.left())
}

/// Bytes that are looked at before they are consumed.
trait Source {
    /// At least `n` bytes, fewer only at the end of the data. `n` is at most [`PREFIX_BYTES`].
    fn peek(&mut self, n: usize) -> Result<&[u8], WalkError>;
    /// Drops `n` bytes; an error if there are fewer.
    fn skip(&mut self, n: usize) -> Result<(), WalkError>;
}

struct Slice<'a> {
    rest: &'a [u8],
}

impl Source for Slice<'_> {
    #[inline]
    fn peek(&mut self, _n: usize) -> Result<&[u8], WalkError> {
        Ok(self.rest)
    }

    #[inline]
    fn skip(&mut self, n: usize) -> Result<(), WalkError> {
        self.rest = self.rest.get(n..).ok_or(CUT_OFF)?;
        Ok(())
    }
}

struct Stream<'a> {
    source: Decompressor<'a>,
    window: Vec<u8>,
    start: usize,
    end: usize,
}

impl Stream<'_> {
    /// Reads more behind what is left; false at the end of the data.
    fn fill(&mut self) -> Result<bool, WalkError> {
        self.window.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let n = self.source.read(&mut self.window[self.end..])?;
        self.end += n;
        Ok(n > 0)
    }
}

impl Source for Stream<'_> {
    #[inline]
    fn peek(&mut self, n: usize) -> Result<&[u8], WalkError> {
        while self.end - self.start < n && self.fill()? {}
        Ok(&self.window[self.start..self.end])
    }

    #[inline]
    fn skip(&mut self, mut n: usize) -> Result<(), WalkError> {
        while n > self.end - self.start {
            n -= self.end - self.start;
            self.start = self.end;
            if !self.fill()? {
                return Err(CUT_OFF);
            }
        }
        self.start += n;
        Ok(())
    }
}

const CUT_OFF: WalkError = WalkError::Framing("Found invalid record structure: record is cut off");
const BAD_VARINT: WalkError = WalkError::Framing("Found invalid record structure: bad varint");
const BAD_SIZE: WalkError =
    WalkError::Framing("Found invalid record structure: a length contradicts the record's size");

fn walk_source<S: Source>(
    source: &mut S,
    count: i32,
    visit: &mut impl FnMut(Framing),
) -> Result<(), WalkError> {
    for _ in 0..count {
        let framing = walk_record(source)?;
        visit(framing);
    }
    if !source.peek(1)?.is_empty() {
        return Err(WalkError::Framing(
            "Incorrect declared batch size, records still remaining in file",
        ));
    }
    Ok(())
}

#[inline]
fn walk_record<S: Source>(source: &mut S) -> Result<Framing, WalkError> {
    let head = source.peek(PREFIX_BYTES)?;
    if head.is_empty() {
        return Err(WalkError::Framing("Found invalid record count: fewer records than declared"));
    }
    let (len, mut at) = varint::read_i32(head).ok_or(BAD_VARINT)?;
    let len_bytes = at;
    at += 1; // attributes, unused by the format so far
    let rest = head.get(at..).ok_or(CUT_OFF)?;
    let (timestamp_delta, used) = varint::read_i64(rest).ok_or(BAD_VARINT)?;
    at += used;
    let (offset_delta, used) = varint::read_i32(&head[at..]).ok_or(BAD_VARINT)?;
    at += used;
    let (key_len, used) = varint::read_i32(&head[at..]).ok_or(BAD_VARINT)?;
    at += used;
    // Bytes of this record that are still to come; what it contains must use up exactly these.
    let mut left = i64::from(len) - (at - len_bytes) as i64;
    source.skip(at)?;
    skip_nullable(source, key_len, &mut left)?;
    let value_len = take_i32(source, &mut left)?;
    skip_nullable(source, value_len, &mut left)?;
    let header_count = take_i32(source, &mut left)?;
    if header_count < 0 {
        return Err(WalkError::Framing("Found invalid number of record headers"));
    }
    for _ in 0..header_count {
        let name_len = take_i32(source, &mut left)?;
        if name_len < 0 {
            return Err(WalkError::Framing("Invalid negative header key size"));
        }
        skip_nullable(source, name_len, &mut left)?;
        let value_len = take_i32(source, &mut left)?;
        skip_nullable(source, value_len, &mut left)?;
    }
    if left != 0 {
        return Err(BAD_SIZE);
    }
    Ok(Framing { timestamp_delta, offset_delta, has_key: key_len >= 0, size: len })
}

#[inline]
fn take_i32<S: Source>(source: &mut S, left: &mut i64) -> Result<i32, WalkError> {
    let (value, used) = varint::read_i32(source.peek(5)?).ok_or(BAD_VARINT)?;
    source.skip(used)?;
    *left -= used as i64;
    Ok(value)
}

#[inline]
fn skip_nullable<S: Source>(source: &mut S, len: i32, left: &mut i64) -> Result<(), WalkError> {
    if len >= 0 {
        *left -= i64::from(len);
        if *left < 0 {
            return Err(BAD_SIZE);
        }
        source.skip(len as usize)?;
    } else if len != -1 {
        return Err(BAD_SIZE);
    }
    Ok(())
}
