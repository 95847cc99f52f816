//! The walk over a segment's file that believes nothing: each batch is checked, and the indexes
//! are built anew behind it. Stops at the first byte that is not a good batch.

use std::ops::Range;

use base::{LeaderEpoch, Offset};
use record::{BatchHeader, HEADER_BYTES, crc::Crc32c};

use crate::LogConfig;
use crate::LogContext;
use crate::LogError;
use crate::epoch_cache::EpochCache;
use crate::fs::SegmentFile;
use crate::segment::Segment;

/// Bytes read at once. Larger batches are checked piece by piece.
const CHUNK_BYTES: usize = 1 << 20;
/// Where the bytes covered by a batch's CRC begin.
const CHECKED_FROM: u64 = 21;

/// Where to begin and to end, and what is known there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScanRange {
    pub position: u64,
    /// No batch at or after the position begins below this.
    pub offset: Offset,
    /// The next segment's base: no batch may reach it.
    pub limit: Offset,
}

/// What a scan found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Scanned {
    pub bytes: u64,
    pub end_position: u64,
    pub end_offset: Offset,
    /// Why it stopped before the end of the file.
    pub stopped: Option<String>,
    /// Bytes after the last index entry.
    pub bytes_since_index: u64,
}

struct Window<'a> {
    file: &'a SegmentFile,
    buf: Vec<u8>,
    start: u64,
}

impl Window<'_> {
    /// Bytes from `position`, at least `wanted` unless the file ends or the chunk is too small.
    fn at(&mut self, position: u64, wanted: usize) -> std::io::Result<&[u8]> {
        let offset = position.wrapping_sub(self.start) as usize;
        if position < self.start || self.buf.len() < offset + wanted {
            self.buf.resize(CHUNK_BYTES, 0);
            let n = self.file.read_at(&mut self.buf, position)?;
            self.buf.truncate(n);
            self.start = position;
        }
        Ok(&self.buf[(position - self.start) as usize..])
    }

    fn crc(&mut self, from: u64, to: u64) -> std::io::Result<u32> {
        let mut crc = Crc32c::default();
        let mut position = from;
        while position < to {
            let bytes = self.at(position, 1)?;
            let n = bytes.len().min((to - position) as usize);
            if n == 0 {
                break;
            }
            crc.update(&bytes[..n]);
            position += n as u64;
        }
        Ok(crc.finish())
    }
}

/// Scans the file of `segment` over `range`, and publishes what holds in `segment`
/// and `epochs`. The indexes must not go beyond its start.
pub(crate) fn scan(
    segment: &Segment,
    range: ScanRange,
    epochs: &mut EpochCache,
    config: &LogConfig,
    context: &LogContext,
) -> Result<Scanned, LogError> {
    let file = segment.open(context)?;
    let error = |e| LogError::io("read", &segment.log.path(), e);
    let len = file.len().map_err(error)?;
    let mut window = Window { file: &file, buf: Vec::new(), start: 0 };
    let mut found = Scanned {
        bytes: 0,
        end_position: range.position,
        end_offset: range.offset,
        stopped: None,
        bytes_since_index: 0,
    };
    segment.set_end(range.position, range.offset);
    while found.end_position < len {
        let position = found.end_position;
        let epoch = epochs.latest().unwrap_or(-1);
        let expected = found.end_offset..range.limit;
        let header = match check(&mut window, position, len, expected, epoch) {
            Ok(header) => header,
            Err(Stop::Bad(reason)) => {
                found.stopped = Some(format!("position {position}: {reason}"));
                break;
            }
            Err(Stop::Io(e)) => return Err(error(e)),
        };
        segment.note_timestamp(header.max_timestamp, header.last_offset());
        if found.bytes_since_index > u64::from(config.index_interval_bytes) {
            segment.index_batch(&header, position, context);
            found.bytes_since_index = 0;
        }
        epochs.assign(header.leader_epoch, header.base_offset);
        let size = header.size() as u64;
        found.bytes_since_index += size;
        found.end_position += size;
        found.bytes += size;
        found.end_offset = header.next_offset();
    }
    segment.set_end(found.end_position, found.end_offset);
    Ok(found)
}

enum Stop {
    Bad(String),
    Io(std::io::Error),
}

fn check(
    window: &mut Window<'_>,
    position: u64,
    len: u64,
    expected: Range<Offset>,
    epoch: LeaderEpoch,
) -> Result<BatchHeader, Stop> {
    let bytes = window.at(position, HEADER_BYTES).map_err(Stop::Io)?;
    let header = BatchHeader::parse(bytes).map_err(|e| Stop::Bad(e.to_string()))?;
    let end = position + header.size() as u64;
    if end > len {
        return Err(Stop::Bad(format!("batch of {} bytes is cut off", header.size())));
    }
    let (base, last) = (header.base_offset, header.last_offset());
    if base < expected.start || last < base || last >= expected.end {
        return Err(Stop::Bad(format!("offsets {base}..={last} where {expected:?} must come")));
    }
    if header.leader_epoch < epoch && header.leader_epoch >= 0 {
        // Left over from a history that was truncated and partly overwritten.
        return Err(Stop::Bad(format!("epoch {} after {epoch}", header.leader_epoch)));
    }
    let computed = if header.size() <= CHUNK_BYTES {
        let batch = window.at(position, header.size()).map_err(Stop::Io)?;
        match batch.get(CHECKED_FROM as usize..header.size()) {
            Some(covered) => record::crc::crc32c(covered),
            None => return Err(Stop::Bad("batch is cut off".to_owned())),
        }
    } else {
        window.crc(position + CHECKED_FROM, end).map_err(Stop::Io)?
    };
    if computed != header.crc {
        return Err(Stop::Bad("the CRC does not match".to_owned()));
    }
    Ok(header)
}
