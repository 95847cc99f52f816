//! ConsumerGroupDescribe (key 69, KIP-848).

use std::collections::BTreeSet;
use std::sync::Arc;

use authorizer::{Operation, ResourceType};
use base::ErrorCode;
use coordinator::{DescribedConsumerGroup, GroupReply, GroupRequest};
use futures::future::join_all;
use wire::Str;
use wire::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member, TopicPartitions,
};
use wire::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};

use super::consumer_group_heartbeat::FEATURE;
use crate::authorize::Permit;
use crate::{Broker, RequestContext};

/// What a member speaks, as `MemberType` says it.
const CLASSIC: i8 = 0;
const CONSUMER: i8 = 1;

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let operations = request.include_authorized_operations;
    let (image, permit) = (broker.image(), broker.permit(cx));
    let permit = &permit;
    let is_supported = image.feature_level(FEATURE) >= 1;
    let groups = request.group_ids.into_iter().map(|id| {
        let image = image.clone();
        let allowed = permit.check(Operation::Describe, ResourceType::Group, &id);
        let operations = operations.then(|| permit.operations(ResourceType::Group, &id));
        async move {
            let error = |error| {
                let message = Some(ErrorCode::message(error).to_owned());
                DescribedConsumerGroup::error(id.to_arc(), error, message)
            };
            if !is_supported {
                return to_wire(error(ErrorCode::UnsupportedVersion), None);
            }
            if let Err(code) = allowed {
                return to_wire(DescribedConsumerGroup::error(id.to_arc(), code, None), None);
            }
            if id.is_empty() {
                return to_wire(error(ErrorCode::InvalidGroupId), None);
            }
            let request = GroupRequest::DescribeConsumer(id.to_arc());
            match broker.groups.call(&image, request).await {
                GroupReply::DescribeConsumer(group) => to_wire(seen(permit, group), operations),
                _ => to_wire(error(ErrorCode::UnknownServerError), None),
            }
        }
    });
    ConsumerGroupDescribeResponse { groups: join_all(groups).await, ..Default::default() }
}

/// The group, if the client may know of all its topics. As in Kafka, it is told nothing of it
/// otherwise.
fn seen(permit: &Permit, group: DescribedConsumerGroup) -> DescribedConsumerGroup {
    let of_member = |m: &coordinator::DescribedConsumer| {
        let subscribed = m.topics.iter().map(|topic| topic.to_string());
        let assigned = m.assignment.iter().chain(&m.target).map(|t| t.topic.to_string());
        subscribed.chain(assigned).collect::<Vec<_>>()
    };
    let topics: BTreeSet<String> = group.members.iter().flat_map(of_member).collect();
    let sees = |topic: &String| permit.sees(Operation::Describe, ResourceType::Topic, topic);
    if permit.is_open() || topics.iter().all(sees) {
        return group;
    }
    let message = "The group has described topic(s) that the client is not authorized to describe.";
    let code = ErrorCode::TopicAuthorizationFailed;
    DescribedConsumerGroup::error(group.group, code, Some(message.to_owned()))
}

fn to_wire(group: DescribedConsumerGroup, operations: Option<i32>) -> DescribedGroup {
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
    if let Some(operations) = operations {
        described.authorized_operations = operations;
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
