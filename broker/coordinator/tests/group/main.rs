//! Tests of the group coordinator's core, through its public face only.
#![allow(clippy::unwrap_used)]

#[path = "../support/cleaning.rs"]
mod cleaning;
mod failover;
mod membership;
mod offsets;
mod random;
mod rebalance;
mod transactions;
mod world;
