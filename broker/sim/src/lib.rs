//! A deterministic world for the cores: replication, metadata, groups and the log on a faulty
//! in-memory disk, in one loop over virtual time. Brokers crash, lose power, are wiped, paused and
//! cut off; messages are lost, delayed and reordered; the controller moves. After every step the
//! properties in `check` are asserted. One seed is one world: the same seed gives the same trace.
//!
//! The metadata quorum is abstract here (one totally ordered log of committed records, delivered
//! to each broker with a delay, and controllers that come and go); the engine under it has tests
//! of its own. Brokers are `node`: a driver as thin as the real one over the same cores.

mod check;
mod client;
mod content;
mod fault;
mod message;
mod node;
mod plan;
mod quorum;
mod reassign;
mod rng;
mod world;
mod replay;

pub use check::{Property, Violation};
pub use plan::{Mutation, Options, Plan};
pub use world::{Report, World, run};
pub use replay::tell_on_panic;
