//! CreateAcls (key 30): new rules of access, forwarded to the active controller.

use std::sync::Arc;

use authorizer::{Acl, Operation, PatternType, Permission, ResourceType};
use base::ErrorCode;
use metadata::ControllerError;
use wire::messages::create_acls_request::AclCreation;
use wire::messages::create_acls_response::AclCreationResult;
use wire::messages::{CreateAclsRequest, CreateAclsResponse};

use super::describe_acls::NO_AUTHORIZER;
use super::forward::{await_image, forward, outcome};
use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    _: &RequestContext,
    request: CreateAclsRequest,
) -> CreateAclsResponse {
    let results = match broker.authorization {
        Some(_) => create(broker, request.creations).await,
        None => {
            let error = ControllerError::new(ErrorCode::SecurityDisabled, NO_AUTHORIZER);
            request.creations.iter().map(|_| Err(error.clone())).collect()
        }
    };
    let result = |result: Result<(), ControllerError>| {
        let (error_code, error_message) = outcome(&result);
        AclCreationResult { error_code, error_message }
    };
    CreateAclsResponse { results: results.into_iter().map(result).collect(), ..Default::default() }
}

/// In the request's order.
async fn create(
    broker: &Arc<Broker>,
    creations: Vec<AclCreation>,
) -> Vec<Result<(), ControllerError>> {
    let mut results: Vec<Result<Option<Acl>, ControllerError>> =
        creations.into_iter().map(|creation| rule(creation).map(Some)).collect();
    let wanted: Vec<Acl> =
        results.iter_mut().filter_map(|result| result.as_mut().ok()?.take()).collect();
    if wanted.is_empty() {
        return results.into_iter().map(|result| result.map(drop)).collect();
    }
    let request = metadata::CreateAclsRequest { acls: wanted.clone() };
    let created = match forward(broker, request).await {
        Ok(created) => created,
        Err(error) => vec![Err(error); wanted.len()],
    };
    let made = || wanted.iter().zip(&created).filter(|(_, result)| result.is_ok());
    await_image(broker, |image| made().all(|(acl, _)| image.acls().contains(acl))).await;
    let mut created = created.into_iter();
    let missing = || Err(ErrorCode::UnknownServerError.into());
    let answer = |result: Result<_, _>| result.and_then(|_| created.next().unwrap_or_else(missing));
    results.into_iter().map(answer).collect()
}

fn rule(creation: AclCreation) -> Result<Acl, ControllerError> {
    let unknown = |what: &str, code: i8| {
        let message = format!("the rule has an unknown {what} ({code})");
        ControllerError::new(ErrorCode::InvalidRequest, message)
    };
    let (resource, pattern) = (creation.resource_type, creation.resource_pattern_type);
    let (operation, permission) = (creation.operation, creation.permission_type);
    let acl = Acl {
        resource_type: ResourceType::from_code(resource)
            .ok_or_else(|| unknown("resource type", resource))?,
        resource_name: creation.resource_name.into_arc(),
        pattern_type: PatternType::from_code(pattern)
            .ok_or_else(|| unknown("pattern type", pattern))?,
        principal: creation.principal.into_arc(),
        host: creation.host.into_arc(),
        operation: Operation::from_code(operation)
            .ok_or_else(|| unknown("operation", operation))?,
        permission_type: Permission::from_code(permission)
            .ok_or_else(|| unknown("permission type", permission))?,
    };
    let invalid = |error: authorizer::AclError| error.to_string();
    let wrong = acl.validate().map_err(invalid);
    wrong.map_err(|message| ControllerError::new(ErrorCode::InvalidRequest, message))?;
    Ok(acl)
}
