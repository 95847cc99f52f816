//! What this node knows of the process behind the leader.

use parking_lot::Mutex;

use crate::types::NodeId;

/// Whom this node saw die, and in which term.
#[derive(Default)]
pub struct Suspicion {
    pub(crate) dead: Mutex<Option<(NodeId, u64)>>,
    /// The process that was last seen behind the leader's address.
    pub(crate) seen: Mutex<Option<(NodeId, u64)>>,
}

impl Suspicion {
    /// The leader of the latest term that this node followed is dead.
    pub fn leader_died(&self) -> bool {
        self.dead.lock().is_some()
    }

    pub fn is_dead(&self, node: NodeId, term: u64) -> bool {
        *self.dead.lock() == Some((node, term))
    }

    /// A leader of a newer term ends the suspicion.
    pub fn clear(&self) {
        *self.dead.lock() = None;
    }

    pub fn incarnation_of(&self, node: NodeId) -> Option<u64> {
        self.seen.lock().filter(|(seen, _)| *seen == node).map(|(_, incarnation)| incarnation)
    }
}
