//! InitProducerId for idempotent producers: ids come in blocks from the controller.

use std::sync::Arc;

use base::ErrorCode;
use wire::messages::{InitProducerIdRequest, InitProducerIdResponse};

use crate::broker::Broker;
use crate::request::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    _cx: &RequestContext,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let result = match request.transactional_id {
        Some(id) if id.is_empty() => Err(ErrorCode::InvalidRequest),
        // Transactions are not served; their coordinator cannot be found either.
        Some(_) => Err(ErrorCode::TransactionalIdAuthorizationFailed),
        // A producer that had an id and lost its state gets a new one, as in Kafka.
        None => broker.producer_ids.next().await,
    };
    InitProducerIdResponse {
        throttle_time_ms: 0,
        error_code: result.err().unwrap_or(ErrorCode::None).code(),
        producer_id: result.unwrap_or(-1),
        producer_epoch: if result.is_ok() { 0 } else { -1 },
    }
}
