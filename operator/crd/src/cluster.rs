//! `KafkaCluster`: a cluster of brokers, sufficient alone.

// Each printed column repeats the keys of the others.
#![allow(clippy::duplicated_attributes)]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::listener::{ListenerSpec, ListenerType, default_listeners};
use crate::pod::PodTemplate;
use crate::schema;
use crate::status::KafkaClusterStatus;
use crate::{ConfigValue, is_default};

/// What the user wants of a cluster.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "barnabas.dev",
    version = "v1alpha1",
    kind = "KafkaCluster",
    plural = "kafkaclusters",
    shortname = "kc",
    category = "barnabas",
    namespaced,
    status = "KafkaClusterStatus",
    scale(
        spec_replicas_path = ".spec.brokers.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".spec.brokers.replicas"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.message",
        priority = 1
    ),
    validation = Rule::new("self.metadata.name.size() <= 40")
        .message("the name is longer than 40 characters: names of Services and pods follow it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("the name is of lower-case letters, digits and '-', begins with a letter and \
                  does not end with '-': names of Services follow from it"),
    validation = Rule::new(
        "!has(self.spec.brokers.storage) || !has(self.status) || !has(self.status.storageSize) \
         || !isQuantity(self.spec.brokers.storage.size) || !isQuantity(self.status.storageSize) \
         || quantity(self.spec.brokers.storage.size)\
            .compareTo(quantity(self.status.storageSize)) >= 0"
    ).message("a volume cannot shrink: spec.brokers.storage.size is below status.storageSize")
        .field_path(".spec.brokers.storage.size")
)]
#[x_kube(validation = Rule::new(
    "!has(self.controllers) || self.controllers.replicas <= self.brokers.replicas"
).message("controllers.replicas cannot be more than brokers.replicas: voters are brokers"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KafkaClusterSpec {
    /// Version of the broker image. Where absent a new cluster takes the operator's, and keeps it
    /// (`upgradePolicy`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"))]
    pub version: Option<String>,
    /// Broker image with its tag or digest; it wins over `version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// What happens where neither `version` nor `image` is given and an operator comes with another
    /// image than the brokers run.
    #[serde(default, skip_serializing_if = "is_default")]
    pub upgrade_policy: UpgradePolicy,
    /// When the image is pulled; Kubernetes' default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Names of the Secrets with which the image is pulled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub image_pull_secrets: Vec<String>,
    /// The brokers.
    pub brokers: BrokersSpec,
    /// The metadata quorum. Without it: three voters, or one where there are fewer than three
    /// brokers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controllers: Option<ControllersSpec>,
    /// Where clients connect. Without it: one internal listener named `plain` on port 9092.
    #[serde(default = "default_listeners")]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
        validation = Rule::new("self.all(a, self.exists_one(b, b.name == a.name))")
            .message("listener names must differ"),
        validation = Rule::new("self.all(a, self.exists_one(b, b.port == a.port))")
            .message("listener ports must differ"),
        validation = Rule::new("self.exists(l, l.type == 'Internal')")
            .message("at least one listener is of type Internal: brokers replicate through it"),
        validation = Rule::new(
            "self.all(a, !has(a.nodePort) \
             || self.exists_one(b, has(b.nodePort) && b.nodePort == a.nodePort))"
        ).message("no two listeners have the same nodePort"),
        // Ports differ, so that they tell listeners apart: to compare names out of a filter would
        // exceed the API server's cost budget.
        validation = Rule::new(
            "!self.exists(l, l.type == 'Internal') \
             || self.filter(l, l.type == 'Internal')[0].port \
                == oldSelf.filter(l, l.type == 'Internal')[0].port \
             && self.all(l, l.type != 'Internal' \
                || oldSelf.all(o, o.port != l.port || o.name == l.name))"
        ).message("the first listener of type Internal keeps its name and port: the brokers of a \
                   running cluster find each other by them; add another listener instead")
    )]
    #[schemars(length(max = 16))]
    pub listeners: Vec<ListenerSpec>,
    /// Kafka's broker configuration keys, the same for every broker. What a running broker can
    /// take is applied without a restart.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::broker_config")]
    pub config: BTreeMap<String, ConfigValue>,
    /// Spread of replicas over failure domains. Without it: brokers have no rack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<RackSpec>,
    /// Who may connect to the brokers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network_policy: NetworkPolicySpec,
    /// How brokers are restarted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rolling: RollingSpec,
    /// How partitions move when brokers come and go.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rebalance: RebalanceSpec,
    /// Which operator looks after the cluster, where there are several: the one with this class.
    /// The one without a class where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub operator_class: Option<String>,
    /// True: the operator changes nothing and reports only, but for what brokers are told of their
    /// racks and addresses.
    #[serde(default, skip_serializing_if = "is_default")]
    pub paused: bool,
}

/// What happens to brokers whose image nobody names when the operator comes with another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UpgradePolicy {
    /// They stay on the image that they run, and the status says that there is another.
    #[default]
    Manual,
    /// They are rolled onto the operator's image.
    Auto,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImagePullPolicy {
    Always,
    IfNotPresent,
    Never,
}

/// The brokers of a cluster. The ordinal of a broker is its `node.id`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.storage) == has(oldSelf.storage)").message(
    "storage cannot be added to or removed from an existing cluster: volumes would be left behind"
))]
pub struct BrokersSpec {
    /// How many brokers, 1 to 1000.
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: i32,
    /// The volume of each broker. Without it data lives and dies with the pod: for tests only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageSpec>,
    /// Broker pods that may be evicted at a time, as when nodes are drained; 1 where absent. More
    /// than one is safe only where replicas of one partition are not among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_evictions: Option<i32>,
    /// Seconds after which a broker whose node is gone or silent gets another pod, and another
    /// volume where no node can reach its own, if others have all of its data; another takes its
    /// vote. Never where absent: `status` says how to ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 2_592_000))]
    pub node_loss_timeout_seconds: Option<i32>,
    /// CPU and memory of each broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bare_option::<ResourceRequirements>")]
    pub resources: Option<ResourceRequirements>,
    /// What else the pods have.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pod_template: PodTemplate,
}

/// The persistent volume of one broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new(
    "has(self.storageClass) == has(oldSelf.storageClass) \
     && (!has(self.storageClass) || self.storageClass == oldSelf.storageClass)"
).message("the storage class of existing volumes cannot change"))]
pub struct StorageSpec {
    /// Size as a Kubernetes quantity, e.g. `100Gi`. It may grow, and never be less than what the
    /// volumes have (`status.storageSize`): a size that they did not get can be taken back.
    #[x_kube(
        validation = Rule::new("isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))")
            .message("the size is a Kubernetes quantity above zero, such as 100Gi")
    )]
    #[schemars(length(min = 1, max = 32))]
    pub size: String,
    /// Storage class; the cluster's default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class: Option<String>,
    /// What happens to a volume whose broker is removed.
    #[serde(default)]
    pub deletion_policy: StorageDeletionPolicy,
}

/// What happens to a volume whose broker is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StorageDeletionPolicy {
    /// The volume claim stays.
    #[default]
    Retain,
    /// The volume claim is deleted after the broker is unregistered, and with the cluster.
    Delete,
}

/// The voters of the metadata quorum: brokers of as many racks as there are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControllersSpec {
    /// 1, 3 or 5 voters.
    #[x_kube(validation = Rule::new("self in [1, 3, 5]").message(
        "controllers.replicas is 1, 3 or 5: an even number of voters survives no more failures"
    ))]
    pub replicas: i32,
}

/// Where a broker's rack is read from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RackSpec {
    /// The label of the broker's node that names its rack.
    #[serde(default = "default_node_label")]
    #[schemars(length(min = 1, max = 317))]
    pub node_label: String,
}

/// Who may connect to the brokers, where the network enforces NetworkPolicies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetworkPolicySpec {
    /// False: the operator makes no NetworkPolicy, and removes its own.
    pub enabled: bool,
    /// Who may connect to the listeners; anybody where empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::bare_list::<NetworkPolicyPeer>")]
    pub clients: Vec<NetworkPolicyPeer>,
    /// Who may read metrics and probes; any pod where empty. The operator always may.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::bare_list::<NetworkPolicyPeer>")]
    pub metrics: Vec<NetworkPolicyPeer>,
}

impl Default for NetworkPolicySpec {
    fn default() -> NetworkPolicySpec {
        NetworkPolicySpec { enabled: true, clients: Vec::new(), metrics: Vec::new() }
    }
}

/// How brokers are restarted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RollingSpec {
    /// Most brokers that are down at a time for a restart; 1, or with `sameRackParallel` no limit
    /// but the rack, where absent. More than one restart together only if they are of one rack
    /// (`spec.rack`) and it is proven that all of that rack can be spared.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_unavailable: Option<i32>,
    /// True: all brokers of one rack may restart together, up to `maxUnavailable` of them where
    /// that is given. Without racks it does nothing.
    pub same_rack_parallel: bool,
    /// What to do about partitions that no restart leaves available: a single replica, or as many
    /// replicas as `min.insync.replicas`.
    pub allow_unavailable: AllowUnavailable,
}

/// What to do about partitions that no restart leaves available.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AllowUnavailable {
    /// The restart waits until they have more replicas.
    Wait,
    /// The restart goes on: they are unavailable while their broker restarts.
    #[default]
    Proceed,
}

/// How partitions move when brokers come and go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RebalanceSpec {
    /// Whether partitions move onto new brokers by themselves. Brokers to be removed are drained
    /// in either mode.
    pub mode: RebalanceMode,
    /// Replication bytes per second and broker that moves may use; unlimited where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub throttle_bytes_per_second: Option<i64>,
    /// Partitions that move to or from one broker at a time.
    #[schemars(range(min = 1, max = 1000))]
    pub max_moves_per_broker: i32,
}

impl Default for RebalanceSpec {
    fn default() -> RebalanceSpec {
        RebalanceSpec {
            mode: RebalanceMode::default(),
            throttle_bytes_per_second: None,
            max_moves_per_broker: 5,
        }
    }
}

/// Whether partitions move onto new brokers by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RebalanceMode {
    #[default]
    Auto,
    Manual,
}

fn default_node_label() -> String {
    "topology.kubernetes.io/zone".into()
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

    /// The listener through which brokers replicate: the first internal one.
    pub fn inter_broker_listener(&self) -> Option<&ListenerSpec> {
        self.listeners.iter().find(|l| l.kind == ListenerType::Internal)
    }

    /// Whether what brokers advertise depends on more than their names.
    pub fn has_external_listener(&self) -> bool {
        self.listeners.iter().any(|l| l.kind != ListenerType::Internal)
    }
}
