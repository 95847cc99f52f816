//! This broker's place in the cluster: it registers with the active controller, sends heartbeats
//! that also tell how far its metadata is, and asks for permission to stop.

use std::sync::Arc;
use std::time::Duration;

use base::{BrokerEpoch, BrokerId, ErrorCode, TopicId};
use metadata::{
    ControllerError, Endpoint, HeartbeatRequest, HeartbeatResponse, LEVEL_MAX,
    RegisterBrokerRequest, heartbeat_interval_ms_max,
};
use quorum::Session;
use tokio::sync::watch;

use crate::controller_client::ControllerClient;
use crate::pod_config::{self, placed};
use process::shutdown::Shutdown;
use process::time::{now, sleep, sleep_until};
use storage::partition::Partitions;

/// Pause after a refusal, so that a misconfigured broker does not spin.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// One attempt to reach the controller; the session goes on after it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// How this broker stands with the controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// -1 before the first registration.
    pub epoch: BrokerEpoch,
    pub fenced: bool,
    /// The controller let this broker stop.
    pub may_stop: bool,
}

/// The part of a registration that may change while the broker runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Presence {
    pub listeners: Vec<Endpoint>,
    pub rack: Option<Arc<str>>,
}

/// The part that may not.
#[derive(Clone, Debug)]
pub struct Identity {
    pub broker_id: BrokerId,
    pub cluster_id: Arc<str>,
    pub log_dirs: Vec<TopicId>,
    pub log_dir_paths: Vec<Arc<str>>,
    /// As this broker's file has it.
    pub cordoned_log_dirs: Arc<str>,
    pub clean_shutdown_epoch: Option<BrokerEpoch>,
}

/// The task that keeps the registration alive.
pub struct BrokerSession {
    identity: Identity,
    presence: watch::Receiver<Presence>,
    /// Where the broker is will be said soon: registering waits for that.
    awaited: bool,
    controller: ControllerClient,
    partitions: Arc<Partitions>,
    /// As configured; the controller's silence limit may ask for more.
    heartbeat_interval: Duration,
    /// The silence limit of the active controller; 0 before it told.
    silence_ms: i64,
    quorum_session: watch::Receiver<Session>,
    standing: watch::Sender<Standing>,
    want_shutdown: bool,
}

impl BrokerSession {
    pub fn new(
        identity: Identity,
        presence: watch::Receiver<Presence>,
        awaited: bool,
        controller: ControllerClient,
        partitions: Arc<Partitions>,
        heartbeat_interval_ms: u64,
        quorum_session: watch::Receiver<Session>,
    ) -> (BrokerSession, watch::Receiver<Standing>) {
        let initial = Standing { epoch: -1, fenced: true, may_stop: false };
        let (standing, receiver) = watch::channel(initial);
        let session = BrokerSession {
            identity,
            presence,
            awaited,
            controller,
            partitions,
            heartbeat_interval: Duration::from_millis(heartbeat_interval_ms),
            silence_ms: 0,
            quorum_session,
            standing,
            want_shutdown: false,
        };
        (session, receiver)
    }

    /// Runs until connections close.
    pub async fn run(mut self, shutdown: Shutdown) {
        let closing = shutdown.connections_closing();
        tokio::pin!(closing);
        tokio::select! {
            biased;
            () = &mut closing => {}
            () = self.keep(&shutdown) => {}
        }
    }

    async fn keep(&mut self, shutdown: &Shutdown) {
        if self.awaited {
            placed(&mut self.presence, shutdown, pod_config::PATIENCE).await;
        }
        loop {
            let epoch = self.register().await;
            if let Err(error) = self.heartbeats(epoch, shutdown).await {
                tracing::warn!(epoch, %error, "registration lost, registering again");
                self.standing.send_modify(|standing| standing.fenced = true);
            }
        }
    }

    async fn register(&mut self) -> BrokerEpoch {
        loop {
            match self.try_register().await {
                Ok(epoch) => {
                    tracing::info!(epoch, "registered");
                    self.standing.send_modify(|standing| standing.epoch = epoch);
                    return epoch;
                }
                Err(error) if is_transient(error.code) => {}
                Err(error) => tracing::warn!(%error, "register with the controller"),
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    async fn try_register(&mut self) -> Result<BrokerEpoch, ControllerError> {
        let presence = self.presence.borrow_and_update().clone();
        let identity = &self.identity;
        // A broker that starts on an empty disk takes the cluster's id from its metadata.
        let cluster_id = self.partitions.image().cluster_id().clone();
        let request = RegisterBrokerRequest {
            broker_id: identity.broker_id,
            cluster_id: if identity.cluster_id.is_empty() {
                cluster_id
            } else {
                identity.cluster_id.clone()
            },
            incarnation_id: self.partitions.incarnation_id,
            listeners: presence.listeners,
            rack: presence.rack,
            log_dirs: identity.log_dirs.clone(),
            log_dir_paths: identity.log_dir_paths.clone(),
            cordoned_log_dirs: identity.cordoned_log_dirs.clone(),
            clean_shutdown_epoch: identity.clean_shutdown_epoch,
            supports: LEVEL_MAX,
        };
        Ok(self.controller.call_within(request, REQUEST_TIMEOUT).await?.broker_epoch)
    }

    /// Sends heartbeats until the controller does not know this registration any more.
    async fn heartbeats(
        &mut self,
        mut epoch: BrokerEpoch,
        shutdown: &Shutdown,
    ) -> Result<(), ControllerError> {
        let mut applied = self.partitions.applied();
        let mut offline_news = self.partitions.offline_news();
        let mut moved = false;
        loop {
            if moved && let Some(confirmed) = self.announce_move().await {
                (moved, epoch) = (false, confirmed);
            }
            let image_offset = *applied.borrow_and_update();
            self.quorum_session.borrow_and_update();
            offline_news.mark_unchanged();
            let mut settled = false;
            // From beat to beat, not from answer to beat: what the answer waits for is no silence.
            let sent_at = now();
            match self.heartbeat(epoch, image_offset).await {
                Ok(response) => {
                    let before = *self.standing.borrow();
                    if before.fenced != response.fenced {
                        tracing::info!(fenced = response.fenced, "standing with the controller");
                    }
                    let may_stop = response.should_shut_down;
                    self.standing.send_replace(Standing {
                        epoch,
                        fenced: response.fenced,
                        may_stop,
                    });
                    settled = !response.fenced && !self.want_shutdown;
                    self.silence_ms = response.silence_ms;
                }
                Err(error) if is_transient(error.code) => {}
                Err(error) => return Err(error),
            }
            // While something is expected (unfencing, permission to stop, replicas taken offline),
            // every new image is told at once; else the interval is enough.
            settled &= self.partitions.unreported_offline().is_empty();
            let interval = beat_interval(self.heartbeat_interval, self.silence_ms);
            tokio::select! {
                biased;
                () = shutdown.started(), if !self.want_shutdown => self.want_shutdown = true,
                () = news(&mut self.presence) => moved = true,
                _ = applied.changed(), if !settled => {}
                _ = self.quorum_session.changed() => {}
                () = news(&mut offline_news) => {}
                () = sleep_until(sent_at + interval) => {}
            }
        }
    }

    /// Registers the same incarnation again, since clients reach it elsewhere now. The controller
    /// keeps its epoch and its standing; heartbeats go on in between. `None`: not done yet.
    async fn announce_move(&mut self) -> Option<BrokerEpoch> {
        match self.try_register().await {
            Ok(epoch) => {
                tracing::info!(epoch, "registered in its new place");
                self.standing.send_modify(|standing| standing.epoch = epoch);
                Some(epoch)
            }
            Err(error) => {
                tracing::warn!(%error, "register in the new place");
                None
            }
        }
    }

    async fn heartbeat(
        &self,
        broker_epoch: BrokerEpoch,
        image_offset: i64,
    ) -> Result<HeartbeatResponse, ControllerError> {
        let request = HeartbeatRequest {
            broker_id: self.identity.broker_id,
            broker_epoch,
            image_offset,
            want_fence: false,
            want_shutdown: self.want_shutdown,
            offline: self.partitions.unreported_offline(),
            supports: LEVEL_MAX,
        };
        self.controller.call_within(request, REQUEST_TIMEOUT).await
    }
}

/// The interval that suits the active controller: while a cluster is rolled to other session times
/// its limit is not the one in this broker's file.
fn beat_interval(configured: Duration, silence_ms: i64) -> Duration {
    if silence_ms <= 0 {
        return configured;
    }
    configured.min(Duration::from_millis(heartbeat_interval_ms_max(silence_ms)))
}

/// Resolves when there is something new. Without a sender there never is.
async fn news<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn is_transient(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotController
            | ErrorCode::RequestTimedOut
            | ErrorCode::NetworkException
            | ErrorCode::UnknownServerError
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_active_controllers_silence_limit_bounds_the_interval() {
        let ms = Duration::from_millis;
        assert_eq!(beat_interval(ms(1800), 0), ms(1800), "it did not say");
        assert_eq!(beat_interval(ms(1800), 1000), ms(200));
        assert_eq!(beat_interval(ms(50), 1000), ms(50));
    }
}
