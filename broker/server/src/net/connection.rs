//! One connection: a single task that reads frames, starts their handlers in request order, keeps
//! the replies in that order whatever finishes first, and writes them.
//!
//! Order rules: a handler is polled once when its frame is complete, so that appends of one
//! connection happen in request order; afterwards only the oldest unanswered one is polled. Reading
//! stops while too many requests are unanswered, they and their answers occupy too much memory, or
//! too many bytes are unsent. It stops for all connections while their budget is used up, but for
//! requests whose answers are small: those keep groups, followers and producers alive.
//!
//! What takes long without waiting for anybody goes to the threads for that, and nothing else of
//! the connection is started meanwhile. A peer that does not read what waits for it is closed.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use transport::Stream;
use wire::{ApiKey, Part};

use super::budget::{Charge, Ledger};
use super::input::{BUFFER_BYTES_MIN, Input, InputError};
use super::output::Output;
use super::started::{Begun, ConnectionInfo, Reply, ReplyFuture, Started};
use crate::broker::Broker;
use crate::dispatch;
use crate::seldom::Seldom;
use crate::session::Session;
use process::metrics::api_index;

/// Unanswered requests of one connection. Kafka's clients send 5 at most unless told otherwise.
const IN_FLIGHT_MAX: usize = 128;
/// Bytes of unanswered requests, and of answers that others are ahead of, beyond which no request
/// is started.
const HELD_BYTES_MAX: usize = 8 << 20;
/// Unsent bytes beyond which no further reply is taken up, and no request read.
const UNSENT_BYTES_MAX: u64 = 4 << 20;
/// What a connection may hold without a share of the budget.
const FREE_BYTES: usize = BUFFER_BYTES_MIN;
/// Time that one poll may spend in handlers before other tasks of the worker get their turn.
const WORK_MAX: Duration = Duration::from_millis(5);
/// How long a peer may leave its answers unread while memory is scarce.
const UNREAD_MAX_SCARCE: Duration = Duration::from_secs(30);
/// Steps of one poll before other tasks of the worker get their turn.
const STEPS_MAX: usize = 64;
/// How long a connection may be nobody's where clients authenticate.
const UNKNOWN_MAX: Duration = Duration::from_secs(30);
const IDLE_CHECK: Duration = Duration::from_secs(10);

/// Lines about connections that ended by a fault of the other end.
static REFUSED: Seldom = Seldom::new(10);

/// A request whose handler is not started yet.
struct Starting {
    work: Pin<Box<dyn Future<Output = Option<Begun>> + Send>>,
    api: usize,
    length: usize,
    received: Instant,
}

type Turn = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>;

enum State {
    Done(Reply),
    Waiting(ReplyFuture),
}

impl From<Reply> for State {
    fn from(reply: Reply) -> State {
        State::Done(reply)
    }
}

const STOPPING: &str = "the broker stops";

/// A request whose reply is not in the output yet. `api` is the index of its metrics.
struct Slot {
    state: State,
    /// When the first poll of its handler was over.
    started: Instant,
    api: usize,
    /// What it occupies: the frame, which the handler may keep, what it was decoded into, and the
    /// answer if it is there.
    held: usize,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("write: {0}")]
    Write(std::io::Error),
    #[error("{0}")]
    Request(&'static str),
    /// The answer told why.
    #[error("not authenticated")]
    Unauthenticated,
    #[error("nobody authenticated in time")]
    Unknown,
    #[error("idle")]
    Idle,
    #[error("a large request comes too slowly")]
    Stalled,
    #[error("the peer does not read its answers")]
    Unread,
    #[error("the broker shuts down")]
    Shutdown,
}

pub(super) struct Connection {
    broker: Arc<Broker>,
    stream: Stream,
    info: Arc<ConnectionInfo>,
    session: Session,
    input: Input,
    replies: VecDeque<Slot>,
    /// The sum over `replies`.
    held: usize,
    /// What of it, and of the unsent answers, is taken from the budget.
    charge: Charge,
    starting: Option<Starting>,
    /// The next request has to wait for memory.
    waiting: Option<Turn>,
    /// The right to go on without.
    turn: Option<OwnedSemaphorePermit>,
    /// Over when the client has paused as long as its quotas demand.
    muted: Option<Pin<Box<Sleep>>>,
    /// Time in handlers since the last poll began.
    worked: Duration,
    output: Output,
    /// When the peer took something, or there was nothing for it.
    last_read: Instant,
    last_activity: Instant,
    idle_check: Pin<Box<Sleep>>,
    shutdown: Pin<Box<dyn Future<Output = ()> + Send>>,
    stopping: bool,
    /// The last answer is in the output.
    ending: bool,
    opened: Instant,
}

impl Connection {
    pub(super) fn new(
        broker: Arc<Broker>,
        stream: Stream,
        info: ConnectionInfo,
        input: Input,
    ) -> Connection {
        let info = Arc::new(info);
        let signal = broker.shutdown.clone();
        Connection {
            session: Session::new(info.clone()),
            charge: Charge::new(broker.memory.others.clone()),
            starting: None,
            waiting: None,
            turn: None,
            muted: None,
            worked: Duration::ZERO,
            last_read: Instant::now(),
            output: Output::new(broker.read_ahead.clone()),
            broker,
            stream,
            info,
            input,
            replies: VecDeque::new(),
            held: 0,
            last_activity: Instant::now(),
            idle_check: Box::pin(tokio::time::sleep(IDLE_CHECK)),
            shutdown: Box::pin(async move { signal.connections_closing().await }),
            stopping: false,
            ending: false,
            opened: Instant::now(),
        }
    }

    /// Serves until either side ends it.
    pub(super) async fn run(mut self) {
        let end = std::future::poll_fn(|cx| self.poll(cx)).await;
        let (peer, principal) = (&self.info.peer, self.session.principal());
        match end {
            End::Input(InputError::Closed)
            | End::Idle
            | End::Shutdown
            | End::Unauthenticated
            | End::Unknown => {
                tracing::debug!(%peer, %principal, reason = %end, "connection closed");
            }
            End::Input(InputError::Io(_)) | End::Write(_) => {
                tracing::debug!(%peer, %principal, reason = %end, "connection lost");
            }
            End::Input(InputError::Frame(_)) | End::Request(_) | End::Stalled | End::Unread => {
                let reason = end;
                match REFUSED.take() {
                    Some(unsaid) => {
                        tracing::warn!(%peer, %principal, %reason, unsaid, "connection refused");
                    }
                    None => tracing::debug!(%peer, %principal, %reason, "connection refused"),
                }
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.worked = Duration::ZERO;
        for _ in 0..STEPS_MAX {
            if self.worked > WORK_MAX {
                break;
            }
            match self.step(cx) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(end) => return Poll::Ready(end),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One round over replies, output and input. False: everything waits for something.
    fn step(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut progress = self.take_replies(cx)?;
        match self.output.poll_write(&mut self.stream, cx) {
            Poll::Ready(Ok(0)) | Poll::Pending => {}
            Poll::Ready(Ok(written)) => {
                self.broker.metrics.bytes_out.inc_by(written as u64);
                self.note_sent();
                progress = true;
            }
            Poll::Ready(Err(e)) => return Err(End::Write(e)),
        }
        progress |= self.go_on_starting(cx) | self.go_on_reading(cx);
        self.book();
        if self.ending {
            return match self.output.is_empty() {
                true => Err(End::Unauthenticated),
                false => Ok(progress | self.check_idle(cx)?),
            };
        }
        if self.stopping {
            if self.is_idle() && self.output.is_empty() {
                return Err(End::Shutdown);
            }
            return Ok(progress);
        }
        self.stopping = self.shutdown.as_mut().poll(cx).is_ready();
        if self.may_start() {
            // Frames first that came with an earlier read and had to wait.
            progress |= self.handle_frames(cx)?;
            if self.may_read() && self.input.poll_read(&mut self.stream, cx)?.is_ready() {
                progress = true;
            }
        }
        if !self.may_read() {
            self.input.excuse();
        }
        Ok(progress | self.stopping | self.check_idle(cx)?)
    }

    /// Reads nothing for so long, as Kafka mutes a channel: what is unread waits at the client.
    fn mute(&mut self, pause: Duration) {
        let until = tokio::time::Instant::now() + pause;
        match &mut self.muted {
            Some(muted) if muted.deadline() >= until => {}
            Some(muted) => muted.as_mut().reset(until),
            None => self.muted = Some(Box::pin(tokio::time::sleep_until(until))),
        }
    }

    /// Looks whether the pause is over.
    fn go_on_reading(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(muted) = &mut self.muted else { return false };
        if muted.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.muted = None;
        true
    }

    /// Whether there is room for one more request.
    fn may_start(&self) -> bool {
        self.starting.is_none()
            && self.replies.len() < IN_FLIGHT_MAX
            && self.held < HELD_BYTES_MAX
            && self.output.pending() < UNSENT_BYTES_MAX
            && self.muted.is_none()
    }

    /// As [`Connection::may_start`], and no request here waits for memory already.
    fn may_read(&self) -> bool {
        self.may_start() && self.waiting.is_none()
    }

    /// Every request is answered.
    fn is_idle(&self) -> bool {
        self.replies.is_empty() && self.starting.is_none()
    }

    /// Takes what is held beyond the free share from the budget, or gives it back.
    fn book(&mut self) {
        let held = self.held + self.output.memory();
        self.charge.set(held.saturating_sub(FREE_BYTES));
        if self.turn.is_some() && self.charge.is_zero() && self.is_idle() {
            self.turn = None;
        }
    }

    /// Moves finished replies from the head of the queue to the output.
    fn take_replies(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut progress = false;
        while self.output.pending() < UNSENT_BYTES_MAX && !self.ending {
            let Some(slot) = self.replies.front_mut() else { break };
            if let State::Waiting(future) = &mut slot.state {
                match future.as_mut().poll(cx) {
                    Poll::Ready(reply) => slot.state = State::Done(reply),
                    Poll::Pending => break,
                }
            }
            let Some(Slot { state: State::Done(reply), started, api, held }) =
                self.replies.pop_front()
            else {
                break;
            };
            self.held -= held;
            self.broker.metrics.api(api).waited(started.elapsed());
            match reply {
                Reply::Parts(parts) => self.output.push(parts, api).map_err(End::Write)?,
                Reply::Last(parts) => {
                    self.output.push(parts, api).map_err(End::Write)?;
                    self.ending = true;
                }
                Reply::Silent => {}
                Reply::Pausing(parts, pause) => {
                    self.mute(pause);
                    if let Some(parts) = parts {
                        self.output.push(parts, api).map_err(End::Write)?;
                    }
                }
                Reply::Close(reason) => return Err(End::Request(reason)),
            }
            progress = true;
        }
        Ok(progress)
    }

    fn note_sent(&mut self) {
        self.last_activity = Instant::now();
        self.last_read = self.last_activity;
        self.info.occupant.used();
        while let Some((api, ready)) = self.output.sent() {
            self.broker.metrics.api(api).sent(ready.elapsed());
        }
    }

    /// Starts the handlers of all complete frames.
    fn handle_frames(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut progress = false;
        while self.may_start() && self.worked <= WORK_MAX {
            let Some(length) = self.input.frame().map_err(InputError::Frame)? else { break };
            if !self.has_room_for(length, cx) {
                break;
            }
            let received = Instant::now();
            self.last_activity = received;
            self.info.occupant.used();
            self.broker.metrics.bytes_in.inc_by(length as u64 + 4);
            let (api, begun) =
                dispatch::start(&self.broker, &mut self.session, &mut self.input, length, received);
            self.begun(begun, api, length, received, cx);
            self.book();
            progress = true;
        }
        Ok(progress)
    }

    /// Whether the next request may be handled now. Where no memory is left, it waits if its answer
    /// may be large.
    fn has_room_for(&mut self, length: usize, cx: &mut Context<'_>) -> bool {
        let ledger: &Ledger = &self.broker.memory.others;
        let is_light = self.input.key().is_some_and(|key| is_light(key, length));
        if is_light || self.turn.is_some() || !ledger.is_exhausted() {
            self.waiting = None;
            return true;
        }
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(ledger.clone().turn()));
        let Poll::Ready(turn) = waiting.as_mut().poll(cx) else { return false };
        (self.waiting, self.turn) = (None, turn);
        true
    }

    /// Polls what was begun, in request order, and queues its reply.
    fn begun(
        &mut self,
        begun: Begun,
        api: usize,
        length: usize,
        received: Instant,
        cx: &mut Context<'_>,
    ) {
        let Begun { started, decoded } = begun;
        let work: Option<Pin<Box<dyn Future<Output = Option<Begun>> + Send>>> = match started {
            Started::Long(work) => Some(Box::pin(self.broker.long_work.run(work))),
            Started::Held(work) => Some(Box::pin(async move { Some(work.await) })),
            started => {
                let state = first_poll(started, cx);
                self.push(state, api, frame_held(api, length) + decoded, received);
                None
            }
        };
        if let Some(mut work) = work {
            match work.as_mut().poll(cx) {
                Poll::Ready(Some(begun)) => self.begun(begun, api, length, received, cx),
                // The process is stopping.
                Poll::Ready(None) => self.push(Reply::Close(STOPPING).into(), api, 0, received),
                Poll::Pending => {
                    self.starting = Some(Starting { work, api, length, received });
                }
            }
        }
    }

    fn push(&mut self, state: State, api: usize, held: usize, received: Instant) {
        let started = Instant::now();
        self.worked += started - received;
        self.broker.metrics.api(api).worked(started - received);
        if !self.session.is_of_broker() {
            let (image, client) = (self.broker.image(), self.session.client());
            let pause = self.broker.quotas.work(&image, client, started - received);
            if !pause.is_zero() {
                self.mute(pause);
            }
        }
        let held = held + reply_held(&state);
        self.held += held;
        self.replies.push_back(Slot { state, started, api, held });
    }

    /// Looks whether the work is done that everything else of the connection waits for.
    fn go_on_starting(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(starting) = &mut self.starting else { return false };
        let Poll::Ready(begun) = starting.work.as_mut().poll(cx) else { return false };
        if let Some(Starting { api, length, received, .. }) = self.starting.take() {
            match begun {
                Some(begun) => self.begun(begun, api, length, received, cx),
                None => self.push(Reply::Close(STOPPING).into(), api, 0, received),
            }
        }
        true
    }

    /// Whether this may be a connection by which another broker sees this process end: on those
    /// nothing is ever said, not even TLS.
    fn may_be_a_watch(&self) -> bool {
        let is_plain = matches!(self.stream, Stream::Plain(_));
        self.info.gate.is_of_brokers && is_plain && self.input.is_silent()
    }

    fn check_idle(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if self.idle_check.as_mut().poll(cx).is_pending() {
            return Ok(false);
        }
        self.idle_check.as_mut().reset(tokio::time::Instant::now() + IDLE_CHECK);
        let idle = self.last_activity.elapsed();
        let is_late = self.opened.elapsed() > UNKNOWN_MAX;
        if is_late && self.session.awaits_authentication() && !self.may_be_a_watch() {
            return Err(End::Unknown);
        }
        if idle >= IDLE_CHECK {
            self.input.release();
        }
        if self.input.is_stalled() {
            return Err(End::Stalled);
        }
        let limit = self.broker.config.net.idle_ms_max.map(Duration::from_millis);
        if self.is_idle() && limit.is_some_and(|limit| idle > limit) {
            return Err(End::Idle);
        }
        if !self.output.is_blocked() {
            self.last_read = Instant::now();
        } else if is_unread(self.last_read.elapsed(), limit, self.broker.memory.is_scarce()) {
            return Err(End::Unread);
        }
        Ok(true)
    }
}

/// Whether a peer that took nothing for so long is given up. An idle one would be too; where its
/// answers keep memory from others, it has less time.
fn is_unread(unread: Duration, idle_max: Option<Duration>, is_scarce: bool) -> bool {
    let scarce = is_scarce.then_some(UNREAD_MAX_SCARCE);
    scarce.into_iter().chain(idle_max).min().is_some_and(|limit| unread > limit)
}

/// Whether the answer to such a request is small, or bounded by itself.
fn is_light(key: i16, length: usize) -> bool {
    let Some(api) = ApiKey::from_i16(key) else { return true };
    match api {
        ApiKey::Produce | ApiKey::Fetch => true,
        ApiKey::ApiVersions
        | ApiKey::FindCoordinator
        | ApiKey::Heartbeat
        | ApiKey::InitProducerId
        | ApiKey::LeaveGroup
        | ApiKey::ListOffsets
        | ApiKey::OffsetCommit
        | ApiKey::OffsetForLeaderEpoch
        | ApiKey::TxnOffsetCommit
        | ApiKey::WriteTxnMarkers => length <= FREE_BYTES,
        _ => false,
    }
}

/// Records are in the log when their handler was polled; every other request may be kept until it
/// is answered.
fn frame_held(api: usize, length: usize) -> usize {
    if api == api_index(ApiKey::Produce) { 0 } else { length }
}

fn reply_held(state: &State) -> usize {
    let State::Done(Reply::Parts(parts) | Reply::Pausing(Some(parts), _)) = state else { return 0 };
    let bytes = |part: &Part| match part {
        Part::Bytes(bytes) => bytes.len(),
        Part::File(_) => 0,
    };
    parts.iter().map(bytes).sum()
}

/// Polls a new handler once, in request order, whatever is ahead of it in the queue.
fn first_poll(started: Started, cx: &mut Context<'_>) -> State {
    let (mut future, is_independent) = match started {
        Started::Done(reply) => return State::Done(reply),
        Started::Later(future) => (future, false),
        Started::Independent(future) => (future, true),
        Started::Long(_) | Started::Held(_) => {
            return State::Done(Reply::Close("not to be polled in order"));
        }
    };
    match future.as_mut().poll(cx) {
        Poll::Ready(reply) => State::Done(reply),
        Poll::Pending if is_independent => {
            let task = tokio::spawn(future);
            State::Waiting(Box::pin(async move {
                // Release builds abort on panic; elsewhere the client sees a closed connection.
                task.await.unwrap_or(Reply::Close("the handler failed"))
            }))
        }
        Poll::Pending => State::Waiting(future),
    }
}
