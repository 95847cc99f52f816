//! This broker as the client of others: the connection that followers fetch through, what
//! leaders ask coordinators of transactions, those for other requests, and the proof by which
//! brokers know each other.

mod link;
pub mod proof;
pub mod requests;
mod verifier;

pub use link::Leaders;
pub use verifier::{Asked, Support, Verifier};
