//! What travels between brokers and clients. The wire's encoding is left out: it has tests of its
//! own, and the cores never see it.

use base::{ErrorCode, LeaderEpoch, Offset};
use coordinator::{GroupReply, GroupRequest};
use metadata::{ControllerRequest, ControllerResponse};
use replica::{ConsumerFetch, FetchAnswer, FollowerFetch, ReadPlan};

/// Index into the world's table of partitions.
pub type Tp = usize;

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
    Fetch {
        id: u64,
        tp: Tp,
        fetch: FollowerFetch,
    },
    FetchAnswer {
        id: u64,
        tp: Tp,
        answer: FetchAnswer,
        bytes: Vec<u8>,
    },
    Control {
        id: u64,
        session: u64,
        request: ControllerRequest,
    },
    /// No response: that broker is not the controller (any more).
    ControlAnswer {
        id: u64,
        response: Option<ControllerResponse>,
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
    /// `start` is the log start of whoever answers.
    ConsumeAnswer {
        id: u64,
        start: Offset,
        result: Result<(Vec<u8>, ReadPlan), ErrorCode>,
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
}
