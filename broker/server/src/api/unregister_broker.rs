//! UnregisterBroker (key 64): forget a broker that will not come back.

use std::sync::Arc;

use base::BrokerId;
use wire::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use super::forward::{forward, outcome};
use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    _: &RequestContext,
    request: UnregisterBrokerRequest,
) -> UnregisterBrokerResponse {
    let broker_id = BrokerId(request.broker_id);
    let request = metadata::UnregisterBrokerRequest { broker_id };
    let (error_code, error_message) = outcome(&forward(broker, request).await);
    UnregisterBrokerResponse { error_code, error_message, ..Default::default() }
}
