//! What is left of a replica whose log is torn.

use crate::event::Assignment;

#[derive(Debug)]
pub(crate) struct Offline {
    /// What the newest image says.
    pub(crate) assignment: Assignment,
    /// The log is whole again, but has less than was committed.
    pub(crate) is_short: bool,
}
