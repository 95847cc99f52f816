//! AlterConfigs (key 33): the legacy request that replaces all configs of a resource.

use std::sync::Arc;

use metadata::{AlterConfigs, ConfigResource, ControllerError};
use wire::messages::alter_configs_request::AlterableConfig;
use wire::messages::alter_configs_response::AlterConfigsResourceResponse;
use wire::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::configs::{Altered, Asked, alter};
use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let asked = request.resources.into_iter().map(|resource| Asked {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
        configs: resource.configs,
    });
    let validate_only = request.validate_only;
    let call = |resources| metadata::AlterConfigsRequest { resources, validate_only };
    let altered = alter(broker, cx, asked.collect(), convert, call).await;
    AlterConfigsResponse {
        responses: altered.into_iter().map(answer).collect(),
        ..Default::default()
    }
}

fn convert(
    resource: ConfigResource,
    configs: Vec<AlterableConfig>,
) -> Result<AlterConfigs, ControllerError> {
    let configs = configs.into_iter().map(|c| (c.name.to_arc(), c.value.map(|v| v.to_arc())));
    Ok(AlterConfigs { resource, configs: configs.collect() })
}

fn answer(altered: Altered) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse {
        error_code: altered.error_code,
        error_message: altered.error_message,
        resource_type: altered.resource_type,
        resource_name: altered.resource_name,
    }
}
