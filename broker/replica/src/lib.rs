//! The pure core of one replica of one partition: role, log end, high watermark, ISR, epochs and
//! the produces that wait for a commit. It takes `(now, event)` and returns effects; the driver
//! (`broker/storage/src/partition`, or the simulator) owns the log and carries the effects out,
//! under the same short critical section, in the order in which they were emitted.
//!
//! Positions, as `Partition::validate` asserts them after every event with debug assertions:
//! log start <= high watermark <= log end, last stable offset <= high watermark; epochs only grow;
//! ISR ⊆ replicas; at most one ISR proposal in flight; only a leader has waiters.

mod effect;
mod event;
mod fetch;
mod follower;
mod isr;
mod leader;
mod leader_state;
mod offline;
mod partition;
mod selector;
mod torn;
mod validate;
mod waiters;

pub use effect::{Effect, FollowerStep, IsrProposal, ReadPlan};
pub use event::{
    Assignment, ConsumerFetch, EpochEnd, EpochLookup, Event, FetchAnswer, FollowerFetch, Isolation,
    IsrAnswer, LogOffsets, Settings,
};
pub use partition::{Partition, Role};

#[cfg(test)]
mod tests;
