//! The object that handlers get: one broker process. Built by `boot` only.

use std::sync::Arc;

use base::BrokerId;
use metadata::Image;
use quorum::Quorum;
use quorum::secret::Guard;

use crate::api::fetch::FetchSessions;
use crate::api::init_producer_id::ProducerIds;
use crate::config::Config;
use crate::controller_client::ControllerClient;
use crate::coordinator_task::GroupCoordinator;
use crate::metrics::Metrics;
use crate::net::{Budget, Places, ReadAhead};
use crate::partition::Partitions;
use crate::shutdown::Shutdown;
use crate::suspects::Suspects;
use crate::throttles::Throttles;

pub struct Broker {
    pub id: BrokerId,
    pub config: Arc<Config>,
    /// What other brokers have to prove.
    pub guard: Guard,
    pub shutdown: Shutdown,
    pub metrics: Arc<Metrics>,
    /// The metadata quorum. For reading metadata use [`Broker::image`].
    pub quorum: Quorum,
    /// Sends requests to the active controller, wherever it is.
    pub controller: ControllerClient,
    /// The replicas on this broker, and the image they were last told.
    pub partitions: Arc<Partitions>,
    pub groups: GroupCoordinator,
    pub producer_ids: ProducerIds,
    pub fetch_sessions: FetchSessions,
    /// Of requests and replies.
    pub memory: Budget,
    /// Brings what consumers and followers read into the page cache.
    pub read_ahead: ReadAhead,
    /// Looks for something on disk, or deletes there, beside those who replay.
    pub lookups: ReadAhead,
    /// Unpacks and decodes what would keep a network thread from its other connections.
    pub long_work: ReadAhead,
    /// Answers what HTTP asks, away from network threads and from those that wait for the disk: a
    /// broker that is busy with cold reads is alive.
    pub probes: ReadAhead,
    /// The same for answers that may be long: none of them holds up a probe.
    pub reports: ReadAhead,
    /// Limits of replication that the metadata sets.
    pub throttles: Arc<Throttles>,
    /// For connections of clients and brokers.
    pub places: Arc<Places>,
    /// Brokers whose process has probably ended.
    pub suspects: Suspects,
}

impl Broker {
    /// The newest metadata that this broker's partitions have been told: what it says of
    /// leadership, this broker does already.
    pub fn image(&self) -> Arc<Image> {
        self.partitions.image()
    }
}
