//! A log that is opened again holds a prefix of what was written. After the death of the process
//! alone nothing is missing; after power loss everything that was synced is there. Behind it there
//! may be what a full disk took a part of: that it was cut off again can be lost with the power.

use std::ops::Range;

use base::Offset;

use super::{Check, Property, violated};
use crate::content::{BatchId, index_at};
use crate::message::Tp;

/// `written` is everything ever written and not truncated, deleted or not. Where writes failed,
/// there may be more. `found` is what the log, which now spans `range`, shows.
pub fn recovered(
    (tp, who): (Tp, usize),
    (written, may_have_more): (&[BatchId], bool),
    synced: Offset,
    range: Range<Offset>,
    found: &[BatchId],
) -> Check {
    let same = kept(written, range.start, found);
    let (kept, more) = found.split_at(same);
    let end_of = |found: &[BatchId]| found.last().map_or(range.start, |batch| batch.last + 1);
    let known = more.is_empty() || may_have_more;
    if known && end_of(found) == range.end && end_of(kept) >= synced {
        return Ok(());
    }
    violated(
        Property::Recovery,
        format!(
            "partition {tp} node {who}: {range:?} with {} of {} batches, synced {synced}, \
             last found {:?}, last written {:?}, the first that differs is {:?} instead of {:?}",
            found.len(),
            written.len(),
            found.last().map(BatchId::text),
            written.last().map(BatchId::text),
            more.first().map(BatchId::text),
            written[index_at(written, range.start)..].get(same).map(BatchId::text)
        ),
    )
}

/// How many of the batches found are those that were written, from the log's start on.
pub fn kept(written: &[BatchId], start: Offset, found: &[BatchId]) -> usize {
    let written = &written[index_at(written, start)..];
    written.iter().zip(found).take_while(|(written, found)| written == found).count()
}
