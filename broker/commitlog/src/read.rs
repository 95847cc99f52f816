//! The read side of a log: valid without the owner's lock, for as long as anyone holds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use base::{Offset, ProducerId};
use parking_lot::RwLock;

use crate::LogContext;
use crate::aborted_index::AbortedTxn;
use crate::access::{Access, ReadError, read_error};
use crate::fs::SegmentFile;
use crate::segment::Segment;

/// A byte range of one segment that a fetch may return as it is. The last batch may be cut off,
/// as Kafka's fetch allows; the first is whole.
#[derive(Clone, Debug)]
pub struct FetchSlice {
    pub file: Arc<SegmentFile>,
    pub position: u64,
    pub len: usize,
    /// Base offset of the first batch: at or below the offset asked for.
    pub base_offset: Offset,
    /// The log's segments as they were: others may have taken their place since.
    segments: Arc<Vec<Arc<Segment>>>,
}

/// An aborted transaction that overlaps a read, for the fetch response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbortedTransaction {
    pub producer_id: ProducerId,
    pub first_offset: Offset,
}

/// What the owner publishes to readers.
#[derive(Debug)]
pub(crate) struct Shared {
    pub context: LogContext,
    /// Sorted by base offset; never empty. Replaced as a whole, so a reader keeps what it took.
    pub segments: RwLock<Arc<Vec<Arc<Segment>>>>,
    pub start: AtomicI64,
    pub end: AtomicI64,
}

impl Shared {
    pub fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        self.segments.read().clone()
    }
}

/// Index of the segment that holds `offset`: the last one that begins at or below it.
pub(crate) fn segment_at(segments: &[Arc<Segment>], offset: Offset) -> usize {
    segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1)
}

/// Cheap to clone and to hold. Sees appends as soon as they are in the log.
#[derive(Clone, Debug)]
pub struct LogReader {
    pub(crate) shared: Arc<Shared>,
}

impl LogReader {
    pub fn start_offset(&self) -> Offset {
        self.shared.start.load(Ordering::Acquire)
    }

    pub fn end_offset(&self) -> Offset {
        self.shared.end.load(Ordering::Acquire)
    }

    /// Up to `max_bytes` of batches from the one that holds `offset`, none of them at or beyond
    /// `max_offset` (exclusive: a high watermark, last stable offset or the log end). With
    /// `at_least_one` the first batch is returned whole even if larger than `max_bytes`; without it
    /// nothing is then, as a client takes a piece of one batch for a batch that it can never read.
    /// `Ok(None)`: nothing to read there yet, or no room for it. Never crosses into the next
    /// segment.
    pub fn read(
        &self,
        offset: Offset,
        max_bytes: usize,
        max_offset: Offset,
        at_least_one: bool,
        access: Access,
    ) -> Result<Option<FetchSlice>, ReadError> {
        let limit = self.limit(offset, max_offset)?;
        if offset >= limit {
            return Ok(None);
        }
        let context = &self.shared.context;
        let segments = self.shared.segments();
        for segment in &segments[segment_at(&segments, offset)..] {
            if segment.base_offset >= limit {
                break;
            }
            let Some(first) = segment.locate(offset, context, access)? else { continue };
            if first.base_offset >= limit {
                break;
            }
            let end = segment.position_of(limit, context, access)?;
            let available = end.saturating_sub(first.position) as usize;
            let len = available.min(max_bytes.max(first.size));
            if len == 0 || !at_least_one && first.size > max_bytes {
                break;
            }
            let file = access
                .open(&segment.log, context)
                .map_err(|e| read_error(e, "open", &segment.log))?;
            let base_offset = first.base_offset;
            let (position, segments) = (first.position, segments.clone());
            return Ok(Some(FetchSlice { file, position, len, base_offset, segments }));
        }
        Ok(None)
    }

    fn limit(&self, offset: Offset, max_offset: Offset) -> Result<Offset, ReadError> {
        let (start, end) = (self.start_offset(), self.end_offset());
        if offset < start || offset > end {
            return Err(ReadError::OutOfRange { offset, start, end });
        }
        Ok(max_offset.min(end))
    }

    /// Bytes between `offset` and `max_offset`, for `fetch.min.bytes`: exact near the log's end;
    /// elsewhere it may be too much, never too little. Reads no disk.
    pub fn bytes_between(&self, offset: Offset, max_offset: Offset) -> u64 {
        let Ok(limit) = self.limit(offset, max_offset) else { return 0 };
        if offset >= limit {
            return 0;
        }
        let context = &self.shared.context;
        let segments = self.shared.segments();
        let at = segment_at(&segments, offset);
        let segment = &segments[at];
        if segments.get(at + 1).is_some_and(|next| next.base_offset < limit) {
            return segment.size();
        }
        let from = match segment.locate(offset, context, Access::Resident) {
            Ok(Some(first)) => first.position,
            _ => 0,
        };
        let to = segment.position_of(limit, context, Access::Resident);
        to.unwrap_or_else(|_| segment.size()).saturating_sub(from)
    }

    /// The aborted transactions of what a read from `offset` on found, by their first offsets.
    pub fn aborted_transactions(
        &self,
        offset: Offset,
        slice: &FetchSlice,
        access: Access,
    ) -> Result<Vec<AbortedTransaction>, ReadError> {
        let context = &self.shared.context;
        let segments = &slice.segments[segment_at(&slice.segments, slice.base_offset)..];
        if segments.iter().all(|segment| segment.aborted.is_empty()) {
            return Ok(Vec::new());
        }
        if slice.base_offset < segments[0].base_offset {
            let (offset, start, end) = (offset, self.start_offset(), self.end_offset());
            return Err(ReadError::OutOfRange { offset, start, end });
        }
        let bound = offset_after(&segments[0], slice, context, access)?;
        let mut found = Vec::new();
        'all: for segment in segments {
            for txn in segment.aborted.read(context, access)? {
                if txn.last_offset >= offset && txn.first_offset < bound {
                    let AbortedTxn { producer_id, first_offset, .. } = txn;
                    found.push(AbortedTransaction { producer_id, first_offset });
                }
                // All that was open below the bound was decided when this was written.
                if txn.last_stable_offset >= bound {
                    break 'all;
                }
            }
        }
        found.sort_unstable_by_key(|txn| txn.first_offset);
        Ok(found)
    }
}

/// The offset after the last batch that a slice has at least a part of.
fn offset_after(
    segment: &Segment,
    slice: &FetchSlice,
    context: &LogContext,
    access: Access,
) -> Result<Offset, ReadError> {
    let end = slice.position + slice.len as u64;
    let (mut position, mut after) = (slice.position, slice.base_offset);
    segment.walk_from(slice.position, segment.size(), context, access, |header| {
        position += header.size() as u64;
        after = header.next_offset();
        position >= end
    })?;
    Ok(after)
}
