//! AddOffsetsToTxn (key 25): the partition of `__consumer_offsets` that a group belongs to becomes
//! part of a transaction.

use std::sync::Arc;

use base::ErrorCode;
use coordination::{OFFSETS_TOPIC, partition_of};
use coordinator::txn::{AddPartitions, Partitions, Producer, TxnReply, TxnRequest};
use wire::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use super::find_coordinator::{Kind, ensure_topic};
use super::transactions::{ask, fenced_before, level};
use crate::{Broker, RequestContext};

/// First version whose clients know PRODUCER_FENCED.
const FENCED: i16 = 2;

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    let error = fenced_before(FENCED, cx.version, add(broker, request).await);
    AddOffsetsToTxnResponse { error_code: error.code(), ..Default::default() }
}

async fn add(broker: &Arc<Broker>, request: AddOffsetsToTxnRequest) -> ErrorCode {
    if request.transactional_id.is_empty() {
        return ErrorCode::InvalidRequest;
    }
    ensure_topic(broker, Kind::Group).await;
    let image = broker.image();
    let Some(partition) = partition_of(&image, &request.group_id) else {
        return ErrorCode::CoordinatorNotAvailable;
    };
    let partitions = Partitions::from([(OFFSETS_TOPIC.into(), [partition].into())]);
    let request = TxnRequest::Add(AddPartitions {
        id: request.transactional_id.into_arc(),
        producer: Producer { id: request.producer_id, epoch: request.producer_epoch },
        partitions,
        version: 0,
        level: level(&image),
    });
    match ask(broker, request).await {
        TxnReply::Add(error) => error,
        _ => ErrorCode::UnknownServerError,
    }
}
