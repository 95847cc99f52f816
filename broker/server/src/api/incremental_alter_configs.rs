//! IncrementalAlterConfigs (key 44, KIP-339): set, delete, append to or subtract from one config
//! each.

use std::sync::Arc;

use base::ErrorCode;
use metadata::{
    ConfigOp, ConfigOpKind, ConfigResource, ControllerError, ControllerRequest, ControllerResponse,
    IncrementalAlterConfigs,
};
use wire::Str;
use wire::messages::incremental_alter_configs_request::AlterConfigsResource;
use wire::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use wire::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::configs::{Altered, Asked, alter, resource_from_wire};
use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
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
    let altered = alter(broker, cx, request.resources, to_controller, take).await;
    IncrementalAlterConfigsResponse {
        responses: altered.into_iter().map(answer).collect(),
        ..Default::default()
    }
}

impl Asked for AlterConfigsResource {
    type Body = IncrementalAlterConfigs;

    fn name(&self) -> (i8, &Str) {
        (self.resource_type, &self.resource_name)
    }

    fn convert(self) -> Result<(ConfigResource, IncrementalAlterConfigs), ControllerError> {
        let target = resource_from_wire(self.resource_type, &self.resource_name)?;
        let ops = self.configs.into_iter().map(|config| {
            let kind = ConfigOpKind::from_i8(config.config_operation).ok_or_else(|| {
                let message = format!("config {} has an unknown operation", config.name);
                ControllerError::new(ErrorCode::InvalidRequest, message)
            })?;
            Ok(ConfigOp {
                name: config.name.to_arc(),
                kind,
                value: config.value.map(|v| v.to_arc()),
            })
        });
        let ops = ops.collect::<Result<Vec<_>, ControllerError>>()?;
        Ok((target.clone(), IncrementalAlterConfigs { resource: target, ops }))
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
