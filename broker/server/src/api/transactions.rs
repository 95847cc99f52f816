//! What the APIs of transactions share.

use std::sync::Arc;

use base::ErrorCode;
use coordinator::txn::{EndTransaction, InitProducer, TxnReply, TxnRequest};
use metadata::Image;

use crate::Broker;

const FEATURE: &str = "transaction.version";

/// The level of `transaction.version` that the cluster has finalized.
pub(super) fn level(image: &Image) -> i16 {
    image.features().find(|(name, _)| &***name == FEATURE).map_or(0, |(_, level)| level)
}

/// Asks the coordinator, and once more if that takes a producer id that nobody had.
pub(super) async fn ask(broker: &Arc<Broker>, request: TxnRequest) -> TxnReply {
    let image = broker.image();
    let reply = broker.transactions.call(&image, request.clone()).await;
    if reply != TxnReply::NeedsProducerId {
        return reply;
    }
    let new = match broker.producer_ids.next().await {
        Ok(id) => Some(id),
        Err(error) => return request.refuse(error),
    };
    let again = match request {
        TxnRequest::Init(request) => {
            TxnRequest::Init(InitProducer { new_producer_id: new, ..request })
        }
        TxnRequest::End(request) => {
            TxnRequest::End(EndTransaction { new_producer_id: new, ..request })
        }
        other => return other.refuse(ErrorCode::UnknownServerError),
    };
    broker.transactions.call(&image, again).await
}

/// Clients below the version know only the older code for being fenced.
pub(super) fn fenced_before(known_from: i16, version: i16, error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::ProducerFenced if version < known_from => ErrorCode::InvalidProducerEpoch,
        error => error,
    }
}
