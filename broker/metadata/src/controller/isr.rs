//! ISR changes by compare-and-set: only the leader of the current leader epoch may propose one,
//! only against the current partition epoch, and every new member must be an active broker of the
//! incarnation that the leader saw catching up.

use std::sync::Arc;

use base::{BrokerId, ErrorCode, TopicPartition};

use super::draft::Draft;
use crate::image::Partition;
use crate::record::{LeaderRecoveryState, MetadataRecord, PartitionChangeRecord};
use crate::request::{
    AlterIsrPartition, AlterIsrRequest, AlterIsrResponse, AlterIsrResult, ControllerError,
    PartitionIsr,
};

impl Draft<'_> {
    pub(super) fn alter_isr(
        &mut self,
        request: AlterIsrRequest,
    ) -> Result<AlterIsrResponse, ControllerError> {
        self.check_broker(request.broker_id, request.broker_epoch)?;
        let broker = request.broker_id;
        let alter = |change: AlterIsrPartition| AlterIsrResult {
            topic_id: change.topic_id,
            partition: change.partition,
            result: self.alter_partition_isr(broker, &change),
        };
        Ok(AlterIsrResponse { partitions: request.partitions.into_iter().map(alter).collect() })
    }

    fn alter_partition_isr(
        &mut self,
        broker: BrokerId,
        request: &AlterIsrPartition,
    ) -> Result<PartitionIsr, ErrorCode> {
        let topic =
            self.image.topic_by_id(request.topic_id).ok_or(ErrorCode::UnknownTopicId)?.clone();
        let partition =
            topic.partition(request.partition).ok_or(ErrorCode::UnknownTopicOrPartition)?.clone();
        if let Err(error) = self.check_isr_change(broker, request, &partition) {
            if error == ErrorCode::IneligibleReplica {
                self.spend_partition_epoch(request, &partition);
            }
            return Err(error);
        }
        let tp = TopicPartition::new(topic.name.clone(), request.partition);
        let mut change =
            self.change(&tp, self.rules(&tp.topic)).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        change.isr = request.isr.iter().map(|member| member.broker_id).collect();
        change.recovery_state = request.leader_recovery_state;
        self.finish(change);
        let after = self
            .image
            .partition(&tp.topic, tp.partition)
            .ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if after.leader != Some(broker) {
            // The change completed a reassignment that moved the leader elsewhere.
            return Err(ErrorCode::NewLeaderElected);
        }
        Ok(partition_isr(after))
    }

    /// A refusal must hold for every copy of the proposal that is still under way: the member may
    /// be eligible again when one arrives, while the leader has stopped counting it. So the
    /// refusal takes the partition epoch, as an acceptance would.
    fn spend_partition_epoch(&mut self, request: &AlterIsrPartition, partition: &Partition) {
        self.push(MetadataRecord::PartitionChange(PartitionChangeRecord {
            topic_id: request.topic_id,
            partition: request.partition,
            partition_epoch: partition.partition_epoch + 1,
            isr: Some(partition.isr.clone()),
            ..PartitionChangeRecord::default()
        }));
    }

    fn check_isr_change(
        &self,
        broker: BrokerId,
        request: &AlterIsrPartition,
        partition: &Arc<Partition>,
    ) -> Result<(), ErrorCode> {
        // A higher epoch than ours: it is us who are behind.
        if request.leader_epoch > partition.leader_epoch
            || request.partition_epoch > partition.partition_epoch
        {
            return Err(ErrorCode::NotController);
        }
        if request.leader_epoch < partition.leader_epoch {
            return Err(ErrorCode::FencedLeaderEpoch);
        }
        if partition.leader != Some(broker) {
            return Err(ErrorCode::InvalidRequest);
        }
        if request.partition_epoch < partition.partition_epoch {
            return Err(ErrorCode::InvalidUpdateVersion);
        }
        let isr: Vec<BrokerId> = request.isr.iter().map(|m| m.broker_id).collect();
        let unique = isr.iter().enumerate().all(|(i, b)| !isr[..i].contains(b));
        if !unique || !isr.contains(&broker) || !isr.iter().all(|b| partition.is_replica(*b)) {
            return Err(ErrorCode::InvalidRequest);
        }
        let recovering = request.leader_recovery_state == LeaderRecoveryState::Recovering;
        let was_recovered = partition.leader_recovery_state == LeaderRecoveryState::Recovered;
        if recovering && (was_recovered || isr.len() > 1) {
            return Err(ErrorCode::InvalidRequest);
        }
        let eligible = request.isr.iter().all(|member| {
            !partition.is_offline(member.broker_id)
                && self.image.broker(member.broker_id).is_some_and(|b| {
                    b.is_active() && (member.broker_epoch == -1 || member.broker_epoch == b.epoch)
                })
        });
        if eligible { Ok(()) } else { Err(ErrorCode::IneligibleReplica) }
    }
}

fn partition_isr(partition: &Partition) -> PartitionIsr {
    PartitionIsr {
        leader: partition.leader,
        leader_epoch: partition.leader_epoch,
        isr: partition.isr.clone(),
        leader_recovery_state: partition.leader_recovery_state,
        partition_epoch: partition.partition_epoch,
    }
}
