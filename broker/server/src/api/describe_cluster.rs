//! DescribeCluster (key 60, KIP-700): the brokers, their racks and the controller.

use std::sync::Arc;

use base::ErrorCode;
use wire::Str;
use wire::messages::describe_cluster_response::DescribeClusterBroker;
use wire::messages::{DescribeClusterRequest, DescribeClusterResponse};

use super::topology::{active_controller, controller_for};
use crate::{Broker, RequestContext};

const ENDPOINT_BROKERS: i8 = 1;
const ENDPOINT_CONTROLLERS: i8 = 2;

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let image = broker.image();
    let mut response = DescribeClusterResponse {
        endpoint_type: request.endpoint_type,
        cluster_id: Str::from(image.cluster_id()),
        ..Default::default()
    };
    // KIP-919: this listener is a broker's, controllers are not described here.
    let error = match request.endpoint_type {
        ENDPOINT_BROKERS => ErrorCode::None,
        ENDPOINT_CONTROLLERS => ErrorCode::MismatchedEndpointType,
        _ => ErrorCode::UnsupportedEndpointType,
    };
    if error.is_error() {
        response.error_code = error.code();
        response.error_message = Some(Str::from(error.message()));
        return response;
    }
    response.controller_id = controller_for(&image, active_controller(broker), &cx.listener);
    response.brokers = image
        .brokers()
        .filter(|b| request.include_fenced_brokers || !b.fenced)
        .filter_map(|b| {
            let endpoint = b.listener(&cx.listener)?;
            Some(DescribeClusterBroker {
                broker_id: b.id.0,
                host: Str::from(&endpoint.host),
                port: i32::from(endpoint.port),
                rack: b.rack.as_ref().map(Str::from),
                is_fenced: b.fenced,
            })
        })
        .collect();
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = broker.permit(cx).cluster_operations();
    }
    response
}
