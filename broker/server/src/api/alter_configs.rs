//! AlterConfigs (key 33): the legacy request that replaces all configs of a resource.

use std::sync::Arc;

use authorizer::Operation;
use metadata::{
    AlterConfigs, ConfigResource, ControllerError, ControllerRequest, ControllerResponse,
};
use wire::messages::alter_configs_request::AlterConfigsResource;
use wire::messages::alter_configs_response::AlterConfigsResourceResponse;
use wire::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::configs::{Altered, alter, check, resource_from_wire};
use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
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
        ControllerRequest::AlterConfigs(metadata::AlterConfigsRequest { resources, validate_only })
    };
    let take = |response| match response {
        ControllerResponse::AlterConfigs(results) => Some(results),
        _ => None,
    };
    let altered = alter(broker, resources, converted, to_controller, take).await;
    AlterConfigsResponse {
        responses: altered.into_iter().map(answer).collect(),
        ..Default::default()
    }
}

fn convert(
    resource: AlterConfigsResource,
) -> Result<(ConfigResource, AlterConfigs), ControllerError> {
    let target = resource_from_wire(resource.resource_type, &resource.resource_name)?;
    let configs = resource
        .configs
        .into_iter()
        .map(|c| (c.name.to_arc(), c.value.map(|v| v.to_arc())))
        .collect();
    Ok((target.clone(), AlterConfigs { resource: target, configs }))
}

fn answer(altered: Altered) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse {
        error_code: altered.error_code,
        error_message: altered.error_message,
        resource_type: altered.resource_type,
        resource_name: altered.resource_name,
    }
}
