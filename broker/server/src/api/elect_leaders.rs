//! ElectLeaders (key 43, KIP-460): preferred or unclean elections on demand.

use std::sync::Arc;

use base::ErrorCode;
use metadata::{
    ControllerError, ControllerRequest, ControllerResponse, ElectionType, TopicPartitions,
};
use wire::Str;
use wire::messages::elect_leaders_request::TopicPartitions as AskedTopic;
use wire::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use wire::messages::{ElectLeadersRequest, ElectLeadersResponse};

use super::forward::{forward, outcome};
use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    let asked = request.topic_partitions;
    let election = match request.election_type {
        0 => ElectionType::Preferred,
        1 => ElectionType::Unclean,
        _ => return failed(cx.version, asked, &ErrorCode::InvalidRequest.into()),
    };
    let partitions = asked.as_ref().map(|topics| {
        let own = |t: &AskedTopic| TopicPartitions {
            topic: t.topic.to_arc(),
            partitions: t.partitions.clone(),
        };
        topics.iter().map(own).collect()
    });
    let take = |response| match response {
        ControllerResponse::ElectLeaders(results) => Some(results),
        _ => None,
    };
    let request = metadata::ElectLeadersRequest { election, partitions };
    match forward(broker, ControllerRequest::ElectLeaders(request), take).await {
        Err(error) => failed(cx.version, asked, &error),
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

/// The error stands for the whole and, as in Kafka, at every partition: version 0 has no other
/// place for it.
fn failed(
    version: i16,
    asked: Option<Vec<AskedTopic>>,
    error: &ControllerError,
) -> ElectLeadersResponse {
    let error_code = error.code.code();
    let partition = |partition_id| PartitionResult {
        partition_id,
        error_code,
        error_message: Some(Str::from(&error.message)),
    };
    let topic = |t: AskedTopic| ReplicaElectionResult {
        topic: t.topic,
        partition_result: t.partitions.into_iter().map(partition).collect(),
    };
    ElectLeadersResponse {
        error_code: if version == 0 { ErrorCode::None.code() } else { error_code },
        replica_election_results: asked.unwrap_or_default().into_iter().map(topic).collect(),
        ..Default::default()
    }
}
