//! The replicas of this broker: hosted partitions, followers, replication quotas, log directories.
//! No socket is opened here: what connects to a leader comes from outside (`follower::Dial`), and
//! what partitions ask of others leaves as posts (`partition::Outbox`).

pub mod fetch;
pub mod follower;
pub mod log_dirs;
pub mod partition;
mod throttle;
pub mod throttles;

use std::sync::Arc;

use base::BrokerId;
use config::Config;
use metadata::Image;
use process::metrics::Metrics;
use process::shutdown::Shutdown;

use partition::Partitions;
use throttles::Throttles;

/// All of it, for the tasks that work on it.
pub struct Storage {
    pub id: BrokerId,
    pub config: Arc<Config>,
    pub shutdown: Shutdown,
    pub metrics: Arc<Metrics>,
    /// The replicas on this broker, and the image they were last told.
    pub partitions: Arc<Partitions>,
    /// Limits of replication that the metadata sets.
    pub throttles: Arc<Throttles>,
}

impl Storage {
    /// The newest metadata that this broker's partitions have been told: what it says of
    /// leadership, this broker does already.
    pub fn image(&self) -> Arc<Image> {
        self.partitions.image()
    }
}
