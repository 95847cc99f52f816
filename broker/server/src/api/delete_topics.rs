//! DeleteTopics (key 20), by name or, from version 6, by id.

use std::sync::Arc;

use authorizer::{Operation, ResourceType};
use base::{ErrorCode, TopicId};
use metadata::{ControllerError, TopicSelector};
use wire::Str;
use wire::messages::delete_topics_response::DeletableTopicResult;
use wire::messages::{DeleteTopicsRequest, DeleteTopicsResponse};

use super::forward::{await_image, forward, outcome};
use crate::{Broker, RequestContext};

/// The version from which on clients know that a quota can be exceeded.
const STRICT_FROM: i16 = 5;

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let topics = match selectors(cx.version, request) {
        Ok(topics) => topics,
        Err(response) => return response,
    };
    if !broker.config.topic.delete_enable {
        let error = match cx.version {
            0..=2 => ErrorCode::InvalidRequest,
            _ => ErrorCode::TopicDeletionDisabled,
        };
        return refuse_all(&topics, &error.into());
    }
    let (topics, mut responses) = allowed(broker, cx, topics);
    if topics.is_empty() {
        return DeleteTopicsResponse { responses, ..Default::default() };
    }
    let (topics, refused, throttle_time_ms) = within_quota(broker, cx, topics);
    responses.extend(refused);
    let wanted = topics.clone();
    let request = metadata::DeleteTopicsRequest { topics };
    let results = match forward(broker, request).await {
        Ok(results) => results,
        Err(error) => {
            responses.extend(refuse_all(&wanted, &error).responses);
            return DeleteTopicsResponse { responses, throttle_time_ms };
        }
    };
    let gone: Vec<TopicId> =
        results.iter().filter(|r| r.result.is_ok()).map(|r| r.topic_id).collect();
    await_image(broker, |image| gone.iter().all(|id| image.topic_by_id(*id).is_none())).await;
    responses.extend(results.into_iter().map(|r| {
        let (error_code, error_message) = outcome(&r.result);
        DeletableTopicResult {
            name: r.name.as_ref().map(Str::from),
            topic_id: r.topic_id,
            error_code,
            error_message,
        }
    }));
    DeleteTopicsResponse { responses, throttle_time_ms }
}

/// The topics that the client may delete now, and the answers for the others.
fn within_quota(
    broker: &Broker,
    cx: &RequestContext,
    topics: Vec<TopicSelector>,
) -> (Vec<TopicSelector>, Vec<DeletableTopicResult>, i32) {
    let image = broker.image();
    let mut changes = broker.quotas.changes(&image, cx, STRICT_FROM);
    let mut refused = Vec::new();
    let may_go = |selector: &TopicSelector| {
        let topic = match selector {
            TopicSelector::Name(name) => image.topic(name),
            TopicSelector::Id(id) => image.topic_by_id(*id),
        };
        let taken = changes.take(topic.map_or(0, |topic| topic.partitions.len()));
        if let Err(error) = &taken {
            refused.extend(refuse_all(std::slice::from_ref(selector), error).responses);
        }
        taken.is_ok()
    };
    let topics = topics.into_iter().filter(may_go).collect();
    (topics, refused, changes.throttle_time_ms())
}

/// The topics that the client may delete, and the answers for the others. Who may not describe a
/// topic does not hear whether it exists.
fn allowed(
    broker: &Broker,
    cx: &RequestContext,
    topics: Vec<TopicSelector>,
) -> (Vec<TopicSelector>, Vec<DeletableTopicResult>) {
    let (image, permit) = (broker.image(), broker.permit(cx));
    if permit.is_open() || permit.sees_cluster(Operation::Delete) {
        return (topics, Vec::new());
    }
    let may = |operation, name: &str| permit.may(operation, ResourceType::Topic, name);
    let (mut kept, mut denied) = (Vec::new(), Vec::new());
    for selector in topics {
        let (topic, name, topic_id) = match &selector {
            TopicSelector::Name(name) => (image.topic(name), Some(name.clone()), TopicId::ZERO),
            TopicSelector::Id(id) => {
                let topic = image.topic_by_id(*id);
                (topic, topic.map(|topic| topic.name.clone()), *id)
            }
        };
        let describes = name.as_ref().is_some_and(|name| may(Operation::Describe, name));
        let error = match &name {
            None => ErrorCode::UnknownTopicId,
            Some(name) if describes && may(Operation::Delete, name) => {
                kept.push(selector);
                continue;
            }
            Some(_) if describes && topic.is_none() => ErrorCode::UnknownTopicOrPartition,
            Some(_) => ErrorCode::TopicAuthorizationFailed,
        };
        let is_told = describes || topic_id.is_zero();
        denied.push(DeletableTopicResult {
            name: name.filter(|_| is_told).map(Str::from),
            topic_id,
            error_code: error.code(),
            error_message: Some(Str::from(error.message())),
        });
    }
    (kept, denied)
}

/// The topics of the request; an error response where a topic has both name and id, or neither.
fn selectors(
    version: i16,
    request: DeleteTopicsRequest,
) -> Result<Vec<TopicSelector>, DeleteTopicsResponse> {
    if version < 6 {
        let by_name = |name: Str| TopicSelector::Name(name.to_arc());
        return Ok(request.topic_names.into_iter().map(by_name).collect());
    }
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        topics.push(match (topic.name, topic.topic_id.is_zero()) {
            (Some(name), true) => TopicSelector::Name(name.to_arc()),
            (None, false) => TopicSelector::Id(topic.topic_id),
            (name, _) => {
                let error = ControllerError::new(
                    ErrorCode::InvalidRequest,
                    "a topic to delete has either a name or an id",
                );
                let id = TopicSelector::Id(topic.topic_id);
                let selector = name.map_or(id, |n| TopicSelector::Name(n.to_arc()));
                return Err(refuse_all(&[selector], &error));
            }
        });
    }
    Ok(topics)
}

fn refuse_all(topics: &[TopicSelector], error: &ControllerError) -> DeleteTopicsResponse {
    let (error_code, error_message) = outcome(&Err(error.clone()));
    let result = |selector: &TopicSelector| {
        let (name, topic_id) = match selector {
            TopicSelector::Name(name) => (Some(Str::from(name)), TopicId::ZERO),
            TopicSelector::Id(id) => (None, *id),
        };
        DeletableTopicResult { name, topic_id, error_code, error_message: error_message.clone() }
    };
    DeleteTopicsResponse { responses: topics.iter().map(result).collect(), ..Default::default() }
}
