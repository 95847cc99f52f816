//! What the followers need of the network: a connection to a leader, one request at a time.

use std::future::Future;

use base::{BrokerId, ErrorCode};
use wire::messages::{FetchRequest, FetchResponse};

/// Why a connection failed, for the log.
pub type LinkFailure = Box<dyn std::error::Error + Send + Sync>;

/// Why nothing was fetched from a leader.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("the leader is not registered")]
    Unregistered,
    #[error("the leader registered anew")]
    Moved,
    #[error("fetch refused: {0:?}")]
    Refused(ErrorCode),
    #[error("no response in time")]
    Timeout,
    /// One of the two ends could not prove that it is a broker of this cluster.
    #[error("{0}")]
    Unproved(LinkFailure),
    #[error("{0}")]
    Link(LinkFailure),
}

/// Connects to leaders.
pub trait Dial: Send + Sync + 'static {
    type Link: FetchLink;

    /// Connects to the listener of a broker that is known to be this one, and proves what is to be
    /// proved. Ends in time.
    fn connect(
        &self,
        leader: BrokerId,
        host: &str,
        port: u16,
    ) -> impl Future<Output = Result<Self::Link, FetchError>> + Send;
}

/// A connection to a leader.
pub trait FetchLink: Send + 'static {
    /// Writes a request. The response to the one before was received.
    fn send(
        &mut self,
        request: &FetchRequest,
    ) -> impl Future<Output = Result<(), FetchError>> + Send;

    /// A response has begun to arrive.
    fn has_begun(&self) -> bool;

    /// Waits until the response is there. May be dropped and called again.
    fn response(&mut self) -> impl Future<Output = Result<(), FetchError>> + Send;

    /// Hands the response over that [`FetchLink::response`] waited for. What is kept of its records
    /// keeps the memory of all of it.
    fn receive<T>(&mut self, process: impl FnOnce(FetchResponse) -> T) -> Result<T, FetchError>;

    /// Gives the memory of a large response back.
    fn release(&mut self);
}
