//! A log that is opened again holds a prefix of what was written. After the death of the process
//! alone nothing is missing; after power loss everything that was synced is there.

use base::Offset;

use super::{Check, Property, violated};
use crate::content::BatchId;
use crate::message::Tp;

pub fn recovered(
    tp: Tp,
    who: usize,
    written: &[BatchId],
    synced: Offset,
    found: &[BatchId],
) -> Check {
    let end = found.last().map_or(0, |batch| batch.last + 1);
    let is_prefix = found.len() <= written.len() && found == &written[..found.len()];
    if is_prefix && end >= synced {
        return Ok(());
    }
    violated(
        Property::Recovery,
        format!(
            "partition {tp} node {who}: {} of {} batches, end {end}, synced {synced}, \
             last found {:?}, last written {:?}",
            found.len(),
            written.len(),
            found.last().map(BatchId::text),
            written.last().map(BatchId::text)
        ),
    )
}
