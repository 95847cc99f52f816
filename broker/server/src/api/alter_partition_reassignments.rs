//! AlterPartitionReassignments (key 45, KIP-455): move replicas, or cancel a move.

use std::sync::Arc;

use base::BrokerId;
use metadata::{
    AlterReassignmentsRequest, ControllerRequest, ControllerResponse, ReassignPartition,
};
use wire::Str;
use wire::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use wire::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};

use super::forward::{forward, outcome};
use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let allow = cx.version < 1 || request.allow_replication_factor_change;
    let partitions = request
        .topics
        .iter()
        .flat_map(|topic| {
            let name = topic.name.to_arc();
            topic.partitions.iter().map(move |p| ReassignPartition {
                topic: name.clone(),
                partition: p.partition_index,
                replicas: p
                    .replicas
                    .as_ref()
                    .map(|ids| ids.iter().copied().map(BrokerId).collect()),
            })
        })
        .collect();
    let request = AlterReassignmentsRequest { partitions, allow_replication_factor_change: allow };
    let take = |response| match response {
        ControllerResponse::AlterPartitionReassignments(results) => Some(results),
        _ => None,
    };
    let mut response = AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: allow,
        ..Default::default()
    };
    let request = ControllerRequest::AlterPartitionReassignments(request);
    match forward(broker, request, take).await {
        Ok(results) => response.responses = by_topic(results),
        Err(error) => (response.error_code, response.error_message) = outcome(&Err(error)),
    }
    response
}

fn by_topic(results: Vec<metadata::PartitionResult>) -> Vec<ReassignableTopicResponse> {
    let mut topics: Vec<ReassignableTopicResponse> = Vec::new();
    for result in results {
        let (error_code, error_message) = outcome(&result.result);
        let one = ReassignablePartitionResponse {
            partition_index: result.partition,
            error_code,
            error_message,
        };
        match topics.last_mut().filter(|t| t.name == *result.topic) {
            Some(topic) => topic.partitions.push(one),
            None => topics.push(ReassignableTopicResponse {
                name: Str::from(&result.topic),
                partitions: vec![one],
            }),
        }
    }
    topics
}
