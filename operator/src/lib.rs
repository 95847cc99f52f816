//! The operator: it makes a Kubernetes cluster run what `KafkaCluster` and `Topic` resources ask
//! for. What to do is decided in `plan`, what objects look like in `build`; here is everything
//! that touches the world: watches, server-side apply, the Lease, HTTP, and requests to brokers.
//!
//! - [`cluster`]: the controller of `KafkaCluster`;
//! - [`entity`]: the controller of what lives in a cluster and has a resource of its own;
//! - [`topic`]: topics, the one kind of entity so far;
//! - [`kafka`]: administrative requests over Kafka's protocol;
//! - [`runtime`]: what every controller uses of the process;
//! - [`process`]: the process around them.

pub mod apply;
pub mod cluster;
pub mod context;
pub mod entity;
pub mod error;
#[cfg(test)]
pub mod fake_api;
pub mod fleet;
pub mod kafka;
pub mod process;
pub mod runtime;
pub mod sight;
pub mod topic;

pub use context::Context;
pub use error::{Error, Result};
