//! AlterPartitionReassignments (key 45, KIP-455): move replicas, or cancel a move.

use std::sync::Arc;

use base::BrokerId;
use metadata::{AlterReassignmentsRequest, PartitionResult, ReassignPartition};
use wire::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use wire::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};

use super::forward::{by_topic, forward, outcome};
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
    let mut response = AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: allow,
        ..Default::default()
    };
    match forward(broker, request).await {
        Ok(results) => response.responses = responses(results),
        Err(error) => (response.error_code, response.error_message) = outcome(&Err(error)),
    }
    response
}

fn responses(results: Vec<PartitionResult>) -> Vec<ReassignableTopicResponse> {
    let one = |result: PartitionResult| {
        let (error_code, error_message) = outcome(&result.result);
        let partition_index = result.partition;
        (result.topic, ReassignablePartitionResponse { partition_index, error_code, error_message })
    };
    let topics = by_topic(results.into_iter().map(one)).into_iter();
    topics.map(|(name, partitions)| ReassignableTopicResponse { name, partitions }).collect()
}
