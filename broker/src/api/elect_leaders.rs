//! ElectLeaders (key 43, KIP-460): preferred or unclean elections on demand.

use std::sync::Arc;

use base::ErrorCode;
use metadata::{
    ControllerError, ControllerRequest, ControllerResponse, ElectionType, TopicPartitions,
};
use wire::Str;
use wire::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use wire::messages::{ElectLeadersRequest, ElectLeadersResponse};

use super::forward::{forward, outcome};
use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    _: &RequestContext,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    let election = match request.election_type {
        0 => ElectionType::Preferred,
        1 => ElectionType::Unclean,
        _ => return failed(&ErrorCode::InvalidRequest.into()),
    };
    let partitions = request.topic_partitions.map(|topics| {
        topics
            .into_iter()
            .map(|t| TopicPartitions { topic: t.topic.to_arc(), partitions: t.partitions })
            .collect()
    });
    let take = |response| match response {
        ControllerResponse::ElectLeaders(results) => Some(results),
        _ => None,
    };
    let request = metadata::ElectLeadersRequest { election, partitions };
    match forward(broker, ControllerRequest::ElectLeaders(request), take).await {
        Err(error) => failed(&error),
        Ok(results) => ElectLeadersResponse {
            replica_election_results: by_topic(results),
            ..Default::default()
        },
    }
}

fn by_topic(results: Vec<metadata::PartitionResult>) -> Vec<ReplicaElectionResult> {
    let mut topics: Vec<ReplicaElectionResult> = Vec::new();
    for result in results {
        let (error_code, error_message) = outcome(&result.result);
        let one = PartitionResult { partition_id: result.partition, error_code, error_message };
        match topics.last_mut().filter(|t| t.topic == *result.topic) {
            Some(topic) => topic.partition_result.push(one),
            None => topics.push(ReplicaElectionResult {
                topic: Str::from(&result.topic),
                partition_result: vec![one],
            }),
        }
    }
    topics
}

fn failed(error: &ControllerError) -> ElectLeadersResponse {
    ElectLeadersResponse { error_code: error.code.code(), ..Default::default() }
}
