//! DescribeQuorum (key 55, KIP-595): the voters and observers of the metadata quorum. Only the
//! active controller knows how far the others are, so another broker asks it over the wire.

use std::sync::Arc;
use std::time::Duration;

use base::topic_name::METADATA as METADATA_TOPIC;
use base::{ErrorCode, TopicId};
use metadata::Image;
use quorum::{QuorumStatus, ReplicaStatus};
use wire::Str;
use wire::messages::describe_quorum_response as response;
use wire::messages::{DescribeQuorumRequest, DescribeQuorumResponse};

use super::topology::active_controller;
use super::voters;
use crate::{Broker, RequestContext};

const TIMEOUT: Duration = Duration::from_secs(5);
/// Older versions have no place for directories and addresses, and the codec refuses to drop them
/// silently.
const NODES_VERSION_MIN: i16 = 2;

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    if let Some(refusal) = check(&request) {
        return refusal;
    }
    match active_controller(broker) {
        Some(active) if active == broker.id => {
            describe(&broker.image(), &broker.quorum.status(), cx.version)
        }
        Some(active) => {
            let answer = broker.peers.ask(active, &request, cx.version, TIMEOUT).await;
            answer.unwrap_or_else(|error| {
                tracing::info!(%active, %error, "ask the active controller");
                failed(ErrorCode::BrokerNotAvailable)
            })
        }
        None => failed(ErrorCode::NotLeaderOrFollower),
    }
}

/// The request may name the one partition of the metadata topic only.
fn check(request: &DescribeQuorumRequest) -> Option<DescribeQuorumResponse> {
    let [topic] = &request.topics[..] else {
        return Some(failed(ErrorCode::InvalidRequest));
    };
    let known = topic.topic_name == METADATA_TOPIC
        && topic.partitions.iter().all(|p| p.partition_index == 0);
    if known {
        return None;
    }
    let partitions = topic.partitions.iter().map(|p| response::PartitionData {
        partition_index: p.partition_index,
        error_code: ErrorCode::UnknownTopicOrPartition.code(),
        ..Default::default()
    });
    let topic = response::TopicData {
        topic_name: topic.topic_name.clone(),
        partitions: partitions.collect(),
    };
    Some(DescribeQuorumResponse { topics: vec![topic], ..Default::default() })
}

fn describe(image: &Image, status: &QuorumStatus, version: i16) -> DescribeQuorumResponse {
    let names_nodes = version >= NODES_VERSION_MIN;
    let directory = |id| match names_nodes {
        true => voters::directory_id(image, id),
        false => TopicId::ZERO,
    };
    let states = |replicas: &[ReplicaStatus]| {
        replicas.iter().map(|replica| state(replica, directory(replica.id))).collect()
    };
    let partition = response::PartitionData {
        leader_id: status.leader.map_or(-1, |id| id.0),
        leader_epoch: status.epoch,
        high_watermark: status.high_watermark,
        current_voters: states(&status.voters),
        observers: states(&status.observers),
        ..Default::default()
    };
    let topic =
        response::TopicData { topic_name: Str::from(METADATA_TOPIC), partitions: vec![partition] };
    let named = if names_nodes { &status.voters[..] } else { &[] };
    let nodes = named.iter().map(|voter| response::Node {
        node_id: voter.id.0,
        listeners: vec![response::Listener {
            name: Str::from("CONTROLLER"),
            host: Str::from(&*voter.address.host),
            port: voter.address.port,
        }],
    });
    DescribeQuorumResponse { topics: vec![topic], nodes: nodes.collect(), ..Default::default() }
}

fn state(replica: &ReplicaStatus, replica_directory_id: TopicId) -> response::ReplicaState {
    response::ReplicaState {
        replica_id: replica.id.0,
        replica_directory_id,
        log_end_offset: replica.log_end_offset,
        last_fetch_timestamp: replica.last_fetch_timestamp,
        last_caught_up_timestamp: replica.last_caught_up_timestamp,
    }
}

fn failed(error: ErrorCode) -> DescribeQuorumResponse {
    DescribeQuorumResponse {
        error_code: error.code(),
        error_message: Some(Str::from(error.message())),
        ..Default::default()
    }
}
