//! DeleteAcls (key 31): refused one by one, since there is no authorizer.

use std::sync::Arc;

use base::ErrorCode;
use wire::Str;
use wire::messages::delete_acls_response::DeleteAclsFilterResult;
use wire::messages::{DeleteAclsRequest, DeleteAclsResponse};

use super::describe_acls::NO_AUTHORIZER;
use crate::{Broker, RequestContext};

pub async fn handle(
    _: &Arc<Broker>,
    _: &RequestContext,
    request: DeleteAclsRequest,
) -> DeleteAclsResponse {
    let refused = |_| DeleteAclsFilterResult {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some(Str::from(NO_AUTHORIZER)),
        ..Default::default()
    };
    DeleteAclsResponse {
        filter_results: request.filters.into_iter().map(refused).collect(),
        ..Default::default()
    }
}
