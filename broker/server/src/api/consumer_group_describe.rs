//! ConsumerGroupDescribe (key 69, KIP-848).

use std::sync::Arc;

use base::ErrorCode;
use coordinator::{DescribedConsumerGroup, GroupReply, GroupRequest};
use futures::future::join_all;
use wire::Str;
use wire::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member, TopicPartitions,
};
use wire::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};

use super::consumer_group_heartbeat::FEATURE;
use super::describe_groups::GROUP_OPERATIONS;
use crate::{Broker, RequestContext};

/// What a member speaks, as `MemberType` says it.
const CLASSIC: i8 = 0;
const CONSUMER: i8 = 1;

pub async fn handle(
    broker: &Arc<Broker>,
    _cx: &RequestContext,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let operations = request.include_authorized_operations;
    let image = broker.image();
    let is_supported = image.feature_level(FEATURE) >= 1;
    let groups = request.group_ids.into_iter().map(|id| {
        let image = image.clone();
        async move {
            let error = |error| {
                let message = Some(ErrorCode::message(error).to_owned());
                DescribedConsumerGroup::error(id.to_arc(), error, message)
            };
            if !is_supported {
                return to_wire(error(ErrorCode::UnsupportedVersion), false);
            }
            if id.is_empty() {
                return to_wire(error(ErrorCode::InvalidGroupId), false);
            }
            let request = GroupRequest::DescribeConsumer(id.to_arc());
            match broker.groups.call(&image, request).await {
                GroupReply::DescribeConsumer(group) => to_wire(group, operations),
                _ => to_wire(error(ErrorCode::UnknownServerError), false),
            }
        }
    });
    ConsumerGroupDescribeResponse { groups: join_all(groups).await, ..Default::default() }
}

fn to_wire(group: DescribedConsumerGroup, operations: bool) -> DescribedGroup {
    if group.error.is_error() {
        return DescribedGroup {
            error_code: group.error.code(),
            error_message: group.message.map(Str::from),
            group_id: group.group.into(),
            ..Default::default()
        };
    }
    let mut described = DescribedGroup {
        group_id: group.group.into(),
        group_state: group.state.name().into(),
        group_epoch: group.epoch,
        assignment_epoch: group.target_epoch,
        assignor_name: group.assignor.into(),
        members: group.members.into_iter().map(member).collect(),
        ..Default::default()
    };
    if operations {
        described.authorized_operations = GROUP_OPERATIONS;
    }
    described
}

fn member(m: coordinator::DescribedConsumer) -> Member {
    Member {
        member_id: m.member_id.into(),
        instance_id: m.instance_id.map(Str::from),
        rack_id: m.rack_id.map(Str::from),
        member_epoch: m.member_epoch,
        client_id: m.client_id.into(),
        client_host: m.client_host.into(),
        subscribed_topic_names: m.topics.into_iter().map(Str::from).collect(),
        subscribed_topic_regex: m.regex.map(Str::from),
        assignment: assignment(m.assignment),
        target_assignment: assignment(m.target),
        member_type: if m.is_classic { CLASSIC } else { CONSUMER },
    }
}

fn assignment(topics: Vec<coordinator::DescribedPartitions>) -> Assignment {
    let topic = |t: coordinator::DescribedPartitions| TopicPartitions {
        topic_id: t.topic_id,
        topic_name: t.topic.into(),
        partitions: t.partitions,
    };
    Assignment { topic_partitions: topics.into_iter().map(topic).collect() }
}
