//! This broker as the client of others: the connection that followers fetch through, and the proof
//! by which brokers know each other.

mod link;
pub mod proof;

pub use link::Leaders;
