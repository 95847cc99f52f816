//! A deterministic world for brokers: replication, metadata, groups and the log on a faulty in-
//! memory disk, in one loop over virtual time. Brokers crash, lose power, are wiped, paused and cut
//! off; disks are slow, full or fail; messages are lost, delayed and reordered; the controller
//! moves. After every step the properties in `check` are asserted. One seed is one world: the same
//! seed gives the same trace.
//!
//! The metadata quorum is abstract here (one totally ordered log of committed records, delivered
//! to each broker with a delay, and controllers that come and go); the engine under it has tests
//! of its own. Brokers are what ships (`storage`, `coordination`, `control`), assembled in `node`
//! over a disk, a network and a quorum of this world, and run by `runtime`.

mod acts;
mod check;
mod client;
mod content;
mod disk_fault;
mod fault;
mod message;
mod node;
mod plan;
mod quorum;
mod reassign;
mod replay;
mod rng;
mod run;
mod runtime;
mod world;

pub use check::{Property, Violation};
pub use plan::{Mutation, Options, Plan};
pub use replay::tell_on_panic;
pub use run::{Report, run};
pub use world::World;
