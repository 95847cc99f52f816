//! What a consumer knows.

use base::Offset;

use crate::message::Tp;

pub(crate) struct Consumer {
    pub(crate) tp: Tp,
    pub(crate) position: Offset,
    /// Epoch of the last batch that was read.
    pub(crate) last_epoch: i32,
    pub(crate) leader: Option<usize>,
    /// Where the leader sent it.
    pub(crate) preferred: Option<usize>,
    /// The newest leader epoch it heard of; older metadata is not believed (KIP-320).
    pub(crate) leader_epoch: i32,
    pub(crate) request: Option<(u64, i64)>,
}

impl Consumer {
    pub(crate) fn new(tp: Tp) -> Consumer {
        Consumer {
            tp,
            position: 0,
            last_epoch: -1,
            leader: None,
            preferred: None,
            leader_epoch: -1,
            request: None,
        }
    }

    /// It asks for metadata before it goes on.
    pub(crate) fn lost(&mut self) {
        (self.leader, self.preferred) = (None, None);
    }

    pub(crate) fn partition(&self) -> Tp {
        self.tp
    }

    pub(crate) fn position(&self) -> Offset {
        self.position
    }
}
