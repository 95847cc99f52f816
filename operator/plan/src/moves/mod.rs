//! Which replicas go where. A planner of moves is a function of what is there: the same input
//! gives the same moves. Its rules:
//! - a replication factor never changes but by [`resize`], and no broker gets two replicas of one
//!   partition;
//! - the racks that a partition spans never become fewer where there is a choice;
//! - a replica moves only if that is needed, to the broker that has the fewest;
//! - no broker takes part in more moves at a time than allowed, those in flight included.

mod drain;
mod rebalance;
mod resize;
mod spread;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod throttle;

pub use drain::drain;
pub use rebalance::{rebalance, shares_racks};
pub use resize::resize;
pub use throttle::{
    THROTTLED_RATES, THROTTLED_REPLICAS, ThrottleChange, ThrottledTopic, throttle, unthrottle,
};

use base::{BrokerId, TopicPartition};

use crate::observed::PartitionView;

/// A new list of replicas for a partition, the preferred leader first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Move {
    pub partition: TopicPartition,
    pub replicas: Vec<BrokerId>,
}

impl Move {
    fn of(partition: &PartitionView, replicas: Vec<BrokerId>) -> Move {
        let partition = TopicPartition::new(&*partition.topic, partition.partition);
        Move { partition, replicas }
    }
}

/// A broker, and whether it may get replicas.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MoveBroker {
    pub id: BrokerId,
    pub rack: Option<String>,
    pub usable: bool,
}

/// How much may be on the move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Moves in flight that one broker takes part in, on either side.
    pub per_broker: usize,
    /// Moves that one call returns.
    pub batch: usize,
}

/// Moves to start now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Planned {
    pub moves: Vec<Move>,
    /// Partitions still to be moved, those of `moves` included; an estimate for a rebalance.
    pub remaining: usize,
    /// Why nothing can be started for one of them, if so.
    pub obstacle: Option<String>,
}
