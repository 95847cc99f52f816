//! ListTransactions (key 66): the transactional ids whose coordinator this broker is.

use std::sync::Arc;

use authorizer::{Operation, ResourceType};
use base::ErrorCode;
use coordinator::txn::{TxnFilter, TxnState};
use regex::{Regex, RegexBuilder};
use wire::messages::list_transactions_response::TransactionState;
use wire::messages::{ListTransactionsRequest, ListTransactionsResponse};

use crate::{Broker, RequestContext};

/// States that a filter may name beside those of the log: nothing is ever seen in them.
const UNSEEN_STATES: [&str; 2] = ["Dead", "PrepareEpochFence"];
/// Bytes that a compiled pattern may take.
const PATTERN_BYTES_MAX: usize = 1 << 20;

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: ListTransactionsRequest,
) -> ListTransactionsResponse {
    let Ok(pattern) = pattern(request.transactional_id_pattern.as_deref()) else {
        let error_code = ErrorCode::InvalidRegularExpression.code();
        return ListTransactionsResponse { error_code, ..Default::default() };
    };
    let filters = request.state_filters;
    let states: Vec<TxnState> = filters.iter().filter_map(|name| state_of(name.as_str())).collect();
    // Filters of which none names a state leave nothing.
    let is_none_wanted = !filters.is_empty() && states.is_empty();
    let mut unknown_state_filters = filters;
    unknown_state_filters.retain(|name| {
        state_of(name.as_str()).is_none() && !UNSEEN_STATES.contains(&name.as_str())
    });
    let filter = TxnFilter {
        states,
        producer_ids: request.producer_id_filters.into_iter().collect(),
        longer_than_ms: (request.duration_filter >= 0).then_some(request.duration_filter),
    };
    let listed = match broker.transactions.list(filter).await {
        Ok(listed) => listed,
        Err(error) => {
            let error_code = error.code();
            return ListTransactionsResponse { error_code, ..Default::default() };
        }
    };
    let is_wanted = |id: &str| pattern.as_ref().is_none_or(|pattern| pattern.is_match(id));
    let permit = broker.permit(cx);
    let sees = |id: &str| permit.sees(Operation::Describe, ResourceType::TransactionalId, id);
    let listed = listed.into_iter();
    let listed = listed.filter(|t| !is_none_wanted && is_wanted(&t.id) && sees(&t.id));
    let transaction_states = listed
        .map(|transaction| TransactionState {
            transactional_id: transaction.id.into(),
            producer_id: transaction.producer_id,
            transaction_state: transaction.state.name().into(),
        })
        .collect();
    ListTransactionsResponse { unknown_state_filters, transaction_states, ..Default::default() }
}

fn state_of(name: &str) -> Option<TxnState> {
    TxnState::ALL.into_iter().find(|state| state.name() == name)
}

/// The pattern has to match the whole id.
fn pattern(text: Option<&str>) -> Result<Option<Regex>, regex::Error> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let whole = format!("^(?:{text})$");
    RegexBuilder::new(&whole).size_limit(PATTERN_BYTES_MAX).build().map(Some)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_pattern_matches_whole_ids() {
        let matches = |text, id| pattern(Some(text)).unwrap().unwrap().is_match(id);
        assert!(matches("a.*|b", "axe") && matches("a.*|b", "b") && !matches("a.*|b", "bc"));
        assert!(pattern(None).unwrap().is_none() && pattern(Some("")).unwrap().is_none());
        assert!(pattern(Some("(")).is_err());
    }
}
