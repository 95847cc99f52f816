//! The client's end: connections, and links that connect again when they are used.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use transport::{ReadHalf, Stream, WriteHalf};

use super::frame::{self, Channel, Frame, PROTOCOL};
use super::socket::{ConnectError, tune, write_frames};
use super::{AddressBook, Identity, handshake, kind};
use crate::api::CallError;
use crate::config::NodeAddress;
use crate::types::NodeId;

/// Requests in flight per connection; one more is refused as busy.
const IN_FLIGHT_MAX: usize = 256;
const WRITE_QUEUE: usize = 64;

/// A name server may take longer than a peer.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(1);

/// Makes connections; cheap to clone.
#[derive(Clone)]
pub struct Dialer {
    pub identity: Arc<Identity>,
    pub addresses: Arc<AddressBook>,
    pub connect_timeout: Duration,
}

impl Dialer {
    pub async fn connect(
        &self,
        node: NodeId,
        address: &NodeAddress,
        channel: Channel,
    ) -> Result<Connection, ConnectError> {
        // Anew each time: a pod that moved has another address under its name.
        let found = tokio::net::lookup_host((address.host.as_str(), address.port));
        let found = tokio::time::timeout(LOOKUP_TIMEOUT, found).await;
        let found = found.map_err(|_| ConnectError::Timeout)?.map_err(ConnectError::Io)?;
        let found: Vec<SocketAddr> = found.collect();
        let connected = tokio::time::timeout(self.connect_timeout, async {
            let stream = TcpStream::connect(&found[..]).await.map_err(|e| match e.kind() {
                io::ErrorKind::ConnectionRefused => ConnectError::Refused,
                _ => ConnectError::Io(e),
            })?;
            tune(&stream);
            let connector = &self.identity.connector;
            let stream = connector.connect(stream, &address.host).await;
            let mut stream = stream.map_err(ConnectError::of_tls)?;
            let welcome =
                handshake::introduce(&self.identity, node, address, channel, &mut stream).await?;
            Ok((stream, welcome))
        });
        let (stream, welcome) = connected.await.map_err(|_| ConnectError::Timeout)??;
        let protocol = welcome.protocol.min(PROTOCOL);
        Ok(Connection::start(stream, channel, welcome.incarnation, protocol))
    }
}

type Answer = Result<Bytes, CallError>;

/// Requests without an answer; `None` once the connection is closed.
type Pending = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<Answer>>>>>;

/// One connection. Dropping it closes it.
pub struct Connection {
    out: mpsc::Sender<Frame>,
    pending: Pending,
    in_flight: Semaphore,
    next_id: AtomicU64,
    closed: watch::Receiver<bool>,
    task: AbortHandle,
    payload_bytes_max: usize,
    /// The peer process, as its handshake told it.
    pub incarnation: u64,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

/// Marks the connection closed however its task ends.
struct CloseOnDrop(Pending, watch::Sender<bool>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        let pending = self.0.lock().take();
        for (_, waiter) in pending.into_iter().flatten() {
            waiter.send(Err(CallError::NoAnswer("the connection broke".into()))).ok();
        }
        self.1.send_replace(true);
    }
}

impl Connection {
    fn start(stream: Stream, channel: Channel, incarnation: u64, protocol: u8) -> Connection {
        let (out, queue) = mpsc::channel(WRITE_QUEUE);
        let (closing, closed) = watch::channel(false);
        let pending: Pending = Arc::new(Mutex::new(Some(HashMap::new())));
        let close = CloseOnDrop(pending.clone(), closing);
        let answers = pending.clone();
        let task = tokio::spawn(async move {
            let _close = close;
            let (reader, writer) = stream.into_split();
            tokio::select! {
                ended = read_answers(reader, channel, protocol, &answers) => log_end(ended),
                ended = write_requests(writer, protocol, queue) => log_end(ended),
            }
        });
        Connection {
            out,
            pending,
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
            next_id: AtomicU64::new(0),
            closed,
            task: task.abort_handle(),
            payload_bytes_max: channel.payload_bytes_max(),
            incarnation,
        }
    }

    /// Ends the connection; requests in flight fail at once.
    pub fn close(&self) {
        self.task.abort();
    }

    pub fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Returns when the connection is closed, at once if it is.
    pub async fn closed(&self) {
        let mut closed = self.closed.clone();
        // An error means that the task is gone, which is closed too.
        closed.wait_for(|closed| *closed).await.ok();
    }

    pub async fn call(&self, kind: u8, payload: Bytes, timeout: Duration) -> Answer {
        if payload.len() > self.payload_bytes_max {
            return Err(CallError::Refused("the request is too large".into()));
        }
        let _permit = self.in_flight.try_acquire().map_err(|_| CallError::Busy)?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (tx, rx) = oneshot::channel();
        match self.pending.lock().as_mut() {
            Some(pending) => pending.insert(id, tx),
            None => return Err(CallError::Unreachable("the connection is closed".into())),
        };
        let _forget = ForgetOnDrop { pending: &self.pending, id };
        let exchanged = tokio::time::timeout(timeout, async {
            let sent = self.out.send(Frame { kind, id, payload }).await;
            if sent.is_err() {
                return Err(CallError::NoAnswer("the connection broke".into()));
            }
            rx.await.unwrap_or_else(|_| Err(CallError::NoAnswer("the connection broke".into())))
        });
        exchanged.await.unwrap_or_else(|_| Err(CallError::NoAnswer("no answer in time".into())))
    }
}

/// A request that timed out or was cancelled must not stay in the table.
struct ForgetOnDrop<'a> {
    pending: &'a Pending,
    id: u64,
}

impl Drop for ForgetOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(pending) = self.pending.lock().as_mut() {
            pending.remove(&self.id);
        }
    }
}

fn log_end(ended: io::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "an internal connection ended");
    }
}

async fn read_answers(
    reader: ReadHalf,
    channel: Channel,
    protocol: u8,
    pending: &Pending,
) -> io::Result<()> {
    let mut reader = BufReader::new(reader);
    let bytes_max = channel.payload_bytes_max();
    while let Some(head) = frame::read_head(&mut reader, bytes_max, protocol).await? {
        let payload = frame::read_payload(&mut reader, head).await?;
        let text = || String::from_utf8_lossy(&payload).into_owned();
        let answer = match head.kind {
            kind::ANSWER => Ok(payload),
            kind::NOT_LEADER => Err(CallError::NoLeader),
            kind::REFUSED => Err(CallError::Refused(text())),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "unknown answer kind")),
        };
        let waiter = pending.lock().as_mut().and_then(|pending| pending.remove(&head.id));
        // The caller may have given up meanwhile.
        waiter.map(|waiter| waiter.send(answer));
    }
    Ok(())
}

async fn write_requests(
    writer: WriteHalf,
    protocol: u8,
    mut queue: mpsc::Receiver<Frame>,
) -> io::Result<()> {
    write_frames(writer, protocol, &mut queue).await
}

/// A connection to one node that is made when needed and made again after it broke.
pub struct Link {
    dialer: Dialer,
    node: NodeId,
    /// Where the members' list has the node, in case the address book does not know it.
    fallback: NodeAddress,
    channel: Channel,
    /// Held while connecting: callers wait for one attempt instead of making their own.
    connection: tokio::sync::Mutex<Option<Arc<Connection>>>,
}

impl Link {
    pub fn new(dialer: Dialer, node: NodeId, fallback: NodeAddress, channel: Channel) -> Link {
        Link { dialer, node, fallback, channel, connection: tokio::sync::Mutex::new(None) }
    }

    async fn connection(&self) -> Result<Arc<Connection>, CallError> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = slot.as_ref().filter(|c| !c.is_closed()) {
            return Ok(connection.clone());
        }
        *slot = None;
        // Which disk is meant only the members' list tells, from which the fallback is.
        let address = self.dialer.addresses.get(self.node);
        let address = address.map(|address| address.in_directory(self.fallback.directory));
        let address = address.as_ref().unwrap_or(&self.fallback);
        let connected = self.dialer.connect(self.node, address, self.channel).await;
        let connection =
            Arc::new(connected.map_err(|e| CallError::Unreachable(format!("{address}: {e}")))?);
        *slot = Some(connection.clone());
        Ok(connection)
    }

    /// `timeout` covers connecting, too.
    pub async fn call(&self, kind: u8, payload: Bytes, timeout: Duration) -> Answer {
        let deadline = tokio::time::Instant::now() + timeout;
        let connection = tokio::time::timeout_at(deadline, self.connection())
            .await
            .map_err(|_| CallError::Unreachable("not connected in time".into()))??;
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        connection.call(kind, payload, left).await
    }
}
