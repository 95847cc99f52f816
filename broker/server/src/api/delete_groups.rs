//! DeleteGroups (key 42).

use std::sync::Arc;

use authorizer::{Operation, ResourceType};
use base::ErrorCode;
use coordinator::{GroupReply, GroupRequest};
use futures::future::join_all;
use wire::Str;
use wire::messages::delete_groups_response::DeletableGroupResult;
use wire::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let (image, permit) = (broker.image(), broker.permit(cx));
    let results = request.groups_names.into_iter().map(|group_id| {
        let image = image.clone();
        let allowed = permit.check(Operation::Delete, ResourceType::Group, &group_id);
        async move {
            let request = GroupRequest::DeleteGroup(group_id.to_arc());
            let error = match allowed {
                Err(code) => code,
                Ok(()) => match broker.groups.call(&image, request).await {
                    GroupReply::DeleteGroup(error) => error,
                    _ => ErrorCode::UnknownServerError,
                },
            };
            DeletableGroupResult {
                group_id,
                error_code: error.code(),
                error_message: error.is_error().then(|| Str::from(error.message())),
            }
        }
    });
    DeleteGroupsResponse { results: join_all(results).await, ..Default::default() }
}
