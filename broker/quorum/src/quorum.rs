//! The handle that the rest of the broker holds.

use std::net::TcpListener;
use std::sync::Arc;

use metadata::{Image, MetadataRecord};
use base::BrokerId;
use bytes::Bytes;
use tokio::sync::watch;

use crate::api::*;
use crate::config::{NodeAddress, QuorumConfig};

/// A running node of the quorum. Clones share it; it stops with [`Quorum::shutdown`] or when the
/// last clone is dropped.
#[derive(Clone)]
pub struct Quorum {
    _inner: Arc<()>,
}

impl Quorum {
    /// Opens the files, starts the threads and returns at once; joining the others goes on in the
    /// background (watch [`Quorum::leadership`]). `listener` is the bound controller listener.
    pub fn start(
        _config: QuorumConfig,
        _listener: TcpListener,
        _handler: Arc<dyn ControllerHandler>,
    ) -> Result<Quorum, StartError> {
        unimplemented!()
    }

    /// The image after the last applied entry. Costs a few nanoseconds.
    pub fn image(&self) -> Arc<Image> {
        unimplemented!()
    }

    /// Metadata offset of [`Quorum::image`]: index of the last applied entry, -1 before the first.
    pub fn applied_offset(&self) -> i64 {
        unimplemented!()
    }

    /// Changes once per applied batch; a slow reader sees the latest image only and finds out by
    /// diff what changed.
    pub fn images(&self) -> watch::Receiver<Arc<Image>> {
        unimplemented!()
    }

    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        unimplemented!()
    }

    /// This node's session with the active controller. It is opened, and opened again after it
    /// broke, by the quorum itself.
    pub fn session(&self) -> watch::Receiver<Session> {
        unimplemented!()
    }

    /// Commits the records as one entry and waits until this node's image has them. Returns the
    /// entry's metadata offset. `term` is the one of the [`Leadership`] under which the records
    /// were decided: in any other term nothing is written. Proposals of one caller that are
    /// awaited concurrently are committed in the order of the calls' first polls.
    pub async fn propose(
        &self,
        _term: u64,
        _records: Vec<MetadataRecord>,
    ) -> Result<u64, ProposeError> {
        unimplemented!()
    }

    /// Sends a request to the active controller on this node's session. Fails with
    /// [`CallError::NoLeader`] at once when nobody leads or this node itself does.
    pub async fn call_leader(&self, _payload: Bytes) -> Result<Bytes, CallError> {
        unimplemented!()
    }

    /// Leader only: adds an observer, or changes its address. Nodes do this by themselves.
    pub async fn add_observer(&self, _id: BrokerId, _at: NodeAddress) -> Result<(), MemberError> {
        unimplemented!()
    }

    /// Leader only: makes a caught-up observer a voter (Kafka's AddRaftVoter).
    pub async fn add_voter(&self, _id: BrokerId, _at: NodeAddress) -> Result<(), MemberError> {
        unimplemented!()
    }

    /// Leader only: makes a voter an observer (Kafka's RemoveRaftVoter).
    pub async fn remove_voter(&self, _id: BrokerId) -> Result<(), MemberError> {
        unimplemented!()
    }

    /// Leader only: forgets a node, voter or observer, whose broker was unregistered for good.
    pub async fn remove_member(&self, _id: BrokerId) -> Result<(), MemberError> {
        unimplemented!()
    }

    pub fn status(&self) -> QuorumStatus {
        unimplemented!()
    }

    /// Gives the leadership to the most advanced other voter, if this node leads and there is
    /// one. Called before a controlled shutdown, so that no election timeout passes.
    pub async fn resign(&self) {
        unimplemented!()
    }

    /// Stops everything in order; files are synced. Idempotent.
    pub async fn shutdown(&self) {
        unimplemented!()
    }
}
