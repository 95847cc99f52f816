//! IncrementalAlterConfigs (key 44, KIP-339): set, delete, append to or subtract from one config
//! each.

use std::sync::Arc;

use base::ErrorCode;
use metadata::{ConfigOp, ConfigOpKind, ConfigResource, ControllerError, IncrementalAlterConfigs};
use wire::messages::incremental_alter_configs_request::AlterableConfig;
use wire::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use wire::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::configs::{Altered, Asked, alter};
use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let asked = request.resources.into_iter().map(|resource| Asked {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
        configs: resource.configs,
    });
    let validate_only = request.validate_only;
    let call = |resources| metadata::IncrementalAlterConfigsRequest { resources, validate_only };
    let altered = alter(broker, cx, asked.collect(), convert, call).await;
    IncrementalAlterConfigsResponse {
        responses: altered.into_iter().map(answer).collect(),
        ..Default::default()
    }
}

fn convert(
    resource: ConfigResource,
    configs: Vec<AlterableConfig>,
) -> Result<IncrementalAlterConfigs, ControllerError> {
    let ops = configs.into_iter().map(|config| {
        let kind = ConfigOpKind::from_i8(config.config_operation).ok_or_else(|| {
            let message = format!("config {} has an unknown operation", config.name);
            ControllerError::new(ErrorCode::InvalidRequest, message)
        })?;
        Ok(ConfigOp { name: config.name.to_arc(), kind, value: config.value.map(|v| v.to_arc()) })
    });
    let ops = ops.collect::<Result<Vec<_>, ControllerError>>()?;
    Ok(IncrementalAlterConfigs { resource, ops })
}

fn answer(altered: Altered) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse {
        error_code: altered.error_code,
        error_message: altered.error_message,
        resource_type: altered.resource_type,
        resource_name: altered.resource_name,
    }
}
