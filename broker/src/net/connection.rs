//! One connection: a single task that reads frames, starts their handlers in request order, keeps
//! the replies in that order whatever finishes first, and writes them.
//!
//! Order rules: a handler is polled once when its frame is complete, so that appends of one
//! connection happen in request order; afterwards only the oldest unanswered one is polled. Reading
//! stops while too many requests are unanswered, they and their answers occupy too much memory, or
//! too many bytes are unsent.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::Sleep;
use wire::{ApiKey, Part};

use super::input::{Input, InputError};
use super::output::Output;
use crate::broker::Broker;
use crate::dispatch;
use crate::metrics::api_index;

/// Unanswered requests of one connection. Kafka's clients send 5 at most unless told otherwise.
const IN_FLIGHT_MAX: usize = 128;
/// Bytes of unanswered requests, and of answers that others are ahead of, beyond which no request
/// is started.
const HELD_BYTES_MAX: usize = 8 << 20;
/// Unsent bytes beyond which no further reply is taken up, and no request read.
const UNSENT_BYTES_MAX: u64 = 4 << 20;
/// Steps of one poll before other tasks of the worker get their turn.
const STEPS_MAX: usize = 64;
const IDLE_CHECK: Duration = Duration::from_secs(10);

/// What does not change while a connection lives.
#[derive(Debug)]
pub struct ConnectionInfo {
    pub listener: Arc<str>,
    pub peer: SocketAddr,
}

/// What a handler wants to be sent.
#[derive(Debug)]
pub enum Reply {
    Parts(Vec<Part>),
    /// Produce with acks=0: nothing is sent.
    Silent,
    /// The connection must end: the request was malformed, or nothing sensible can be answered.
    Close(&'static str),
}

pub type ReplyFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// A handler that was started.
pub enum Started {
    Done(Reply),
    /// Polled once now, then only while it is the oldest unanswered request: it must hold nothing
    /// that others wait for.
    Later(ReplyFuture),
    /// Polled once now, then as a task of its own.
    Independent(ReplyFuture),
}

enum State {
    Done(Reply),
    Waiting(ReplyFuture),
}

/// A request whose reply is not in the output yet. `api` is the index of its metrics.
struct Slot {
    state: State,
    /// When the first poll of its handler was over.
    started: Instant,
    api: usize,
    /// What it occupies: the frame, which the handler may keep, and the answer if it is there.
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
    #[error("idle")]
    Idle,
    #[error("a large request comes too slowly")]
    Stalled,
    #[error("the broker shuts down")]
    Shutdown,
}

pub(super) struct Connection {
    broker: Arc<Broker>,
    stream: TcpStream,
    info: Arc<ConnectionInfo>,
    session: dispatch::Session,
    input: Input,
    replies: VecDeque<Slot>,
    /// The sum over `replies`.
    held: usize,
    output: Output,
    last_activity: Instant,
    idle_check: Pin<Box<Sleep>>,
    shutdown: Pin<Box<dyn Future<Output = ()> + Send>>,
    stopping: bool,
}

impl Connection {
    pub(super) fn new(
        broker: Arc<Broker>,
        stream: TcpStream,
        info: ConnectionInfo,
        input: Input,
    ) -> Connection {
        let info = Arc::new(info);
        let signal = broker.shutdown.clone();
        Connection {
            session: dispatch::Session::new(info.clone()),
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
        }
    }

    /// Serves until either side ends it.
    pub(super) async fn run(mut self) {
        let end = std::future::poll_fn(|cx| self.poll(cx)).await;
        match end {
            End::Input(InputError::Closed) | End::Idle | End::Shutdown => {
                tracing::debug!(peer = %self.info.peer, reason = %end, "connection closed");
            }
            End::Input(InputError::Io(_)) | End::Write(_) => {
                tracing::debug!(peer = %self.info.peer, reason = %end, "connection lost");
            }
            End::Input(InputError::Frame(_)) | End::Request(_) | End::Stalled => {
                tracing::warn!(peer = %self.info.peer, reason = %end, "connection refused");
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        for _ in 0..STEPS_MAX {
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
        match self.output.poll_write(&self.stream, cx) {
            Poll::Ready(Ok(0)) | Poll::Pending => {}
            Poll::Ready(Ok(written)) => {
                self.broker.metrics.bytes_out.inc_by(written as u64);
                self.note_sent();
                progress = true;
            }
            Poll::Ready(Err(e)) => return Err(End::Write(e)),
        }
        if self.stopping {
            if self.replies.is_empty() && self.output.is_empty() {
                return Err(End::Shutdown);
            }
            return Ok(progress);
        }
        self.stopping = self.shutdown.as_mut().poll(cx).is_ready();
        if self.may_start() {
            // Frames first that came with an earlier read and had to wait.
            progress |= self.handle_frames(cx)?;
            if self.may_start() && self.input.poll_read(&mut self.stream, cx)?.is_ready() {
                progress = true;
            }
        }
        if !self.may_start() {
            self.input.excuse();
        }
        Ok(progress | self.stopping | self.check_idle(cx)?)
    }

    /// Whether there is room for one more request.
    fn may_start(&self) -> bool {
        self.replies.len() < IN_FLIGHT_MAX
            && self.held < HELD_BYTES_MAX
            && self.output.pending() < UNSENT_BYTES_MAX
    }

    /// Moves finished replies from the head of the queue to the output.
    fn take_replies(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut progress = false;
        while self.output.pending() < UNSENT_BYTES_MAX {
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
                Reply::Silent => {}
                Reply::Close(reason) => return Err(End::Request(reason)),
            }
            progress = true;
        }
        Ok(progress)
    }

    fn note_sent(&mut self) {
        self.last_activity = Instant::now();
        while let Some((api, ready)) = self.output.sent() {
            self.broker.metrics.api(api).sent(ready.elapsed());
        }
    }

    /// Starts the handlers of all complete frames.
    fn handle_frames(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut progress = false;
        while self.may_start() {
            let Some(length) = self.input.frame().map_err(InputError::Frame)? else { break };
            let received = Instant::now();
            self.last_activity = received;
            self.broker.metrics.bytes_in.inc_by(length as u64 + 4);
            let buffer = self.input.buffer();
            let (api, handler) =
                dispatch::start(&self.broker, &mut self.session, buffer, length, received);
            self.input.consume(length);
            let state = first_poll(handler, cx);
            let started = Instant::now();
            self.broker.metrics.api(api).worked(started - received);
            let held = frame_held(api, length) + reply_held(&state);
            self.held += held;
            self.replies.push_back(Slot { state, started, api, held });
            progress = true;
        }
        Ok(progress)
    }

    fn check_idle(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if self.idle_check.as_mut().poll(cx).is_pending() {
            return Ok(false);
        }
        self.idle_check.as_mut().reset(tokio::time::Instant::now() + IDLE_CHECK);
        let idle = self.last_activity.elapsed();
        if idle >= IDLE_CHECK {
            self.input.release();
        }
        if self.input.is_stalled() {
            return Err(End::Stalled);
        }
        let limit = self.broker.config.net.idle_ms_max.map(Duration::from_millis);
        if self.replies.is_empty() && limit.is_some_and(|limit| idle > limit) {
            return Err(End::Idle);
        }
        Ok(true)
    }
}

/// Records are in the log when their handler was polled; every other request may be kept until it
/// is answered.
fn frame_held(api: usize, length: usize) -> usize {
    if api == api_index(ApiKey::Produce) { 0 } else { length }
}

fn reply_held(state: &State) -> usize {
    let State::Done(Reply::Parts(parts)) = state else { return 0 };
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
