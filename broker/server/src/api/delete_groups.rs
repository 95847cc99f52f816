//! DeleteGroups (key 42).

use std::sync::Arc;

use base::ErrorCode;
use coordinator::{GroupReply, GroupRequest};
use futures::future::join_all;
use wire::Str;
use wire::messages::delete_groups_response::DeletableGroupResult;
use wire::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    _cx: &RequestContext,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let image = broker.image();
    let results = request.groups_names.into_iter().map(|group_id| {
        let image = image.clone();
        async move {
            let request = GroupRequest::DeleteGroup(group_id.to_arc());
            let error = match broker.groups.call(&image, request).await {
                GroupReply::DeleteGroup(error) => error,
                _ => ErrorCode::UnknownServerError,
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
