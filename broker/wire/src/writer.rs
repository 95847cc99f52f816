//! Writing of the wire's primitive types. Small values go into one buffer; large byte fields and
//! file ranges are kept as they are, with the place where they belong, and come out as parts.

use bytes::{BufMut, Bytes, BytesMut};

use base::TopicId;

use crate::reader::STRING_BYTES_MAX;
use crate::{EncodeError, FileRange, Part, Records};

/// Byte fields below this size are copied: a part of its own costs more than the copy.
const COPY_BYTES_MAX: usize = 2048;
const CAPACITY_DEFAULT: usize = 512;
/// Bytes of a frame's length prefix.
const PREFIX_BYTES: usize = 4;

/// Collects one encoded message.
#[derive(Debug)]
pub struct Writer {
    buffer: BytesMut,
    /// Parts that are not in the buffer, each with the position in the buffer it precedes;
    /// positions never decrease.
    apart: Vec<(usize, Part)>,
    apart_bytes: usize,
}

/// Where a tagged field's size will be written.
#[derive(Debug)]
pub struct TagMark {
    size_at: usize,
    apart: usize,
    apart_bytes: usize,
}

type Result<T> = std::result::Result<T, EncodeError>;

impl Default for Writer {
    fn default() -> Writer {
        Writer::new()
    }
}

impl Writer {
    pub fn new() -> Writer {
        Writer::with_capacity(CAPACITY_DEFAULT)
    }

    pub fn with_capacity(capacity: usize) -> Writer {
        Writer { buffer: BytesMut::with_capacity(capacity), apart: Vec::new(), apart_bytes: 0 }
    }

    /// A writer whose output starts with the length prefix of a frame; end it with
    /// [`Writer::finish_frame`].
    pub fn frame() -> Writer {
        let mut writer = Writer::new();
        writer.buffer.put_i32(0);
        writer
    }

    /// Bytes written so far, file ranges included.
    pub fn len(&self) -> usize {
        self.buffer.len() + self.apart_bytes
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The message in sending order.
    pub fn finish(self) -> Vec<Part> {
        let length = self.len();
        let Writer { mut buffer, apart, .. } = self;
        debug_assert!(apart.is_sorted_by_key(|(at, _)| *at), "parts are out of order: {apart:?}");
        let mut parts = Vec::with_capacity(2 * apart.len() + 1);
        let mut done = 0;
        for (position, part) in apart {
            if position > done {
                parts.push(Part::Bytes(buffer.split_to(position - done).freeze()));
                done = position;
            }
            parts.push(part);
        }
        if !buffer.is_empty() {
            parts.push(Part::Bytes(buffer.freeze()));
        }
        let sent: usize = parts.iter().map(Part::len).sum();
        debug_assert_eq!(sent, length, "the parts are the message");
        parts
    }

    /// As [`Writer::finish`], with the length prefix of a writer made by [`Writer::frame`] filled
    /// in.
    pub fn finish_frame(mut self) -> Result<Vec<Part>> {
        let length = self.len() - PREFIX_BYTES;
        let prefix = i32::try_from(length).map_err(|_| EncodeError::TooLarge { length })?;
        self.buffer[..PREFIX_BYTES].copy_from_slice(&prefix.to_be_bytes());
        Ok(self.finish())
    }

    /// The message as one piece of memory; `None` if it contains a file range.
    pub fn into_bytes(self) -> Option<Bytes> {
        if self.apart.is_empty() {
            return Some(self.buffer.freeze());
        }
        let mut whole = BytesMut::with_capacity(self.len());
        for part in self.finish() {
            match part {
                Part::Bytes(bytes) => whole.extend_from_slice(&bytes),
                Part::File(_) => return None,
            }
        }
        Some(whole.freeze())
    }

    pub fn bool(&mut self, value: bool) {
        self.buffer.put_u8(u8::from(value));
    }

    pub fn i8(&mut self, value: i8) {
        self.buffer.put_i8(value);
    }

    pub fn i16(&mut self, value: i16) {
        self.buffer.put_i16(value);
    }

    pub fn u16(&mut self, value: u16) {
        self.buffer.put_u16(value);
    }

    pub fn i32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    pub fn u32(&mut self, value: u32) {
        self.buffer.put_u32(value);
    }

    pub fn i64(&mut self, value: i64) {
        self.buffer.put_i64(value);
    }

    pub fn f64(&mut self, value: f64) {
        self.buffer.put_f64(value);
    }

    pub fn uuid(&mut self, value: TopicId) {
        self.buffer.put_slice(&value.0);
    }

    pub fn uvarint(&mut self, value: u32) {
        let (bytes, length) = uvarint_bytes(value);
        self.buffer.put_slice(&bytes[..length]);
    }

    /// Length of bytes or an array; `None` is null.
    pub fn length(&mut self, flexible: bool, length: Option<usize>) -> Result<()> {
        let Some(length) = length else {
            if flexible {
                self.uvarint(0);
            } else {
                self.i32(-1);
            }
            return Ok(());
        };
        let value = i32::try_from(length).map_err(|_| EncodeError::TooLarge { length })?;
        if flexible {
            self.uvarint(value.unsigned_abs() + 1);
        } else {
            self.i32(value);
        }
        Ok(())
    }

    pub fn string(&mut self, flexible: bool, text: &str) -> Result<()> {
        if text.len() > STRING_BYTES_MAX {
            return Err(EncodeError::StringTooLong { length: text.len() });
        }
        if flexible {
            self.uvarint(text.len() as u32 + 1);
        } else {
            self.i16(text.len() as i16);
        }
        self.buffer.put_slice(text.as_bytes());
        Ok(())
    }

    pub fn null_string(&mut self, flexible: bool) {
        if flexible {
            self.uvarint(0);
        } else {
            self.i16(-1);
        }
    }

    pub fn bytes(&mut self, flexible: bool, bytes: &Bytes) -> Result<()> {
        self.length(flexible, Some(bytes.len()))?;
        self.raw(bytes);
        Ok(())
    }

    /// Bytes without a length before them.
    pub fn raw(&mut self, bytes: &Bytes) {
        if bytes.len() <= COPY_BYTES_MAX {
            self.buffer.put_slice(bytes);
        } else {
            self.put_apart(Part::Bytes(bytes.clone()));
        }
    }

    fn file(&mut self, range: &FileRange) {
        if range.len > 0 {
            self.put_apart(Part::File(range.clone()));
        }
    }

    fn put_apart(&mut self, part: Part) {
        self.apart_bytes += part.len();
        self.apart.push((self.buffer.len(), part));
    }

    /// The records of a response.
    pub fn records(&mut self, flexible: bool, records: &Records) -> Result<()> {
        let length = (*records != Records::None).then(|| records.len());
        self.length(flexible, length)?;
        match records {
            Records::None => {}
            Records::Bytes(bytes) => self.raw(bytes),
            Records::File(range) => self.file(range),
            Records::Many(parts) => {
                for part in parts {
                    match part {
                        Part::Bytes(bytes) => self.raw(bytes),
                        Part::File(range) => self.file(range),
                    }
                }
            }
        }
        Ok(())
    }

    /// Starts a tagged field: its tag, and room for its size.
    pub fn begin_tag(&mut self, tag: u32) -> TagMark {
        self.uvarint(tag);
        let size_at = self.buffer.len();
        self.buffer.put_u8(0);
        TagMark { size_at, apart: self.apart.len(), apart_bytes: self.apart_bytes }
    }

    /// Ends a tagged field: fills in its size. Sizes of 128 bytes and more shift what was written.
    pub fn end_tag(&mut self, mark: TagMark) -> Result<()> {
        let start = mark.size_at + 1;
        debug_assert!(start <= self.buffer.len(), "a tag ends before it begins: {mark:?}");
        let length = self.buffer.len() - start + self.apart_bytes - mark.apart_bytes;
        let size = u32::try_from(length).map_err(|_| EncodeError::TooLarge { length })?;
        let (bytes, width) = uvarint_bytes(size);
        if width > 1 {
            let end = self.buffer.len();
            self.buffer.put_bytes(0, width - 1);
            self.buffer.copy_within(start..end, start + width - 1);
            for (position, _) in &mut self.apart[mark.apart..] {
                *position += width - 1;
            }
        }
        self.buffer[mark.size_at..mark.size_at + width].copy_from_slice(&bytes[..width]);
        Ok(())
    }
}

fn uvarint_bytes(mut value: u32) -> ([u8; 5], usize) {
    let mut bytes = [0; 5];
    let mut length = 0;
    while value >= 0x80 {
        bytes[length] = value as u8 | 0x80;
        value >>= 7;
        length += 1;
    }
    bytes[length] = value as u8;
    (bytes, length + 1)
}
