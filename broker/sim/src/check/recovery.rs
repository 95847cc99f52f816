//! A log that is opened again holds a prefix of what was written. After the death of the process
//! alone nothing is missing; after power loss everything that was synced is there.

use std::ops::Range;

use base::Offset;

use super::{Check, Property, violated};
use crate::content::{BatchId, index_at};
use crate::message::Tp;

/// `written` is everything ever written and not truncated, deleted or not; `found` is what the
/// log, which now spans `range`, shows.
pub fn recovered(
    (tp, who): (Tp, usize),
    written: &[BatchId],
    synced: Offset,
    range: Range<Offset>,
    found: &[BatchId],
) -> Check {
    let first = index_at(written, range.start);
    let is_prefix = written[first..].starts_with(found);
    let ends = found.last().map_or(range.start, |batch| batch.last + 1);
    if is_prefix && ends == range.end && range.end >= synced {
        return Ok(());
    }
    violated(
        Property::Recovery,
        format!(
            "partition {tp} node {who}: {range:?} with {} of {} batches, synced {synced}, \
             last found {:?}, last written {:?}",
            found.len(),
            written.len(),
            found.last().map(BatchId::text),
            written.last().map(BatchId::text)
        ),
    )
}
