//! Of requests that are about one group.

use authorizer::{Operation, ResourceType};
use wire::Str;
use wire::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use wire::messages::*;

use crate::guard::{Demand, Guarded, Refusal};

fn reads(group: &Str) -> Demand<'_> {
    Demand::Of(Operation::Read, ResourceType::Group, group)
}

/// First version whose responses may be without the name of a protocol.
const NULL_PROTOCOL: i16 = 7;

impl Guarded for JoinGroupRequest {
    fn demands(&self) -> Vec<Demand<'_>> {
        vec![reads(&self.group_id)]
    }

    fn refuse(&self, version: i16, refusal: &Refusal) -> JoinGroupResponse {
        JoinGroupResponse {
            error_code: refusal.code.code(),
            protocol_name: (version < NULL_PROTOCOL).then(Str::default),
            ..Default::default()
        }
    }
}

impl Guarded for SyncGroupRequest {
    fn demands(&self) -> Vec<Demand<'_>> {
        vec![reads(&self.group_id)]
    }

    fn refuse(&self, _: i16, refusal: &Refusal) -> SyncGroupResponse {
        SyncGroupResponse { error_code: refusal.code.code(), ..Default::default() }
    }
}

impl Guarded for HeartbeatRequest {
    fn demands(&self) -> Vec<Demand<'_>> {
        vec![reads(&self.group_id)]
    }

    fn refuse(&self, _: i16, refusal: &Refusal) -> HeartbeatResponse {
        HeartbeatResponse { error_code: refusal.code.code(), ..Default::default() }
    }
}

impl Guarded for LeaveGroupRequest {
    fn demands(&self) -> Vec<Demand<'_>> {
        vec![reads(&self.group_id)]
    }

    fn refuse(&self, _: i16, refusal: &Refusal) -> LeaveGroupResponse {
        LeaveGroupResponse { error_code: refusal.code.code(), ..Default::default() }
    }
}

impl Guarded for ConsumerGroupHeartbeatRequest {
    /// Whoever subscribes to a topic by its name has to be allowed to know of it.
    fn demands(&self) -> Vec<Demand<'_>> {
        let topics = self.subscribed_topic_names.iter().flatten();
        let describes = |topic| Demand::Of(Operation::Describe, ResourceType::Topic, topic);
        let topics = topics.map(|topic: &Str| describes(topic));
        std::iter::once(reads(&self.group_id)).chain(topics).collect()
    }

    fn refuse(&self, _: i16, refusal: &Refusal) -> ConsumerGroupHeartbeatResponse {
        ConsumerGroupHeartbeatResponse { error_code: refusal.code.code(), ..Default::default() }
    }
}

impl Guarded for OffsetCommitRequest {
    fn demands(&self) -> Vec<Demand<'_>> {
        vec![reads(&self.group_id)]
    }

    fn refuse(&self, _: i16, refusal: &Refusal) -> OffsetCommitResponse {
        let topics = self.topics.iter().map(|topic| OffsetCommitResponseTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: topic
                .partitions
                .iter()
                .map(|partition| OffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: refusal.code.code(),
                })
                .collect(),
        });
        OffsetCommitResponse { topics: topics.collect(), ..Default::default() }
    }
}

impl Guarded for OffsetDeleteRequest {
    fn demands(&self) -> Vec<Demand<'_>> {
        vec![Demand::Of(Operation::Delete, ResourceType::Group, &self.group_id)]
    }

    fn refuse(&self, _: i16, refusal: &Refusal) -> OffsetDeleteResponse {
        OffsetDeleteResponse { error_code: refusal.code.code(), ..Default::default() }
    }
}
