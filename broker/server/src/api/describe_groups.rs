//! DescribeGroups (key 15).

use std::sync::Arc;

use authorizer::{Operation, ResourceType};
use base::ErrorCode;
use coordinator::{GroupReply, GroupRequest};
use futures::future::join_all;
use wire::Str;
use wire::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use wire::messages::{DescribeGroupsRequest, DescribeGroupsResponse};

use crate::{Broker, RequestContext};

/// First version in which a group that does not exist is an error; before, it is a dead group.
const UNKNOWN_IS_ERROR: i16 = 6;

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let operations = request.include_authorized_operations;
    let (image, permit) = (broker.image(), broker.permit(cx));
    let groups = request.groups.into_iter().map(|id| {
        let image = image.clone();
        let allowed = permit.check(Operation::Describe, ResourceType::Group, &id);
        let operations = operations.then(|| permit.operations(ResourceType::Group, &id));
        async move {
            if let Err(code) = allowed {
                return DescribedGroup {
                    group_id: id,
                    error_code: code.code(),
                    ..Default::default()
                };
            }
            let reply = broker.groups.call(&image, GroupRequest::Describe(id.to_arc())).await;
            match reply {
                GroupReply::Describe(group) => to_wire(cx, group, operations),
                _ => DescribedGroup {
                    group_id: id,
                    error_code: ErrorCode::UnknownServerError.code(),
                    ..Default::default()
                },
            }
        }
    });
    DescribeGroupsResponse { groups: join_all(groups).await, ..Default::default() }
}

fn to_wire(
    cx: &RequestContext,
    group: coordinator::DescribedGroup,
    operations: Option<i32>,
) -> DescribedGroup {
    let unknown = group.error == ErrorCode::GroupIdNotFound;
    let error = match unknown && cx.version < UNKNOWN_IS_ERROR {
        true => ErrorCode::None,
        false => group.error,
    };
    // Where the group could not be looked at, its state is not known to be dead.
    let state = if error.is_error() && !unknown { "" } else { group.state.name() };
    let member = |m: coordinator::DescribedMember| DescribedGroupMember {
        member_id: m.member_id.into(),
        group_instance_id: m.instance_id.map(Str::from),
        client_id: m.client_id.into(),
        client_host: m.client_host.into(),
        member_metadata: m.metadata,
        member_assignment: m.assignment,
    };
    let mut described = DescribedGroup {
        error_code: error.code(),
        error_message: (unknown && error.is_error()).then(|| match group.message {
            Some(message) => Str::from(message),
            None => Str::from(format!("Group {} not found.", group.group)),
        }),
        group_id: group.group.into(),
        group_state: state.into(),
        protocol_type: group.protocol_type.into(),
        protocol_data: group.protocol.into(),
        members: group.members.into_iter().map(member).collect(),
        ..Default::default()
    };
    if let Some(operations) = operations
        && !error.is_error()
    {
        described.authorized_operations = operations;
    }
    described
}
