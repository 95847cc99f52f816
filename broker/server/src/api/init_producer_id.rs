//! InitProducerId for idempotent producers: ids come in blocks from the controller.

use std::sync::Arc;

use base::{ErrorCode, ProducerId};
use metadata::{
    AllocateProducerIdsRequest, ControllerRequest, ControllerResponse, ProducerIdBlock,
};
use tokio::sync::Mutex;
use wire::messages::{InitProducerIdRequest, InitProducerIdResponse};

use crate::broker::Broker;
use crate::request::RequestContext;

/// Producer ids that this broker may give out.
#[derive(Debug, Default)]
pub struct ProducerIds {
    /// Held across the request for a new block, so that one caller asks and the others wait.
    left: Mutex<(ProducerId, ProducerId)>,
}

impl ProducerIds {
    /// A producer id that nobody else ever gets.
    pub async fn next(&self, broker: &Broker) -> Result<ProducerId, ErrorCode> {
        let mut left = self.left.lock().await;
        if left.0 >= left.1 {
            let block = allocate(broker).await?;
            *left = (block.first, block.first + ProducerId::from(block.len));
        }
        left.0 += 1;
        Ok(left.0 - 1)
    }
}

async fn allocate(broker: &Broker) -> Result<ProducerIdBlock, ErrorCode> {
    let image = broker.image();
    let broker_epoch = image.broker(broker.id).map_or(-1, |broker| broker.epoch);
    let request = AllocateProducerIdsRequest { broker_id: broker.id, broker_epoch };
    let request = ControllerRequest::AllocateProducerIds(request);
    match broker.controller.request(request).await {
        Ok(ControllerResponse::AllocateProducerIds(block)) if block.len > 0 => Ok(block),
        Ok(other) => {
            tracing::error!(?other, "unexpected answer to AllocateProducerIds");
            Err(ErrorCode::UnknownServerError)
        }
        Err(error) => {
            tracing::warn!(%error, "allocate producer ids");
            // Retriable for every client, whatever kept the controller from answering.
            Err(ErrorCode::CoordinatorLoadInProgress)
        }
    }
}

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
        None => broker.producer_ids.next(broker).await,
    };
    InitProducerIdResponse {
        throttle_time_ms: 0,
        error_code: result.err().unwrap_or(ErrorCode::None).code(),
        producer_id: result.unwrap_or(-1),
        producer_epoch: if result.is_ok() { 0 } else { -1 },
    }
}
