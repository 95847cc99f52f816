//! CreateTopics (key 19): forwarded to the active controller, which places the replicas.

use std::collections::HashSet;
use std::sync::Arc;

use authorizer::{Operation, ResourceType};
use base::{BrokerId, ErrorCode};
use metadata::{Assignment, ControllerError, CreateTopic, CreateTopicResult};
use wire::Str;
use wire::messages::create_topics_request::CreatableTopic;
use wire::messages::create_topics_response::CreatableTopicResult;
use wire::messages::{CreateTopicsRequest, CreateTopicsResponse};

use super::configs::topic_configs;
use super::forward::{await_topics, forward};
use crate::{Broker, RequestContext};

/// The version from which on clients know that a quota can be exceeded.
const STRICT_FROM: i16 = 6;

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let duplicates = duplicates(&request.topics);
    let permit = broker.permit(cx);
    let may_all = permit.sees_cluster(Operation::Create);
    let may_create = |topic: &CreatableTopic| {
        may_all || permit.may(Operation::Create, ResourceType::Topic, &topic.name)
    };
    let (validate_only, mut results) = (request.validate_only, Vec::new());
    let mut topics = Vec::new();
    let image = broker.image();
    let mut changes = broker.quotas.changes(&image, cx, STRICT_FROM);
    for topic in request.topics {
        if duplicates.contains(&*topic.name) {
            let error = ControllerError::new(
                ErrorCode::InvalidRequest,
                format!("topic {} is in the request more than once", topic.name),
            );
            if !results.iter().any(|r: &CreatableTopicResult| r.name == topic.name) {
                results.push(refused(topic.name, &error));
            }
        } else if !may_create(&topic) {
            results.push(refused(topic.name, &ErrorCode::TopicAuthorizationFailed.into()));
        } else {
            match changes.take(partitions_of(broker, &topic)) {
                Ok(()) => topics.push(convert(topic)),
                Err(error) => results.push(refused(topic.name, &error)),
            }
        }
    }
    let throttle_time_ms = changes.throttle_time_ms();
    results.extend(create(broker, cx, topics, validate_only).await);
    CreateTopicsResponse { topics: results, throttle_time_ms }
}

/// What the topic counts for in the quota of its client.
fn partitions_of(broker: &Broker, topic: &CreatableTopic) -> usize {
    let default = broker.config.topic.num_partitions;
    let asked = if topic.num_partitions == -1 { default } else { topic.num_partitions };
    topic.assignments.len().max(usize::try_from(asked).unwrap_or(0))
}

fn duplicates(topics: &[CreatableTopic]) -> HashSet<String> {
    let mut seen = HashSet::new();
    topics.iter().filter(|t| !seen.insert(&*t.name)).map(|t| t.name.to_string()).collect()
}

fn convert(topic: CreatableTopic) -> CreateTopic {
    CreateTopic {
        name: topic.name.to_arc(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .into_iter()
            .map(|a| Assignment {
                partition: a.partition_index,
                replicas: a.broker_ids.into_iter().map(BrokerId).collect(),
            })
            .collect(),
        configs: topic
            .configs
            .into_iter()
            .map(|c| (c.name.to_arc(), c.value.map(|v| v.to_arc())))
            .collect(),
    }
}

async fn create(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    topics: Vec<CreateTopic>,
    validate_only: bool,
) -> Vec<CreatableTopicResult> {
    if topics.is_empty() {
        return Vec::new();
    }
    let names: Vec<Arc<str>> = topics.iter().map(|t| t.name.clone()).collect();
    let request = metadata::CreateTopicsRequest { topics, validate_only };
    let results = match forward(broker, request).await {
        Ok(results) => results,
        Err(error) => return names.iter().map(|n| refused(Str::from(n), &error)).collect(),
    };
    if !validate_only {
        let created: Vec<Arc<str>> =
            results.iter().filter(|r| r.result.is_ok()).map(|r| r.name.clone()).collect();
        await_topics(broker, &created).await;
    }
    results.into_iter().map(|r| answer(broker, cx, r)).collect()
}

fn answer(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    result: CreateTopicResult,
) -> CreatableTopicResult {
    let name = Str::from(&result.name);
    match result.result {
        Err(error) => refused(name, &error),
        Ok(created) if !may_describe_configs(broker, cx, &name) => CreatableTopicResult {
            name,
            topic_id: created.topic_id,
            topic_config_error_code: ErrorCode::TopicAuthorizationFailed.code(),
            ..Default::default()
        },
        Ok(created) => CreatableTopicResult {
            configs: (cx.version >= 5).then(|| topic_configs(broker, &result.name)),
            name,
            topic_id: created.topic_id,
            num_partitions: created.partitions,
            replication_factor: created.replication_factor,
            ..Default::default()
        },
    }
}

fn may_describe_configs(broker: &Broker, cx: &RequestContext, topic: &str) -> bool {
    broker.permit(cx).sees(Operation::DescribeConfigs, ResourceType::Topic, topic)
}

fn refused(name: Str, error: &ControllerError) -> CreatableTopicResult {
    CreatableTopicResult {
        name,
        error_code: error.code.code(),
        error_message: Some(Str::from(&error.message)),
        ..Default::default()
    }
}
