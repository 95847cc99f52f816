//! The five codecs, streaming and bounded: whoever decompresses states how much may come out.
//!
//! Snappy is written in xerial framing (as Java clients do) and read in both that and the raw
//! form (as librdkafka and franz-go send it); lz4 is the frame format with independent blocks,
//! because Java refuses linked ones; gzip may have several members.

use std::io::{self, Read, Write};

use crate::BatchError;

/// A codec by its number in the batch attributes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Compression {
    pub const ALL: [Compression; 5] = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];

    pub fn id(self) -> i16 {
        self as i16
    }

    pub fn from_id(id: i16) -> Option<Compression> {
        Compression::ALL.get(usize::try_from(id).ok()?).copied()
    }

    /// Kafka's name, as in `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }

    /// The codec of a name; `uncompressed` is Kafka's topic-level word for `none`.
    pub fn from_name(name: &str) -> Option<Compression> {
        match name {
            "uncompressed" => Some(Compression::None),
            _ => Compression::ALL.into_iter().find(|c| c.name() == name),
        }
    }
}

const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_BYTES: usize = 16;
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// Windows of zstd that are accepted: 2^27 bytes is what Kafka's clients may use at their highest
/// level. The memory is used only as far as bytes come out.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// Where little may come out, no such window is needed: that of the levels up to 19.
const ZSTD_WINDOW_LOG_SHORT: u32 = 23;
/// Largest block a xerial chunk may declare decompressed: bounds the one buffer we keep.
const SNAPPY_BLOCK_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Compresses `data`. `level` is the codec's own scale, `None` its default; codecs without
/// levels ignore it.
pub fn compress(codec: Compression, level: Option<i32>, data: &[u8]) -> io::Result<Vec<u8>> {
    match codec {
        Compression::None => Ok(data.to_vec()),
        Compression::Gzip => {
            let level = level.filter(|l| (0..=9).contains(l)).map_or(6, |l| l as u32);
            let out = Vec::with_capacity(data.len() / 2);
            let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(level));
            encoder.write_all(data)?;
            encoder.finish()
        }
        Compression::Snappy => compress_xerial(data),
        Compression::Lz4 => {
            let info = lz4_flex::frame::FrameInfo::new()
                .block_mode(lz4_flex::frame::BlockMode::Independent)
                .block_size(lz4_flex::frame::BlockSize::Max64KB);
            let out = Vec::with_capacity(data.len() / 2);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, out);
            encoder.write_all(data)?;
            encoder.finish().map_err(io::Error::other)
        }
        Compression::Zstd => zstd::bulk::compress(data, level.unwrap_or(3)),
    }
}

fn compress_xerial(data: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(XERIAL_HEADER_BYTES + data.len() / 2);
    out.extend_from_slice(&XERIAL_MAGIC);
    out.extend_from_slice(&1i32.to_be_bytes());
    out.extend_from_slice(&1i32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    let mut block = vec![0; snap::raw::max_compress_len(XERIAL_BLOCK_BYTES)];
    for chunk in data.chunks(XERIAL_BLOCK_BYTES) {
        let n = encoder.compress(chunk, &mut block).map_err(io::Error::other)?;
        out.extend_from_slice(&(n as u32).to_be_bytes());
        out.extend_from_slice(&block[..n]);
    }
    Ok(out)
}

/// The whole decompressed data, refused if it would exceed `limit` bytes.
pub fn decompress(codec: Compression, data: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    Decompressor::new(codec, data, limit)?.read_to_end(&mut out)?;
    Ok(out)
}

/// A stream of decompressed bytes that fails once more than its limit came out.
pub struct Decompressor<'a> {
    source: Source<'a>,
    left: usize,
}

enum Source<'a> {
    None(&'a [u8]),
    Gzip(Box<flate2::bufread::MultiGzDecoder<&'a [u8]>>),
    Snappy(SnappyReader<'a>),
    Lz4(Box<lz4_flex::frame::FrameDecoder<&'a [u8]>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, &'a [u8]>>),
}

impl<'a> Decompressor<'a> {
    pub fn new(codec: Compression, data: &'a [u8], limit: usize) -> io::Result<Decompressor<'a>> {
        let source = match codec {
            Compression::None => Source::None(data),
            Compression::Gzip => Source::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(data))),
            Compression::Snappy => Source::Snappy(SnappyReader::new(data, limit)),
            Compression::Lz4 => Source::Lz4(Box::new(lz4_flex::frame::FrameDecoder::new(data))),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(data)?;
                let is_short = limit <= 1 << ZSTD_WINDOW_LOG_SHORT;
                decoder.window_log_max(match is_short {
                    true => ZSTD_WINDOW_LOG_SHORT,
                    false => ZSTD_WINDOW_LOG_MAX,
                })?;
                Source::Zstd(Box::new(decoder))
            }
        };
        Ok(Decompressor { source, left: limit })
    }

    /// How many bytes may still come out.
    pub fn left(&self) -> usize {
        self.left
    }
}

impl Read for Decompressor<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = match &mut self.source {
            Source::None(data) => data.read(buf)?,
            Source::Gzip(reader) => reader.read(buf)?,
            Source::Snappy(reader) => reader.read(buf)?,
            Source::Lz4(reader) => reader.read(buf)?,
            Source::Zstd(reader) => reader.read(buf)?,
        };
        self.left = self.left.checked_sub(n).ok_or_else(too_large)?;
        Ok(n)
    }
}

/// More came out, or would, than was allowed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("decompressed data exceeds its limit")]
pub struct LimitExceeded;

impl LimitExceeded {
    /// Whether that is what an error of a [`Decompressor`] says.
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<LimitExceeded>())
    }
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, LimitExceeded)
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Raw snappy is one block; xerial is a header and blocks, each with a big-endian length.
struct SnappyReader<'a> {
    data: &'a [u8],
    xerial: bool,
    block: Vec<u8>,
    position: usize,
    block_max: usize,
}

impl<'a> SnappyReader<'a> {
    fn new(data: &'a [u8], limit: usize) -> SnappyReader<'a> {
        let xerial = data.len() >= XERIAL_HEADER_BYTES && data.starts_with(&XERIAL_MAGIC);
        let data = if xerial { &data[XERIAL_HEADER_BYTES..] } else { data };
        let block_max = limit.min(SNAPPY_BLOCK_BYTES_MAX);
        SnappyReader { data, xerial, block: Vec::new(), position: 0, block_max }
    }

    fn next_block(&mut self) -> io::Result<()> {
        let compressed = if self.xerial {
            let (len, rest) = self.data.split_first_chunk::<4>().ok_or(invalid("snappy length"))?;
            let len = u32::from_be_bytes(*len) as usize;
            let block = rest.get(..len).ok_or(invalid("snappy block is cut off"))?;
            self.data = &rest[len..];
            block
        } else {
            std::mem::take(&mut self.data)
        };
        let len = snap::raw::decompress_len(compressed).map_err(|_| invalid("snappy block"))?;
        // A snappy element of three bytes yields at most 64, so a larger claim is a lie.
        if len > self.block_max || len > compressed.len().saturating_mul(64) {
            return Err(too_large());
        }
        self.block.resize(len, 0);
        snap::raw::Decoder::new()
            .decompress(compressed, &mut self.block)
            .map_err(|_| invalid("snappy block"))?;
        self.position = 0;
        Ok(())
    }
}

impl Read for SnappyReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.position == self.block.len() {
            if self.data.is_empty() {
                return Ok(0);
            }
            self.next_block()?;
        }
        let n = buf.len().min(self.block.len() - self.position);
        buf[..n].copy_from_slice(&self.block[self.position..self.position + n]);
        self.position += n;
        Ok(n)
    }
}

impl From<BatchError> for io::Error {
    fn from(error: BatchError) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Vec<u8> {
        (0..200_000u32).flat_map(|i| (i / 7).to_be_bytes()).collect()
    }

    #[test]
    fn every_codec_returns_what_it_was_given() {
        for codec in Compression::ALL {
            for data in [vec![], vec![7], sample()] {
                let packed = compress(codec, None, &data).unwrap();
                assert_eq!(decompress(codec, &packed, data.len()).unwrap(), data, "{codec:?}");
            }
        }
    }

    #[test]
    fn more_than_the_limit_is_an_error() {
        for codec in Compression::ALL {
            let packed = compress(codec, None, &sample()).unwrap();
            let error = decompress(codec, &packed, sample().len() - 1).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{codec:?}");
        }
    }

    #[test]
    fn raw_snappy_and_several_gzip_members_are_read() {
        let raw = snap::raw::Encoder::new().compress_vec(&sample()).unwrap();
        assert_eq!(decompress(Compression::Snappy, &raw, 1 << 20).unwrap(), sample());
        let mut two = compress(Compression::Gzip, Some(1), b"one ").unwrap();
        two.extend(compress(Compression::Gzip, Some(9), b"two").unwrap());
        assert_eq!(decompress(Compression::Gzip, &two, 100).unwrap(), b"one two");
    }

    #[test]
    fn codecs_have_kafkas_numbers_and_names() {
        for (i, codec) in Compression::ALL.into_iter().enumerate() {
            assert_eq!(Compression::from_id(i as i16), Some(codec));
            assert_eq!(Compression::from_name(codec.name()), Some(codec));
        }
        assert_eq!(Compression::from_id(5), None);
        assert_eq!(Compression::from_id(-1), None);
        assert_eq!(Compression::from_name("uncompressed"), Some(Compression::None));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(data in prop::collection::vec(any::<u8>(), 0..300), xerial: bool) {
            let mut input = Vec::new();
            if xerial {
                input.extend_from_slice(&XERIAL_MAGIC);
                input.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
            }
            input.extend_from_slice(&data);
            for codec in Compression::ALL {
                let _ = decompress(codec, &input, 1 << 16);
            }
        }
    }
}
