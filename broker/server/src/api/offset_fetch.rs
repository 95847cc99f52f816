//! OffsetFetch (key 9): one group before version 8, several from then on; topics by name, from
//! version 10 on by id.

use std::sync::Arc;

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
    let image = broker.image();
    let stable = request.require_stable;
    if cx.version < BATCHED {
        let group = request.group_id.into_arc();
        return single(broker, cx, &image, group, request.topics, stable).await;
    }
    let groups = request.groups.into_iter().map(|g| one_of_many(broker, cx, &image, g, stable));
    OffsetFetchResponse { groups: join_all(groups).await, ..Default::default() }
}

async fn fetch(
    broker: &Arc<Broker>,
    image: &Image,
    group: Arc<str>,
    topics: Option<Vec<FetchTopic>>,
    (member_id, member_epoch): (Option<Arc<str>>, i32),
    require_stable: bool,
) -> FetchReply {
    let request = GroupRequest::Fetch(FetchOffsets {
        group,
        topics,
        member_id,
        member_epoch,
        require_stable,
    });
    match broker.groups.call(image, request).await {
        GroupReply::Fetch(reply) => reply,
        _ => FetchReply { error: ErrorCode::UnknownServerError, topics: Vec::new() },
    }
}

async fn single(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    image: &Image,
    group: Arc<str>,
    topics: Option<Vec<OffsetFetchRequestTopic>>,
    require_stable: bool,
) -> OffsetFetchResponse {
    let wanted = topics.as_ref().map(|topics| {
        let topic = |t: &OffsetFetchRequestTopic| FetchTopic {
            topic: t.name.to_arc(),
            topic_id: TopicId::ZERO,
            partitions: t.partition_indexes.clone(),
        };
        topics.iter().map(topic).collect()
    });
    let reply = fetch(broker, image, group, wanted, (None, -1), require_stable).await;
    if reply.error.is_error() && cx.version < TOP_LEVEL_ERROR {
        // There the error is told of every partition.
        let topics = topics.unwrap_or_default().into_iter().map(|t| failed(t, reply.error));
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
    OffsetFetchResponse {
        error_code: reply.error.code(),
        topics: reply.topics.into_iter().map(topic).collect(),
        ..Default::default()
    }
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
    broker: &Arc<Broker>,
    cx: &RequestContext,
    image: &Image,
    asked: OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let by_id = cx.version >= TOPIC_IDS;
    let mut unknown = Vec::new();
    let wanted = asked.topics.map(|topics| {
        let mut wanted = Vec::with_capacity(topics.len());
        for topic in topics {
            match resolve(image, by_id, &topic) {
                Some(found) => wanted.push(found),
                None => unknown.push(unknown_topic(topic)),
            }
        }
        wanted
    });
    let group = asked.group_id.to_arc();
    let member = (asked.member_id.map(Str::into_arc), asked.member_epoch);
    let reply = fetch(broker, image, group, wanted, member, require_stable).await;
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

fn unknown_topic(asked: OffsetFetchRequestTopics) -> OffsetFetchResponseTopics {
    let partition = |partition_index| OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Str::default()),
        error_code: ErrorCode::UnknownTopicId.code(),
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
