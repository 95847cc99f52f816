//! AddRaftVoter (key 80, KIP-853): an observer of the metadata quorum becomes a voter. The broker
//! has joined as an observer by itself, at the address that it is reached at; the listeners of the
//! request are not needed for more than to see that the request is meant seriously.

use std::sync::Arc;
use std::time::Duration;

use base::{BrokerId, ErrorCode};
use metadata::{ControllerError, VoterChange};
use wire::messages::{AddRaftVoterRequest, AddRaftVoterResponse};

use super::forward::outcome;
use super::voters;
use crate::{Broker, RequestContext};

/// Longest time that the observer gets to catch up.
const CATCH_UP_MAX: Duration = Duration::from_secs(30);
/// Beyond it, for the change itself and for a controller that moves.
const CHANGE_MAX: Duration = Duration::from_secs(10);

pub async fn handle(
    broker: &Arc<Broker>,
    _: &RequestContext,
    request: AddRaftVoterRequest,
) -> AddRaftVoterResponse {
    let changed = match check(broker, &request) {
        Ok(()) => add(broker, &request).await,
        Err(error) => Err(error),
    };
    let (error_code, error_message) = outcome(&changed);
    AddRaftVoterResponse { error_code, error_message, ..Default::default() }
}

async fn add(broker: &Broker, request: &AddRaftVoterRequest) -> Result<(), ControllerError> {
    let asked = Duration::from_millis(request.timeout_ms.max(0).unsigned_abs().into());
    let patience = asked.min(CATCH_UP_MAX);
    let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
    let change = VoterChange::Add { voter: BrokerId(request.voter_id), patience_ms };
    broker.controller.call_within(change, patience + CHANGE_MAX).await
}

fn check(broker: &Broker, request: &AddRaftVoterRequest) -> Result<(), ControllerError> {
    let (voter, directory) = (BrokerId(request.voter_id), request.voter_directory_id);
    voters::check(&broker.image(), request.cluster_id.as_deref(), voter, directory)?;
    if request.listeners.is_empty() {
        let problem = "the request names no controller listener of the voter";
        return Err(ControllerError::new(ErrorCode::InvalidRequest, problem));
    }
    Ok(())
}
