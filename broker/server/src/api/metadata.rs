//! Metadata (key 3): brokers, topics and partitions from this broker's image. A topic that does not
//! exist is created where the client and `auto.create.topics.enable` allow it.

use std::collections::BTreeSet;
use std::sync::Arc;

use authorizer::{Operation, ResourceType};
use base::{ErrorCode, TopicId, topic_name};
use metadata::{CreateTopic, CreateTopicsRequest, Image, Topic};
use wire::Str;
use wire::messages::metadata_request::MetadataRequestTopic;
use wire::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use wire::messages::{MetadataRequest, MetadataResponse};

use super::find_coordinator::{Kind, ensure_topic};
use super::forward::{await_topics, forward, ids};
use super::topology::{
    active_controller, alive_on, controller_for, has_suspect_leader, leader_on, offline_replicas,
};
use crate::authorize::Permit;
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
    let permit = broker.permit(cx);
    let mut uncreated = BTreeSet::new();
    if may_create && broker.config.topic.auto_create {
        let named = request.topics.iter().flatten().filter_map(name_of);
        let named: Vec<&Str> = named.collect();
        uncreated = not_to_create(&broker.image(), &permit, &named);
        for (topic, kind) in [(OFFSETS_TOPIC, Kind::Group), (TRANSACTIONS_TOPIC, Kind::Transaction)]
        {
            let describes = permit.sees(Operation::Describe, ResourceType::Topic, topic);
            let is_named = named.iter().any(|name| **name == *topic);
            if is_named && describes && !uncreated.contains(topic) {
                ensure_topic(broker, kind).await;
            }
        }
        create_missing(broker, &permit, &named, &uncreated).await;
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
        topics: Vec::new(),
        ..Default::default()
    };
    let view = View { image: &image, suspects, cx, permit: &permit, uncreated: &uncreated };
    response.topics = view.topics(&request);
    if request.include_topic_authorized_operations {
        // Of a topic that is missing, too, but not of one that is none of the client's business.
        let is_told = |topic: &&mut MetadataResponseTopic| {
            topic.error_code != ErrorCode::TopicAuthorizationFailed.code()
        };
        for topic in response.topics.iter_mut().filter(is_told) {
            let Some(name) = topic.name.as_deref().filter(|name| !name.is_empty()) else {
                continue;
            };
            topic.topic_authorized_operations = permit.operations(ResourceType::Topic, name);
        }
    }
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = permit.cluster_operations();
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

/// The missing topics that the client may describe, and not create.
fn not_to_create(image: &Image, permit: &Permit, named: &[&Str]) -> BTreeSet<Str> {
    if permit.is_open() || permit.sees_cluster(Operation::Create) {
        return BTreeSet::new();
    }
    let missing = named.iter().filter(|name| image.topic(name).is_none());
    let may = |operation, name: &str| permit.sees(operation, ResourceType::Topic, name);
    let missing = missing.filter(|name| {
        may(Operation::Describe, name) && !permit.may(Operation::Create, ResourceType::Topic, name)
    });
    missing.map(|name| (*name).clone()).collect()
}

/// What one client sees of the topics.
struct View<'a> {
    image: &'a Image,
    suspects: &'a Suspects,
    cx: &'a RequestContext,
    permit: &'a Permit,
    /// Missing topics that it may not create.
    uncreated: &'a BTreeSet<Str>,
}

impl View<'_> {
    fn topics(&self, request: &MetadataRequest) -> Vec<MetadataResponseTopic> {
        match &request.topics {
            // Version 0 has no null: there an empty list asks for all.
            Some(named) if !(named.is_empty() && self.cx.version == 0) => {
                named.iter().map(|wanted| self.find(wanted)).collect()
            }
            _ => {
                let sees = |t: &&Arc<Topic>| {
                    self.permit.sees(Operation::Describe, ResourceType::Topic, &t.name)
                };
                self.image.topics().filter(sees).map(|topic| self.describe(topic)).collect()
            }
        }
    }

    fn may_describe(&self, name: &str) -> bool {
        self.permit.may(Operation::Describe, ResourceType::Topic, name)
    }

    fn find(&self, wanted: &MetadataRequestTopic) -> MetadataResponseTopic {
        let (image, cx) = (self.image, self.cx);
        let denied = ErrorCode::TopicAuthorizationFailed;
        let missing = |name: Option<Str>, topic_id: TopicId, error: ErrorCode| {
            MetadataResponseTopic { error_code: error.code(), name, topic_id, ..Default::default() }
        };
        match name_of(wanted) {
            // Whether it exists is not told.
            Some(name) if !self.may_describe(name) => {
                missing(Some(name.clone()), TopicId::ZERO, denied)
            }
            Some(name) => match image.topic(name) {
                Some(topic) => self.describe(topic),
                None if self.uncreated.contains(name) => MetadataResponseTopic {
                    is_internal: topic_name::is_internal(name),
                    ..missing(Some(name.clone()), TopicId::ZERO, denied)
                },
                None if topic_name::check(name).is_err() => {
                    missing(Some(name.clone()), TopicId::ZERO, ErrorCode::InvalidTopicException)
                }
                None => {
                    missing(Some(name.clone()), TopicId::ZERO, ErrorCode::UnknownTopicOrPartition)
                }
            },
            None => {
                // Before version 12 the name cannot be null.
                let name = || (cx.version < 12).then(|| Str::from(""));
                match image.topic_by_id(wanted.topic_id) {
                    Some(topic) if self.may_describe(&topic.name) => self.describe(topic),
                    // An id is no secret, and tells no name.
                    Some(_) => missing(name(), wanted.topic_id, denied),
                    None => missing(name(), wanted.topic_id, ErrorCode::UnknownTopicId),
                }
            }
        }
    }

    fn describe(&self, topic: &Topic) -> MetadataResponseTopic {
        let View { image, suspects, cx, .. } = *self;
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
}

/// Creates what is named and missing, with the cluster's defaults. Failures are not reported here:
/// the topic stays missing and the client asks again.
async fn create_missing(
    broker: &Arc<Broker>,
    permit: &Permit,
    named: &[&Str],
    uncreated: &BTreeSet<Str>,
) {
    let image = broker.image();
    let names: Vec<Arc<str>> = named
        .iter()
        .filter(|name| image.topic(name).is_none() && topic_name::check_new(name).is_ok())
        .filter(|name| !topic_name::is_internal(name) && !uncreated.contains(**name))
        .filter(|name| permit.sees(Operation::Describe, ResourceType::Topic, name))
        .take(AUTO_CREATED_MAX)
        .map(|name| name.to_arc())
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
    match forward(broker, request).await {
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
