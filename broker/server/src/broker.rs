//! The object that handlers get: one broker process. Built by `boot` only.

use std::sync::Arc;

use base::BrokerId;
use config::Config;
use control::controller_client::ControllerClient;
use coordination::{GroupCoordinator, TransactionCoordinator};
use metadata::Image;
use process::BlockingPool;
use process::metrics::Metrics;
use process::shutdown::Shutdown;
use quorum::Quorum;
use quorum::secret::Guard;
use storage::Storage;
use storage::fetch::FetchSessions;

use crate::authorization::Authorization;
use crate::net::{Budget, Places};
use crate::peer::Verifier;
use crate::peer::proof::Prover;
use crate::peer::requests::Peers;
use crate::producer_ids::ProducerIds;
use crate::quotas::Quotas;
use crate::security::Gates;
use crate::security::sasl::Unknown;
use crate::suspects::Suspects;

pub struct Broker {
    pub id: BrokerId,
    pub config: Arc<Config>,
    /// What other brokers have to prove.
    pub guard: Guard,
    /// Says who may do what; `None`: everybody may do everything.
    pub authorization: Option<Arc<Authorization>>,
    pub shutdown: Shutdown,
    pub metrics: Arc<Metrics>,
    /// The metadata quorum. For reading metadata use [`Broker::image`].
    pub quorum: Quorum,
    /// Sends requests to the active controller, wherever it is.
    pub controller: ControllerClient,
    /// The replicas on this broker.
    pub storage: Arc<Storage>,
    pub groups: GroupCoordinator,
    pub transactions: TransactionCoordinator,
    pub producer_ids: ProducerIds,
    /// Asks coordinators of transactions.
    pub verifier: Verifier,
    /// Connections to other brokers.
    pub peers: Arc<Peers>,
    pub fetch_sessions: FetchSessions,
    /// Of requests and replies.
    pub memory: Budget,
    /// Brings what consumers and followers read into the page cache.
    pub read_ahead: BlockingPool,
    /// Looks for something on disk, or deletes there, beside those who replay.
    pub lookups: BlockingPool,
    /// Unpacks and decodes what would keep a network thread from its other connections.
    pub long_work: BlockingPool,
    /// Answers what HTTP asks, away from network threads and from those that wait for the disk: a
    /// broker that is busy with cold reads is alive.
    pub probes: BlockingPool,
    /// The same for answers that may be long: none of them holds up a probe.
    pub reports: BlockingPool,
    /// Who may connect by which listener.
    pub gates: Gates,
    /// Makes those whom SCRAM does not know look like users.
    pub strangers: Unknown,
    /// For connections of clients and brokers.
    pub places: Arc<Places>,
    /// What clients used, and may use.
    pub quotas: Quotas,
    /// Brokers whose process has probably ended.
    pub suspects: Suspects,
}

impl Broker {
    /// The newest metadata that this broker's partitions have been told: what it says of
    /// leadership, this broker does already.
    pub fn image(&self) -> Arc<Image> {
        self.storage.image()
    }

    /// What proves to another broker that this is one; `None` without a secret.
    pub fn prover(&self, server: BrokerId) -> Option<Prover<'_>> {
        Prover::new(&self.guard, self.image().cluster_id().to_string(), self.id, server)
    }
}
