//! OffsetFetch (key 9): one group before version 8, several from then on; topics by name, from
//! version 10 on by id.

use std::sync::Arc;

use authorizer::{Operation, ResourceType};
use base::{ErrorCode, TopicId};
use coordinator::{FetchOffsets, FetchReply, FetchTopic, FetchedTopic, GroupReply, GroupRequest};
use futures::future::join_all;
use metadata::Image;
use wire::Str;
use wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use wire::messages::{OffsetFetchRequest, OffsetFetchResponse};

use crate::authorize::Permit;
use crate::{Broker, RequestContext};

/// First versions: of an error for the whole response, of several groups, of topic ids.
const TOP_LEVEL_ERROR: i16 = 2;
const BATCHED: i16 = 8;
const TOPIC_IDS: i16 = 10;

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let (image, permit) = (broker.image(), broker.permit(cx));
    let asking = Asking { broker, cx, image: &image, permit: &permit };
    let stable = request.require_stable;
    if cx.version < BATCHED {
        let group = request.group_id.into_arc();
        return single(&asking, group, request.topics, stable).await;
    }
    let groups = request.groups.into_iter().map(|g| one_of_many(&asking, g, stable));
    OffsetFetchResponse { groups: join_all(groups).await, ..Default::default() }
}

/// A request, and what its sender may do.
struct Asking<'a> {
    broker: &'a Arc<Broker>,
    cx: &'a RequestContext,
    image: &'a Image,
    permit: &'a Permit,
}

impl Asking<'_> {
    fn may_describe(&self, topic: &str) -> bool {
        self.permit.may(Operation::Describe, ResourceType::Topic, topic)
    }

    /// The same for the topics of a group, of which the others are not told.
    fn sees(&self, topic: &str) -> bool {
        self.permit.sees(Operation::Describe, ResourceType::Topic, topic)
    }
}

async fn fetch(
    asking: &Asking<'_>,
    group: Arc<str>,
    topics: Option<Vec<FetchTopic>>,
    (member_id, member_epoch): (Option<Arc<str>>, i32),
    require_stable: bool,
) -> FetchReply {
    let allowed = asking.permit.check(Operation::Describe, ResourceType::Group, &group);
    if let Err(error) = allowed {
        return FetchReply { error, topics: Vec::new() };
    }
    let lists_all = topics.is_none();
    let request = GroupRequest::Fetch(FetchOffsets {
        group,
        topics,
        member_id,
        member_epoch,
        require_stable,
    });
    match asking.broker.groups.call(asking.image, request).await {
        GroupReply::Fetch(mut reply) => {
            reply.topics.retain(|t| !lists_all || asking.sees(&t.topic));
            reply
        }
        _ => FetchReply { error: ErrorCode::UnknownServerError, topics: Vec::new() },
    }
}

async fn single(
    asking: &Asking<'_>,
    group: Arc<str>,
    topics: Option<Vec<OffsetFetchRequestTopic>>,
    require_stable: bool,
) -> OffsetFetchResponse {
    let (topics, denied) = match topics {
        None => (None, Vec::new()),
        Some(topics) => {
            let (topics, denied): (Vec<_>, Vec<_>) =
                topics.into_iter().partition(|t| asking.may_describe(&t.name));
            (Some(topics), denied)
        }
    };
    let wanted = topics.as_ref().map(|topics| {
        let topic = |t: &OffsetFetchRequestTopic| FetchTopic {
            topic: t.name.to_arc(),
            topic_id: TopicId::ZERO,
            partitions: t.partition_indexes.clone(),
        };
        topics.iter().map(topic).collect()
    });
    let reply = fetch(asking, group, wanted, (None, -1), require_stable).await;
    if reply.error.is_error() && asking.cx.version < TOP_LEVEL_ERROR {
        // There the error is told of every partition.
        let topics = topics.unwrap_or_default().into_iter().chain(denied);
        let topics = topics.map(|t| failed(t, reply.error));
        return OffsetFetchResponse { topics: topics.collect(), ..Default::default() };
    }
    let topic = |t: FetchedTopic| OffsetFetchResponseTopic {
        name: t.topic.into(),
        partitions: t
            .partitions
            .into_iter()
            .map(|p| OffsetFetchResponsePartition {
                partition_index: p.partition,
                committed_offset: p.offset,
                committed_leader_epoch: p.leader_epoch,
                metadata: Some(p.metadata.into()),
                error_code: p.error.code(),
            })
            .collect(),
    };
    let mut topics: Vec<_> = reply.topics.into_iter().map(topic).collect();
    if !reply.error.is_error() {
        let code = ErrorCode::TopicAuthorizationFailed;
        topics.extend(denied.into_iter().map(|topic| failed(topic, code)));
    }
    OffsetFetchResponse { error_code: reply.error.code(), topics, ..Default::default() }
}

fn failed(topic: OffsetFetchRequestTopic, error: ErrorCode) -> OffsetFetchResponseTopic {
    let partition = |partition_index| OffsetFetchResponsePartition {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Str::default()),
        error_code: error.code(),
    };
    let partitions = topic.partition_indexes.into_iter().map(partition).collect();
    OffsetFetchResponseTopic { name: topic.name, partitions }
}

async fn one_of_many(
    asking: &Asking<'_>,
    asked: OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let (by_id, image) = (asking.cx.version >= TOPIC_IDS, asking.image);
    let mut unknown = Vec::new();
    let wanted = asked.topics.map(|topics| {
        let mut wanted = Vec::with_capacity(topics.len());
        for topic in topics {
            match resolve(image, by_id, &topic) {
                Some(found) if asking.may_describe(&found.topic) => wanted.push(found),
                Some(_) => unknown.push(untold(topic, ErrorCode::TopicAuthorizationFailed)),
                None => unknown.push(untold(topic, ErrorCode::UnknownTopicId)),
            }
        }
        wanted
    });
    let group = asked.group_id.to_arc();
    let member = (asked.member_id.map(Str::into_arc), asked.member_epoch);
    let reply = fetch(asking, group, wanted, member, require_stable).await;
    let mut topics: Vec<_> =
        reply.topics.into_iter().filter_map(|t| to_wire(image, by_id, t)).collect();
    if !reply.error.is_error() {
        topics.append(&mut unknown);
    }
    OffsetFetchResponseGroup { group_id: asked.group_id, topics, error_code: reply.error.code() }
}

fn resolve(image: &Image, by_id: bool, asked: &OffsetFetchRequestTopics) -> Option<FetchTopic> {
    let topic = match by_id {
        true => image.topic_by_id(asked.topic_id)?.name.clone(),
        false => asked.name.to_arc(),
    };
    let partitions = asked.partition_indexes.clone();
    Some(FetchTopic { topic, topic_id: asked.topic_id, partitions })
}

/// A topic of which nothing but an error is told.
fn untold(asked: OffsetFetchRequestTopics, code: ErrorCode) -> OffsetFetchResponseTopics {
    let partition = |partition_index| OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Str::default()),
        error_code: code.code(),
    };
    OffsetFetchResponseTopics {
        name: asked.name,
        topic_id: asked.topic_id,
        partitions: asked.partition_indexes.into_iter().map(partition).collect(),
    }
}

/// A topic of the reply as the version names it. One that has no id any more, its topic being
/// deleted, cannot be named by id and is left out.
fn to_wire(image: &Image, by_id: bool, fetched: FetchedTopic) -> Option<OffsetFetchResponseTopics> {
    let topic_id = match by_id {
        true if fetched.topic_id.is_zero() => image.topic(&fetched.topic)?.id,
        true => fetched.topic_id,
        false => TopicId::ZERO,
    };
    let partitions = fetched.partitions.into_iter().map(|p| OffsetFetchResponsePartitions {
        partition_index: p.partition,
        committed_offset: p.offset,
        committed_leader_epoch: p.leader_epoch,
        metadata: Some(p.metadata.into()),
        error_code: p.error.code(),
    });
    Some(OffsetFetchResponseTopics {
        name: fetched.topic.into(),
        topic_id,
        partitions: partitions.collect(),
    })
}
