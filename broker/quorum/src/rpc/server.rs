//! The server's end: accepts, shakes hands, runs each request in its own task, and tells when a
//! connection begins and ends.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base::TopicId;
use bytes::Bytes;
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use transport::{Patience, ReadHalf};

use super::connections::{Connections, Place};
use super::frame::{self, Channel, Frame, Hello, PROTOCOL};
use super::handler::{Refusal, RequestHandler};
use super::socket::{tune, write_frames};
use super::{Identity, handshake, kind};
use crate::types::NodeId;

/// Requests that run at once per connection; then its socket is not read.
const IN_FLIGHT_MAX: usize = 64;
const WRITE_QUEUE: usize = 64;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
const PATIENCE: Patience =
    Patience { silence: Some(HANDSHAKE_TIMEOUT), handshake: HANDSHAKE_TIMEOUT };
/// A connection without a request for so long is closed; whoever needs it dials again.
const IDLE_MAX: Duration = Duration::from_secs(600);
/// A request that has begun must come to its end: it holds memory.
const PAYLOAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Memory of requests in flight, per channel, in KiB: when it is used up, sockets are not read.
const BUDGET_KIB: usize = 128 << 10;
/// The pause after a failed accept (no descriptors left), so that it is not tried in a loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The other end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    pub node: NodeId,
    pub channel: Channel,
    /// Its disk; zero where it does not say.
    pub directory: TopicId,
    /// Unique in this process.
    pub session: u64,
}

struct Server {
    identity: Arc<Identity>,
    handler: Arc<dyn RequestHandler>,
    raft_budget: Arc<Semaphore>,
    controller_budget: Arc<Semaphore>,
    sessions: AtomicU64,
}

/// Accepts connections until the task is dropped.
pub async fn serve(
    listener: TcpListener,
    identity: Arc<Identity>,
    handler: Arc<dyn RequestHandler>,
) {
    let server = Arc::new(Server {
        identity,
        handler,
        raft_budget: Arc::new(Semaphore::new(BUDGET_KIB)),
        controller_budget: Arc::new(Semaphore::new(BUDGET_KIB)),
        sessions: AtomicU64::new(0),
    });
    let places = Connections::default();
    // Dropping the set when the server stops closes every connection.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, from)) => {
                let server = server.clone();
                let place = places.accept(from.ip(), Instant::now());
                connections.spawn(async move {
                    let ended = tokio::select! {
                        ended = server.connection(stream, &place) => ended,
                        () = place.evicted() => Err(io::Error::other("its place is needed")),
                    };
                    if let Err(error) = ended {
                        tracing::debug!(%from, %error, "an internal connection ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "an internal connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Tells the handler that the connection is closed, however it ends.
struct ClosedOnDrop<'a>(&'a dyn RequestHandler, Peer);

impl Drop for ClosedOnDrop<'_> {
    fn drop(&mut self) {
        self.0.closed(self.1);
    }
}

impl Server {
    async fn connection(self: Arc<Server>, stream: TcpStream, place: &Place) -> io::Result<()> {
        tune(&stream);
        let mut stream =
            self.identity.acceptor.accept(stream, PATIENCE).await.map_err(io::Error::other)?;
        let receiving = handshake::receive(&self.identity, self.handler.as_ref(), &mut stream);
        let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, receiving).await;
        let Some(hello) = shaken.map_err(|_| io::ErrorKind::TimedOut)?? else { return Ok(()) };
        if !place.open(hello.from, hello.channel, Instant::now()) {
            tracing::warn!(node = hello.from, "an internal connection is one too many");
            return Err(io::Error::other("too many connections"));
        }
        let protocol = hello.protocol.min(PROTOCOL);
        let session = self.sessions.fetch_add(1, Ordering::Relaxed);
        let Hello { from: node, channel, directory, .. } = hello;
        let peer = Peer { node, channel, directory, session };
        self.handler.opened(peer);
        let _closed = ClosedOnDrop(self.handler.as_ref(), peer);
        let (reader, writer) = stream.into_split();
        let (answers, mut queue) = mpsc::channel(WRITE_QUEUE);
        tokio::select! {
            ended = self.read_requests(reader, protocol, peer, place, answers) => ended,
            ended = write_frames(writer, protocol, &mut queue) => ended,
        }
    }

    async fn read_requests(
        &self,
        reader: ReadHalf,
        protocol: u8,
        peer: Peer,
        place: &Place,
        answers: mpsc::Sender<Frame>,
    ) -> io::Result<()> {
        let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
        let budget = match peer.channel {
            Channel::Raft => &self.raft_budget,
            Channel::Controller => &self.controller_budget,
        };
        let mut reader = BufReader::new(reader);
        let mut tasks = tokio::task::JoinSet::new();
        loop {
            while tasks.try_join_next().is_some() {}
            let bytes_max = peer.channel.payload_bytes_max();
            let head = frame::read_head(&mut reader, bytes_max, protocol);
            let head = tokio::time::timeout(IDLE_MAX, head).await;
            let Some(head) = head.map_err(|_| io::ErrorKind::TimedOut)?? else {
                return Ok(());
            };
            place.used(Instant::now());
            let Ok(slot) = in_flight.clone().acquire_owned().await else { return Ok(()) };
            let kib = (head.len >> 10) as u32 + 1;
            let Ok(memory) = budget.clone().acquire_many_owned(kib).await else { return Ok(()) };
            let payload = frame::read_payload(&mut reader, head);
            let payload = tokio::time::timeout(PAYLOAD_TIMEOUT, payload).await;
            let payload = payload.map_err(|_| io::ErrorKind::TimedOut)??;
            let answer = self.handler.request(peer, head.kind, payload);
            let id = head.id;
            let answers = answers.clone();
            tasks.spawn(async move {
                let _held = (slot, memory);
                let (kind, payload) = match answer.await {
                    Ok(payload) => (kind::ANSWER, payload),
                    Err(Refusal::NotLeader) => (kind::NOT_LEADER, Bytes::new()),
                    Err(Refusal::Other(text)) => (kind::REFUSED, Bytes::from(text)),
                };
                answers.send(Frame { kind, id, payload }).await.ok();
            });
        }
    }
}
