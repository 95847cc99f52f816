//! Administrative requests over Kafka's protocol: [`Admin`], one per cluster.
//!
//! Any broker answers nearly all of them (brokers pass on what is the active controller's); those
//! about one broker's own files and settings go to that broker. Every call is bounded in time and
//! none is repeated if it might have changed something: a caller that got no answer looks again.

mod admin;
mod cluster;
mod configs;
mod error;
mod features;
mod moves;
mod quorum;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests;
mod throttles;
mod topics;

pub use admin::{Admin, Options};
pub use cluster::{BrokerInfo, ClusterInfo, LogDirs};
pub use configs::{ConfigChange, ConfigResource, ConfigSource, ConfigValue};
pub use error::{AdminError, Refused};
pub(crate) use moves::mark as mark_moves;
pub use quorum::{Member, QuorumInfo};
pub use throttles::{Throttles, throttle_changes};
pub use topics::{Created, NewTopic, TopicInfo};

/// Answer for one of the items of a request.
pub type ItemResult<T> = std::result::Result<T, Refused>;
/// Answer to a request.
pub type Result<T> = std::result::Result<T, AdminError>;
