//! This broker as the client of others: the connection that followers fetch through, what
//! leaders ask coordinators of transactions, and the proof by which brokers know each other.

mod link;
pub mod proof;
mod verifier;

pub use link::Leaders;
pub use verifier::{Asked, Support, Verifier};
