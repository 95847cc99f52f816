//! Of a cluster the few facts that matter to what lives in it.

use build::Names;
use crd::{KafkaCluster, Phase};
use kube::ResourceExt;
use plan::Fleet;

use crate::cluster::owner::{Standing, standing};
use crate::fleet;
use crate::runtime::Settings;

/// Brokers that connecting may begin with, besides the Service.
const BOOTSTRAP_MAX: usize = 5;

/// A `KafkaCluster`, as far as it matters here.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClusterState {
    pub uid: String,
    /// It is being deleted, alone or with its namespace.
    pub deleting: bool,
    pub paused: bool,
    /// Another operator looks after it, and after its topics.
    pub foreign: bool,
    /// At least one broker pod is ready.
    pub ready: bool,
    /// `host:port`, the Service first.
    pub bootstrap: Vec<String>,
    /// The brokers that are to be there.
    pub fleet: Fleet,
    pub moves_per_broker: i32,
    pub throttle: Option<i64>,
    /// `min.insync.replicas` and `default.replication.factor`.
    pub min_isr: i32,
    pub default_factor: i32,
}

impl ClusterState {
    pub fn new(cluster: &KafkaCluster, settings: &Settings) -> ClusterState {
        let (name, namespace) = (cluster.name_any(), cluster.namespace().unwrap_or_default());
        let names = Names { cluster: &name, namespace: &namespace };
        let spec = &cluster.spec;
        let fleet = fleet::wanted(cluster);
        let mut bootstrap = Vec::new();
        if let Some(listener) = spec.inter_broker_listener() {
            bootstrap.push(format!("{}:{}", names.bootstrap_host(), listener.port));
            let brokers = fleet.wanted().take(BOOTSTRAP_MAX);
            let hosts = brokers.map(|id| format!("{}:{}", names.broker_host(id.0), listener.port));
            bootstrap.extend(hosts);
        }
        let status = cluster.status.as_ref();
        let ready = status.and_then(|status| status.ready_replicas);
        let text = |key| spec.config.get(key).and_then(crd::ConfigValue::scalar);
        // What is no number is refused elsewhere; Kafka's default of both is 1.
        let number = |key| text(key).and_then(|text| text.trim().parse().ok()).unwrap_or(1);
        let goes = status.is_some_and(|status| status.phase == Some(Phase::Deleting));
        let deleting = goes || cluster.metadata.deletion_timestamp.is_some();
        // Until it has an owner, which it soon has, none of several may begin; one that goes gets
        // none any more.
        let foreign = match standing(&cluster.metadata, spec.operator_class.as_deref(), settings) {
            Standing::Ours => false,
            Standing::Free => !deleting,
            Standing::Others(_) | Standing::OtherClass { .. } => true,
        };
        ClusterState {
            uid: cluster.uid().unwrap_or_default(),
            deleting,
            paused: spec.paused,
            foreign,
            ready: ready.is_some_and(|ready| ready > 0),
            bootstrap,
            fleet,
            moves_per_broker: spec.rebalance.max_moves_per_broker,
            throttle: spec.rebalance.throttle_bytes_per_second,
            min_isr: number("min.insync.replicas"),
            default_factor: number("default.replication.factor"),
        }
    }
}
