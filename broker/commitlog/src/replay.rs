//! Producer state from the batches of the log: what a snapshot does not cover.

use std::sync::Arc;

use base::Offset;
use record::{Batch, BatchHeader};

use crate::access::{Access, into_log_error};
use crate::append::parse_marker;
use crate::producer_state::ProducerState;
use crate::read::segment_at;
use crate::segment::Segment;
use crate::{LogContext, LogError};

/// A control batch holds one tiny record; a larger one is not a transaction marker.
const CONTROL_BYTES_MAX: usize = 64 * 1024;

/// Applies all batches from `from` on, and writes the aborted transactions among them to the
/// segments' `.txnindex`, whose entries from there on are dropped first.
pub(crate) fn replay(
    segments: &[Arc<Segment>],
    state: &mut ProducerState,
    from: Offset,
    context: &LogContext,
) -> Result<(), LogError> {
    let first = segment_at(segments, from);
    for (i, segment) in segments.iter().enumerate() {
        segment.aborted.load(from, context)?;
        if i >= first {
            replay_segment(segment, state, from, context)?;
        }
    }
    Ok(())
}

fn replay_segment(
    segment: &Segment,
    state: &mut ProducerState,
    from: Offset,
    context: &LogContext,
) -> Result<(), LogError> {
    let access = Access::Blocking;
    let Some(start) = segment.locate(from, context, access).map_err(into_log_error)? else {
        return Ok(());
    };
    let mut position = start.position;
    let mut failure = None;
    let walked = segment.walk_from(start.position, segment.size(), context, access, |header| {
        if header.base_offset >= from && header.has_producer_id() {
            let applied = if header.is_control() {
                replay_marker(segment, state, header, position, context)
            } else {
                state.appended(header);
                Ok(())
            };
            failure = applied.err();
        }
        position += header.size() as u64;
        failure.is_some()
    });
    walked.map_err(into_log_error)?;
    failure.map_or(Ok(()), Err)
}

fn replay_marker(
    segment: &Segment,
    state: &mut ProducerState,
    header: &BatchHeader,
    position: u64,
    context: &LogContext,
) -> Result<(), LogError> {
    if header.size() > CONTROL_BYTES_MAX {
        return Ok(());
    }
    let mut bytes = vec![0; header.size()];
    let file = segment.open(context)?;
    let n = file
        .read_at(&mut bytes, position)
        .map_err(|e| LogError::io("read", &segment.log.path(), e))?;
    let Some(marker) = Batch::parse(&bytes[..n]).ok().and_then(|batch| parse_marker(&batch)) else {
        return Ok(());
    };
    if let Some(aborted) = state.aborted_by(header, &marker) {
        segment.aborted.append(&aborted, context)?;
    }
    state.marker(header, &marker);
    Ok(())
}
