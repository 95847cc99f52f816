//! OffsetCommit (key 8). Offsets of partitions that do not exist are refused here, one by one; the
//! coordinator sees the rest.

use std::sync::Arc;

use authorizer::{Operation, ResourceType};
use base::ErrorCode;
use coordinator::{CommitOffsets, GroupReply, GroupRequest, OffsetToCommit};
use metadata::Image;
use wire::Str;
use wire::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use wire::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use wire::messages::{OffsetCommitRequest, OffsetCommitResponse};

use super::offsets_to_commit::{AskedTopic, fill_in};
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
    let (image, permit) = (broker.image(), broker.permit(cx));
    let may_read = |topic: &str| permit.may(Operation::Read, ResourceType::Topic, topic);
    let mut offsets = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        topics.push(split(&image, cx.version, topic, &mut offsets, &may_read));
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
        let partitions = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        fill_in(partitions.map(|p| &mut p.error_code), errors);
    }
    OffsetCommitResponse { topics, ..Default::default() }
}

/// The response for one topic, with what can be committed put aside.
fn split(
    image: &Image,
    version: i16,
    asked: OffsetCommitRequestTopic,
    offsets: &mut Vec<OffsetToCommit>,
    may_read: &dyn Fn(&str) -> bool,
) -> OffsetCommitResponseTopic {
    let topic = AskedTopic::of(image, version >= TOPIC_IDS, &asked.name, asked.topic_id, may_read);
    let partition = |p: OffsetCommitRequestPartition| {
        let position = (p.committed_offset, p.committed_leader_epoch);
        let partition_index = p.partition_index;
        let error_code = topic.put(offsets, partition_index, position, p.committed_metadata);
        OffsetCommitResponsePartition { partition_index, error_code }
    };
    let partitions = asked.partitions.into_iter().map(partition).collect();
    OffsetCommitResponseTopic { name: asked.name, topic_id: asked.topic_id, partitions }
}
