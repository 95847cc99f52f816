//! AddRaftVoter (key 80, KIP-853): an observer of the metadata quorum becomes a voter. The broker
//! has joined as an observer by itself, at the address that it is reached at; the listeners of the
//! request are not needed for more than to see that the request is meant seriously.

use std::sync::Arc;
use std::time::Duration;

use base::{BrokerId, ErrorCode};
use metadata::ControllerError;
use wire::Str;
use wire::messages::{AddRaftVoterRequest, AddRaftVoterResponse};

use super::voters::{self, Change};
use crate::{Broker, RequestContext};

/// Longest time that the observer gets to catch up.
const CATCH_UP_MAX: Duration = Duration::from_secs(30);
/// Beyond it, for the change itself and for a controller that moves.
const CHANGE_MAX: Duration = Duration::from_secs(10);

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: AddRaftVoterRequest,
) -> AddRaftVoterResponse {
    if let Err(error) = check(broker, &request) {
        return refused(&error);
    }
    let voter = BrokerId(request.voter_id);
    let asked = Duration::from_millis(request.timeout_ms.max(0).unsigned_abs().into());
    let patience = asked.min(CATCH_UP_MAX);
    let limit = patience + CHANGE_MAX;
    let change = Change::Add { voter, patience };
    let done = voters::at_controller(broker, cx, &request, limit, change, |r| r.error_code).await;
    done.unwrap_or_else(|error| refused(&error))
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

fn refused(error: &ControllerError) -> AddRaftVoterResponse {
    AddRaftVoterResponse {
        error_code: error.code.code(),
        error_message: Some(Str::from(&error.message)),
        ..Default::default()
    }
}
