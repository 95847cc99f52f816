//! Consumer groups of KIP-848 through the public face of a shard.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/cleaning.rs"]
mod cleaning;
mod members;
mod offsets;
mod random;
mod rebalance;
mod topics;
mod world;
