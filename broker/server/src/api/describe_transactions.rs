//! DescribeTransactions (key 65): transactional ids whose coordinator this broker is.

use std::sync::Arc;

use authorizer::{Operation, ResourceType};
use base::ErrorCode;
use coordinator::txn::{DescribedTransaction, TxnReply, TxnRequest};
use wire::Str;
use wire::messages::describe_transactions_response::{TopicData, TransactionState};
use wire::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};

use super::transactions::ask;
use crate::authorize::Permit;
use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let mut transaction_states = Vec::with_capacity(request.transactional_ids.len());
    let permit = broker.permit(cx);
    for id in request.transactional_ids {
        let allowed = permit.check(Operation::Describe, ResourceType::TransactionalId, &id);
        let described = match allowed {
            Ok(()) => describe(broker, &id).await,
            Err(code) => Err(code),
        };
        let state = match described {
            Ok(described) => to_wire(&permit, id, described),
            Err(error) => TransactionState {
                error_code: error.code(),
                transactional_id: id,
                ..Default::default()
            },
        };
        transaction_states.push(state);
    }
    DescribeTransactionsResponse { transaction_states, ..Default::default() }
}

async fn describe(broker: &Arc<Broker>, id: &Str) -> Result<DescribedTransaction, ErrorCode> {
    if id.is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    match ask(broker, TxnRequest::Describe(id.to_arc())).await {
        TxnReply::Describe(result) => result,
        _ => Err(ErrorCode::UnknownServerError),
    }
}

fn to_wire(
    permit: &Permit,
    transactional_id: Str,
    described: DescribedTransaction,
) -> TransactionState {
    let sees = |topic: &str| permit.sees(Operation::Describe, ResourceType::Topic, topic);
    let partitions = described.partitions.into_iter().filter(|(topic, _)| sees(topic));
    let topics = partitions.map(|(topic, indexes)| TopicData {
        topic: topic.into(),
        partitions: indexes.into_iter().collect(),
    });
    TransactionState {
        error_code: ErrorCode::None.code(),
        transactional_id,
        transaction_state: described.state.name().into(),
        transaction_timeout_ms: described.timeout_ms,
        transaction_start_time_ms: described.started_ms.unwrap_or(-1),
        producer_id: described.producer.id,
        producer_epoch: described.producer.epoch,
        topics: topics.collect(),
    }
}
