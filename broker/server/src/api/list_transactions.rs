//! ListTransactions (key 66): there are none, since transactions are not served yet.

use std::sync::Arc;

use wire::messages::{ListTransactionsRequest, ListTransactionsResponse};

use crate::{Broker, RequestContext};

/// States that a filter may name.
const STATES: [&str; 8] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];

pub async fn handle(
    _: &Arc<Broker>,
    _: &RequestContext,
    request: ListTransactionsRequest,
) -> ListTransactionsResponse {
    let mut unknown_state_filters = request.state_filters;
    unknown_state_filters.retain(|state| !STATES.contains(&state.as_str()));
    ListTransactionsResponse { unknown_state_filters, ..Default::default() }
}
