//! What the APIs of the metadata quorum share. Only the active controller can answer them, so any
//! other broker passes the request on to it, over the wire and once.

use std::sync::Arc;
use std::time::Duration;

use base::{BrokerId, ErrorCode, TopicId};
use client::Options;
use metadata::{ControllerError, Image};
use quorum::MemberError;
use tokio::time::{Instant, sleep};
use wire::{Request, Str};

use super::topology::active_controller;
use crate::{Broker, RequestContext};

/// Between two looks at who leads.
const PAUSE: Duration = Duration::from_millis(20);
/// The client id of a request that was passed on; it is not passed on again.
const PASSED_ON: &str = "barnabas-passed-on";

/// The directory of a broker's metadata log: the first one that it registered.
pub(super) fn directory_id(image: &Image, broker: BrokerId) -> TopicId {
    image.broker(broker).and_then(|b| b.log_dirs.first()).copied().unwrap_or_default()
}

/// Whether the request may be about this broker and this cluster. A directory may be left out
/// (zero), or be any of those that the broker registered.
pub(super) fn check(
    image: &Image,
    cluster_id: Option<&str>,
    voter: BrokerId,
    directory: TopicId,
) -> Result<(), ControllerError> {
    if cluster_id.is_some_and(|id| id != &**image.cluster_id()) {
        let problem = format!("the cluster's id is {}", image.cluster_id());
        return Err(ControllerError::new(ErrorCode::InconsistentClusterId, problem));
    }
    if voter.0 < 0 {
        return Err(ControllerError::new(ErrorCode::InvalidRequest, "voter ids are not negative"));
    }
    let dirs = image.broker(voter).map(|b| &b.log_dirs[..]).unwrap_or_default();
    if directory.is_zero() || dirs.is_empty() || dirs.contains(&directory) {
        return Ok(());
    }
    let problem = format!("broker {voter} has no directory {directory}");
    Err(ControllerError::new(ErrorCode::InvalidVoterKey, problem))
}

/// Asks another broker on the listener for brokers.
pub(super) async fn ask<R: Request>(
    broker: &Arc<Broker>,
    other: BrokerId,
    request: &R,
    version: i16,
    limit: Duration,
) -> Result<R::Response, ErrorCode> {
    let Ok(address) = broker.peers.address(other) else {
        return Err(ErrorCode::NotController);
    };
    let options = Options {
        client_id: Str::from(PASSED_ON),
        connect_timeout: limit,
        request_timeout: limit,
        ..Options::default()
    };
    let answer = async {
        let connection = broker.peers.connect(other, &address, options).await?;
        anyhow::Ok(connection.call(request, version).await?)
    };
    answer.await.map_err(|error| {
        tracing::info!(%error, address, "ask the active controller");
        ErrorCode::BrokerNotAvailable
    })
}

/// A change of the voters, as the active controller makes it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Add { voter: BrokerId, patience: Duration },
    Remove { voter: BrokerId },
}

impl Change {
    async fn make(self, broker: &Broker) -> Result<(), MemberError> {
        match self {
            Change::Add { voter, patience } => broker.quorum.add_voter(voter, patience).await,
            Change::Remove { voter } => broker.quorum.remove_voter(voter).await,
        }
    }
}

/// Has the active controller change the voters, wherever it is and whoever becomes it meanwhile.
/// `code` takes the error code out of a response.
pub(super) async fn at_controller<R>(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: &R,
    limit: Duration,
    change: Change,
    code: fn(&R::Response) -> i16,
) -> Result<R::Response, ControllerError>
where
    R: Request<Response: Default>,
{
    let deadline = Instant::now() + limit;
    let mut problem = "no active controller is known".to_owned();
    loop {
        match active_controller(broker) {
            Some(active) if active == broker.id => {
                let error = match change.make(broker).await {
                    Ok(()) => return Ok(R::Response::default()),
                    Err(error) => error,
                };
                match error {
                    MemberError::NotLeader { .. } => {}
                    // The successor makes the change: no voter decides about itself.
                    MemberError::IsLeader(_) => broker.quorum.resign().await,
                    error => return Err(refusal(&error)),
                }
                problem = error.to_string();
            }
            Some(_) if cx.sender.is_broker() && &*cx.client_id == PASSED_ON => {
                return Err(ErrorCode::NotController.into());
            }
            Some(active) => {
                let left = deadline.saturating_duration_since(Instant::now());
                match ask(broker, active, request, cx.version, left).await {
                    Ok(answer) if code(&answer) != ErrorCode::NotController.code() => {
                        return Ok(answer);
                    }
                    Ok(_) => problem = format!("broker {active} is not the active controller"),
                    Err(_) => problem = format!("broker {active} does not answer"),
                }
            }
            None => {}
        }
        if Instant::now() >= deadline {
            return Err(ControllerError::new(ErrorCode::RequestTimedOut, problem));
        }
        sleep(PAUSE).await;
    }
}

/// The codes that Kafka's controllers give for the same.
fn refusal(error: &MemberError) -> ControllerError {
    let code = match error {
        MemberError::AlreadyVoter(_) => ErrorCode::DuplicateVoter,
        MemberError::NotAVoter(_) => ErrorCode::VoterNotFound,
        MemberError::LastVoter(_) => ErrorCode::InvalidRequest,
        MemberError::NotLeader { .. } | MemberError::IsLeader(_) => ErrorCode::NotController,
        MemberError::NotReady { .. }
        | MemberError::Rejected(_)
        | MemberError::Timeout
        | MemberError::Stopped => ErrorCode::RequestTimedOut,
    };
    ControllerError::new(code, error.to_string())
}
