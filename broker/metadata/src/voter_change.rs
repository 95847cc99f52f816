//! Changes of who votes, as they are asked of the active controller.

use base::BrokerId;
use serde::{Deserialize, Serialize};

/// Of the metadata quorum. It is no metadata: the quorum itself makes the change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum VoterChange {
    /// An observer becomes a voter, once it has caught up: for that it gets `patience_ms`.
    Add { voter: BrokerId, patience_ms: u64 },
    /// A voter becomes an observer.
    Remove { voter: BrokerId },
}
