//! One connection: calls are written by one task in the order they are made and answered by another
//! in the order they were sent, as Kafka promises. Both queues between them are bounded, so at most
//! `in_flight_max` calls wait for the broker and as many for their turn; further callers wait.
//! Dropping a call's future does not disturb the others: frames are written whole.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base::ErrorCode;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use transport::{Connector, ReadHalf, Stream, WriteHalf};
use wire::frame::{self, Split};
use wire::header::{RequestHeader, ResponseHeader};
use wire::messages::{ApiVersionsRequest, ApiVersionsResponse};
use wire::{ApiKey, Message, Part, Reader, Request, Str, Writer};

use crate::{BrokerVersions, ClientError, Closed};

/// Room kept ready for responses; a larger one gets its own buffer of its announced size.
const READ_BUFFER_BYTES: usize = 64 * 1024;
const CLIENT_NAME: &str = "barnabas";

#[derive(Clone, Debug)]
pub struct Options {
    pub client_id: Str,
    pub connect_timeout: Duration,
    /// From the call to its response, waiting for its turn included.
    pub request_timeout: Duration,
    /// Calls that may wait for the broker at once.
    pub in_flight_max: usize,
    /// Largest response accepted.
    pub frame_bytes_max: usize,
    /// Plain or encrypted.
    pub connector: Connector,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            client_id: Str::from(CLIENT_NAME),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            in_flight_max: 64,
            frame_bytes_max: 100 * 1024 * 1024,
            connector: Connector::Plain,
        }
    }
}

/// A connection to a broker. Usable from many tasks at once through `&self` or a clone; it ends
/// when the last clone is dropped, or with the first error (see [`Connection::closed`]).
#[derive(Clone, Debug)]
pub struct Connection {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    outgoing: mpsc::Sender<Outgoing>,
    closed: Arc<OnceLock<Closed>>,
    options: Options,
    versions: OnceLock<BrokerVersions>,
    tasks: [AbortHandle; 2],
}

impl Drop for Inner {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// A call on its way to the writer, which numbers it.
#[derive(Debug)]
struct Outgoing {
    header: RequestHeader,
    body: Vec<Part>,
    /// `None` if the broker does not answer (Produce with acks 0).
    reply: Option<oneshot::Sender<Bytes>>,
}

/// A call whose request is being sent.
#[derive(Debug)]
struct Pending {
    correlation_id: i32,
    header_version: i16,
    reply: oneshot::Sender<Bytes>,
}

impl Connection {
    /// Connects without asking what the broker speaks.
    pub async fn connect(addr: &str, options: Options) -> Result<Connection, ClientError> {
        let connecting = async {
            let stream = TcpStream::connect(addr).await?;
            stream.set_nodelay(true)?;
            let host = addr.rsplit_once(':').map_or(addr, |(host, _)| host);
            options.connector.connect(stream, host).await
        };
        let stream = match timeout(options.connect_timeout, connecting).await {
            Err(_) => return Err(ClientError::ConnectTimeout { addr: addr.to_owned() }),
            Ok(connected) => connected
                .map_err(|source| ClientError::Connect { addr: addr.to_owned(), source })?,
        };
        Ok(Connection::from_stream(stream, options))
    }

    /// Connects and negotiates versions, so that [`Connection::call_newest`] can be used.
    pub async fn open(addr: &str, options: Options) -> Result<Connection, ClientError> {
        let connection = Connection::connect(addr, options).await?;
        connection.negotiate().await?;
        Ok(connection)
    }

    /// Takes over a connected stream.
    pub fn from_stream(stream: Stream, options: Options) -> Connection {
        let (read, write) = stream.into_split();
        let closed = Arc::new(OnceLock::new());
        let (outgoing, mut outgoing_rx) = mpsc::channel(options.in_flight_max.max(1));
        let (pending, mut pending_rx) = mpsc::channel(options.in_flight_max.max(1));
        // Each task notes why it ended before it drops its queue, which is what callers notice.
        let writer = tokio::spawn({
            let closed = closed.clone();
            async move {
                if let Err(error) = write_requests(write, &mut outgoing_rx, &pending).await {
                    // Losing the race to the reader is fine: the first reason is the cause.
                    let _ = closed.set(error);
                }
                drop((outgoing_rx, pending));
            }
        });
        let reader = tokio::spawn({
            let closed = closed.clone();
            let frame_bytes_max = options.frame_bytes_max;
            async move {
                let error = read_responses(read, &mut pending_rx, frame_bytes_max).await;
                let _ = closed.set(error);
                drop(pending_rx);
            }
        });
        let tasks = [writer.abort_handle(), reader.abort_handle()];
        let versions = OnceLock::new();
        Connection { inner: Arc::new(Inner { outgoing, closed, options, versions, tasks }) }
    }

    /// Sends a request and waits for its response. Bytes in it are slices of the received frame.
    pub async fn call<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, ClientError> {
        self.call_within(request, version, self.inner.options.request_timeout).await
    }

    /// As [`Connection::call`], with a time limit of its own.
    pub async fn call_within<R: Request>(
        &self,
        request: &R,
        version: i16,
        limit: Duration,
    ) -> Result<R::Response, ClientError> {
        let body = self.call_raw(request, version, limit).await?;
        R::Response::decode(&mut Reader::new(body), version)
            .map_err(|source| ClientError::Decode { key: R::KEY, source })
    }

    /// As [`Connection::call`], in the newest version that both sides speak.
    pub async fn call_newest<R: Request>(&self, request: &R) -> Result<R::Response, ClientError> {
        let version = self.newest_common(R::KEY)?;
        self.call(request, version).await
    }

    /// Sends a request that the broker does not answer: Produce with acks 0. Returns once the
    /// request is queued for writing.
    pub async fn send<R: Request>(&self, request: &R, version: i16) -> Result<(), ClientError> {
        self.enqueue(request, version, None).await
    }

    /// The newest version of an API that both sides speak, once versions were negotiated.
    pub fn newest_common(&self, key: ApiKey) -> Result<i16, ClientError> {
        let common = self.inner.versions.get().and_then(|versions| versions.newest_common(key));
        common.ok_or(ClientError::NoCommonVersion(key))
    }

    /// What the broker said it speaks, if it was asked.
    pub fn broker_versions(&self) -> Option<&BrokerVersions> {
        self.inner.versions.get()
    }

    /// Asks the broker what it speaks and remembers it. A broker that does not know our version of
    /// ApiVersions answers in version 0 and is asked again in one that it does know.
    pub async fn negotiate(&self) -> Result<ApiVersionsResponse, ClientError> {
        let key = ApiKey::ApiVersions;
        let mut version = *key.versions().end();
        let mut response = self.api_versions(version).await?;
        if response.error_code == ErrorCode::UnsupportedVersion.code() {
            let theirs = BrokerVersions::from_response(&response);
            let older = theirs.newest_common(key).unwrap_or(0);
            if older >= version {
                return Err(ClientError::NoCommonVersion(key));
            }
            version = older;
            response = self.api_versions(version).await?;
        }
        match ErrorCode::from_i16(response.error_code) {
            Some(ErrorCode::None) => {}
            code => {
                let code = code.unwrap_or(ErrorCode::UnknownServerError);
                return Err(ClientError::Negotiation(code));
            }
        }
        // A second negotiation on one connection cannot have another outcome.
        let _ = self.inner.versions.set(BrokerVersions::from_response(&response));
        Ok(response)
    }

    async fn api_versions(&self, version: i16) -> Result<ApiVersionsResponse, ClientError> {
        let mut request = ApiVersionsRequest::default();
        if version >= 3 {
            request.client_software_name = CLIENT_NAME.into();
            request.client_software_version = env!("CARGO_PKG_VERSION").into();
        }
        let body = self.call_raw(&request, version, self.inner.options.request_timeout).await?;
        let unsupported = ErrorCode::UnsupportedVersion.code().to_be_bytes();
        let version = if body.starts_with(&unsupported) { 0 } else { version };
        ApiVersionsResponse::decode(&mut Reader::new(body), version)
            .map_err(|source| ClientError::Decode { key: ApiKey::ApiVersions, source })
    }

    async fn call_raw<R: Request>(
        &self,
        request: &R,
        version: i16,
        limit: Duration,
    ) -> Result<Bytes, ClientError> {
        let (reply, response) = oneshot::channel();
        let exchange = async {
            self.enqueue(request, version, Some(reply)).await?;
            response.await.map_err(|_| ClientError::Closed(self.closed_reason()))
        };
        timeout(limit, exchange).await.map_err(|_| ClientError::Timeout(R::KEY))?
    }

    async fn enqueue<R: Request>(
        &self,
        request: &R,
        version: i16,
        reply: Option<oneshot::Sender<Bytes>>,
    ) -> Result<(), ClientError> {
        let mut w = Writer::new();
        request.encode(&mut w, version)?;
        let header = RequestHeader {
            api_key: R::KEY,
            api_version: version,
            correlation_id: 0,
            client_id: Some(self.inner.options.client_id.clone()),
        };
        let outgoing = Outgoing { header, body: w.finish(), reply };
        let sent = self.inner.outgoing.send(outgoing).await;
        sent.map_err(|_| ClientError::Closed(self.closed_reason()))
    }

    /// Completes when the connection has ended.
    pub async fn closed(&self) -> Closed {
        self.inner.outgoing.closed().await;
        self.closed_reason()
    }

    pub fn is_closed(&self) -> bool {
        self.inner.outgoing.is_closed()
    }

    fn closed_reason(&self) -> Closed {
        // Only a runtime that shuts down ends the tasks without a reason.
        self.inner.closed.get().copied().unwrap_or(Closed::ByPeer)
    }
}

/// Numbers and writes requests until the connection is dropped or the reader has ended.
async fn write_requests(
    mut stream: WriteHalf,
    outgoing: &mut mpsc::Receiver<Outgoing>,
    pending: &mpsc::Sender<Pending>,
) -> Result<(), Closed> {
    let mut correlation_id: i32 = 0;
    loop {
        let next = tokio::select! {
            next = outgoing.recv() => next,
            () = pending.closed() => None,
        };
        let Some(Outgoing { mut header, body, reply }) = next else {
            return Ok(());
        };
        correlation_id = correlation_id.wrapping_add(1) & i32::MAX;
        header.correlation_id = correlation_id;
        if let Some(reply) = reply {
            if reply.is_closed() {
                // The caller gave up before its turn came.
                continue;
            }
            let version = header.api_version;
            let header_version = header.api_key.response_header_version(version);
            let waiting = Pending { correlation_id, header_version, reply };
            if pending.send(waiting).await.is_err() {
                return Ok(());
            }
        }
        tokio::select! {
            written = write_frame(&mut stream, &header, body) => written?,
            // Half a frame may be out, but nobody will send on this stream again.
            () = pending.closed() => return Ok(()),
        }
    }
}

async fn write_frame(
    stream: &mut WriteHalf,
    header: &RequestHeader,
    body: Vec<Part>,
) -> Result<(), Closed> {
    let mut w = Writer::frame();
    let invalid = |_| Closed::Io(std::io::ErrorKind::InvalidInput);
    header.encode(&mut w).map_err(invalid)?;
    for part in body {
        match part {
            Part::Bytes(bytes) => w.raw(&bytes),
            // Requests carry bytes only; see `wire::messages`.
            Part::File(_) => return Err(Closed::Io(std::io::ErrorKind::Unsupported)),
        }
    }
    for part in w.finish_frame().map_err(invalid)? {
        if let Part::Bytes(mut bytes) = part {
            stream.write_all_buf(&mut bytes).await?;
        }
    }
    stream.flush().await?;
    Ok(())
}

/// Hands responses to their calls until the connection fails, and returns why it did.
async fn read_responses(
    mut stream: ReadHalf,
    pending: &mut mpsc::Receiver<Pending>,
    frame_bytes_max: usize,
) -> Closed {
    let mut buffer = BytesMut::with_capacity(READ_BUFFER_BYTES);
    loop {
        let frame = match next_frame(&mut stream, &mut buffer, frame_bytes_max).await {
            Ok(frame) => frame,
            Err(closed) => return closed,
        };
        // Its request was put there before it was written, so it is there if there is one.
        let Ok(call) = pending.try_recv() else {
            return Closed::Unasked;
        };
        let mut r = Reader::new(frame);
        match ResponseHeader::decode(&mut r, call.header_version) {
            Err(error) => return Closed::Header(error),
            Ok(header) if header.correlation_id != call.correlation_id => {
                let (expected, received) = (call.correlation_id, header.correlation_id);
                return Closed::Correlation { expected, received };
            }
            // A caller that gave up no longer wants it.
            Ok(_) => drop(call.reply.send(r.take_rest())),
        }
    }
}

async fn next_frame(
    stream: &mut ReadHalf,
    buffer: &mut BytesMut,
    frame_bytes_max: usize,
) -> Result<Bytes, Closed> {
    loop {
        match frame::split(buffer, frame_bytes_max)? {
            Split::Frame(frame) => return Ok(frame),
            // The size was checked: a large frame is received into its final place.
            Split::Need(missing) if missing > buffer.capacity() - buffer.len() => {
                buffer.reserve(missing.max(READ_BUFFER_BYTES));
            }
            Split::Need(_) => {}
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(Closed::ByPeer);
        }
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
