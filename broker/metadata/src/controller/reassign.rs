//! Reassignments: replicas are added first and removed once the added ones are in sync. The state
//! is in the partition; its completion is part of every ISR change.

use base::{BrokerId, ErrorCode, TopicPartition};

use super::draft::Draft;
use super::elections::flatten;
use super::failure::error;
use crate::image::Partition;
use crate::request::{
    AlterReassignmentsRequest, ControllerError, ListReassignmentsRequest, OngoingReassignment,
    PartitionResult, ReassignPartition,
};

impl Draft<'_> {
    pub(super) fn alter_reassignments(
        &mut self,
        request: AlterReassignmentsRequest,
    ) -> Vec<PartitionResult> {
        let may_resize = request.allow_replication_factor_change;
        let partitions = request.partitions.into_iter();
        partitions
            .map(|change| {
                let result = self.alter_reassignment(&change, may_resize);
                PartitionResult { topic: change.topic, partition: change.partition, result }
            })
            .collect()
    }

    fn alter_reassignment(
        &mut self,
        request: &ReassignPartition,
        may_resize: bool,
    ) -> Result<(), ControllerError> {
        let tp = TopicPartition::new(request.topic.clone(), request.partition);
        let Some(partition) = self.image.partition(&tp.topic, tp.partition).cloned() else {
            let message = format!("Unable to find partition {tp}.");
            return error(ErrorCode::UnknownTopicOrPartition, message);
        };
        match &request.replicas {
            None => self.cancel_reassignment(&tp, &partition),
            Some(target) => self.start_reassignment(&tp, &partition, target, may_resize),
        }
    }

    fn start_reassignment(
        &mut self,
        tp: &TopicPartition,
        partition: &Partition,
        target: &[BrokerId],
        may_resize: bool,
    ) -> Result<(), ControllerError> {
        self.check_assignment(target, None)?;
        let settled = partition.replicas.iter().filter(|b| !partition.adding.contains(b));
        let settled: Vec<BrokerId> = settled.copied().collect();
        let size = partition.replicas.len() - partition.removing.len();
        if !may_resize && target.len() != size {
            let message =
                format!("The replication factor is changed from {size} to {}", target.len());
            return error(ErrorCode::InvalidReplicationFactor, message);
        }
        let Some(mut change) = self.change(tp, self.rules(&tp.topic)) else {
            return Err(ErrorCode::UnknownTopicOrPartition.into());
        };
        change.removing =
            partition.replicas.iter().copied().filter(|b| !target.contains(b)).collect();
        change.adding = target.iter().copied().filter(|b| !settled.contains(b)).collect();
        change.replicas = target.iter().chain(&change.removing).copied().collect();
        self.finish(change);
        Ok(())
    }

    /// Back to the replicas before the reassignment. Added ones that are in sync leave when enough
    /// of the others are, as in every reassignment.
    fn cancel_reassignment(
        &mut self,
        tp: &TopicPartition,
        partition: &Partition,
    ) -> Result<(), ControllerError> {
        if !partition.is_reassigning() {
            return Err(ErrorCode::NoReassignmentInProgress.into());
        }
        let rules = self.rules(&tp.topic);
        let Some(mut change) = self.change(tp, rules) else {
            return Err(ErrorCode::UnknownTopicOrPartition.into());
        };
        let adding = std::mem::take(&mut change.adding);
        let only_added = !change.isr.is_empty() && change.isr.iter().all(|b| adding.contains(b));
        change.replicas.retain(|b| !adding.contains(b));
        change.replicas.extend(&adding);
        change.removing = adding;
        if only_added && !rules.unclean {
            let message = format!(
                "Unable to revert partition assignment for {tp} because it would require an \
                 unclean leader election."
            );
            return error(ErrorCode::InvalidReplicaAssignment, message);
        }
        self.finish(change);
        Ok(())
    }

    pub(super) fn list_reassignments(
        &self,
        request: ListReassignmentsRequest,
    ) -> Vec<OngoingReassignment> {
        let partitions: Vec<TopicPartition> = match request.partitions {
            None => self.image.reassigning().cloned().collect(),
            Some(partitions) => flatten(partitions).collect(),
        };
        partitions
            .into_iter()
            .filter_map(|tp| {
                let partition = self.image.partition(&tp.topic, tp.partition)?;
                partition.is_reassigning().then(|| OngoingReassignment {
                    topic: tp.topic.clone(),
                    partition: tp.partition,
                    replicas: partition.replicas.clone(),
                    adding: partition.adding.clone(),
                    removing: partition.removing.clone(),
                })
            })
            .collect()
    }
}
