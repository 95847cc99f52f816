//! Frames and handshake of the internal protocol.
//!
//! A connection begins with one message each way: magic `BNBQ`, version (u8), length (u16),
//! content ([`Hello`] from the client, [`Welcome`] from the server), and with one more each way
//! ([`Answer`], [`Verdict`]) where both ends have the secret (see `handshake`). Then frames follow
//! both ways: length of the rest (u32), kind (u8), request id (u64), payload. Integers are
//! big-endian. Every length is checked against a limit, and memory grows with what arrives, not
//! with what a length announces.

use std::io;

use base::TopicId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::secret::{Nonce, Proof};
use crate::types::{NodeId, decode, encode};

const MAGIC: [u8; 4] = *b"BNBQ";
pub const VERSION: u8 = 1;
const HELLO_BYTES_MAX: usize = 4096;
/// Kind and request id, which the length covers beside the payload.
const FRAME_FIXED_BYTES: usize = 9;
/// Memory taken at once for an announced payload.
const READ_STEP_BYTES: usize = 64 << 10;

/// What a connection is for. Each kind of traffic has its own, so that a snapshot or a burst of
/// controller requests never stands before a heartbeat.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Channel {
    Raft,
    /// The session of a broker with the active controller: its end says that the broker is gone.
    Controller,
}

impl Channel {
    /// Largest payload of a frame.
    pub fn payload_bytes_max(self) -> usize {
        match self {
            Channel::Raft => 64 << 20,
            Channel::Controller => 16 << 20,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    pub from: NodeId,
    /// Whom the client means to talk to; an address may have passed to another node.
    pub to: NodeId,
    pub channel: Channel,
    pub cluster_id: Option<String>,
    /// Drawn at random when the client's process started.
    pub incarnation: u64,
    /// The client's disk.
    #[serde(default)]
    pub directory: TopicId,
    /// The disk that the client means to talk to; zero: whichever.
    #[serde(default)]
    pub to_directory: TopicId,
    /// From a client that has the secret.
    #[serde(default)]
    pub nonce: Option<Nonce>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Welcome {
    pub node: NodeId,
    pub incarnation: u64,
    /// Why the server closes the connection; `None` if it serves it.
    pub refused: Option<String>,
    /// The server's disk.
    #[serde(default)]
    pub directory: TopicId,
    /// To a client that has the secret: it has to answer.
    #[serde(default)]
    pub challenge: Option<Challenge>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Challenge {
    pub nonce: Nonce,
    /// That the server has the secret.
    pub proof: Proof,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// That the client has the secret.
    pub proof: Proof,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Verdict {
    pub refused: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    pub kind: u8,
    pub id: u64,
    pub payload: Bytes,
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

pub async fn write_hello<W: AsyncWrite + Unpin, T: Serialize>(
    writer: &mut W,
    message: &T,
) -> io::Result<()> {
    let content = encode(message)?;
    let len = u16::try_from(content.len()).map_err(|_| invalid("the handshake is too long"))?;
    let mut bytes = Vec::with_capacity(7 + content.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.push(VERSION);
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(&content);
    writer.write_all(&bytes).await
}

pub async fn read_hello<R: AsyncRead + Unpin, T: serde::de::DeserializeOwned>(
    reader: &mut R,
) -> io::Result<T> {
    let mut head = [0u8; 7];
    reader.read_exact(&mut head).await?;
    if head[..4] != MAGIC || head[4] != VERSION {
        return Err(invalid("not this protocol, or not this version of it"));
    }
    let len = usize::from(u16::from_be_bytes([head[5], head[6]]));
    if len > HELLO_BYTES_MAX {
        return Err(invalid("the handshake is too long"));
    }
    let mut content = vec![0u8; len];
    reader.read_exact(&mut content).await?;
    decode(&content)
}

/// The announced payload length and the rest of a frame's head; `None` at a clean end.
pub async fn read_head<R: AsyncRead + Unpin>(
    reader: &mut R,
    payload_bytes_max: usize,
) -> io::Result<Option<(usize, u8, u64)>> {
    let mut head = [0u8; 4 + FRAME_FIXED_BYTES];
    let first = reader.read(&mut head).await?;
    if first == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut head[first..]).await?;
    let [l0, l1, l2, l3, kind, id @ ..] = head;
    let len = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    match len.checked_sub(FRAME_FIXED_BYTES) {
        Some(len) if len <= payload_bytes_max => Ok(Some((len, kind, u64::from_be_bytes(id)))),
        _ => Err(invalid("the length of a frame is out of bounds")),
    }
}

pub async fn read_payload<R: AsyncRead + Unpin>(reader: &mut R, len: usize) -> io::Result<Bytes> {
    let mut payload = Vec::with_capacity(len.min(READ_STEP_BYTES));
    reader.take(len as u64).read_to_end(&mut payload).await?;
    if payload.len() != len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Bytes::from(payload))
}

pub async fn write_frame<W: AsyncWrite + Unpin>(writer: &mut W, frame: &Frame) -> io::Result<()> {
    let len = u32::try_from(FRAME_FIXED_BYTES + frame.payload.len())
        .map_err(|_| invalid("the frame is too long"))?;
    let mut head = [0u8; 4 + FRAME_FIXED_BYTES];
    head[..4].copy_from_slice(&len.to_be_bytes());
    head[4] = frame.kind;
    head[5..].copy_from_slice(&frame.id.to_be_bytes());
    writer.write_all(&head).await?;
    writer.write_all(&frame.payload).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn frames_round_trip_and_lengths_are_bounded() {
        let frame = Frame { kind: 7, id: u64::MAX - 1, payload: Bytes::from_static(b"payload") };
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &frame).await.unwrap();
        let mut reader = bytes.as_slice();
        let (len, kind, id) = read_head(&mut reader, 7).await.unwrap().unwrap();
        let payload = read_payload(&mut reader, len).await.unwrap();
        assert_eq!(Frame { kind, id, payload }, frame);
        assert!(read_head(&mut reader, 7).await.unwrap().is_none());

        assert!(read_head(&mut bytes.as_slice(), 6).await.is_err());
        for cut in 1..bytes.len() {
            let mut reader = &bytes[..cut];
            let cut_off = match read_head(&mut reader, 7).await {
                Ok(Some((len, _, _))) => read_payload(&mut reader, len).await.is_err(),
                Ok(None) => false,
                Err(_) => true,
            };
            assert!(cut_off, "cut at {cut}");
        }
        let short = [0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(read_head(&mut short.as_slice(), 100).await.is_err());
    }

    #[tokio::test]
    async fn a_handshake_of_another_protocol_is_refused() {
        let hello = Hello {
            from: 1,
            to: 2,
            channel: Channel::Controller,
            cluster_id: Some("c".into()),
            incarnation: 9,
            directory: TopicId([1; 16]),
            to_directory: TopicId([2; 16]),
            nonce: Some(Nonce::random()),
        };
        let mut bytes = Vec::new();
        write_hello(&mut bytes, &hello).await.unwrap();
        assert_eq!(read_hello::<_, Hello>(&mut bytes.as_slice()).await.unwrap(), hello);
        bytes[4] = VERSION + 1;
        assert!(read_hello::<_, Hello>(&mut bytes.as_slice()).await.is_err());
        let http = b"GET / HTTP/1.1\r\n\r\n";
        assert!(read_hello::<_, Hello>(&mut http.as_slice()).await.is_err());
    }
}
