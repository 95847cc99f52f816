//! UnregisterBroker (key 64): forget a broker that will not come back.

use std::sync::Arc;

use base::BrokerId;
use metadata::{ControllerRequest, ControllerResponse};
use wire::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use super::forward::{forward, outcome};
use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    _: &RequestContext,
    request: UnregisterBrokerRequest,
) -> UnregisterBrokerResponse {
    let request = ControllerRequest::UnregisterBroker(metadata::UnregisterBrokerRequest {
        broker_id: BrokerId(request.broker_id),
    });
    let take = |response| matches!(response, ControllerResponse::UnregisterBroker).then_some(());
    let (error_code, error_message) = outcome(&forward(broker, request, take).await);
    UnregisterBrokerResponse { error_code, error_message, ..Default::default() }
}
