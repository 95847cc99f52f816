//! CreatePartitions (key 37): more partitions for existing topics.

use std::sync::Arc;

use authorizer::{Operation, ResourceType};
use base::{BrokerId, ErrorCode};
use metadata::{GrowTopic, TopicResult};
use wire::Str;
use wire::messages::create_partitions_request::CreatePartitionsTopic;
use wire::messages::create_partitions_response::CreatePartitionsTopicResult;
use wire::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

use super::forward::{await_image, await_topics, forward, outcome};
use crate::{Broker, RequestContext};

/// The version from which on clients know that a quota can be exceeded.
const STRICT_FROM: i16 = 3;

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let validate_only = request.validate_only;
    let permit = broker.permit(cx);
    let may_alter =
        |t: &CreatePartitionsTopic| permit.may(Operation::Alter, ResourceType::Topic, &t.name);
    let (topics, denied): (Vec<_>, Vec<_>) = request.topics.into_iter().partition(may_alter);
    let denied = denied.into_iter().map(|topic| TopicResult {
        name: topic.name.into_arc(),
        result: Err(ErrorCode::TopicAuthorizationFailed.into()),
    });
    let image = broker.image();
    let mut changes = broker.quotas.changes(&image, cx, STRICT_FROM);
    let mut refused = Vec::new();
    let may_grow = |topic: &GrowTopic| {
        let now = image.topic(&topic.name).map_or(0, |topic| topic.partitions.len());
        let taken = changes.take(usize::try_from(topic.count).unwrap_or(0).saturating_sub(now));
        let (is_allowed, name) = (taken.is_ok(), topic.name.clone());
        refused.extend(taken.err().map(|error| TopicResult { name, result: Err(error) }));
        is_allowed
    };
    let topics: Vec<GrowTopic> = topics.into_iter().map(convert).filter(may_grow).collect();
    let throttle_time_ms = changes.throttle_time_ms();
    let wanted: Vec<(Arc<str>, i32)> = topics.iter().map(|t| (t.name.clone(), t.count)).collect();
    let request = metadata::CreatePartitionsRequest { topics, validate_only };
    let results = match forward(broker, request).await {
        Ok(results) => results,
        Err(error) => {
            let refused = |(name, _): &(Arc<str>, i32)| TopicResult {
                name: name.clone(),
                result: Err(error.clone()),
            };
            wanted.iter().map(refused).collect()
        }
    };
    if !validate_only {
        let grown = |name: &Arc<str>| results.iter().any(|r| r.name == *name && r.result.is_ok());
        await_image(broker, |image| {
            wanted.iter().filter(|(name, _)| grown(name)).all(|(name, count)| {
                image.topic(name).is_none_or(|t| t.partitions.len() >= *count as usize)
            })
        })
        .await;
        let grown: Vec<Arc<str>> =
            wanted.iter().map(|(name, _)| name).filter(|name| grown(name)).cloned().collect();
        await_topics(broker, &grown).await;
    }
    CreatePartitionsResponse {
        results: results.into_iter().chain(denied).chain(refused).map(answer).collect(),
        throttle_time_ms,
    }
}

fn convert(topic: CreatePartitionsTopic) -> GrowTopic {
    GrowTopic {
        name: topic.name.to_arc(),
        count: topic.count,
        assignments: topic.assignments.map(|all| {
            all.into_iter().map(|a| a.broker_ids.into_iter().map(BrokerId).collect()).collect()
        }),
    }
}

fn answer(result: TopicResult) -> CreatePartitionsTopicResult {
    let (error_code, error_message) = outcome(&result.result);
    CreatePartitionsTopicResult { name: Str::from(&result.name), error_code, error_message }
}
