//! What a node answers to others with.

use base::TopicId;
use bytes::Bytes;

use super::Peer;
use super::frame::Channel;
use crate::api::BoxFuture;
use crate::types::NodeId;

/// A request that was not processed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    NotLeader,
    Other(String),
}

pub trait RequestHandler: Send + Sync + 'static {
    /// Why this node is not served on this channel, beyond what concerns every connection.
    fn refuse(&self, node: NodeId, directory: TopicId, channel: Channel) -> Option<String>;
    fn request(&self, peer: Peer, kind: u8, payload: Bytes) -> BoxFuture<Result<Bytes, Refusal>>;
    fn opened(&self, peer: Peer);
    fn closed(&self, peer: Peer);
}
