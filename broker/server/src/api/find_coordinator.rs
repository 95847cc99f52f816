//! FindCoordinator (key 10): the broker that leads the partition of `__consumer_offsets` that a
//! group belongs to. The topic is created by the first who asks.

use std::sync::Arc;

use base::ErrorCode;
use metadata::{
    ControllerRequest, ControllerResponse, CreateTopic, CreateTopicsRequest, Image, Partition,
};
use wire::Str;
use wire::messages::find_coordinator_response::Coordinator;
use wire::messages::{FindCoordinatorRequest, FindCoordinatorResponse};

use super::forward::{await_topics, forward};
use super::topology::leader_on;
use crate::suspects::{Suspects, settled_image};
use crate::{Broker, RequestContext};
use coordination::{OFFSETS_TOPIC, partition_of};
use process::clock;

/// `KeyType` of a request.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// First version that asks for several keys at once.
const BATCHED: i16 = 4;

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let keys = match cx.version >= BATCHED {
        true => request.coordinator_keys,
        false => vec![request.key],
    };
    let unserved = match request.key_type {
        GROUP => None,
        // Transactions are not served yet. This code ends initTransactions at once, with a reason,
        // in every client; "not available" would have them ask until their own timeout.
        TRANSACTION => {
            Some((ErrorCode::TransactionalIdAuthorizationFailed, "transactions are not served yet"))
        }
        _ => Some((ErrorCode::InvalidRequest, "the key type is not served")),
    };
    if unserved.is_none() {
        ensure_offsets_topic(broker).await;
    }
    let suspects = &broker.suspects;
    let image = settled_image(broker, |image| {
        let mut partitions = keys.iter().filter_map(|key| offsets_partition(image, key));
        let leads = |p: &Partition| p.leader.is_some_and(|id| suspects.is_suspect(image, id));
        partitions.any(leads)
    })
    .await;
    let answer = |key: Str| match unserved {
        Some((error, message)) => no_coordinator(key, error, message),
        None => find(&image, suspects, cx, key),
    };
    let coordinators: Vec<Coordinator> = keys.into_iter().map(answer).collect();
    match cx.version >= BATCHED {
        true => FindCoordinatorResponse { coordinators, ..Default::default() },
        false => alone(coordinators),
    }
}

/// The partition that the group belongs to.
fn offsets_partition<'a>(image: &'a Image, group: &str) -> Option<&'a Partition> {
    image.partition(OFFSETS_TOPIC, partition_of(image, group)?).map(|partition| &**partition)
}

fn find(image: &Image, suspects: &Suspects, cx: &RequestContext, key: Str) -> Coordinator {
    let leader = offsets_partition(image, &key)
        .and_then(|partition| leader_on(image, suspects, partition, &cx.listener).ok());
    let endpoint = leader
        .and_then(|id| image.broker(id))
        .and_then(|broker| broker.listener(&cx.listener).map(|endpoint| (broker.id, endpoint)));
    match endpoint {
        Some((id, endpoint)) => Coordinator {
            key,
            node_id: id.0,
            host: Str::from(&endpoint.host),
            port: i32::from(endpoint.port),
            ..Default::default()
        },
        None => {
            let error = ErrorCode::CoordinatorNotAvailable;
            no_coordinator(key, error, error.message())
        }
    }
}

fn no_coordinator(key: Str, error: ErrorCode, message: &str) -> Coordinator {
    Coordinator {
        key,
        node_id: -1,
        port: -1,
        error_code: error.code(),
        error_message: Some(Str::from(message)),
        ..Default::default()
    }
}

/// The answer of the versions that carry one key.
fn alone(coordinators: Vec<Coordinator>) -> FindCoordinatorResponse {
    let Some(found) = coordinators.into_iter().next() else {
        return FindCoordinatorResponse::default();
    };
    FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..Default::default()
    }
}

/// Has the topic of the offsets created where it is missing, by one of many who miss it.
pub(super) async fn ensure_offsets_topic(broker: &Arc<Broker>) {
    if broker.image().topic(OFFSETS_TOPIC).is_some() {
        return;
    }
    if broker.groups.may_create_topic(clock::monotonic_ms()) {
        create_offsets_topic(broker).await;
    }
    await_topics(broker, &[OFFSETS_TOPIC.into()]).await;
}

/// Asks for the topic, compacted so that the last word on every group stays. Whether it worked is
/// seen in the image; a client that is told "not available" asks again.
async fn create_offsets_topic(broker: &Arc<Broker>) {
    let config = &broker.config.offsets;
    let segment_bytes = config.segment_bytes.to_string();
    let setting = |name: &str, value: &str| (Arc::from(name), Some(Arc::from(value)));
    let topic = CreateTopic {
        name: OFFSETS_TOPIC.into(),
        partitions: config.num_partitions,
        replication_factor: config.replication_factor,
        assignments: Vec::new(),
        configs: vec![
            setting("cleanup.policy", "compact"),
            setting("compression.type", "producer"),
            setting("segment.bytes", &segment_bytes),
        ],
    };
    let request = CreateTopicsRequest { topics: vec![topic], validate_only: false };
    let take = |response| match response {
        ControllerResponse::CreateTopics(results) => results.into_iter().next(),
        _ => None,
    };
    let error = match forward(broker, ControllerRequest::CreateTopics(request), take).await {
        Ok(created) => created.result.err(),
        Err(error) => Some(error),
    };
    // Another broker may have been asked at the same time.
    if let Some(error) = error.filter(|e| e.code != ErrorCode::TopicAlreadyExists) {
        tracing::warn!(%error, "create {OFFSETS_TOPIC}");
    }
}
