//! The active controller: one task that takes requests one after the other while this broker leads
//! the quorum. Requests that queue up while a proposal is in flight are validated against the image
//! that the ones before them lead to and are committed together; answers go out after the commit.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base::{BrokerId, ErrorCode};
use bytes::Bytes;
use metadata::{
    Caller, Controller, ControllerError, ControllerRequest, ControllerResponse, ControllerSettings,
    Entropy, Image, LivenessSettings, MetadataRecord,
};
use parking_lot::Mutex;
use quorum::{BoxFuture, ControllerHandler, Leadership, ProposeError, Quorum, SessionEvent};
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;

/// Requests waiting for the controller.
const MAILBOX_MAX: usize = 1024;
/// Requests committed together.
const BATCH_MAX: usize = 256;
/// Records beyond which a batch is closed.
const BATCH_RECORDS_MAX: usize = 5_000;
/// Pause before a failed activation is tried again, unless the leadership changes sooner.
const ACTIVATION_RETRY: Duration = Duration::from_millis(20);

/// Stands for a session whose opening was not told yet.
const UNKNOWN_SESSION: u64 = u64::MAX;

enum Command {
    Request {
        session: Option<u64>,
        request: ControllerRequest,
        reply: oneshot::Sender<ControllerResponse>,
    },
    SessionClosed(u64),
}

/// Handle for sending requests to this broker's controller task.
#[derive(Clone)]
pub struct ControllerMailbox {
    commands: mpsc::Sender<Command>,
    /// The newest session of each broker, to name the caller of a request.
    sessions: Arc<Mutex<HashMap<BrokerId, u64>>>,
}

/// The receiving end, for the task.
pub struct ControllerInbox(mpsc::Receiver<Command>);

impl ControllerMailbox {
    pub fn new() -> (ControllerMailbox, ControllerInbox) {
        let (commands, receiver) = mpsc::channel(MAILBOX_MAX);
        (ControllerMailbox { commands, sessions: Arc::default() }, ControllerInbox(receiver))
    }

    /// `None`: the task does not run or did not take the request.
    pub async fn request(
        &self,
        session: Option<u64>,
        request: ControllerRequest,
    ) -> Option<ControllerResponse> {
        let (reply, response) = oneshot::channel();
        self.commands.send(Command::Request { session, request, reply }).await.ok()?;
        response.await.ok()
    }
}

impl ControllerHandler for ControllerMailbox {
    fn request(&self, from: BrokerId, payload: Bytes) -> BoxFuture<Result<Bytes, String>> {
        let mailbox = self.clone();
        // Never none: that would say that the request comes from this process.
        let session = self.sessions.lock().get(&from).copied().or(Some(UNKNOWN_SESSION));
        Box::pin(async move {
            let request = metadata::decode_request(&payload).map_err(|e| e.to_string())?;
            match mailbox.request(session, request).await {
                Some(response) => Ok(metadata::encode_response(&response).into()),
                None => Err("the controller is not active".to_owned()),
            }
        })
    }

    fn session(&self, event: SessionEvent) {
        match event {
            SessionEvent::Opened { broker, session } => {
                self.sessions.lock().insert(broker, session);
            }
            SessionEvent::Closed { broker, session } => {
                let mut sessions = self.sessions.lock();
                if sessions.get(&broker) == Some(&session) {
                    sessions.remove(&broker);
                }
                // A full mailbox loses the strong hint only: silence is noticed later.
                let _ = self.commands.try_send(Command::SessionClosed(session));
            }
        }
    }
}

impl Default for ControllerMailbox {
    fn default() -> Self {
        ControllerMailbox::new().0
    }
}

/// What the task owns.
pub struct ControllerTask {
    id: BrokerId,
    settings: ControllerSettings,
    quorum: Quorum,
    inbox: mpsc::Receiver<Command>,
    leadership: watch::Receiver<Leadership>,
    entropy: Entropy,
    metrics: Arc<Metrics>,
}

/// The controller's state while this broker leads.
struct Active {
    term: u64,
    controller: Controller,
}

impl ControllerTask {
    pub fn new(
        config: &Config,
        quorum: Quorum,
        inbox: ControllerInbox,
        metrics: Arc<Metrics>,
    ) -> ControllerTask {
        ControllerTask {
            id: config.broker_id,
            settings: settings(config),
            leadership: quorum.leadership(),
            quorum,
            inbox: inbox.0,
            entropy: Entropy::from_seed(uuid::Uuid::new_v4().as_u128()),
            metrics,
        }
    }

    /// Runs until the shutdown closes everything.
    pub async fn run(mut self, shutdown: Shutdown) {
        let closing = shutdown.connections_closing();
        tokio::pin!(closing);
        let mut active: Option<Active> = None;
        loop {
            let leadership = *self.leadership.borrow_and_update();
            active = self.follow_leadership(active, leadership).await;
            self.metrics.is_active_controller.set(i64::from(active.is_some()));
            let pause = self.until_tick(active.as_ref(), leadership.is_self);
            tokio::select! {
                biased;
                () = &mut closing => return,
                changed = self.leadership.changed() => if changed.is_err() { return },
                command = self.inbox.recv() => match command {
                    Some(command) => self.work(&mut active, command).await,
                    None => return,
                },
                () = tokio::time::sleep(pause) => self.tick(&mut active).await,
            }
        }
    }

    fn until_tick(&self, active: Option<&Active>, leads: bool) -> Duration {
        let Some(active) = active else {
            return if leads { ACTIVATION_RETRY } else { Duration::from_secs(60) };
        };
        let deadline = active.controller.next_deadline(&self.quorum.image());
        // At least a millisecond, so that an overdue action whose proposal failed does not spin.
        let wait_ms = (deadline - clock::monotonic_ms()).max(1);
        Duration::from_millis(wait_ms.unsigned_abs())
    }

    async fn follow_leadership(
        &mut self,
        active: Option<Active>,
        leadership: Leadership,
    ) -> Option<Active> {
        match active {
            Some(active) if leadership.is_self && active.term == leadership.term => Some(active),
            Some(_) if !leadership.is_self => {
                tracing::info!(term = leadership.term, "no longer the active controller");
                None
            }
            None if !leadership.is_self => None,
            _ => self.activate(leadership.term).await,
        }
    }

    async fn activate(&mut self, term: u64) -> Option<Active> {
        let image = self.quorum.image();
        let epoch = i64::try_from(term).unwrap_or(i64::MAX);
        let now_ms = clock::monotonic_ms();
        let (controller, records) =
            Controller::activate(self.settings.clone(), self.id, epoch, &image, now_ms);
        // Without this record the image may lack an entry of a proposal whose outcome is unknown.
        if let Err(error) = self.quorum.propose(term, records).await {
            tracing::warn!(term, %error, "announce the active controller");
            return None;
        }
        tracing::info!(term, "active controller");
        Some(Active { term, controller })
    }

    /// Handles one command and whatever else is queued, as one proposal.
    async fn work(&mut self, is_active: &mut Option<Active>, first: Command) {
        let Some(active) = is_active else {
            refuse(first);
            while let Ok(command) = self.inbox.try_recv() {
                refuse(command);
            }
            return;
        };
        let mut batch = Batch::default();
        // Each batch starts from what is committed; within it, from what it adds.
        let mut working: Option<Image> = None;
        let committed = self.quorum.image();
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::SessionClosed(session) => {
                    active.controller.session_closed(session, clock::monotonic_ms());
                }
                Command::Request { session, request, reply } => {
                    let image = working.as_ref().unwrap_or(&committed);
                    let now_ms = clock::monotonic_ms();
                    let caller = Caller { session };
                    let outcome =
                        active.controller.handle(image, now_ms, caller, &mut self.entropy, request);
                    batch.records.extend(outcome.records);
                    batch.replies.push((reply, outcome.response));
                    working = Some(outcome.image);
                }
            }
            let is_full =
                batch.replies.len() >= BATCH_MAX || batch.records.len() >= BATCH_RECORDS_MAX;
            next = if is_full { None } else { self.inbox.try_recv().ok() };
        }
        if !self.commit(active.term, batch).await {
            *is_active = None;
        }
    }

    /// False where the records were not committed, or may still be: then nothing may be decided on
    /// this image before a new activation is committed behind them.
    async fn commit(&self, term: u64, batch: Batch) -> bool {
        let result = if batch.records.is_empty() {
            Ok(0)
        } else {
            self.quorum.propose(term, batch.records).await
        };
        for (reply, response) in batch.replies {
            let response = match &result {
                Ok(_) => response,
                Err(error) => ControllerResponse::Error(propose_error(error)),
            };
            // Who asked may have given up.
            let _ = reply.send(response);
        }
        result.is_ok()
    }

    async fn tick(&mut self, is_active: &mut Option<Active>) {
        let Some(active) = is_active else { return };
        let records = active.controller.tick(&self.quorum.image(), clock::monotonic_ms());
        if records.is_empty() {
            return;
        }
        if let Err(error) = self.quorum.propose(active.term, records).await {
            tracing::warn!(%error, "commit what time demands");
            *is_active = None;
        }
    }
}

#[derive(Default)]
struct Batch {
    records: Vec<MetadataRecord>,
    replies: Vec<(oneshot::Sender<ControllerResponse>, ControllerResponse)>,
}

fn refuse(command: Command) {
    if let Command::Request { reply, .. } = command {
        let _ = reply.send(ControllerResponse::Error(ErrorCode::NotController.into()));
    }
}

fn propose_error(error: &ProposeError) -> ControllerError {
    let code = match error {
        ProposeError::NotLeader { .. } | ProposeError::Stopped => ErrorCode::NotController,
        // Asked again, the next controller knows whether it was committed.
        ProposeError::OutcomeUnknown => ErrorCode::NotController,
        ProposeError::TooLarge { .. } => ErrorCode::InvalidRequest,
        ProposeError::Rejected(_) => ErrorCode::UnknownServerError,
    };
    ControllerError::new(code, error.to_string())
}

fn settings(config: &Config) -> ControllerSettings {
    let defaults = ControllerSettings::default();
    ControllerSettings {
        default_partitions: config.topic.num_partitions,
        default_replication_factor: config.topic.replication_factor,
        static_config: config.explicit.clone(),
        liveness: LivenessSettings {
            reconnect_grace_ms: config.session.grace_ms,
            silence_ms: config.session.silence_ms,
            ..LivenessSettings::default()
        },
        auto_leader_rebalance: config.topic.auto_leader_rebalance,
        rebalance_interval_ms: i64::try_from(config.topic.imbalance_check_ms).unwrap_or(i64::MAX),
        ..defaults
    }
}
