//! SyncGroup (key 14).

use std::sync::Arc;

use base::ErrorCode;
use bytes::Bytes;
use coordinator::{GroupReply, GroupRequest, SyncGroup, SyncReply};
use wire::Str;
use wire::messages::{SyncGroupRequest, SyncGroupResponse};

use crate::{Broker, RequestContext};

/// First version that names the protocol, and must.
const NAMES_PROTOCOL: i16 = 5;

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    if cx.version >= NAMES_PROTOCOL
        && (request.protocol_type.is_none() || request.protocol_name.is_none())
    {
        return to_wire(SyncReply::error(ErrorCode::InconsistentGroupProtocol));
    }
    let request = GroupRequest::Sync(to_core(request));
    match broker.groups.call(&broker.image(), request).await {
        GroupReply::Sync(reply) => to_wire(reply),
        _ => to_wire(SyncReply::error(ErrorCode::UnknownServerError)),
    }
}

fn to_core(request: SyncGroupRequest) -> SyncGroup {
    SyncGroup {
        group: request.group_id.into_arc(),
        generation: request.generation_id,
        member_id: request.member_id.into_arc(),
        instance_id: request.group_instance_id.map(Str::into_arc),
        protocol_type: request.protocol_type.map(Str::into_arc),
        protocol_name: request.protocol_name.map(Str::into_arc),
        assignments: request
            .assignments
            .into_iter()
            // A copy: the group must not keep the whole frame alive.
            .map(|a| (a.member_id.into_arc(), Bytes::copy_from_slice(&a.assignment)))
            .collect(),
    }
}

fn to_wire(reply: SyncReply) -> SyncGroupResponse {
    SyncGroupResponse {
        error_code: reply.error.code(),
        protocol_type: reply.protocol_type.map(Str::from),
        protocol_name: reply.protocol_name.map(Str::from),
        assignment: reply.assignment,
        ..Default::default()
    }
}
