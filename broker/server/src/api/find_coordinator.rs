//! FindCoordinator (key 10): the broker that leads the partition of `__consumer_offsets` that a
//! group belongs to, or of `__transaction_state` for a transactional id. The topic is created by
//! the first who asks.

use std::sync::Arc;

use authorizer::{Operation, ResourceType};
use base::ErrorCode;
use metadata::{CreateTopic, CreateTopicsRequest, Image, Partition};
use wire::Str;
use wire::messages::find_coordinator_response::Coordinator;
use wire::messages::{FindCoordinatorRequest, FindCoordinatorResponse};

use super::forward::{await_topics, forward};
use super::topology::leader_on;
use crate::suspects::{Suspects, settled_image};
use crate::{Broker, RequestContext};
use coordination::{OFFSETS_TOPIC, TRANSACTIONS_TOPIC, partition_of, transaction_partition_of};
use process::clock;

/// What a coordinator is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Group,
    Transaction,
}

impl Kind {
    /// By `KeyType` of a request.
    fn of(key_type: i8) -> Option<Kind> {
        match key_type {
            0 => Some(Kind::Group),
            1 => Some(Kind::Transaction),
            _ => None,
        }
    }

    fn topic(self) -> &'static str {
        match self {
            Kind::Group => OFFSETS_TOPIC,
            Kind::Transaction => TRANSACTIONS_TOPIC,
        }
    }

    /// What an id is to rules of access.
    fn resource_type(self) -> ResourceType {
        match self {
            Kind::Group => ResourceType::Group,
            Kind::Transaction => ResourceType::TransactionalId,
        }
    }

    /// The partition that an id belongs to.
    fn partition<'a>(self, image: &'a Image, id: &str) -> Option<&'a Partition> {
        let index = match self {
            Kind::Group => partition_of(image, id)?,
            Kind::Transaction => transaction_partition_of(image, id)?,
        };
        image.partition(self.topic(), index).map(|partition| &**partition)
    }
}

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
    let kind = Kind::of(request.key_type);
    if let Some(kind) = kind {
        ensure_topic(broker, kind).await;
    }
    let suspects = &broker.suspects;
    let image = settled_image(broker, |image| {
        let mut partitions = keys.iter().filter_map(|key| kind?.partition(image, key));
        let leads = |p: &Partition| p.leader.is_some_and(|id| suspects.is_suspect(image, id));
        partitions.any(leads)
    })
    .await;
    let permit = broker.permit(cx);
    let allowed =
        |kind: Kind, key: &str| permit.check(Operation::Describe, kind.resource_type(), key).err();
    let answer = |key: Str| match kind.map(|kind| (kind, allowed(kind, &key))) {
        Some((_, Some(code))) => no_coordinator(key, code, code.message()),
        Some((kind, None)) => find(&image, suspects, cx, kind, key),
        None => no_coordinator(key, ErrorCode::InvalidRequest, "the key type is not served"),
    };
    let coordinators: Vec<Coordinator> = keys.into_iter().map(answer).collect();
    match cx.version >= BATCHED {
        true => FindCoordinatorResponse { coordinators, ..Default::default() },
        false => alone(coordinators),
    }
}

fn find(
    image: &Image,
    suspects: &Suspects,
    cx: &RequestContext,
    kind: Kind,
    key: Str,
) -> Coordinator {
    let leader = kind
        .partition(image, &key)
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

/// Has the topic of a coordinator created where it is missing, by one of many who miss it.
pub(super) async fn ensure_topic(broker: &Arc<Broker>, kind: Kind) {
    if broker.image().topic(kind.topic()).is_some() {
        return;
    }
    let now_ms = clock::monotonic_ms();
    let may_create = match kind {
        Kind::Group => broker.groups.may_create_topic(now_ms),
        Kind::Transaction => broker.transactions.may_create_topic(now_ms),
    };
    if may_create {
        create(broker, new_topic(broker, kind)).await;
    }
    await_topics(broker, &[kind.topic().into()]).await;
}

/// Compacted, so that the last word on every id stays.
fn new_topic(broker: &Broker, kind: Kind) -> CreateTopic {
    let (offsets, transactions) = (&broker.config.offsets, &broker.config.transactions);
    let setting = |name: &str, value: &str| (Arc::from(name), Some(Arc::from(value)));
    let mut configs = vec![setting("cleanup.policy", "compact")];
    let (partitions, replication_factor) = match kind {
        Kind::Group => {
            configs.push(setting("compression.type", "producer"));
            configs.push(setting("segment.bytes", &offsets.segment_bytes.to_string()));
            (offsets.num_partitions, offsets.replication_factor)
        }
        Kind::Transaction => {
            configs.push(setting("compression.type", "uncompressed"));
            configs.push(setting("segment.bytes", &transactions.segment_bytes.to_string()));
            configs.push(setting("min.insync.replicas", &transactions.min_isr.to_string()));
            configs.push(setting("unclean.leader.election.enable", "false"));
            (transactions.num_partitions, transactions.replication_factor)
        }
    };
    let name = kind.topic().into();
    CreateTopic { name, partitions, replication_factor, assignments: Vec::new(), configs }
}

/// Asks for the topic. Whether it worked is seen in the image; a client that is told "not
/// available" asks again.
async fn create(broker: &Arc<Broker>, topic: CreateTopic) {
    let name = topic.name.clone();
    let request = CreateTopicsRequest { topics: vec![topic], validate_only: false };
    let error = match forward(broker, request).await {
        Ok(created) => created.into_iter().find_map(|topic| topic.result.err()),
        Err(error) => Some(error),
    };
    // Another broker may have been asked at the same time.
    if let Some(error) = error.filter(|e| e.code != ErrorCode::TopicAlreadyExists) {
        tracing::warn!(%error, "create {name}");
    }
}
