//! JoinGroup (key 11).

use std::sync::Arc;

use base::ErrorCode;
use bytes::Bytes;
use coordinator::{Booking, GroupReply, GroupRequest, JoinGroup, JoinReply, Protocol};
use wire::Str;
use wire::messages::join_group_request::JoinGroupRequestProtocol;
use wire::messages::join_group_response::JoinGroupResponseMember;
use wire::messages::{JoinGroupRequest, JoinGroupResponse};

use crate::{Broker, RequestContext};

/// First versions: of a rebalance timeout of its own, of ids that are given out before the join
/// (KIP-394), of a null protocol name, of "you lead, but do not assign" (KIP-814).
const REBALANCE_TIMEOUT: i16 = 1;
const KNOWN_ID: i16 = 4;
const NULL_PROTOCOL: i16 = 7;
const SKIP_ASSIGNMENT: i16 = 9;

/// A member, its ids and its timer, about.
const MEMBER_BYTES: usize = 1024;
/// Bytes of a client id (or instance id) that go into a member id, so that the id fits any string.
const ID_PREFIX_BYTES_MAX: usize = 255;

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let Some(booking) = broker.groups.book(member_bytes(cx, &request)) else {
        let refused = JoinReply::error(ErrorCode::GroupMaxSizeReached, "".into());
        return to_wire(cx, refused);
    };
    let request = GroupRequest::Join(JoinGroup { booking, ..to_core(cx, request) });
    match broker.groups.call(&broker.image(), request).await {
        GroupReply::Join(reply) => to_wire(cx, reply),
        _ => to_wire(cx, JoinReply::error(ErrorCode::UnknownServerError, "".into())),
    }
}

/// What the coordinator is going to keep of a member. A new one comes back with the id that it is
/// given, and only then says what is kept.
fn member_bytes(cx: &RequestContext, request: &JoinGroupRequest) -> usize {
    let is_promise = cx.version >= KNOWN_ID
        && request.member_id.is_empty()
        && request.group_instance_id.is_none();
    let protocol = |p: &JoinGroupRequestProtocol| p.name.len() + p.metadata.len();
    let said = request.protocols.iter().map(protocol).sum();
    MEMBER_BYTES + if is_promise { 0 } else { said }
}

fn to_core(cx: &RequestContext, request: JoinGroupRequest) -> JoinGroup {
    let instance_id: Option<Arc<str>> = request.group_instance_id.map(Str::into_arc);
    let prefix = instance_id.as_deref().unwrap_or(&cx.client_id);
    let protocol = |name: Str, metadata: &Bytes| Protocol {
        name: name.into_arc(),
        // A copy: the member must not keep the whole frame alive.
        metadata: Bytes::copy_from_slice(metadata),
    };
    JoinGroup {
        group: request.group_id.into_arc(),
        member_id: request.member_id.into_arc(),
        new_member_id: new_member_id(prefix),
        instance_id,
        client_id: cx.client_id.clone(),
        client_host: cx.client_host(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: match cx.version >= REBALANCE_TIMEOUT {
            true => request.rebalance_timeout_ms,
            false => request.session_timeout_ms,
        },
        protocol_type: request.protocol_type.into_arc(),
        protocols: request.protocols.into_iter().map(|p| protocol(p.name, &p.metadata)).collect(),
        requires_known_id: cx.version >= KNOWN_ID,
        supports_skip_assignment: cx.version >= SKIP_ASSIGNMENT,
        booking: Booking::default(),
    }
}

fn new_member_id(prefix: &str) -> Arc<str> {
    let prefix = &prefix[..prefix.floor_char_boundary(ID_PREFIX_BYTES_MAX)];
    format!("{prefix}-{}", uuid::Uuid::new_v4()).into()
}

fn to_wire(cx: &RequestContext, reply: JoinReply) -> JoinGroupResponse {
    let protocol_name = match reply.protocol_name {
        None if cx.version < NULL_PROTOCOL => Some(Str::default()),
        name => name.map(Str::from),
    };
    JoinGroupResponse {
        error_code: reply.error.code(),
        generation_id: reply.generation,
        protocol_type: reply.protocol_type.map(Str::from),
        protocol_name,
        leader: reply.leader.into(),
        skip_assignment: reply.skip_assignment,
        member_id: reply.member_id.into(),
        members: reply
            .members
            .into_iter()
            .map(|m| JoinGroupResponseMember {
                member_id: m.member_id.into(),
                group_instance_id: m.instance_id.map(Str::from),
                metadata: m.metadata,
            })
            .collect(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_ids_are_the_client_id_and_something_unique() {
        let (one, two) = (new_member_id("client"), new_member_id("client"));
        assert!(one.starts_with("client-") && one.len() == "client-".len() + 36);
        assert_ne!(one, two);
        let long = new_member_id(&"ä".repeat(20_000));
        assert_eq!(long.len(), 254 + 1 + 36);
    }
}
