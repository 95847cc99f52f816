//! ListPartitionReassignments (key 46, KIP-455): the moves under way.

use std::sync::Arc;

use metadata::{ListReassignmentsRequest, OngoingReassignment, TopicPartitions};
use wire::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use wire::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use super::forward::{by_topic, forward, ids, outcome};
use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    _: &RequestContext,
    request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let partitions = request.topics.map(|topics| {
        topics
            .into_iter()
            .map(|t| TopicPartitions { topic: t.name.to_arc(), partitions: t.partition_indexes })
            .collect()
    });
    let request = ListReassignmentsRequest { partitions };
    let mut response = ListPartitionReassignmentsResponse::default();
    match forward(broker, request).await {
        Ok(moves) => response.topics = under_way(moves),
        Err(error) => (response.error_code, response.error_message) = outcome(&Err(error)),
    }
    response
}

fn under_way(moves: Vec<OngoingReassignment>) -> Vec<OngoingTopicReassignment> {
    let partition = |one: OngoingReassignment| {
        let partition = OngoingPartitionReassignment {
            partition_index: one.partition,
            replicas: ids(&one.replicas),
            adding_replicas: ids(&one.adding),
            removing_replicas: ids(&one.removing),
        };
        (one.topic, partition)
    };
    let topics = by_topic(moves.into_iter().map(partition)).into_iter();
    topics.map(|(name, partitions)| OngoingTopicReassignment { name, partitions }).collect()
}
