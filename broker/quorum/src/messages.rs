//! What the nodes of the quorum say to each other beside Raft itself.

use base::TopicId;
use openraft::raft::VoteRequest;
use serde::{Deserialize, Serialize};

use crate::config::NodeAddress;
use crate::types::{LogId, NodeId, Records, StoredMembership, TypeConfig, Vote};

/// A vote request, and whether the candidate saw the leader's process end (see `session`).
#[derive(Serialize, Deserialize)]
pub struct VoteCall {
    pub request: VoteRequest<TypeConfig>,
    pub leader_died: bool,
}

/// A piece of a snapshot. `offset` 0 begins a new one; the last piece ends at `total`.
#[derive(Serialize, Deserialize)]
pub struct SnapshotPiece {
    pub vote: Vote,
    pub last_log_id: Option<LogId>,
    pub last_membership: StoredMembership,
    pub offset: u64,
    pub total: u64,
    pub bytes: Records,
}

/// The receiver's vote, once the whole snapshot is installed.
#[derive(Serialize, Deserialize)]
pub struct SnapshotReply {
    pub installed: Option<Vote>,
}

/// What a node has on its disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Standing {
    /// Nothing at all: a new node, or one that lost its disk.
    Empty,
    /// Admitted to a quorum that has not begun.
    Blank,
    /// A vote, entries or a snapshot.
    Initialized,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatusReply {
    pub standing: Standing,
    pub term: u64,
    pub leader: Option<Member>,
    /// Whether the node that asks is a voter, as far as this one knows; `None`: it does not.
    #[serde(default)]
    pub asker_votes: Option<bool>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Member {
    pub id: NodeId,
    /// With the directory: id and directory are the key.
    pub address: NodeAddress,
}

/// "Make me a member in this role." Repeated until the member sees itself in the members' list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JoinCall {
    pub member: Member,
    pub as_voter: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum JoinReply {
    Done,
    /// The new member's log is behind; it is made a voter at a later call.
    CatchingUp,
    NotLeader(Option<Member>),
    Failed(String),
}

/// "My disk is empty: forget what I was." The answer is the vote that the node must keep.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RejoinCall {
    pub id: NodeId,
    /// The new, empty directory.
    #[serde(default)]
    pub directory: TopicId,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum RejoinReply {
    Forgotten { vote: Vote },
    NotLeader(Option<Member>),
    Failed(String),
}

/// "Be a voter of the quorum that I am about to begin."
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BootstrapReply {
    pub accepted: bool,
    /// Of the node that accepted.
    #[serde(default)]
    pub directory: TopicId,
}
