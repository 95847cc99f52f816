//! InitProducerId (key 22): a producer id and epoch. For idempotent producers ids come in blocks
//! from the controller; for transactional ones the coordinator of the id decides.

use std::sync::Arc;

use base::ErrorCode;
use coordinator::txn::{InitProducer, Producer, TxnReply, TxnRequest};
use wire::messages::{InitProducerIdRequest, InitProducerIdResponse};

use super::transactions::{ask, fenced_before, level};
use crate::broker::Broker;
use crate::request::RequestContext;

/// First version whose clients know PRODUCER_FENCED.
const FENCED: i16 = 4;
/// Stands for a producer id or epoch that is none.
const NONE: i16 = -1;

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let result = init(broker, request).await;
    let error = fenced_before(FENCED, cx.version, result.err().unwrap_or(ErrorCode::None));
    let none = Producer { id: NONE.into(), epoch: NONE };
    let producer = result.unwrap_or(none);
    InitProducerIdResponse {
        throttle_time_ms: 0,
        error_code: error.code(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
    }
}

async fn init(broker: &Arc<Broker>, request: InitProducerIdRequest) -> Result<Producer, ErrorCode> {
    let expected = match (request.producer_id, request.producer_epoch) {
        (-1, NONE) => None,
        (-1, _) | (_, NONE) => return Err(ErrorCode::InvalidRequest),
        (id, epoch) => Some(Producer { id, epoch }),
    };
    let Some(id) = request.transactional_id else {
        // A producer that had an id and lost its state gets a new one, as in Kafka.
        return broker.producer_ids.next().await.map(|id| Producer { id, epoch: 0 });
    };
    if id.is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    let request = TxnRequest::Init(InitProducer {
        id: id.into_arc(),
        timeout_ms: request.transaction_timeout_ms,
        expected,
        new_producer_id: None,
        level: level(&broker.image()),
    });
    match ask(broker, request).await {
        TxnReply::Init(result) => result,
        _ => Err(ErrorCode::UnknownServerError),
    }
}
