//! Which replicas go where. A planner of moves is a function of what is there: the same input
//! gives the same moves, a replication factor never changes, no broker gets two replicas of one
//! partition, and the racks that a partition spans never become fewer.

mod throttle;

pub use throttle::{ThrottleChange, ThrottledTopic};

use base::{BrokerId, TopicPartition};

/// A new list of replicas for a partition, the preferred leader first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Move {
    pub partition: TopicPartition,
    pub replicas: Vec<BrokerId>,
}
