//! Names of everything that belongs to a cluster. They are an interface: users, charts and tests
//! rely on them, and a changed name leaves the old object behind.

use crd::KafkaCluster;

/// Pod annotation with which a broker learns its rack and its addresses while it runs.
pub const BROKER_PROPERTIES_ANNOTATION: &str = "barnabas.dev/broker-properties";
/// Pod template annotation: changes exactly when a configuration change needs a restart.
pub const CONFIG_HASH_ANNOTATION: &str = "barnabas.dev/config-hash";
/// On a `KafkaCluster`: any new value restarts all brokers. On a pod, `true` replaces that one.
pub const RESTART_ANNOTATION: &str = "barnabas.dev/restart";
/// Pod template annotation with the value of the cluster's last `barnabas.dev/restart`.
pub const RESTARTED_ANNOTATION: &str = "barnabas.dev/restarted-for";

/// On a volume claim: the id of the cluster whose data it holds. On a `KafkaCluster`: its id, for
/// volumes that came from elsewhere.
pub const CLUSTER_ID_ANNOTATION: &str = "barnabas.dev/cluster-id";

/// The broker's container in its pod.
pub const CONTAINER: &str = "broker";
/// Where the container finds things.
pub(crate) const DATA_DIR: &str = "/data";
/// Below the mount: the root of a volume may hold what its file system keeps there.
pub(crate) const LOG_DIR: &str = "/data/kafka";
pub(crate) const CONFIG_DIR: &str = "/etc/barnabas";
pub(crate) const POD_INFO_DIR: &str = "/etc/podinfo";
pub(crate) const POD_INFO_FILE: &str = "broker.properties";
/// Not below the other: one mount within another is hidden by it.
pub(crate) const SECRET_DIR: &str = "/etc/barnabas-internal";
pub(crate) const SECRET_VOLUME: &str = "internal-secret";
/// Key of the Secret, and name of the file that brokers read.
pub(crate) const SECRET_KEY: &str = "secret";
/// The volume claim template; claims are `data-C-broker-N`.
pub(crate) const DATA_VOLUME: &str = "data";

/// Names of the objects of one cluster.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The `KafkaCluster`.
    pub cluster: &'a str,
    pub namespace: &'a str,
}

impl Names<'_> {
    /// StatefulSet, PodDisruptionBudget, NetworkPolicy and ServiceAccount.
    pub fn broker(&self) -> String {
        format!("{}-broker", self.cluster)
    }

    /// ConfigMap.
    pub fn config(&self) -> String {
        format!("{}-config", self.cluster)
    }

    /// Secret of the brokers among each other.
    pub fn internal_secret(&self) -> String {
        format!("{}-internal", self.cluster)
    }

    /// Headless Service.
    pub fn headless_service(&self) -> String {
        format!("{}-brokers", self.cluster)
    }

    /// Service through which clients inside the Kubernetes cluster begin.
    pub fn bootstrap_service(&self) -> String {
        format!("{}-bootstrap", self.cluster)
    }

    /// Bootstrap Service of an external listener.
    pub fn listener_bootstrap_service(&self, listener: &str) -> String {
        format!("{}-{listener}-bootstrap", self.cluster)
    }

    /// Service of one broker on an external listener.
    pub fn listener_broker_service(&self, listener: &str, broker: i32) -> String {
        format!("{}-{listener}-{broker}", self.cluster)
    }

    /// Pod of a broker.
    pub fn pod(&self, broker: i32) -> String {
        format!("{}-broker-{broker}", self.cluster)
    }

    /// Volume claim of a broker.
    pub fn claim(&self, broker: i32) -> String {
        format!("{DATA_VOLUME}-{}", self.pod(broker))
    }

    /// Host name of a broker inside the Kubernetes cluster.
    pub fn broker_host(&self, broker: i32) -> String {
        format!("{}.{}.{}.svc", self.pod(broker), self.headless_service(), self.namespace)
    }

    /// Host name of the bootstrap Service inside the Kubernetes cluster.
    pub fn bootstrap_host(&self) -> String {
        format!("{}.{}.svc", self.bootstrap_service(), self.namespace)
    }

    /// Key of a broker's own file in the ConfigMap.
    pub fn broker_file(&self, broker: i32) -> String {
        format!("{}.properties", self.pod(broker))
    }
}

/// The broker id of a pod's name; `None` where it is not a pod of the cluster's StatefulSet.
pub fn ordinal_of_pod(cluster: &str, pod: &str) -> Option<i32> {
    let digits = pod.strip_prefix(cluster)?.strip_prefix("-broker-")?;
    let ordinal = digits.parse().ok().filter(|&ordinal: &i32| ordinal >= 0)?;
    (ordinal.to_string() == digits).then_some(ordinal)
}

/// The names of a cluster's objects.
pub(crate) fn names(cluster: &KafkaCluster) -> Names<'_> {
    Names {
        cluster: cluster.metadata.name.as_deref().unwrap_or_default(),
        namespace: cluster.metadata.namespace.as_deref().unwrap_or("default"),
    }
}
