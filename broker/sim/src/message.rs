//! What travels between brokers and clients. The wire's encoding is left out: it has tests of its
//! own.

use base::{BrokerId, ErrorCode, LeaderEpoch, Offset};
use bytes::Bytes;
use coordinator::{GroupReply, GroupRequest};
use replica::ConsumerFetch;
use wire::messages::fetch_response::PartitionData;
use wire::messages::{FetchRequest, FetchResponse};

/// Index into the world's table of partitions.
pub type Tp = usize;

pub(crate) fn node_id(node: usize) -> BrokerId {
    BrokerId(node as i32)
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Addr {
    Node(usize),
    Client(usize),
}

/// A message under way. It is lost when either process is another one by the time it arrives, as
/// a connection would be.
#[derive(Clone, Debug)]
pub struct Envelope {
    pub from: Addr,
    pub from_incarnation: u64,
    pub to: Addr,
    pub to_incarnation: u64,
    pub body: Body,
}

#[derive(Clone, Debug)]
pub enum Body {
    /// On a follower's connection.
    Fetch {
        link: u64,
        request: Box<FetchRequest>,
    },
    FetchAnswer {
        link: u64,
        response: Box<FetchResponse>,
    },
    /// To the active controller, on a session.
    Control {
        id: u64,
        session: u64,
        payload: Bytes,
    },
    ControlAnswer {
        id: u64,
        result: Result<Bytes, String>,
    },
    Produce {
        id: u64,
        tp: Tp,
        acks: i16,
        bytes: Vec<u8>,
    },
    ProduceAnswer {
        id: u64,
        result: Result<Offset, ErrorCode>,
    },
    Consume {
        id: u64,
        tp: Tp,
        fetch: ConsumerFetch,
    },
    ConsumeAnswer {
        id: u64,
        data: Box<PartitionData>,
    },
    Group {
        id: u64,
        request: GroupRequest,
    },
    /// `epoch` is the one in which the answering broker leads the group's partition.
    GroupAnswer {
        id: u64,
        epoch: LeaderEpoch,
        reply: GroupReply,
    },
}

impl Body {
    /// One word for traces.
    pub fn name(&self) -> &'static str {
        match self {
            Body::Fetch { .. } => "fetch",
            Body::FetchAnswer { .. } => "fetch-answer",
            Body::Control { .. } => "control",
            Body::ControlAnswer { .. } => "control-answer",
            Body::Produce { .. } => "produce",
            Body::ProduceAnswer { .. } => "produce-answer",
            Body::Consume { .. } => "consume",
            Body::ConsumeAnswer { .. } => "consume-answer",
            Body::Group { .. } => "group",
            Body::GroupAnswer { .. } => "group-answer",
        }
    }

    /// The connection between brokers that is lost with the message.
    pub fn link(&self) -> Option<u64> {
        match self {
            Body::Fetch { link, .. } | Body::FetchAnswer { link, .. } => Some(*link),
            _ => None,
        }
    }
}
