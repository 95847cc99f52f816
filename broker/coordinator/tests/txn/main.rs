//! Tests of the transaction coordinator's core, through its public face only.
#![allow(clippy::unwrap_used)]

#[path = "../support/cleaning.rs"]
mod cleaning;
mod ends;
mod failover;
mod producers;
mod random;
mod timeouts;
mod world;
