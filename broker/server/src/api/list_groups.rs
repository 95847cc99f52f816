//! ListGroups (key 16): the groups whose coordinator this broker is.

use std::sync::Arc;

use authorizer::{Operation, ResourceType};
use coordinator::ListFilter;
use wire::Str;
use wire::messages::list_groups_response::ListedGroup;
use wire::messages::{ListGroupsRequest, ListGroupsResponse};

use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let filter = ListFilter {
        states: request.states_filter.into_iter().map(Str::into_arc).collect(),
        types: request.types_filter.into_iter().map(Str::into_arc).collect(),
    };
    let permit = broker.permit(cx);
    let sees_all = permit.sees_cluster(Operation::Describe);
    let sees = |group: &coordinator::ListedGroup| {
        sees_all || permit.sees(Operation::Describe, ResourceType::Group, &group.group)
    };
    match broker.groups.list(filter).await {
        Err(error) => ListGroupsResponse { error_code: error.code(), ..Default::default() },
        Ok(groups) => ListGroupsResponse {
            groups: groups.into_iter().filter(sees).map(to_wire).collect(),
            ..Default::default()
        },
    }
}

fn to_wire(group: coordinator::ListedGroup) -> ListedGroup {
    ListedGroup {
        group_id: group.group.into(),
        protocol_type: group.protocol_type.into(),
        group_state: group.state.into(),
        group_type: group.kind.into(),
    }
}
