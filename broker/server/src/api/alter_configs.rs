//! AlterConfigs (key 33): the legacy request that replaces all configs of a resource.

use std::sync::Arc;

use metadata::{
    AlterConfigs, ConfigResource, ControllerError, ControllerRequest, ControllerResponse,
};
use wire::Str;
use wire::messages::alter_configs_request::AlterConfigsResource;
use wire::messages::alter_configs_response::AlterConfigsResourceResponse;
use wire::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::configs::{Altered, Asked, alter, resource_from_wire};
use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let validate_only = request.validate_only;
    let to_controller = |resources| {
        ControllerRequest::AlterConfigs(metadata::AlterConfigsRequest { resources, validate_only })
    };
    let take = |response| match response {
        ControllerResponse::AlterConfigs(results) => Some(results),
        _ => None,
    };
    let altered = alter(broker, cx, request.resources, to_controller, take).await;
    AlterConfigsResponse {
        responses: altered.into_iter().map(answer).collect(),
        ..Default::default()
    }
}

impl Asked for AlterConfigsResource {
    type Body = AlterConfigs;

    fn name(&self) -> (i8, &Str) {
        (self.resource_type, &self.resource_name)
    }

    fn convert(self) -> Result<(ConfigResource, AlterConfigs), ControllerError> {
        let target = resource_from_wire(self.resource_type, &self.resource_name)?;
        let configs = self
            .configs
            .into_iter()
            .map(|c| (c.name.to_arc(), c.value.map(|v| v.to_arc())))
            .collect();
        Ok((target.clone(), AlterConfigs { resource: target, configs }))
    }
}

fn answer(altered: Altered) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse {
        error_code: altered.error_code,
        error_message: altered.error_message,
        resource_type: altered.resource_type,
        resource_name: altered.resource_name,
    }
}
