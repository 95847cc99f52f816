//! ListPartitionReassignments (key 46, KIP-455): the moves under way.

use std::sync::Arc;

use metadata::{
    ControllerRequest, ControllerResponse, ListReassignmentsRequest, OngoingReassignment,
    TopicPartitions,
};
use wire::Str;
use wire::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use wire::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use super::forward::{forward, ids, outcome};
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
    let take = |response| match response {
        ControllerResponse::ListPartitionReassignments(results) => Some(results),
        _ => None,
    };
    let request = ListReassignmentsRequest { partitions };
    let request = ControllerRequest::ListPartitionReassignments(request);
    let mut response = ListPartitionReassignmentsResponse::default();
    match forward(broker, request, take).await {
        Ok(moves) => response.topics = by_topic(moves),
        Err(error) => (response.error_code, response.error_message) = outcome(&Err(error)),
    }
    response
}

fn by_topic(moves: Vec<OngoingReassignment>) -> Vec<OngoingTopicReassignment> {
    let mut topics: Vec<OngoingTopicReassignment> = Vec::new();
    for one in moves {
        let partition = OngoingPartitionReassignment {
            partition_index: one.partition,
            replicas: ids(&one.replicas),
            adding_replicas: ids(&one.adding),
            removing_replicas: ids(&one.removing),
        };
        match topics.last_mut().filter(|t| t.name == *one.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(OngoingTopicReassignment {
                name: Str::from(&one.topic),
                partitions: vec![partition],
            }),
        }
    }
    topics
}
