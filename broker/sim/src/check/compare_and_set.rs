//! An ISR change that the controller accepts was proposed by the current leader for exactly the
//! partition epoch that was current.

use metadata::{AlterIsrPartition, Image};

use super::{Check, Property, violated};

/// The proposal was accepted on this image.
pub fn accepted(image: &Image, leader: base::BrokerId, proposal: &AlterIsrPartition) -> Check {
    let partition = image.partition_by_id(proposal.topic_id, proposal.partition);
    let current = partition.is_some_and(|p| {
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
