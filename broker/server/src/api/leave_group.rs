//! LeaveGroup (key 13). Before version 3 it names one member, whose error is that of the response.

use std::sync::Arc;

use base::ErrorCode;
use coordinator::{GroupReply, GroupRequest, LeaveGroup, LeaveReply, LeavingMember};
use wire::Str;
use wire::messages::leave_group_response::MemberResponse;
use wire::messages::{LeaveGroupRequest, LeaveGroupResponse};

use crate::{Broker, RequestContext};

/// First version that names several members.
const BATCHED: i16 = 3;

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let members = match cx.version >= BATCHED {
        true => request
            .members
            .into_iter()
            .map(|m| LeavingMember {
                member_id: m.member_id.into_arc(),
                instance_id: m.group_instance_id.map(Str::into_arc),
            })
            .collect(),
        false => {
            vec![LeavingMember { member_id: request.member_id.into_arc(), instance_id: None }]
        }
    };
    let leave = LeaveGroup { group: request.group_id.into_arc(), members };
    match broker.groups.call(&broker.image(), GroupRequest::Leave(leave)).await {
        GroupReply::Leave(reply) => to_wire(cx, reply),
        _ => LeaveGroupResponse {
            error_code: ErrorCode::UnknownServerError.code(),
            ..Default::default()
        },
    }
}

fn to_wire(cx: &RequestContext, reply: LeaveReply) -> LeaveGroupResponse {
    if cx.version < BATCHED {
        let of_member = reply.members.first().map_or(ErrorCode::None, |m| m.error);
        let error = if reply.error.is_error() { reply.error } else { of_member };
        return LeaveGroupResponse { error_code: error.code(), ..Default::default() };
    }
    let member = |m: coordinator::LeftMember| MemberResponse {
        member_id: m.member_id.into(),
        group_instance_id: m.instance_id.map(Str::from),
        error_code: m.error.code(),
    };
    LeaveGroupResponse {
        error_code: reply.error.code(),
        members: reply.members.into_iter().map(member).collect(),
        ..Default::default()
    }
}
