//! The types that the broker sees: who leads, why a proposal failed, what the quorum looks like,
//! and the one trait that the active controller implements.

use std::future::Future;
use std::pin::Pin;

use base::BrokerId;
use bytes::Bytes;

use crate::config::NodeAddress;
use crate::formats::Unreadable;

pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// Who leads the quorum, as far as this node knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Leadership {
    /// The active controller; `None` while an election is under way or the leader lost its quorum.
    pub leader: Option<BrokerId>,
    /// Raft term, which is Kafka's controller epoch.
    pub term: u64,
    /// This node leads, its term has begun (first entry committed) and every entry of earlier
    /// terms is in [`crate::Quorum::image`]: the controller may decide on that image.
    pub is_self: bool,
}

impl Leadership {
    /// The controller epoch as Kafka's messages carry it.
    pub fn epoch(&self) -> i32 {
        i32::try_from(self.term).unwrap_or(i32::MAX)
    }
}

/// The connection of this node to the active controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Session {
    /// The node that the session is with, or is being opened to. This node itself when it leads:
    /// then there is no connection and `connected` is true.
    pub leader: Option<BrokerId>,
    pub connected: bool,
    /// Grows with every connection made, so that a reconnect between two looks is noticed.
    pub generation: u64,
}

/// Why records were not committed, or may not have been.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProposeError {
    /// Nothing was written; another node leads, or nobody does.
    #[error("not the active controller; it is {leader:?}")]
    NotLeader { leader: Option<BrokerId> },
    /// The leadership ended or the time ran out while the records were in flight: they may be
    /// committed later or never. Look at the image of the next leader.
    #[error("the outcome of the proposal is unknown")]
    OutcomeUnknown,
    /// Committed, but it does not fit the metadata before it: every node left it out as a whole.
    #[error("the records do not fit the metadata: {0}")]
    Rejected(String),
    #[error("the records take {bytes} bytes, more than {max}")]
    TooLarge { bytes: usize, max: usize },
    /// The quorum has stopped.
    #[error("the metadata quorum has stopped")]
    Stopped,
}

/// Why a request to the active controller has no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CallError {
    /// This node knows no leader, is the leader itself, or the callee does not lead.
    #[error("no active controller is known or reachable")]
    NoLeader,
    /// The connection could not be made: the request was not processed.
    #[error("cannot connect to the active controller: {0}")]
    Unreachable(String),
    /// The connection broke or the time ran out after the request was sent: it may have been
    /// processed.
    #[error("the request to the active controller has no answer: {0}")]
    NoAnswer(String),
    /// The callee refused the request without processing it.
    #[error("the active controller refused the request: {0}")]
    Refused(String),
    #[error("too many requests are in flight")]
    Busy,
}

/// Why a change of the members did not happen (or is not known to have happened).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MemberError {
    #[error("not the active controller; it is {leader:?}")]
    NotLeader { leader: Option<BrokerId> },
    #[error("broker {0} is a voter already")]
    AlreadyVoter(BrokerId),
    #[error("broker {0} is not a voter")]
    NotAVoter(BrokerId),
    #[error("broker {0} is the last voter: a quorum has at least one")]
    LastVoter(BrokerId),
    /// The active controller hands over ([`crate::Quorum::resign`]) before it is removed.
    #[error("broker {0} is the active controller, which is not removed by itself")]
    IsLeader(BrokerId),
    /// It cannot become a voter yet, or not at all: unknown, offline, or behind.
    #[error("broker {id} cannot become a voter now: {why}")]
    NotReady { id: BrokerId, why: String },
    #[error("the members could not be changed: {0}")]
    Rejected(String),
    #[error("the change of members did not finish in time")]
    Timeout,
    #[error("the metadata quorum has stopped")]
    Stopped,
}

/// The quorum could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{what}: {error}")]
    Io { what: String, error: std::io::Error },
    #[error("{0}")]
    Invalid(String),
    /// The files are those of a newer release. They stay as they are.
    #[error("{0}")]
    Unreadable(Unreadable),
}

/// A broker's session with this node began or broke. `session` is unique in this process: a
/// broker that reconnects opens a new session, perhaps before the old one is seen to break.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionEvent {
    Opened {
        broker: BrokerId,
        session: u64,
    },
    Closed {
        broker: BrokerId,
        session: u64,
    },
    /// The session is closed, and nobody listens any more where the broker was: told after
    /// `Closed`, if at all.
    Ended {
        broker: BrokerId,
        session: u64,
    },
}

/// The controller's side of the sessions. Both methods run on the quorum's only thread: they must
/// return at once and leave the work to the controller's own task.
pub trait ControllerHandler: Send + Sync + 'static {
    /// A request that a broker sent with [`crate::Quorum::call_leader`]. An `Err` reaches the
    /// caller as [`CallError::Refused`], which promises that nothing was done. `session` is that of
    /// the connection it came on: whoever else claims to be the same broker has another one.
    fn request(
        &self,
        from: BrokerId,
        session: u64,
        payload: Bytes,
    ) -> BoxFuture<Result<Bytes, String>>;

    fn session(&self, event: SessionEvent);
}

/// One replica of the metadata log, for DescribeQuorum.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaStatus {
    pub id: BrokerId,
    pub address: NodeAddress,
    /// Offset after the last entry that the replica acknowledged; -1 where unknown (not leader).
    pub log_end_offset: i64,
    /// Milliseconds since the Unix epoch of the last acknowledgement; -1 where unknown.
    pub last_fetch_timestamp: i64,
    /// The same, of the last time that the replica had everything; -1 where unknown.
    pub last_caught_up_timestamp: i64,
}

/// What DescribeQuorum tells. Replica positions are known to the leader only.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct QuorumStatus {
    pub leader: Option<BrokerId>,
    pub epoch: i32,
    /// Offset after the last committed entry.
    pub high_watermark: i64,
    /// Offset after the last entry applied to this node's image.
    pub applied_offset: i64,
    pub log_end_offset: i64,
    pub voters: Vec<ReplicaStatus>,
    pub observers: Vec<ReplicaStatus>,
}
