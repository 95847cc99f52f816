//! The scenarios on kind, one file each. `core` runs with every change, `more` by
//! `cargo x kind test --all`. Plain `cargo test` leaves them out: they need a cluster.

mod core;
mod more;
