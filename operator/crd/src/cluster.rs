//! `KafkaCluster`: a cluster of brokers, sufficient alone.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ConfigValue;

/// What the user wants of a cluster.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "barnabas.dev",
    version = "v1alpha1",
    kind = "KafkaCluster",
    plural = "kafkaclusters",
    shortname = "kc",
    namespaced,
    status = "KafkaClusterStatus",
    printcolumn(name = "Desired", type_ = "integer", json_path = ".spec.brokers.replicas"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KafkaClusterSpec {
    /// The brokers.
    pub brokers: BrokersSpec,
    /// The metadata quorum. Without it: three voters, or one where there are fewer than three
    /// brokers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controllers: Option<ControllersSpec>,
    /// Where clients connect. Without it: one internal listener named `plain` on port 9092.
    #[serde(default = "default_listeners")]
    #[x_kube(
        validation = Rule::new("self.size() > 0").message("at least one listener is needed"),
        validation = Rule::new("self.all(a, self.exists_one(b, b.name == a.name))")
            .message("listener names must differ"),
        validation = Rule::new("self.all(a, self.exists_one(b, b.port == a.port))")
            .message("listener ports must differ")
    )]
    #[schemars(length(max = 16))]
    pub listeners: Vec<ListenerSpec>,
    /// Kafka's broker configuration keys, the same for every broker.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, ConfigValue>,
}

/// The brokers of a cluster. The ordinal of a broker is its `node.id`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BrokersSpec {
    /// How many brokers, 1 to 1000.
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: i32,
    /// The volume of each broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageSpec>,
}

/// The persistent volume of one broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new(
    "has(self.storageClass) == has(oldSelf.storageClass) \
     && (!has(self.storageClass) || self.storageClass == oldSelf.storageClass)"
).message("the storage class of existing volumes cannot change"))]
pub struct StorageSpec {
    /// Size as a Kubernetes quantity, e.g. `100Gi`. It may grow, never shrink.
    #[x_kube(
        validation = Rule::new("quantity(self).compareTo(quantity(oldSelf)) >= 0")
            .message("a volume cannot shrink"),
        validation = Rule::new("isQuantity(self)")
            .message("the size is a Kubernetes quantity such as 100Gi")
    )]
    #[schemars(length(max = 32))]
    pub size: String,
    /// Storage class; the cluster's default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    /// What happens to a volume whose broker is removed.
    #[serde(default)]
    pub deletion_policy: StorageDeletionPolicy,
}

/// What happens to a volume whose broker is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum StorageDeletionPolicy {
    /// The volume claim stays.
    #[default]
    Retain,
    /// The volume claim is deleted after the broker is unregistered.
    Delete,
}

/// The voters of the metadata quorum: the brokers with the lowest ids.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControllersSpec {
    /// 1, 3 or 5 voters.
    #[x_kube(validation = Rule::new("self in [1, 3, 5]").message("controllers are 1, 3 or 5"))]
    pub replicas: i32,
}

/// One listener of every broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListenerSpec {
    /// 1 to 11 lower-case letters and digits.
    #[schemars(regex(pattern = r"^[a-z0-9]{1,11}$"))]
    pub name: String,
    /// Port of the pod; on one machine the port of the first broker, its followers one up each.
    #[schemars(range(min = 1024, max = 65535))]
    pub port: i32,
    /// How the listener is reached.
    #[serde(rename = "type", default)]
    pub kind: ListenerType,
}

/// How a listener is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum ListenerType {
    /// From inside the Kubernetes cluster.
    #[default]
    Internal,
    /// Through a port of every node.
    NodePort,
    /// Through a load balancer per broker and one for bootstrap.
    LoadBalancer,
}

/// What is: written by the operator only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaClusterStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

fn default_listeners() -> Vec<ListenerSpec> {
    vec![ListenerSpec { name: "plain".into(), port: 9092, kind: ListenerType::Internal }]
}

impl KafkaClusterSpec {
    /// How many of the brokers vote: as asked, else three, or one below three brokers.
    pub fn voters(&self) -> i32 {
        match &self.controllers {
            Some(controllers) => controllers.replicas,
            None if self.brokers.replicas >= 3 => 3,
            None => 1,
        }
    }
}
