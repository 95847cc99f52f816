//! The connection of a fetch loop: one request at a time, written and read by the loop's own task
//! (no switch to others), responses received into one buffer that is used again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base::BrokerId;
use bytes::{Buf, BytesMut};
use quorum::secret::Guard;
use storage::Storage;
use storage::follower::{Dial, FetchError, FetchLink};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use transport::{Connector, Stream};
use wire::frame;
use wire::header::ResponseHeader;
use wire::messages::{FetchRequest, FetchResponse};
use wire::{ApiKey, DecodeError, EncodeError, Message, Part, Reader, Request, Str};

use super::proof::{Asks, ProofError, Prover};

/// What the leader may send: whatever it accepted, by its own limits, which this broker does not
/// know. A response that is larger than all limits here would come again and again.
const FRAME_BYTES_MAX: usize = i32::MAX as usize;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const READ_BYTES_MIN: usize = 64 * 1024;
/// A full buffer grows by this factor, up to the end of its frame.
const GROWTH: usize = 4;
/// What an idle connection keeps of its buffer.
const KEPT_BYTES_MAX: usize = 256 * 1024;
/// Version that this broker's own leaders speak.
const FETCH_VERSION: i16 = 17;

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("no connection in time")]
    ConnectTimeout,
    #[error("the leader closed the connection")]
    Closed,
    #[error(transparent)]
    Frame(#[from] frame::FrameError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Unproved(#[from] ProofError),
    #[error("response {received} to request {expected}")]
    Correlation { expected: i32, received: i32 },
}

pub struct Link {
    stream: Stream,
    buffer: BytesMut,
    correlation_id: i32,
    client_id: Str,
    frame_bytes_max: usize,
}

impl Link {
    async fn connect(
        host: &str,
        port: u16,
        client_id: Str,
        frame_bytes_max: usize,
        connector: &Connector,
    ) -> Result<Link, LinkError> {
        let connecting = async {
            let stream = TcpStream::connect((host, port)).await?;
            stream.set_nodelay(true)?;
            connector.connect(stream, host).await
        };
        let stream =
            timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| LinkError::ConnectTimeout)??;
        Ok(Link { stream, buffer: BytesMut::new(), correlation_id: 0, client_id, frame_bytes_max })
    }

    /// Proves to the leader that a broker asks, and has it prove the same.
    async fn prove(&mut self, prover: &Prover<'_>) -> Result<(), LinkError> {
        timeout(CONNECT_TIMEOUT, prover.prove(self)).await.map_err(|_| LinkError::ConnectTimeout)?
    }

    async fn send_any<R: Request>(&mut self, request: &R, version: i16) -> Result<(), LinkError> {
        self.correlation_id = self.correlation_id.wrapping_add(1) & i32::MAX;
        let client_id = Some(self.client_id.clone());
        let parts = wire::encode_request(request, version, self.correlation_id, client_id)?;
        for part in parts {
            if let Part::Bytes(mut bytes) = part {
                self.stream.write_all_buf(&mut bytes).await?;
            }
        }
        Ok(self.stream.flush().await?)
    }

    fn receive_any<M: Message, T>(
        &mut self,
        version: i16,
        key: ApiKey,
        process: impl FnOnce(M) -> T,
    ) -> Result<T, LinkError> {
        let prefix = self.buffer.first_chunk().ok_or(LinkError::Closed)?;
        let end = frame::PREFIX_BYTES + frame::length(*prefix, self.frame_bytes_max)?;
        let whole = std::mem::take(&mut self.buffer).freeze();
        let body = whole.slice(frame::PREFIX_BYTES..end);
        let processed = self.decode(body, version, key).map(process);
        self.buffer = whole.try_into_mut().unwrap_or_else(|whole| BytesMut::from(&whole[..]));
        if self.buffer.len() == end {
            // Unlike `advance`, this keeps the whole buffer in sight, for use and for `release`.
            self.buffer.clear();
        } else {
            self.buffer.advance(end);
        }
        processed
    }

    fn decode<M: Message>(
        &self,
        body: bytes::Bytes,
        version: i16,
        key: ApiKey,
    ) -> Result<M, LinkError> {
        let mut r = Reader::new(body);
        let header = ResponseHeader::decode(&mut r, key.response_header_version(version))?;
        let (expected, received) = (self.correlation_id, header.correlation_id);
        if expected != received {
            return Err(LinkError::Correlation { expected, received });
        }
        Ok(M::decode(&mut r, version)?)
    }

    /// Reads until the frame at the front of the buffer is complete; returns its length.
    async fn fill(&mut self) -> Result<usize, LinkError> {
        loop {
            let mut wanted = READ_BYTES_MIN;
            if let Some(prefix) = self.buffer.first_chunk() {
                let length = frame::length(*prefix, self.frame_bytes_max)?;
                if self.buffer.len() >= frame::PREFIX_BYTES + length {
                    return Ok(length);
                }
                wanted = wanted.max(frame::PREFIX_BYTES + length);
            }
            // A length alone takes no memory: the buffer grows to a few times what has come.
            let wanted = wanted.min((self.buffer.len() * GROWTH).max(READ_BYTES_MIN));
            if self.buffer.len() == self.buffer.capacity() || self.buffer.capacity() < wanted {
                self.buffer.reserve(wanted.saturating_sub(self.buffer.len()).max(1));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(LinkError::Closed);
            }
        }
    }
}

impl Asks for Link {
    type Error = LinkError;

    async fn ask<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, LinkError> {
        self.send_any(request, version).await?;
        self.fill().await?;
        self.receive_any(version, R::KEY, |response: R::Response| response)
    }
}

impl From<LinkError> for FetchError {
    fn from(error: LinkError) -> FetchError {
        match error {
            LinkError::Unproved(error) => FetchError::Unproved(error.into()),
            error => FetchError::Link(error.into()),
        }
    }
}

/// Connects a follower to its leaders.
pub struct Leaders {
    storage: Arc<Storage>,
    guard: Guard,
    connector: Connector,
}

impl Leaders {
    pub fn new(storage: Arc<Storage>, guard: Guard, connector: Connector) -> Leaders {
        Leaders { storage, guard, connector }
    }
}

impl Dial for Leaders {
    type Link = Link;

    async fn connect(&self, leader: BrokerId, host: &str, port: u16) -> Result<Link, FetchError> {
        let own = self.storage.id;
        let client_id = Str::from(format!("broker-{own}-fetcher"));
        let mut link =
            Link::connect(host, port, client_id, FRAME_BYTES_MAX, &self.connector).await?;
        let cluster_id = self.storage.image().cluster_id().to_string();
        if let Some(prover) = Prover::new(&self.guard, cluster_id, own, leader) {
            link.prove(&prover).await?;
        }
        Ok(link)
    }
}

impl FetchLink for Link {
    async fn send(&mut self, request: &FetchRequest) -> Result<(), FetchError> {
        Ok(self.send_any(request, FETCH_VERSION).await?)
    }

    fn has_begun(&self) -> bool {
        !self.buffer.is_empty()
    }

    async fn response(&mut self) -> Result<(), FetchError> {
        self.fill().await?;
        Ok(())
    }

    /// The records are slices of the buffer and must not be kept, or it is allocated anew.
    fn receive<T>(&mut self, process: impl FnOnce(FetchResponse) -> T) -> Result<T, FetchError> {
        Ok(self.receive_any(FETCH_VERSION, ApiKey::Fetch, process)?)
    }

    fn release(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BYTES_MAX {
            self.buffer = BytesMut::new();
        }
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
