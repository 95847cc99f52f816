//! DeleteAcls (key 31): rules of access that are to be gone, forwarded to the active controller.

use std::sync::Arc;

use authorizer::{Acl, AclFilter};
use base::ErrorCode;
use metadata::ControllerError;
use wire::Str;
use wire::messages::delete_acls_request::DeleteAclsFilter;
use wire::messages::delete_acls_response::{DeleteAclsFilterResult, DeleteAclsMatchingAcl};
use wire::messages::{DeleteAclsRequest, DeleteAclsResponse};

use super::describe_acls::{FilterCodes, NO_AUTHORIZER, filter};
use super::forward::{await_image, forward};
use crate::{Broker, RequestContext};

type Deleted = Result<Vec<Acl>, ControllerError>;

pub async fn handle(
    broker: &Arc<Broker>,
    _: &RequestContext,
    request: DeleteAclsRequest,
) -> DeleteAclsResponse {
    let results = match broker.authorization {
        Some(_) => delete(broker, request.filters).await,
        None => {
            let error = ControllerError::new(ErrorCode::SecurityDisabled, NO_AUTHORIZER);
            request.filters.iter().map(|_| Err(error.clone())).collect()
        }
    };
    let filter_results = results.into_iter().map(result).collect();
    DeleteAclsResponse { filter_results, ..Default::default() }
}

/// In the request's order.
async fn delete(broker: &Arc<Broker>, filters: Vec<DeleteAclsFilter>) -> Vec<Deleted> {
    let mut results: Vec<Result<Option<AclFilter>, ControllerError>> =
        filters.into_iter().map(|asked| core_filter(asked).map(Some)).collect();
    let wanted: Vec<AclFilter> =
        results.iter_mut().filter_map(|result| result.as_mut().ok()?.take()).collect();
    let count = wanted.len();
    let deleted = if wanted.is_empty() {
        Vec::new()
    } else {
        let request = metadata::DeleteAclsRequest { filters: wanted };
        match forward(broker, request).await {
            Ok(deleted) => deleted,
            Err(error) => vec![Err(error); count],
        }
    };
    let gone: Vec<&Acl> = deleted.iter().flatten().flatten().collect();
    await_image(broker, |image| gone.iter().all(|acl| !image.acls().contains(acl))).await;
    let mut deleted = deleted.into_iter();
    let missing = || Err(ErrorCode::UnknownServerError.into());
    let answer = |result: Result<_, _>| result.and_then(|_| deleted.next().unwrap_or_else(missing));
    results.into_iter().map(answer).collect()
}

fn core_filter(asked: DeleteAclsFilter) -> Result<AclFilter, ControllerError> {
    let codes = FilterCodes {
        resource_type: asked.resource_type_filter,
        pattern_type: asked.pattern_type_filter,
        operation: asked.operation,
        permission_type: asked.permission_type,
    };
    let names = (asked.resource_name_filter, asked.principal_filter, asked.host_filter);
    filter(codes, names)
}

fn result(deleted: Deleted) -> DeleteAclsFilterResult {
    match deleted {
        Ok(acls) => DeleteAclsFilterResult {
            error_message: None,
            matching_acls: acls.into_iter().map(matching).collect(),
            ..Default::default()
        },
        Err(error) => DeleteAclsFilterResult {
            error_code: error.code.code(),
            error_message: Some(Str::from(&error.message)),
            ..Default::default()
        },
    }
}

fn matching(acl: Acl) -> DeleteAclsMatchingAcl {
    DeleteAclsMatchingAcl {
        error_message: None,
        resource_type: acl.resource_type.code(),
        resource_name: acl.resource_name.into(),
        pattern_type: acl.pattern_type.code(),
        principal: acl.principal.into(),
        host: acl.host.into(),
        operation: acl.operation.code(),
        permission_type: acl.permission_type.code(),
        ..Default::default()
    }
}
