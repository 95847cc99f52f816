//! IncrementalAlterConfigs (key 44, KIP-339): set, delete, append to or subtract from one config
//! each.

use std::sync::Arc;

use authorizer::Operation;
use base::ErrorCode;
use metadata::{
    ConfigOp, ConfigOpKind, ConfigResource, ControllerError, ControllerRequest, ControllerResponse,
    IncrementalAlterConfigs,
};
use wire::messages::incremental_alter_configs_request::AlterConfigsResource;
use wire::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use wire::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::configs::{Altered, alter, check, resource_from_wire};
use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let resources = request.resources.iter().map(|r| (r.resource_type, r.resource_name.clone()));
    let resources: Vec<_> = resources.collect();
    let permit = broker.permit(cx);
    let converted = request.resources.into_iter().map(|resource| {
        let (kind, name) = (resource.resource_type, &resource.resource_name);
        check(&permit, Operation::AlterConfigs, kind, name)?;
        convert(resource)
    });
    let converted = converted.collect();
    let validate_only = request.validate_only;
    let to_controller = |resources| {
        ControllerRequest::IncrementalAlterConfigs(metadata::IncrementalAlterConfigsRequest {
            resources,
            validate_only,
        })
    };
    let take = |response| match response {
        ControllerResponse::IncrementalAlterConfigs(results) => Some(results),
        _ => None,
    };
    let altered = alter(broker, resources, converted, to_controller, take).await;
    IncrementalAlterConfigsResponse {
        responses: altered.into_iter().map(answer).collect(),
        ..Default::default()
    }
}

fn convert(
    resource: AlterConfigsResource,
) -> Result<(ConfigResource, IncrementalAlterConfigs), ControllerError> {
    let target = resource_from_wire(resource.resource_type, &resource.resource_name)?;
    let ops = resource.configs.into_iter().map(|config| {
        let kind = ConfigOpKind::from_i8(config.config_operation).ok_or_else(|| {
            let message = format!("config {} has an unknown operation", config.name);
            ControllerError::new(ErrorCode::InvalidRequest, message)
        })?;
        Ok(ConfigOp { name: config.name.to_arc(), kind, value: config.value.map(|v| v.to_arc()) })
    });
    let ops = ops.collect::<Result<Vec<_>, ControllerError>>()?;
    Ok((target.clone(), IncrementalAlterConfigs { resource: target, ops }))
}

fn answer(altered: Altered) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse {
        error_code: altered.error_code,
        error_message: altered.error_message,
        resource_type: altered.resource_type,
        resource_name: altered.resource_name,
    }
}
