//! ElectLeaders (key 43, KIP-460): preferred or unclean elections on demand.

use std::sync::Arc;

use base::ErrorCode;
use metadata::{ControllerError, ElectionType, TopicPartitions};
use wire::Str;
use wire::messages::elect_leaders_request::TopicPartitions as AskedTopic;
use wire::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use wire::messages::{ElectLeadersRequest, ElectLeadersResponse};

use super::forward::{by_topic, forward, outcome};
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
    let request = metadata::ElectLeadersRequest { election, partitions };
    match forward(broker, request).await {
        Err(error) => failed(cx.version, asked, &error),
        Ok(results) => ElectLeadersResponse {
            replica_election_results: elected(results),
            ..Default::default()
        },
    }
}

fn elected(results: Vec<metadata::PartitionResult>) -> Vec<ReplicaElectionResult> {
    let one = |result: metadata::PartitionResult| {
        let (error_code, error_message) = outcome(&result.result);
        let partition_id = result.partition;
        (result.topic, PartitionResult { partition_id, error_code, error_message })
    };
    let result = |(topic, partition_result)| ReplicaElectionResult { topic, partition_result };
    by_topic(results.into_iter().map(one)).into_iter().map(result).collect()
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
