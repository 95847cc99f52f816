//! OffsetCommit (key 8). Offsets of partitions that do not exist are refused here, one by one; the
//! coordinator sees the rest.

use std::sync::Arc;

use base::{ErrorCode, TopicId};
use coordinator::{CommitOffsets, GroupReply, GroupRequest, OffsetToCommit};
use metadata::{Image, Topic};
use wire::Str;
use wire::messages::offset_commit_request::OffsetCommitRequestTopic;
use wire::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use wire::messages::{OffsetCommitRequest, OffsetCommitResponse};

use crate::{Broker, RequestContext};

/// First version in which the error for a group that does not exist says so, and of member epochs.
const UNKNOWN_GROUP: i16 = 9;
/// First version that names topics by id.
const TOPIC_IDS: i16 = 10;

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let image = broker.image();
    let mut offsets = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        topics.push(split(&image, cx, topic, &mut offsets));
    }
    if !offsets.is_empty() {
        let commit = GroupRequest::Commit(CommitOffsets {
            group: request.group_id.into_arc(),
            member_id: request.member_id.into_arc(),
            instance_id: request.group_instance_id.map(Str::into_arc),
            generation: request.generation_id_or_member_epoch,
            retention_ms: (request.retention_time_ms >= 0).then_some(request.retention_time_ms),
            unknown_group: match cx.version >= UNKNOWN_GROUP {
                true => ErrorCode::GroupIdNotFound,
                false => ErrorCode::IllegalGeneration,
            },
            knows_epochs: cx.version >= UNKNOWN_GROUP,
            offsets,
        });
        let errors = match broker.groups.call(&image, commit).await {
            GroupReply::Commit(reply) => reply.errors,
            _ => Vec::new(),
        };
        fill_in(&mut topics, errors);
    }
    OffsetCommitResponse { topics, ..Default::default() }
}

/// Stands in a response for a partition whose answer the coordinator gives.
const UNANSWERED: i16 = i16::MIN;

/// The response for one topic, with what can be committed put aside.
fn split(
    image: &Image,
    cx: &RequestContext,
    asked: OffsetCommitRequestTopic,
    offsets: &mut Vec<OffsetToCommit>,
) -> OffsetCommitResponseTopic {
    let by_id = cx.version >= TOPIC_IDS;
    let topic = match by_id {
        true => image.topic_by_id(asked.topic_id),
        false => image.topic(&asked.name),
    };
    let unknown = match by_id && topic.is_none() {
        true => ErrorCode::UnknownTopicId,
        false => ErrorCode::UnknownTopicOrPartition,
    };
    let mut partitions = Vec::with_capacity(asked.partitions.len());
    for p in asked.partitions {
        let known: Option<&Arc<Topic>> = topic.filter(|t| t.partition(p.partition_index).is_some());
        let error_code = match known {
            None => unknown.code(),
            Some(topic) => {
                offsets.push(OffsetToCommit {
                    topic: topic.name.clone(),
                    // The older versions mean whatever topic has the name.
                    topic_id: if by_id { topic.id } else { TopicId::ZERO },
                    partition: p.partition_index,
                    offset: p.committed_offset,
                    leader_epoch: p.committed_leader_epoch,
                    metadata: p.committed_metadata.unwrap_or_default().into_arc(),
                });
                UNANSWERED
            }
        };
        let partition_index = p.partition_index;
        partitions.push(OffsetCommitResponsePartition { partition_index, error_code });
    }
    OffsetCommitResponseTopic { name: asked.name, topic_id: asked.topic_id, partitions }
}

/// Puts the coordinator's answers, which come in order, where they are missing.
fn fill_in(topics: &mut [OffsetCommitResponseTopic], errors: Vec<ErrorCode>) {
    let mut errors = errors.into_iter();
    let missing =
        topics.iter_mut().flat_map(|t| &mut t.partitions).filter(|p| p.error_code == UNANSWERED);
    for partition in missing {
        let error = errors.next().unwrap_or(ErrorCode::UnknownServerError);
        partition.error_code = error.code();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_fill_the_gaps_in_order() {
        let partition = |partition_index, error_code| OffsetCommitResponsePartition {
            partition_index,
            error_code,
        };
        let topic = |partitions| OffsetCommitResponseTopic { partitions, ..Default::default() };
        let mut topics = [
            topic(vec![partition(0, UNANSWERED), partition(1, 3)]),
            topic(vec![partition(0, UNANSWERED)]),
        ];
        fill_in(&mut topics, vec![ErrorCode::None, ErrorCode::IllegalGeneration]);
        let codes: Vec<i16> =
            topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code).collect();
        assert_eq!(codes, [0, 3, 22]);
    }
}
