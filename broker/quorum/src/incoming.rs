//! A snapshot on its way to this node.

use crate::formats::{Ballot, SnapshotHead};

/// A snapshot that is being received.
pub struct Incoming {
    pub ballot: Ballot,
    pub head: SnapshotHead,
    pub total: u64,
    pub bytes: Vec<u8>,
}
