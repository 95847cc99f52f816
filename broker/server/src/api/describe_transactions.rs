//! DescribeTransactions (key 65): no transactional id exists, since transactions are not served
//! yet.

use std::sync::Arc;

use base::ErrorCode;
use wire::Str;
use wire::messages::describe_transactions_response::TransactionState;
use wire::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};

use crate::{Broker, RequestContext};

pub async fn handle(
    _: &Arc<Broker>,
    _: &RequestContext,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let unknown = |transactional_id: Str| TransactionState {
        error_code: ErrorCode::TransactionalIdNotFound.code(),
        transactional_id,
        ..Default::default()
    };
    DescribeTransactionsResponse {
        transaction_states: request.transactional_ids.into_iter().map(unknown).collect(),
        ..Default::default()
    }
}
