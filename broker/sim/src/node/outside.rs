//! What a process asks of the world.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use bytes::Bytes;
use metadata::{ControllerRequest, MetadataRecord};
use parking_lot::Mutex;
use quorum::{CallError, ProposeError};
use tokio::sync::oneshot;
use wire::messages::{FetchRequest, FetchResponse};

use crate::message::{Addr, Body};

/// A follower's end.
#[derive(Default)]
pub(crate) struct LinkEnd(pub(crate) Mutex<EndState>);

#[derive(Default)]
pub(crate) struct EndState {
    pub(crate) arrived: Option<FetchResponse>,
    pub(crate) is_broken: bool,
    pub(crate) waker: Option<Waker>,
}

impl LinkEnd {
    pub(crate) fn set(&self, change: impl FnOnce(&mut EndState)) {
        let mut state = self.0.lock();
        change(&mut state);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }
}

/// What a process asks of the world.
pub(crate) enum Post {
    /// To a client, or to another broker, as of this process of it.
    Answer {
        to: (Addr, u64),
        body: Body,
    },
    Fetch {
        link: u64,
        leader: usize,
        end: Arc<LinkEnd>,
        request: Box<FetchRequest>,
    },
    Fetched {
        link: u64,
        response: Option<FetchResponse>,
    },
    Close {
        link: u64,
    },
    Call {
        payload: Bytes,
        answer: oneshot::Sender<Result<Bytes, CallError>>,
    },
    Controlled {
        to: (Addr, u64),
        id: u64,
        request: ControllerRequest,
        result: Result<Bytes, String>,
    },
    Propose {
        term: u64,
        records: Vec<MetadataRecord>,
        done: oneshot::Sender<Result<u64, ProposeError>>,
    },
}

pub(crate) type Posts = Arc<Mutex<Vec<(usize, u64, Post)>>>;

/// A process' way to the world.
#[derive(Clone)]
pub(crate) struct Outside {
    pub(crate) node: usize,
    pub(crate) incarnation: u64,
    pub(crate) posts: Posts,
    pub(crate) ids: Arc<AtomicU64>,
}

impl Outside {
    pub(crate) fn post(&self, post: Post) {
        self.posts.lock().push((self.node, self.incarnation, post));
    }

    pub(crate) fn fresh_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }
}
