//! ConsumerGroupHeartbeat (key 68, KIP-848).

use std::sync::Arc;

use authorizer::{Operation, ResourceType};
use base::{ErrorCode, TopicId};
use coordinator::{
    Booking, ConsumerHeartbeat, ConsumerHeartbeatReply, GroupReply, GroupRequest, Sight,
    TopicPartitionList,
};
use wire::Str;
use wire::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use wire::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use crate::{Broker, RequestContext};

/// First version in which members bring their ids.
const BRINGS_ID: i16 = 1;
/// The level of this feature says whether the brokers of the cluster know consumer groups.
pub(super) const FEATURE: &str = "group.version";

/// A member, its ids, its timers and its place, about.
const MEMBER_BYTES: usize = 1024;
/// A topic of a member: its name's share of a set.
const TOPIC_BYTES: usize = 48;

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let image = broker.image();
    if image.feature_level(FEATURE) < 1 {
        let message = "The cluster does not support the consumer group protocol: raise \
                       group.version.";
        let error = ErrorCode::UnsupportedVersion;
        return to_wire(ConsumerHeartbeatReply::error(error, Some(message.to_owned())));
    }
    let says_more = request.member_epoch == 0
        || request.subscribed_topic_names.is_some()
        || request.subscribed_topic_regex.is_some();
    let booking = match says_more {
        true => broker.groups.book(member_bytes(&request)),
        false => Some(Booking::default()),
    };
    let Some(booking) = booking else {
        let message = "There is no memory left for members of groups.".to_owned();
        let error = ErrorCode::GroupMaxSizeReached;
        return to_wire(ConsumerHeartbeatReply::error(error, Some(message)));
    };
    let sight = sight(broker, cx);
    let heartbeat = ConsumerHeartbeat { booking, sight, ..to_core(cx, request) };
    let request = GroupRequest::ConsumerHeartbeat(Box::new(heartbeat));
    match broker.groups.call(&image, request).await {
        GroupReply::ConsumerHeartbeat(reply) => to_wire(reply),
        _ => to_wire(ConsumerHeartbeatReply::error(ErrorCode::UnknownServerError, None)),
    }
}

/// An expression stands for the topics that its member may describe.
fn sight(broker: &Broker, cx: &RequestContext) -> Sight {
    let permit = broker.permit(cx);
    match permit.is_open() {
        true => Sight::default(),
        false => {
            Sight::of(move |topic| permit.sees(Operation::Describe, ResourceType::Topic, topic))
        }
    }
}

fn member_bytes(request: &ConsumerGroupHeartbeatRequest) -> usize {
    let topics = request.subscribed_topic_names.iter().flatten();
    let topics: usize = topics.map(|name| TOPIC_BYTES + name.len()).sum();
    MEMBER_BYTES + topics + request.subscribed_topic_regex.as_ref().map_or(0, |r| r.len())
}

fn to_core(cx: &RequestContext, request: ConsumerGroupHeartbeatRequest) -> ConsumerHeartbeat {
    let owned = request.topic_partitions.map(|topics| {
        topics.into_iter().map(|t| (t.topic_id, t.partitions)).collect::<TopicPartitionList>()
    });
    let names = |names: Vec<Str>| names.into_iter().map(Str::into_arc).collect();
    ConsumerHeartbeat {
        group: request.group_id.into_arc(),
        member_id: request.member_id.into_arc(),
        brings_id: cx.version >= BRINGS_ID,
        new_member_id: TopicId::from_random(uuid::Uuid::new_v4().as_u128()).to_string().into(),
        member_epoch: request.member_epoch,
        instance_id: request.instance_id.map(Str::into_arc),
        rack_id: request.rack_id.map(Str::into_arc),
        rebalance_timeout_ms: Some(request.rebalance_timeout_ms).filter(|ms| *ms != -1),
        topics: request.subscribed_topic_names.map(names),
        regex: request.subscribed_topic_regex.map(Str::into_arc),
        assignor: request.server_assignor.map(Str::into_arc),
        owned,
        client_id: cx.client_id.clone(),
        client_host: cx.client_host(),
        sight: Sight::default(),
        booking: Booking::default(),
    }
}

fn to_wire(reply: ConsumerHeartbeatReply) -> ConsumerGroupHeartbeatResponse {
    let topic = |(topic_id, partitions)| TopicPartitions { topic_id, partitions };
    let assignment = reply
        .assignment
        .map(|topics| Assignment { topic_partitions: topics.into_iter().map(topic).collect() });
    let message = reply.message.as_deref().or(match reply.error {
        ErrorCode::None => None,
        error => Some(error.message()),
    });
    ConsumerGroupHeartbeatResponse {
        error_code: reply.error.code(),
        error_message: message.map(Str::from),
        member_id: reply.member_id.map(Str::from),
        member_epoch: reply.member_epoch,
        heartbeat_interval_ms: reply.interval_ms,
        assignment,
        ..Default::default()
    }
}
