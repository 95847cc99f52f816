//! OffsetDelete (key 47). Partitions that do not exist are refused here.

use std::collections::HashSet;
use std::sync::Arc;

use authorizer::{Operation, ResourceType};
use base::{ErrorCode, TopicPartition};
use coordinator::{DeleteOffsets, DeleteOffsetsReply, GroupReply, GroupRequest};
use wire::Str;
use wire::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use wire::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let (image, permit) = (broker.image(), broker.permit(cx));
    let mut denied = HashSet::new();
    let mut partitions = Vec::new();
    for topic in &request.topics {
        let may_read = permit.may(Operation::Read, ResourceType::Topic, &topic.name);
        let known = image.topic(&topic.name).filter(|_| may_read);
        if !may_read {
            denied.insert(topic.name.clone());
        }
        let of_topic = topic.partitions.iter().map(|p| p.partition_index);
        for index in of_topic.filter(|i| known.is_some_and(|t| t.partition(*i).is_some())) {
            partitions.push(TopicPartition::new(topic.name.to_arc(), index));
        }
    }
    let group = request.group_id.to_arc();
    let delete = DeleteOffsets { group, partitions: partitions.clone() };
    let reply = match broker.groups.call(&image, GroupRequest::DeleteOffsets(delete)).await {
        GroupReply::DeleteOffsets(reply) => reply,
        _ => {
            let error = ErrorCode::UnknownServerError;
            DeleteOffsetsReply { error, errors: Vec::new() }
        }
    };
    if reply.error.is_error() {
        return OffsetDeleteResponse { error_code: reply.error.code(), ..Default::default() };
    }
    to_wire(request, &partitions, &reply.errors, &denied)
}

fn to_wire(
    request: OffsetDeleteRequest,
    asked: &[TopicPartition],
    errors: &[ErrorCode],
    denied: &HashSet<Str>,
) -> OffsetDeleteResponse {
    // The known partitions come in the request's order.
    let mut answers = asked.iter().zip(errors).peekable();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|p| {
            let is_this = |(known, _): &(&TopicPartition, &ErrorCode)| {
                *known.topic == *topic.name && known.partition == p.partition_index
            };
            let error = match answers.next_if(is_this) {
                Some((_, error)) => *error,
                None if denied.contains(&topic.name) => ErrorCode::TopicAuthorizationFailed,
                None => ErrorCode::UnknownTopicOrPartition,
            };
            let partition_index = p.partition_index;
            OffsetDeleteResponsePartition { partition_index, error_code: error.code() }
        });
        OffsetDeleteResponseTopic { partitions: partitions.collect(), name: topic.name.clone() }
    });
    OffsetDeleteResponse { topics: topics.collect(), ..Default::default() }
}
