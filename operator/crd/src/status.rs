//! Status of a `KafkaCluster`: written by the operator only.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::is_default;
use crate::listener::ListenerType;
use crate::schema;

/// What is: written by the operator only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaClusterStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Broker pods that exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Broker pods that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// Label selector of the broker pods, for autoscalers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The operator that looks after the cluster: its namespace and name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// Version that all brokers run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What every broker's volume has at least, never more than the spec asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub storage_size: Option<String>,
    /// Volume claims of removed brokers that were kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retained_volumes: Vec<String>,
    /// Image that all brokers ran when they were last all ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Level of the metadata (`barnabas.version`); it never goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_level: Option<i32>,
    /// The oldest version that is known to read metadata of that level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_version: Option<String>,
    /// The cluster's id in Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// The state in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub phase: Option<Phase>,
    /// What the cluster waits for, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Ready, Progressing, Degraded, AtRisk, Paused, Rebalancing, Valid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[schemars(schema_with = "schema::bare_list::<Condition>")]
    pub conditions: Vec<Condition>,
    /// Addresses for clients.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<ListenerStatus>,
    /// Each broker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub brokers: Vec<BrokerStatus>,
    /// The step that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepStatus>,
    /// Ids of the voters of the metadata quorum.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub voters: Vec<i32>,
    /// Id of the voter that is being added or removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changing_voter: Option<i32>,
    /// Partitions that move between brokers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebalance: Option<RebalanceStatus>,
}

/// The state of a cluster in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    Ready,
    Creating,
    Rolling,
    ScalingUp,
    ScalingDown,
    ChangingVoters,
    Rebalancing,
    Waiting,
    Paused,
    Invalid,
    Degraded,
    /// Its namespace is being deleted, and everything in it.
    Deleting,
    /// Not all could be observed, or the word is of another version of the operator.
    #[default]
    #[serde(other)]
    Unknown,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Addresses of one listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// The listener's name.
    pub name: String,
    /// How it is reached.
    #[serde(rename = "type")]
    pub kind: ListenerType,
    /// `host:port`, comma-separated: what clients take as `bootstrap.servers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap_servers: Option<String>,
    /// What each broker advertises.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<BrokerAddress>,
}

/// What a broker advertises on a listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BrokerAddress {
    /// Id of the broker.
    pub broker: i32,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: i32,
}

/// One broker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerStatus {
    /// Id of the broker.
    pub id: i32,
    /// Its pod.
    pub pod: String,
    /// The node that the pod runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Its rack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
    /// Whether the pod is ready.
    pub ready: bool,
    /// Whether the controller knows the broker; absent where it could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registered: Option<bool>,
    /// Whether the controller keeps it from leading; absent where it could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fenced: Option<bool>,
    /// Whether it votes in the metadata quorum.
    #[serde(skip_serializing_if = "is_default")]
    pub voter: bool,
    /// Whether the pod is of the newest template.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub revision: Option<BrokerRevision>,
    /// The broker's state in one word, e.g. Running, Recovering, Draining.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Since when it is in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bare_option::<Time>")]
    pub since: Option<Time>,
    /// Why it is in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Whether a pod is of the newest template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BrokerRevision {
    Current,
    Outdated,
}

/// The step that is under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// Its name, e.g. `RestartBroker`.
    pub name: String,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bare_option::<Time>")]
    pub since: Option<Time>,
    /// What it does, and what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Partitions that move between brokers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RebalanceStatus {
    /// Moving now.
    pub in_flight: i64,
    /// Yet to move.
    pub remaining: i64,
}
