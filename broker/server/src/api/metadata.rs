//! Metadata (key 3): brokers, topics and partitions from this broker's image. A topic that does not
//! exist is created where the client and `auto.create.topics.enable` allow it.

use std::sync::Arc;

use base::{ErrorCode, TopicId, topic_name};
use metadata::{
    ControllerRequest, ControllerResponse, CreateTopic, CreateTopicsRequest, Image, Topic,
};
use wire::Str;
use wire::messages::metadata_request::MetadataRequestTopic;
use wire::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use wire::messages::{MetadataRequest, MetadataResponse};

use super::find_coordinator::{Kind, ensure_topic};
use super::forward::{await_topics, forward, ids};
use super::topology::{
    CLUSTER_OPERATIONS, TOPIC_OPERATIONS, active_controller, alive_on, controller_for,
    has_suspect_leader, leader_on, offline_replicas,
};
use crate::suspects::{Suspects, settled_image};
use crate::{Broker, RequestContext};
use coordination::{OFFSETS_TOPIC, TRANSACTIONS_TOPIC};

/// Topics that one request may create by naming them.
const AUTO_CREATED_MAX: usize = 100;

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: MetadataRequest,
) -> MetadataResponse {
    // Before version 4 the client could not say no.
    let may_create = cx.version < 4 || request.allow_auto_topic_creation;
    if may_create && broker.config.topic.auto_create {
        let wanted = request.topics.as_deref().unwrap_or_default();
        for (topic, kind) in [(OFFSETS_TOPIC, Kind::Group), (TRANSACTIONS_TOPIC, Kind::Transaction)]
        {
            if wanted.iter().any(|wanted| wanted.name.as_deref() == Some(topic)) {
                ensure_topic(broker, kind).await;
            }
        }
        create_missing(broker, wanted).await;
    }
    let (suspects, wanted) = (&broker.suspects, request.topics.as_deref());
    let image = settled_image(broker, |image| {
        is_named(wanted, cx.version, image, |t| has_suspect_leader(image, suspects, t))
    })
    .await;
    let mut response = MetadataResponse {
        brokers: brokers(&image, &cx.listener),
        cluster_id: Some(Str::from(image.cluster_id())),
        controller_id: controller_for(&image, active_controller(broker), &cx.listener),
        topics: topics(&image, suspects, cx, &request),
        ..Default::default()
    };
    if request.include_topic_authorized_operations {
        for topic in response.topics.iter_mut().filter(|t| t.error_code == 0) {
            topic.topic_authorized_operations = TOPIC_OPERATIONS;
        }
    }
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    response
}

fn brokers(image: &Image, listener: &str) -> Vec<MetadataResponseBroker> {
    alive_on(image, listener)
        .map(|(broker, endpoint)| MetadataResponseBroker {
            node_id: broker.id.0,
            host: Str::from(&endpoint.host),
            port: i32::from(endpoint.port),
            rack: broker.rack.as_ref().map(Str::from),
        })
        .collect()
}

/// Whether any topic that the request asks for is as `is` says.
fn is_named(
    wanted: Option<&[MetadataRequestTopic]>,
    version: i16,
    image: &Image,
    is: impl Fn(&Topic) -> bool,
) -> bool {
    match wanted {
        Some(named) if !(named.is_empty() && version == 0) => named.iter().any(|wanted| {
            let topic = match name_of(wanted) {
                Some(name) => image.topic(name),
                None => image.topic_by_id(wanted.topic_id),
            };
            topic.is_some_and(|topic| is(topic))
        }),
        _ => image.topics().any(|topic| is(topic)),
    }
}

/// The name that is asked for. Java's consumers that ask by id have an empty name beside it.
fn name_of(wanted: &MetadataRequestTopic) -> Option<&Str> {
    wanted.name.as_ref().filter(|_| wanted.topic_id.is_zero())
}

fn topics(
    image: &Image,
    suspects: &Suspects,
    cx: &RequestContext,
    request: &MetadataRequest,
) -> Vec<MetadataResponseTopic> {
    match &request.topics {
        // Version 0 has no null: there an empty list asks for all.
        None => image.topics().map(|t| describe(image, suspects, t, cx)).collect(),
        Some(named) if named.is_empty() && cx.version == 0 => {
            image.topics().map(|t| describe(image, suspects, t, cx)).collect()
        }
        Some(named) => named.iter().map(|wanted| find(image, suspects, wanted, cx)).collect(),
    }
}

fn find(
    image: &Image,
    suspects: &Suspects,
    wanted: &MetadataRequestTopic,
    cx: &RequestContext,
) -> MetadataResponseTopic {
    let missing = |name: Option<Str>, topic_id: TopicId, error: ErrorCode| MetadataResponseTopic {
        error_code: error.code(),
        name,
        topic_id,
        ..Default::default()
    };
    match name_of(wanted) {
        Some(name) => match image.topic(name) {
            Some(topic) => describe(image, suspects, topic, cx),
            None if topic_name::check(name).is_err() => {
                missing(Some(name.clone()), TopicId::ZERO, ErrorCode::InvalidTopicException)
            }
            None => missing(Some(name.clone()), TopicId::ZERO, ErrorCode::UnknownTopicOrPartition),
        },
        None => match image.topic_by_id(wanted.topic_id) {
            Some(topic) => describe(image, suspects, topic, cx),
            None => {
                // Before version 12 the name cannot be null.
                let name = (cx.version < 12).then(|| Str::from(""));
                missing(name, wanted.topic_id, ErrorCode::UnknownTopicId)
            }
        },
    }
}

fn describe(
    image: &Image,
    suspects: &Suspects,
    topic: &Topic,
    cx: &RequestContext,
) -> MetadataResponseTopic {
    let partition = |(index, partition): (usize, &Arc<metadata::Partition>)| {
        let leader = leader_on(image, suspects, partition, &cx.listener);
        let error = match leader {
            Ok(_) => ErrorCode::None,
            // Version 5 and older do not know the newer code.
            Err(ErrorCode::ListenerNotFound) if cx.version < 6 => ErrorCode::LeaderNotAvailable,
            Err(error) => error,
        };
        MetadataResponsePartition {
            error_code: error.code(),
            partition_index: index as i32,
            leader_id: leader.map_or(-1, |id| id.0),
            leader_epoch: partition.leader_epoch,
            replica_nodes: ids(&partition.replicas),
            isr_nodes: ids(&partition.isr),
            offline_replicas: offline_replicas(image, partition),
        }
    };
    MetadataResponseTopic {
        name: Some(Str::from(&topic.name)),
        topic_id: topic.id,
        is_internal: topic.is_internal(),
        partitions: topic.partitions.iter().enumerate().map(partition).collect(),
        ..Default::default()
    }
}

/// Creates what is named and missing, with the cluster's defaults. Failures are not reported here:
/// the topic stays missing and the client asks again.
async fn create_missing(broker: &Arc<Broker>, wanted: &[MetadataRequestTopic]) {
    let image = broker.image();
    let names: Vec<Arc<str>> = wanted
        .iter()
        .filter_map(|t| t.name.as_ref())
        .filter(|name| image.topic(name).is_none() && topic_name::check_new(name).is_ok())
        .filter(|name| !topic_name::is_internal(name))
        .take(AUTO_CREATED_MAX)
        .map(Str::to_arc)
        .collect();
    if names.is_empty() {
        return;
    }
    let create = |name: &Arc<str>| CreateTopic {
        name: name.clone(),
        partitions: -1,
        replication_factor: -1,
        assignments: Vec::new(),
        configs: Vec::new(),
    };
    let request =
        CreateTopicsRequest { topics: names.iter().map(create).collect(), validate_only: false };
    let take = |response| match response {
        ControllerResponse::CreateTopics(results) => Some(results),
        _ => None,
    };
    match forward(broker, ControllerRequest::CreateTopics(request), take).await {
        Ok(results) => {
            for error in results.iter().filter_map(|r| r.result.as_ref().err()) {
                tracing::info!(%error, "create a topic automatically");
            }
            let created: Vec<Arc<str>> =
                results.iter().filter(|r| r.result.is_ok()).map(|r| r.name.clone()).collect();
            await_topics(broker, &created).await;
        }
        Err(error) => tracing::info!(%error, "create topics automatically"),
    }
}
