//! What the nodes of the quorum say to each other. Raft's own messages are here as this project's
//! types (`edge.rs` converts them); `formats.rs` explains their layout.

use base::TopicId;
use serde::{Deserialize, Serialize};

use crate::config::NodeAddress;
use crate::formats::{Ballot, LogEntry, MembersAt, Position};
use crate::types::{NodeId, Records};

/// "Append these entries behind that one." Without entries it is a heartbeat.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AppendCall {
    #[serde(rename = "vote")]
    pub ballot: Ballot,
    #[serde(rename = "prev_log_id")]
    pub previous: Option<Position>,
    pub entries: Vec<LogEntry>,
    #[serde(rename = "leader_commit")]
    pub committed: Option<Position>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum AppendReply {
    Success,
    /// Entries up to this one.
    #[serde(rename = "PartialSuccess")]
    Partial(Option<Position>),
    /// The previous entry is not there.
    Conflict,
    #[serde(rename = "HigherVote")]
    HigherBallot(Ballot),
}

/// A candidate's question.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct VoteQuestion {
    #[serde(rename = "vote")]
    pub ballot: Ballot,
    #[serde(rename = "last_log_id")]
    pub last: Option<Position>,
    /// The leader asked the candidate to take over.
    #[serde(rename = "leadership_transfer", default)]
    pub handed_over: bool,
}

/// A vote request, and whether the candidate saw the leader's process end (see `session`).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct VoteCall {
    #[serde(rename = "request")]
    pub question: VoteQuestion,
    pub leader_died: bool,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct VoteReply {
    #[serde(rename = "vote")]
    pub ballot: Ballot,
    #[serde(rename = "vote_granted")]
    pub granted: bool,
    #[serde(rename = "last_log_id")]
    pub last: Option<Position>,
}

/// "Take over from me."
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TransferCall {
    #[serde(rename = "from_leader")]
    pub from: Ballot,
    #[serde(rename = "to_node_id")]
    pub to: NodeId,
    #[serde(rename = "last_log_id")]
    pub last: Option<Position>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum TransferRefusal {
    #[serde(rename = "VoteChanged")]
    BallotChanged {
        expected: Ballot,
        actual: Ballot,
    },
    LogNotFlushed {
        expected: Option<Position>,
        actual: Option<Position>,
    },
}

/// A piece of a snapshot. `offset` 0 begins a new one; the last piece ends at `total`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SnapshotPiece {
    #[serde(rename = "vote")]
    pub ballot: Ballot,
    #[serde(rename = "last_log_id")]
    pub last: Option<Position>,
    #[serde(rename = "last_membership")]
    pub members: MembersAt,
    pub offset: u64,
    pub total: u64,
    pub bytes: Records,
}

/// The receiver's vote, once the whole snapshot is installed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SnapshotReply {
    pub installed: Option<Ballot>,
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

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
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
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct JoinCall {
    pub member: Member,
    pub as_voter: bool,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum JoinReply {
    Done,
    /// The new member's log is behind; it is made a voter at a later call.
    CatchingUp,
    NotLeader(Option<Member>),
    Failed(String),
}

/// "My disk is empty: forget what I was." The answer is the vote that the node must keep.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RejoinCall {
    pub id: NodeId,
    /// The new, empty directory.
    #[serde(default)]
    pub directory: TopicId,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum RejoinReply {
    Forgotten { vote: Ballot },
    NotLeader(Option<Member>),
    Failed(String),
}

/// "Be a voter of the quorum that I am about to begin."
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BootstrapReply {
    pub accepted: bool,
    /// Of the node that accepted.
    #[serde(default)]
    pub directory: TopicId,
}
