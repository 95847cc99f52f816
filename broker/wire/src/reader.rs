//! Reading of the wire's primitive types out of one frame. Every length is compared with what is
//! left of the frame before anything is allocated; byte fields are slices of the frame.

use std::borrow::Cow;

use base::TopicId;
use bytes::Bytes;

use crate::{DecodeError, Str};

/// Longest string, in both encodings (a signed 16-bit length in the older one).
pub const STRING_BYTES_MAX: usize = 0x7fff;
/// Elements reserved ahead for an array: a larger one grows as its elements really arrive, so that
/// small elements on the wire cannot claim a multiple of their size in memory at once.
const ARRAY_RESERVE_MAX: usize = 1024;
/// Elements of one array, as Kafka bounds them: what is small on the wire may be large in memory.
pub const ARRAY_ELEMENTS_MAX: usize = 1_000_000;
/// Tagged fields of one struct, as Kafka bounds them.
pub const TAGS_MAX: u32 = 10_000;

/// A cursor over one frame (or one record's key or value).
///
/// The `flexible` argument of the methods selects the compact encoding (unsigned varint of
/// length + 1) instead of the fixed-width signed length.
#[derive(Clone, Debug)]
pub struct Reader {
    frame: Bytes,
    position: usize,
    /// End of the readable range: the frame's end, or that of the tagged field being read.
    end: usize,
    /// Memory that what was read so far takes beside the frame, and how much it may take.
    memory: usize,
    memory_max: usize,
}

type Result<T> = std::result::Result<T, DecodeError>;

impl Reader {
    pub fn new(frame: impl Into<Bytes>) -> Reader {
        let frame = frame.into();
        let end = frame.len();
        Reader { frame, position: 0, end, memory: 0, memory_max: usize::MAX }
    }

    /// A reader whose values may take so much memory: small elements on the wire are a multiple of
    /// their size when they are decoded.
    pub fn with_memory_max(frame: impl Into<Bytes>, memory_max: usize) -> Reader {
        Reader { memory_max, ..Reader::new(frame) }
    }

    /// About how much memory the values take that were read so far.
    pub fn memory(&self) -> usize {
        self.memory
    }

    fn take_memory(&mut self, bytes: usize) -> Result<()> {
        self.memory = self.memory.saturating_add(bytes);
        if self.memory > self.memory_max {
            return Err(DecodeError::TooMuchMemory { memory_max: self.memory_max });
        }
        Ok(())
    }

    /// Bytes left.
    pub fn remaining(&self) -> usize {
        self.end - self.position
    }

    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// Everything left, as a slice of the frame.
    pub fn take_rest(&mut self) -> Bytes {
        let rest = self.frame.slice(self.position..self.end);
        self.position = self.end;
        rest
    }

    fn need(&self, needed: usize) -> Result<()> {
        let remaining = self.remaining();
        if needed > remaining {
            return Err(DecodeError::Truncated { needed: needed - remaining, remaining });
        }
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let rest = &self.frame[self.position..self.end];
        let Some(bytes) = rest.first_chunk::<N>() else {
            return Err(DecodeError::Truncated { needed: N - rest.len(), remaining: rest.len() });
        };
        self.position += N;
        Ok(*bytes)
    }

    /// The next `length` bytes as a slice of the frame.
    pub fn raw(&mut self, length: usize) -> Result<Bytes> {
        self.need(length)?;
        let start = self.position;
        self.position += length;
        Ok(self.frame.slice(start..self.position))
    }

    pub fn bool(&mut self) -> Result<bool> {
        Ok(self.u8()? != 0)
    }

    pub fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub fn i8(&mut self) -> Result<i8> {
        self.array().map(i8::from_be_bytes)
    }

    pub fn i16(&mut self) -> Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    pub fn f64(&mut self) -> Result<f64> {
        self.array().map(f64::from_be_bytes)
    }

    pub fn uuid(&mut self) -> Result<TopicId> {
        self.array().map(TopicId)
    }

    /// An unsigned varint of at most 32 bits. Over-long forms that exceed the type are refused.
    pub fn uvarint(&mut self) -> Result<u32> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let byte = self.u8()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && byte > 0x0f {
                return Err(DecodeError::VarintTooLong);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::VarintTooLong)
    }

    fn string_of(&mut self, length: usize) -> Result<Str> {
        if length > STRING_BYTES_MAX {
            return Err(DecodeError::StringTooLong { length });
        }
        self.need(length)?;
        let bytes = &self.frame[self.position..self.position + length];
        // Bytes that are not UTF-8 become replacement characters, as Kafka reads them: client ids
        // and metadata of some clients are in other encodings.
        let text = match String::from_utf8_lossy(bytes) {
            Cow::Borrowed(text) => Str::from(text),
            Cow::Owned(text) => Str::from(text),
        };
        self.position += length;
        self.take_memory(text.len())?;
        Ok(text)
    }

    /// A length where -1 (0 in the compact form) means null.
    fn length(&mut self, flexible: bool, wide: bool) -> Result<Option<usize>> {
        let length = if flexible {
            i64::from(self.uvarint()?) - 1
        } else if wide {
            i64::from(self.i32()?)
        } else {
            i64::from(self.i16()?)
        };
        match length {
            -1 => Ok(None),
            length => usize::try_from(length)
                .map(Some)
                .map_err(|_| DecodeError::NegativeLength { length }),
        }
    }

    pub fn string(&mut self, flexible: bool, field: &'static str) -> Result<Str> {
        self.nullable_string(flexible)?.ok_or(DecodeError::UnexpectedNull { field })
    }

    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<Str>> {
        match self.length(flexible, false)? {
            None => Ok(None),
            Some(length) => self.string_of(length).map(Some),
        }
    }

    pub fn bytes(&mut self, flexible: bool, field: &'static str) -> Result<Bytes> {
        self.nullable_bytes(flexible)?.ok_or(DecodeError::UnexpectedNull { field })
    }

    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Bytes>> {
        match self.length(flexible, true)? {
            None => Ok(None),
            Some(length) => self.raw(length).map(Some),
        }
    }

    /// An array of elements that take at least `element_bytes_min` bytes each.
    pub fn vec<T>(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        field: &'static str,
        element: impl FnMut(&mut Reader) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.nullable_vec(flexible, element_bytes_min, element)?
            .ok_or(DecodeError::UnexpectedNull { field })
    }

    pub fn nullable_vec<T>(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        mut element: impl FnMut(&mut Reader) -> Result<T>,
    ) -> Result<Option<Vec<T>>> {
        let Some(count) = self.length(flexible, true)? else {
            return Ok(None);
        };
        let remaining = self.remaining();
        if count > remaining / element_bytes_min.max(1) {
            return Err(DecodeError::CountTooLarge { count, remaining });
        }
        if count > ARRAY_ELEMENTS_MAX {
            return Err(DecodeError::TooManyElements { count });
        }
        self.take_memory(count.saturating_mul(size_of::<T>()))?;
        let mut elements = Vec::with_capacity(count.min(ARRAY_RESERVE_MAX));
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    /// The marker before a nullable struct: any negative byte is null, as in Kafka's reader.
    pub fn struct_is_present(&mut self) -> Result<bool> {
        Ok(self.i8()? >= 0)
    }

    /// The tagged fields that end a struct of a flexible version. `known` reads the field of a tag
    /// it knows and returns true; what it does not know is skipped.
    pub fn tags(&mut self, mut known: impl FnMut(&mut Reader, u32) -> Result<bool>) -> Result<()> {
        let count = self.uvarint()?;
        if count > TAGS_MAX {
            return Err(DecodeError::TooManyTags { count });
        }
        let mut next_tag_min = 0u32;
        for _ in 0..count {
            let tag = self.uvarint()?;
            if tag < next_tag_min {
                return Err(DecodeError::TagOrder { tag });
            }
            // The largest tag leaves no room for another one: the next would repeat it.
            next_tag_min = tag.saturating_add(1);
            let size = self.uvarint()? as usize;
            self.need(size)?;
            let outer_end = self.end;
            self.end = self.position + size;
            if known(self, tag)? {
                let unread = self.remaining();
                if unread > 0 {
                    return Err(DecodeError::TagSize { tag, unread });
                }
            }
            self.position = self.end;
            self.end = outer_end;
        }
        Ok(())
    }

    /// Tagged fields of a struct that knows none.
    pub fn skip_tags(&mut self) -> Result<()> {
        self.tags(|_, _| Ok(false))
    }
}
