//! An ISR change that the controller accepts was proposed by the current leader for exactly the
//! partition epoch that was current.

use std::sync::Arc;

use base::{BrokerId, LeaderEpoch, PartitionEpoch};
use metadata::{AlterIsrPartition, Image};

use super::{Check, Property, violated};

/// The proposal was accepted, and led to this leader epoch and partition epoch: it was decided on
/// the image before the first that has them, or changed nothing.
pub fn accepted(
    images: &[Arc<Image>],
    leader: BrokerId,
    proposal: &AlterIsrPartition,
    led_to: (LeaderEpoch, PartitionEpoch),
) -> Check {
    let of =
        |image: &Arc<Image>| image.partition_by_id(proposal.topic_id, proposal.partition).cloned();
    let has = |image: &Arc<Image>| of(image).is_some_and(|p| p.partition_epoch == led_to.1);
    let last = images.iter().rposition(has).unwrap_or(images.len() - 1);
    let changed = led_to.1 != proposal.partition_epoch;
    let decided_on = images[..last].iter().rev().find(|image| !has(image)).filter(|_| changed);
    let partition = of(decided_on.unwrap_or(&images[last]));
    let current = partition.as_ref().is_some_and(|p| {
        p.leader == Some(leader)
            && p.leader_epoch == proposal.leader_epoch
            && p.partition_epoch == proposal.partition_epoch
    });
    if current {
        return Ok(());
    }
    violated(
        Property::CompareAndSet,
        format!("accepted of {leader}: {proposal:?}, on {partition:?}"),
    )
}
