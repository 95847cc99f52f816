//! Heartbeat (key 12).

use std::sync::Arc;

use base::ErrorCode;
use coordinator::{GroupReply, GroupRequest, Heartbeat};
use wire::Str;
use wire::messages::{HeartbeatRequest, HeartbeatResponse};

use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    _cx: &RequestContext,
    request: HeartbeatRequest,
) -> HeartbeatResponse {
    let request = GroupRequest::Heartbeat(Heartbeat {
        group: request.group_id.into_arc(),
        generation: request.generation_id,
        member_id: request.member_id.into_arc(),
        instance_id: request.group_instance_id.map(Str::into_arc),
    });
    let error = match broker.groups.call(&broker.image(), request).await {
        GroupReply::Heartbeat(error) => error,
        _ => ErrorCode::UnknownServerError,
    };
    HeartbeatResponse { error_code: error.code(), ..Default::default() }
}
