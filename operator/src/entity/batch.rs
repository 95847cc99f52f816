//! What differs from kind to kind: how the entities of a batch are seen, planned and changed.

use std::collections::BTreeMap;
use std::time::Duration;

use crd::EntityReason;

use super::api::Resources;
use super::cluster::ClusterState;
use super::outcome::Failure;
use super::resource::{Entity, Entry, Key};
use crate::kafka::AdminError;

/// Entities of one batch.
pub const BATCH: usize = 100;
/// When the watch is expected to have told what another writer wrote.
pub const SOON: Duration = Duration::from_millis(500);

/// One entity, and the resources that name it.
#[derive(Debug)]
pub struct Job<E: Entity> {
    /// Its name in Kafka.
    pub entity: String,
    pub entries: Vec<Entry<E>>,
    /// Index of the one that has it.
    pub owner: Option<usize>,
}

/// What one resource comes to, provided that no request about its entity failed.
#[derive(Clone, PartialEq, Debug)]
pub struct Planned<E: Entity> {
    pub ready: bool,
    pub reason: EntityReason,
    pub message: String,
    pub numbers: E::Numbers,
    /// The resource is being deleted and nothing is left to do: its finalizer may go.
    pub release: bool,
    /// When to look again; `None` waits for a change of the resource, or the resync.
    pub requeue: Option<Duration>,
}

/// What became of a batch.
#[derive(Debug)]
pub struct Done<E: Entity> {
    /// By job, then by resource, in their order.
    pub planned: Vec<Vec<Planned<E>>>,
    /// By entity: the first request about it that failed.
    pub failed: BTreeMap<String, Failure>,
    /// Requests sent that change something.
    pub requests: u64,
    /// Some broker was seen.
    pub seen: bool,
    /// Why no broker answered, where they were asked.
    pub silence: Option<AdminError>,
}

/// The brokers of one cluster, as a worker deals with them. What it keeps from batch to batch is
/// about pace and connections only.
pub trait Batch: Send + 'static {
    type Entity: Entity;

    /// Looks at the entities of all jobs at once, if brokers are to be asked at all, and does what
    /// follows for those resources that have theirs.
    fn run(
        &mut self,
        cluster: &Key,
        state: &ClusterState,
        ask: bool,
        jobs: &[Job<Self::Entity>],
        resources: &impl Resources<Self::Entity>,
    ) -> impl Future<Output = Done<Self::Entity>> + Send;
}
