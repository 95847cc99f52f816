//! The metadata quorum: one totally ordered log of committed records, and what its leader was
//! asked for.

use std::collections::VecDeque;
use std::sync::Arc;

use metadata::{Image, MetadataRecord};
use quorum::ProposeError;
use tokio::sync::oneshot;

/// What a controller proposed, and who waits for it.
pub(crate) struct Proposal {
    pub(crate) records: Vec<MetadataRecord>,
    pub(crate) made_ms: i64,
    pub(crate) done: oneshot::Sender<Result<u64, ProposeError>>,
}

pub(crate) struct Quorum {
    /// The image after each committed entry; the first one is empty.
    pub(crate) images: Vec<Arc<Image>>,
    pub(crate) leader: Option<usize>,
    pub(crate) epoch: u64,
    pub(crate) leader_lost_at_ms: Option<i64>,
    /// Proposals that are not committed yet, of the last leader.
    pub(crate) pending: VecDeque<Proposal>,
    pub(crate) election_after_ms: i64,
}

impl Quorum {
    pub(crate) fn new() -> Quorum {
        Quorum {
            images: vec![Arc::new(Image::new("sim"))],
            leader: None,
            epoch: 0,
            leader_lost_at_ms: None,
            pending: VecDeque::new(),
            election_after_ms: 0,
        }
    }

    pub(crate) fn latest(&self) -> &Arc<Image> {
        self.images.last().expect("invariant: the empty image is always there")
    }

    pub(crate) fn entries(&self) -> usize {
        self.images.len() - 1
    }
}
