//! Frames and handshake of the internal protocol.
//!
//! A connection begins with one message each way: magic `BNBQ`, version (u8), length (u16),
//! content ([`Hello`] from the client, [`Welcome`] from the server), and with one more each way
//! ([`Answer`], [`Verdict`]) where both ends have the secret (see `handshake`). Then frames follow
//! both ways: length of the rest (u32), kind (u8), request id (u64), CRC-32C of kind, id and
//! payload (u32), payload. Integers are big-endian. A peer of an earlier release does not name a
//! [`PROTOCOL`] in its handshake: with it, frames have no checksum, as in protocol 1.
//! Every length is checked against a limit, and memory grows with what arrives, not with what a
//! length announces.

use std::io;

use base::TopicId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::formats::{decode, encode};
use crate::secret::{Nonce, Proof};
use crate::types::NodeId;

const MAGIC: [u8; 4] = *b"BNBQ";
pub const VERSION: u8 = 1;
/// The newest protocol that this release speaks behind the handshake; both ends use the older one.
pub const PROTOCOL: u8 = 2;
/// Frames have a checksum from this protocol on.
const CHECKSUMS: u8 = 2;
const CRC_BYTES: usize = 4;
const HELLO_BYTES_MAX: usize = 4096;
/// Kind and request id.
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
    /// The newest that the client speaks.
    #[serde(default = "first_protocol")]
    pub protocol: u8,
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
    /// What both speak.
    #[serde(default = "first_protocol")]
    pub protocol: u8,
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

fn first_protocol() -> u8 {
    1
}

/// The head of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Of the payload.
    pub len: usize,
    pub kind: u8,
    pub id: u64,
    crc: Option<u32>,
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

/// What the length covers beside the payload.
fn fixed_bytes(protocol: u8) -> usize {
    FRAME_FIXED_BYTES + if protocol >= CHECKSUMS { CRC_BYTES } else { 0 }
}

/// The head of the next frame; `None` at a clean end.
pub async fn read_head<R: AsyncRead + Unpin>(
    reader: &mut R,
    payload_bytes_max: usize,
    protocol: u8,
) -> io::Result<Option<Head>> {
    let mut head = [0u8; 4 + FRAME_FIXED_BYTES];
    let first = reader.read(&mut head).await?;
    if first == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut head[first..]).await?;
    let [l0, l1, l2, l3, kind, id @ ..] = head;
    let len = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    let len = len.checked_sub(fixed_bytes(protocol)).filter(|len| *len <= payload_bytes_max);
    let len = len.ok_or_else(|| invalid("the length of a frame is out of bounds"))?;
    let crc = if protocol >= CHECKSUMS { Some(reader.read_u32().await?) } else { None };
    Ok(Some(Head { len, kind, id: u64::from_be_bytes(id), crc }))
}

pub async fn read_payload<R: AsyncRead + Unpin>(reader: &mut R, head: Head) -> io::Result<Bytes> {
    let mut payload = Vec::with_capacity(head.len.min(READ_STEP_BYTES));
    reader.take(head.len as u64).read_to_end(&mut payload).await?;
    if payload.len() != head.len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if head.crc.is_some_and(|crc| crc != checksum(head.kind, head.id, &payload)) {
        return Err(invalid("the checksum of a frame is wrong"));
    }
    Ok(Bytes::from(payload))
}

fn checksum(kind: u8, id: u64, payload: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(&[kind]);
    digest.update(&id.to_be_bytes());
    digest.update(payload);
    // CRC-32C has 32 bits; the library's result type is wider.
    digest.finalize() as u32
}

pub async fn write_frame<W: AsyncWrite + Unpin>(
    writer: &mut W,
    frame: &Frame,
    protocol: u8,
) -> io::Result<()> {
    let fixed = fixed_bytes(protocol);
    let len =
        u32::try_from(fixed + frame.payload.len()).map_err(|_| invalid("the frame is too long"))?;
    let mut head = [0u8; 4 + FRAME_FIXED_BYTES + CRC_BYTES];
    head[..4].copy_from_slice(&len.to_be_bytes());
    head[4] = frame.kind;
    head[5..13].copy_from_slice(&frame.id.to_be_bytes());
    if protocol >= CHECKSUMS {
        let crc = checksum(frame.kind, frame.id, &frame.payload);
        head[13..].copy_from_slice(&crc.to_be_bytes());
    }
    writer.write_all(&head[..4 + fixed]).await?;
    writer.write_all(&frame.payload).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn written(frame: &Frame, protocol: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, frame, protocol).await.unwrap();
        bytes
    }

    async fn read(mut bytes: &[u8], protocol: u8) -> io::Result<Option<Frame>> {
        let Some(head) = read_head(&mut bytes, 7, protocol).await? else { return Ok(None) };
        let payload = read_payload(&mut bytes, head).await?;
        assert!(bytes.is_empty());
        Ok(Some(Frame { kind: head.kind, id: head.id, payload }))
    }

    #[tokio::test]
    async fn frames_round_trip_and_lengths_are_bounded() {
        let frame = Frame { kind: 7, id: u64::MAX - 1, payload: Bytes::from_static(b"payload") };
        for protocol in [1, PROTOCOL] {
            let bytes = written(&frame, protocol).await;
            assert_eq!(read(&bytes, protocol).await.unwrap().unwrap(), frame);
            assert!(read(&[], protocol).await.unwrap().is_none());
            assert!(read_head(&mut bytes.as_slice(), 6, protocol).await.is_err());
            for cut in 1..bytes.len() {
                assert!(read(&bytes[..cut], protocol).await.is_err(), "cut at {cut}");
            }
        }
        let short = [0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(read_head(&mut short.as_slice(), 100, 1).await.is_err());
    }

    #[tokio::test]
    async fn frames_keep_their_bytes() {
        let frame = Frame { kind: 3, id: 258, payload: Bytes::from_static(b"abc") };
        let first = [0, 0, 0, 12, 3, 0, 0, 0, 0, 0, 0, 1, 2, b'a', b'b', b'c'];
        assert_eq!(written(&frame, 1).await, first);
        let second = written(&frame, 2).await;
        assert_eq!(second[..13], [0, 0, 0, 16, 3, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(second[17..], *b"abc");
        for at in 4..second.len() {
            let mut damaged = second.clone();
            damaged[at] ^= 1;
            assert!(read(&damaged, 2).await.is_err(), "byte {at}");
        }
    }

    /// What the release before sent and read: it names no protocol, and skips what it is told.
    #[tokio::test]
    async fn a_peer_of_the_release_before_is_met_in_its_protocol() {
        #[derive(Serialize, Deserialize, PartialEq, Debug)]
        struct Before {
            node: NodeId,
            incarnation: u64,
            refused: Option<String>,
        }
        let before = Before { node: 2, incarnation: 9, refused: None };
        let mut bytes = Vec::new();
        write_hello(&mut bytes, &before).await.unwrap();
        let read: Welcome = read_hello(&mut bytes.as_slice()).await.unwrap();
        assert_eq!(read.protocol, 1);
        let now = Welcome {
            node: 2,
            incarnation: 9,
            refused: None,
            directory: TopicId::ZERO,
            challenge: None,
            protocol: PROTOCOL,
        };
        let mut bytes = Vec::new();
        write_hello(&mut bytes, &now).await.unwrap();
        assert_eq!(read_hello::<_, Before>(&mut bytes.as_slice()).await.unwrap(), before);
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
            protocol: PROTOCOL,
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
