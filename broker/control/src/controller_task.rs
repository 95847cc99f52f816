//! The active controller: one task that takes requests one after the other while this broker leads
//! the quorum. Requests that queue up while a proposal is in flight are validated against the image
//! that the ones before them lead to and are committed together; answers go out after the commit.
//!
//! Signs of life have a lane of their own and are taken at once, also while a proposal is in
//! flight: a slow commit is not the brokers' silence. What time demands comes before any request,
//! and after every sign of life that is there: no load keeps a dead broker in its leaderships.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base::{BrokerId, ErrorCode};
use bytes::Bytes;
use metadata::{
    Caller, Controller, ControllerError, ControllerRequest, ControllerResponse, ControllerSettings,
    Entropy, Image, LivenessSettings, MetadataRecord, VoterChange,
};
use quorum::{BoxFuture, ControllerHandler, Leadership, ProposeError, Quorum, SessionEvent};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::entries::Entries;
use crate::voters;
use config::Config;
use process::clock;
use process::metrics::Metrics;
use process::random;
use process::shutdown::Shutdown;
use process::task::Tasks;
use process::time::sleep;

/// Requests waiting for the controller.
const MAILBOX_MAX: usize = 1024;
/// Requests committed together.
const BATCH_MAX: usize = 256;
/// Records beyond which a batch is closed.
const BATCH_RECORDS_MAX: usize = 5_000;
/// Changes of voters under way.
const CHANGES_MAX: usize = 8;
/// Pause before a failed activation is tried again, unless the leadership changes sooner.
const ACTIVATION_RETRY: Duration = Duration::from_millis(20);

enum Command {
    Request {
        session: Option<u64>,
        request: ControllerRequest,
        reply: oneshot::Sender<ControllerResponse>,
    },
    SessionClosed(u64),
    /// After `SessionClosed`.
    ProcessEnded(u64),
}

impl Command {
    fn is_sign_of_life(&self) -> bool {
        use ControllerRequest::{Heartbeat, RegisterBroker};
        match self {
            Command::SessionClosed(_) | Command::ProcessEnded(_) => true,
            Command::Request { request, .. } => matches!(request, Heartbeat(_) | RegisterBroker(_)),
        }
    }
}

/// Handle for sending requests to this broker's controller task.
#[derive(Clone)]
pub struct ControllerMailbox {
    /// Heartbeats, registrations and ends of sessions, in their order.
    life: mpsc::Sender<Command>,
    requests: mpsc::Sender<Command>,
}

/// The receiving end, for the task.
pub struct ControllerInbox {
    life: mpsc::Receiver<Command>,
    requests: mpsc::Receiver<Command>,
}

impl ControllerMailbox {
    pub fn new() -> (ControllerMailbox, ControllerInbox) {
        let (life, life_inbox) = mpsc::channel(MAILBOX_MAX);
        let (requests, requests_inbox) = mpsc::channel(MAILBOX_MAX);
        let inbox = ControllerInbox { life: life_inbox, requests: requests_inbox };
        (ControllerMailbox { life, requests }, inbox)
    }

    /// `None`: the task does not run or did not take the request.
    pub async fn request(
        &self,
        session: Option<u64>,
        request: ControllerRequest,
    ) -> Option<ControllerResponse> {
        let (reply, response) = oneshot::channel();
        let command = Command::Request { session, request, reply };
        let lane = if command.is_sign_of_life() { &self.life } else { &self.requests };
        lane.send(command).await.ok()?;
        response.await.ok()
    }
}

impl ControllerHandler for ControllerMailbox {
    fn request(
        &self,
        from: BrokerId,
        session: u64,
        payload: Bytes,
    ) -> BoxFuture<Result<Bytes, String>> {
        let mailbox = self.clone();
        Box::pin(async move {
            let request = metadata::decode_request(&payload).map_err(|e| e.to_string())?;
            // What a session tells is told of the broker at its other end. Told of another one, the
            // end of the session would count as that one's.
            if let Some(broker) = request.speaks_for().filter(|broker| *broker != from) {
                return Err(format!("broker {from} cannot speak for broker {broker}"));
            }
            match mailbox.request(Some(session), request).await {
                Some(response) => Ok(metadata::encode_response(&response).into()),
                None => Err("the controller is not active".to_owned()),
            }
        })
    }

    fn session(&self, event: SessionEvent) {
        let command = match event {
            SessionEvent::Opened { .. } => return,
            SessionEvent::Closed { session, .. } => Command::SessionClosed(session),
            SessionEvent::Ended { session, .. } => Command::ProcessEnded(session),
        };
        // A full mailbox loses the strong hint only: silence is noticed later.
        let _ = self.life.try_send(command);
    }
}

impl Default for ControllerMailbox {
    fn default() -> Self {
        ControllerMailbox::new().0
    }
}

/// What the task needs of the quorum; simulations have another.
pub trait MetadataLog: Send + Sync {
    fn image(&self) -> Arc<Image>;
    /// Commits the records and waits until the image has them.
    fn propose(
        &self,
        term: u64,
        records: Vec<MetadataRecord>,
    ) -> BoxFuture<Result<u64, ProposeError>>;
    /// Changes who votes, which may take long.
    fn change_voters(&self, change: VoterChange) -> BoxFuture<Result<(), ControllerError>>;
}

impl MetadataLog for Quorum {
    fn image(&self) -> Arc<Image> {
        Quorum::image(self)
    }

    fn propose(
        &self,
        term: u64,
        records: Vec<MetadataRecord>,
    ) -> BoxFuture<Result<u64, ProposeError>> {
        let quorum = self.clone();
        Box::pin(async move { Quorum::propose(&quorum, term, records).await })
    }

    fn change_voters(&self, change: VoterChange) -> BoxFuture<Result<(), ControllerError>> {
        let quorum = self.clone();
        Box::pin(async move { voters::change(&quorum, change).await })
    }
}

/// What the task owns.
pub struct ControllerTask {
    id: BrokerId,
    settings: ControllerSettings,
    log: Box<dyn MetadataLog>,
    inbox: ControllerInbox,
    /// Signs of life that make records: they go into the next batch.
    deferred: VecDeque<Command>,
    /// Changes of voters under way. No other request waits for them.
    changes: Tasks<()>,
    /// Places for them, so that they do not take all places of a broker's session.
    changing: Arc<Semaphore>,
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
        let leadership = quorum.leadership();
        ControllerTask::over(config, Box::new(quorum), leadership, inbox, metrics)
    }

    pub fn over(
        config: &Config,
        log: Box<dyn MetadataLog>,
        leadership: watch::Receiver<Leadership>,
        inbox: ControllerInbox,
        metrics: Arc<Metrics>,
    ) -> ControllerTask {
        ControllerTask {
            id: config.broker_id,
            settings: settings(config),
            leadership,
            log,
            inbox,
            deferred: VecDeque::new(),
            changes: Tasks::new(),
            changing: Arc::new(Semaphore::new(CHANGES_MAX)),
            entropy: Entropy::from_seed(random::bits()),
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
            while let Ok(command) = self.inbox.life.try_recv() {
                self.note_life(active.as_mut(), command);
            }
            if self.is_due(active.as_ref()) {
                self.tick(&mut active).await;
            }
            let pause = self.until_tick(active.as_ref(), leadership.is_self);
            tokio::select! {
                biased;
                () = &mut closing => return,
                changed = self.leadership.changed() => if changed.is_err() { return },
                command = self.inbox.life.recv() => match command {
                    Some(command) => self.note_life(active.as_mut(), command),
                    None => return,
                },
                () = std::future::ready(()), if !self.deferred.is_empty() => {
                    self.work(&mut active).await;
                }
                command = self.inbox.requests.recv() => match command {
                    Some(command) => {
                        self.deferred.push_back(command);
                        self.work(&mut active).await;
                    }
                    None => return,
                },
                () = sleep(pause) => {}
            }
        }
    }

    fn is_due(&self, active: Option<&Active>) -> bool {
        let deadline = active.map(|active| active.controller.next_deadline(&self.log.image()));
        deadline.is_some_and(|deadline| deadline <= clock::monotonic_ms())
    }

    fn until_tick(&self, active: Option<&Active>, leads: bool) -> Duration {
        let Some(active) = active else {
            return if leads { ACTIVATION_RETRY } else { Duration::from_secs(60) };
        };
        let deadline = active.controller.next_deadline(&self.log.image());
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
        let image = self.log.image();
        let epoch = i64::try_from(term).unwrap_or(i64::MAX);
        let now_ms = clock::monotonic_ms();
        let (controller, records) =
            Controller::activate(self.settings.clone(), self.id, epoch, &image, now_ms);
        // Without this record the image may lack an entry of a proposal whose outcome is unknown.
        if let Err(error) = self.log.propose(term, records).await {
            tracing::warn!(term, %error, "announce the active controller");
            return None;
        }
        tracing::info!(term, "active controller");
        Some(Active { term, controller })
    }

    /// Takes a sign of life at once if nothing has to be committed for it. It is judged by what is
    /// committed, whatever is in flight.
    fn note_life(&mut self, active: Option<&mut Active>, command: Command) {
        let Some(active) = active else { return refuse(command) };
        let now_ms = clock::monotonic_ms();
        match command {
            // The end of a session must not overtake what came on it.
            Command::SessionClosed(session) if self.deferred.is_empty() => {
                active.controller.session_closed(session, now_ms);
            }
            Command::ProcessEnded(session) if self.deferred.is_empty() => {
                active.controller.process_ended(session, now_ms);
            }
            Command::Request {
                session,
                request: request @ ControllerRequest::Heartbeat(_),
                reply,
            } => {
                let (image, caller) = (self.log.image(), Caller { session });
                let entropy = &mut self.entropy;
                let heartbeat = request.clone();
                let outcome = active.controller.handle(&image, now_ms, caller, entropy, heartbeat);
                if outcome.records.is_empty() {
                    // Who asked may have given up.
                    let _ = reply.send(outcome.response);
                } else {
                    self.deferred.push_back(Command::Request { session, request, reply });
                }
            }
            command => self.deferred.push_back(command),
        }
    }

    fn next_command(&mut self) -> Option<Command> {
        self.deferred.pop_front().or_else(|| self.inbox.requests.try_recv().ok())
    }

    /// Handles whatever is queued, as one proposal.
    async fn work(&mut self, is_active: &mut Option<Active>) {
        let Some(active) = is_active else {
            while let Some(command) = self.next_command() {
                refuse(command);
            }
            return;
        };
        let mut batch = Batch::default();
        // Each batch starts from what is committed; within it, from what it adds.
        let mut working: Option<Image> = None;
        let committed = self.log.image();
        while !batch.is_full()
            && let Some(command) = self.next_command()
        {
            let now_ms = clock::monotonic_ms();
            match command {
                Command::SessionClosed(session) => {
                    active.controller.session_closed(session, now_ms);
                }
                Command::ProcessEnded(session) => {
                    active.controller.process_ended(session, now_ms);
                }
                Command::Request { session, request, reply } => {
                    let image = working.as_ref().unwrap_or(&committed);
                    let (caller, is_divisible) = (Caller { session }, request.is_divisible());
                    let outcome =
                        active.controller.handle(image, now_ms, caller, &mut self.entropy, request);
                    batch.entries.add(outcome.records, is_divisible);
                    working = Some(outcome.image);
                    match outcome.voters {
                        Some(change) => self.change_voters(change, reply, outcome.response),
                        None => batch.replies.push((reply, outcome.response)),
                    }
                }
            }
        }
        if !self.commit(active, batch).await {
            *is_active = None;
        }
    }

    fn change_voters(
        &mut self,
        change: VoterChange,
        reply: oneshot::Sender<ControllerResponse>,
        done: ControllerResponse,
    ) {
        let Ok(place) = self.changing.clone().try_acquire_owned() else {
            let problem = "other changes of voters are under way";
            let error = ControllerError::new(ErrorCode::RequestTimedOut, problem);
            let _ = reply.send(ControllerResponse::Error(error));
            return;
        };
        while self.changes.try_join_next().is_some() {}
        let changed = self.log.change_voters(change);
        self.changes.spawn(async move {
            let response = changed.await.map_or_else(ControllerResponse::Error, |()| done);
            // Who asked may have given up.
            let _ = reply.send(response);
            drop(place);
        });
    }

    /// False where the records were not committed, or may still be: then nothing may be decided on
    /// this image before a new activation is committed behind them.
    async fn commit(&mut self, active: &mut Active, batch: Batch) -> bool {
        let result = self.propose(active, batch.entries).await;
        for (reply, response) in batch.replies {
            let response = match &result {
                Ok(()) => response,
                Err(error) => ControllerResponse::Error(propose_error(error)),
            };
            // Who asked may have given up.
            let _ = reply.send(response);
        }
        result.is_ok()
    }

    /// Proposes the records, entry by entry, and takes the brokers' signs of life until they are
    /// committed.
    async fn propose(
        &mut self,
        active: &mut Active,
        mut entries: Entries,
    ) -> Result<(), ProposeError> {
        while let Some(records) = entries.next() {
            let mut committed = self.log.propose(active.term, records);
            loop {
                tokio::select! {
                    biased;
                    result = &mut committed => {
                        result?;
                        break;
                    }
                    Some(command) = self.inbox.life.recv() => {
                        self.note_life(Some(&mut *active), command);
                    }
                }
            }
        }
        Ok(())
    }

    async fn tick(&mut self, is_active: &mut Option<Active>) {
        let Some(active) = is_active else { return };
        let records = active.controller.tick(&self.log.image(), clock::monotonic_ms());
        if let Err(error) = self.propose(active, Entries::divisible(records)).await {
            tracing::warn!(%error, "commit what time demands");
            *is_active = None;
        }
    }
}

#[derive(Default)]
struct Batch {
    entries: Entries,
    replies: Vec<(oneshot::Sender<ControllerResponse>, ControllerResponse)>,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.replies.len() >= BATCH_MAX || self.entries.records() >= BATCH_RECORDS_MAX
    }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "controller_task_tests.rs"]
mod tests;
