//! What a member knows.

use std::collections::BTreeMap;

use base::{ErrorCode, LeaderEpoch, Offset};
use coordinator::MemberId;

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum State {
    Outside,
    Joining,
    Syncing,
    /// Owns these, and where it stands once it has fetched the offsets.
    Stable {
        positions: BTreeMap<i32, Option<Offset>>,
    },
}

pub(crate) struct Member {
    pub(crate) index: usize,
    pub(crate) member_id: MemberId,
    pub(crate) generation: i32,
    pub(crate) state: State,
    pub(crate) coordinator: Option<usize>,
    pub(crate) request: Option<Request>,
}

/// By partition, what was acknowledged in which epoch of the coordinator.
pub(crate) type Floors = BTreeMap<i32, BTreeMap<LeaderEpoch, Offset>>;

pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) sent_ms: i64,
    /// What was acknowledged before an offset fetch was sent.
    pub(crate) floors: Floors,
    /// What a commit says.
    pub(crate) commits: BTreeMap<i32, Offset>,
}

impl Member {
    pub(crate) fn new(index: usize) -> Member {
        Member {
            index,
            member_id: "".into(),
            generation: -1,
            state: State::Outside,
            coordinator: None,
            request: None,
        }
    }

    /// Consuming what it was assigned.
    pub(crate) fn is_stable(&self) -> bool {
        matches!(&self.state, State::Stable { positions }
            if positions.values().all(Option::is_some))
    }

    pub(crate) fn text(&self) -> String {
        format!("member {:?} generation {}: {:?}", self.member_id, self.generation, self.state)
    }

    pub(crate) fn rejoin(&mut self, forget_id: bool) {
        self.state = State::Outside;
        self.generation = -1;
        if forget_id {
            self.member_id = "".into();
        }
    }

    /// The connection is gone, and with it what was sent on it.
    pub(crate) fn reconnect(&mut self) {
        self.request = None;
        self.coordinator = None;
    }

    pub(crate) fn took_error(&mut self, error: ErrorCode) {
        match error {
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => self.rejoin(true),
            ErrorCode::IllegalGeneration | ErrorCode::RebalanceInProgress => self.rejoin(false),
            ErrorCode::CoordinatorLoadInProgress => {}
            _ => self.coordinator = None,
        }
    }
}
