//! What a member of a classic group can work with.

use std::sync::Arc;

use bytes::Bytes;

/// A protocol that a member can work with, most preferred first in a join.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Protocol {
    pub name: Arc<str>,
    pub metadata: Bytes,
}
