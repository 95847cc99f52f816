//! What can go wrong with a call.

use std::io;

use base::ErrorCode;
use wire::frame::FrameError;
use wire::{ApiKey, DecodeError, EncodeError};

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Closed {
    #[error("the peer closed it")]
    ByPeer,
    #[error("{0}")]
    Io(io::ErrorKind),
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("the response header is malformed: {0}")]
    Header(DecodeError),
    #[error("the response to request {expected} came as {received}")]
    Correlation { expected: i32, received: i32 },
    #[error("a response came without a request")]
    Unasked,
}

impl From<io::Error> for Closed {
    fn from(error: io::Error) -> Closed {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Closed::ByPeer,
            kind => Closed::Io(kind),
        }
    }
}

/// A call that brought no response.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("connect to {addr}: {source}")]
    Connect { addr: String, source: io::Error },
    #[error("connect to {addr}: no answer in time")]
    ConnectTimeout { addr: String },
    #[error("no response to {0} in time")]
    Timeout(ApiKey),
    /// The request may or may not have been executed.
    #[error("the connection is closed: {0}")]
    Closed(Closed),
    #[error("encode: {0}")]
    Encode(#[from] EncodeError),
    #[error("decode the response to {key}: {source}")]
    Decode { key: ApiKey, source: DecodeError },
    #[error("the broker and this client have no version of {0} in common")]
    NoCommonVersion(ApiKey),
    #[error("ApiVersions: {0}")]
    Negotiation(ErrorCode),
}
