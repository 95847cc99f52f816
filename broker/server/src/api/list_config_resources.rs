//! ListConfigResources (key 74, KIP-1142): what has configs, by kind. Version 0 knows client
//! metrics only.

use std::sync::Arc;

use base::ErrorCode;
use metadata::{ConfigResource as Resource, Image};
use wire::Str;
use wire::messages::list_config_resources_response::ConfigResource;
use wire::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};

use super::configs::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use super::topology::alive_on;
use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let supported: &[i8] = match cx.version {
        0 => &[CLIENT_METRICS],
        _ => &[TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP],
    };
    let asked = &request.resource_types;
    if asked.iter().any(|kind| !supported.contains(kind)) {
        let error_code = ErrorCode::UnsupportedVersion.code();
        return ListConfigResourcesResponse { error_code, ..Default::default() };
    }
    let image = broker.image();
    let wanted = supported.iter().filter(|kind| asked.is_empty() || asked.contains(kind));
    let resources = wanted.flat_map(|kind| {
        let resource = move |resource_name| ConfigResource { resource_name, resource_type: *kind };
        names(&image, cx, *kind).into_iter().map(resource)
    });
    ListConfigResourcesResponse { config_resources: resources.collect(), ..Default::default() }
}

fn names(image: &Image, cx: &RequestContext, kind: i8) -> Vec<Str> {
    match kind {
        TOPIC => image.topics().map(|topic| Str::from(&topic.name)).collect(),
        BROKER | BROKER_LOGGER => {
            alive_on(image, &cx.listener).map(|(b, _)| Str::from(b.id.to_string())).collect()
        }
        _ => image.configs().filter_map(|(resource, _)| named(resource, kind)).collect(),
    }
}

/// The name of a resource with configs of its own, if it is of the kind.
fn named(resource: &Resource, kind: i8) -> Option<Str> {
    match (resource, kind) {
        (Resource::Group(name), GROUP) | (Resource::ClientMetrics(name), CLIENT_METRICS) => {
            Some(Str::from(name))
        }
        _ => None,
    }
}
