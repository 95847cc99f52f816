//! Requests to the active controller: handed over in this process, or sent on the session with the
//! broker that it is. Failover is hidden: the request is repeated until its time is up.

use std::sync::Arc;
use std::time::Duration;

use base::ErrorCode;
use bytes::Bytes;
use metadata::{ControllerCall, ControllerError, ControllerRequest, ControllerResponse};
use process::time::{now, timeout, timeout_at};
use quorum::{BoxFuture, CallError, Leadership, Quorum};
use tokio::sync::watch;

use crate::controller_task::ControllerMailbox;

/// For requests whose client named no time limit.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Pause between attempts while nobody leads, unless the leadership changes sooner.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// The way to an active controller that is another broker. It is the quorum's; simulations have
/// another.
pub trait Road: Send + Sync {
    fn leadership(&self) -> watch::Receiver<Leadership>;

    /// Sends a request on this broker's session with the active controller. Its answer may take
    /// `patience` longer than usual.
    fn call_leader(
        &self,
        payload: Bytes,
        patience: Duration,
    ) -> BoxFuture<Result<Bytes, CallError>>;
}

impl Road for Quorum {
    fn leadership(&self) -> watch::Receiver<Leadership> {
        Quorum::leadership(self)
    }

    fn call_leader(
        &self,
        payload: Bytes,
        patience: Duration,
    ) -> BoxFuture<Result<Bytes, CallError>> {
        let quorum = self.clone();
        Box::pin(async move { Quorum::call_leader(&quorum, payload, patience).await })
    }
}

/// Handle for asking the active controller.
#[derive(Clone)]
pub struct ControllerClient {
    road: Arc<dyn Road>,
    mailbox: ControllerMailbox,
}

enum Attempt {
    Answered(ControllerResponse),
    Retry(ErrorCode),
}

impl ControllerClient {
    pub fn new(road: Arc<dyn Road>, mailbox: ControllerMailbox) -> ControllerClient {
        ControllerClient { road, mailbox }
    }

    /// Asks until there is an answer or the default time is up.
    pub async fn call<C: ControllerCall>(&self, call: C) -> Result<C::Reply, ControllerError> {
        self.call_within(call, REQUEST_TIMEOUT).await
    }

    /// A request that changes something may be processed twice if a controller dies after it
    /// committed and before it answered; the second answer (such as "already exists") is returned
    /// then, as in Kafka.
    pub async fn call_within<C: ControllerCall>(
        &self,
        call: C,
        limit: Duration,
    ) -> Result<C::Reply, ControllerError> {
        let response = self.request_within(call.into(), limit).await?;
        C::reply(response).ok_or_else(|| {
            tracing::error!("the controller's answer belongs to another kind of request");
            ErrorCode::UnknownServerError.into()
        })
    }

    async fn request_within(
        &self,
        request: ControllerRequest,
        limit: Duration,
    ) -> Result<ControllerResponse, ControllerError> {
        let payload = Bytes::from(metadata::encode_request(&request));
        let deadline = now() + limit;
        let mut leadership = self.road.leadership();
        loop {
            leadership.borrow_and_update();
            let attempt = timeout_at(deadline, self.attempt(&request, &payload)).await;
            let last = match attempt {
                Ok(Attempt::Answered(ControllerResponse::Error(error)))
                    if error.code != ErrorCode::NotController =>
                {
                    return Err(error);
                }
                Ok(Attempt::Answered(ControllerResponse::Error(error))) => error.code,
                Ok(Attempt::Answered(response)) => return Ok(response),
                Ok(Attempt::Retry(code)) => code,
                Err(_) => ErrorCode::RequestTimedOut,
            };
            let _ = timeout(RETRY_PAUSE, leadership.changed()).await;
            if now() >= deadline {
                return Err(ControllerError::new(last, "the active controller did not answer"));
            }
        }
    }

    async fn attempt(&self, request: &ControllerRequest, payload: &Bytes) -> Attempt {
        if self.road.leadership().borrow().is_self {
            return match self.mailbox.request(None, request.clone()).await {
                Some(response) => Attempt::Answered(response),
                None => Attempt::Retry(ErrorCode::NotController),
            };
        }
        let patience = Duration::from_millis(request.patience_ms());
        match self.road.call_leader(payload.clone(), patience).await {
            Ok(answer) => match metadata::decode_response(&answer) {
                Ok(response) => Attempt::Answered(response),
                Err(error) => {
                    tracing::warn!(%error, "decode the controller's answer");
                    Attempt::Retry(ErrorCode::UnknownServerError)
                }
            },
            Err(CallError::NoLeader | CallError::Unreachable(_) | CallError::Refused(_)) => {
                Attempt::Retry(ErrorCode::NotController)
            }
            Err(CallError::NoAnswer(_)) => Attempt::Retry(ErrorCode::RequestTimedOut),
            Err(CallError::Busy) => Attempt::Retry(ErrorCode::RequestTimedOut),
        }
    }
}
