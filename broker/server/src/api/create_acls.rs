//! CreateAcls (key 30): refused one by one, since there is no authorizer.

use std::sync::Arc;

use base::ErrorCode;
use wire::Str;
use wire::messages::create_acls_response::AclCreationResult;
use wire::messages::{CreateAclsRequest, CreateAclsResponse};

use super::describe_acls::NO_AUTHORIZER;
use crate::{Broker, RequestContext};

pub async fn handle(
    _: &Arc<Broker>,
    _: &RequestContext,
    request: CreateAclsRequest,
) -> CreateAclsResponse {
    let refused = |_| AclCreationResult {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some(Str::from(NO_AUTHORIZER)),
    };
    CreateAclsResponse {
        results: request.creations.into_iter().map(refused).collect(),
        ..Default::default()
    }
}
