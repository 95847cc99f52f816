//! EndTxn (key 26): commits or aborts a transaction. The answer says that it is decided, not that
//! its markers are written.

use std::sync::Arc;

use base::ErrorCode;
use coordinator::txn::{EndTransaction, Producer, TxnReply, TxnRequest};
use wire::messages::{EndTxnRequest, EndTxnResponse};

use super::transactions::{ask, fenced_before, level};
use crate::{Broker, RequestContext};

/// First version for producers whose epoch rises with each transaction (KIP-890).
const RAISING: i16 = 5;
/// First version whose clients know PRODUCER_FENCED.
const FENCED: i16 = 2;

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: EndTxnRequest,
) -> EndTxnResponse {
    match end(broker, cx.version, request).await {
        Ok(Producer { id, epoch }) => {
            EndTxnResponse { producer_id: id, producer_epoch: epoch, ..Default::default() }
        }
        Err(error) => {
            let error_code = fenced_before(FENCED, cx.version, error).code();
            EndTxnResponse { error_code, ..Default::default() }
        }
    }
}

async fn end(
    broker: &Arc<Broker>,
    version: i16,
    request: EndTxnRequest,
) -> Result<Producer, ErrorCode> {
    if request.transactional_id.is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    let request = TxnRequest::End(EndTransaction {
        id: request.transactional_id.into_arc(),
        producer: Producer { id: request.producer_id, epoch: request.producer_epoch },
        is_commit: request.committed,
        version: if version >= RAISING { 2 } else { 0 },
        new_producer_id: None,
        level: level(&broker.image()),
    });
    match ask(broker, request).await {
        TxnReply::End(result) => result,
        _ => Err(ErrorCode::UnknownServerError),
    }
}
