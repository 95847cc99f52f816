//! What `broker dev` reads of `KafkaCluster` and `Topic`: the fields that mean something on one
//! machine. Whether a resource is one at all is checked against the definitions in `crds/`, which
//! the operator's types generate; a test holds this reader to those types.

mod manifest;
mod schema;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

pub use manifest::{Manifest, parse_manifests};

/// The API group of both.
pub const GROUP: &str = "barnabas.dev";
/// The version served.
pub const VERSION: &str = "v1alpha1";

/// A resource with its name.
#[derive(Clone, Debug, Deserialize)]
pub struct Resource<Spec> {
    pub metadata: Metadata,
    pub spec: Spec,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Metadata {
    pub name: String,
}

pub type KafkaCluster = Resource<ClusterSpec>;
pub type Topic = Resource<TopicSpec>;

#[derive(Clone, Debug, Deserialize)]
pub struct ClusterSpec {
    pub brokers: BrokersSpec,
    pub controllers: Option<ControllersSpec>,
    pub listeners: Vec<ListenerSpec>,
    #[serde(default)]
    pub config: BTreeMap<String, Scalar>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct BrokersSpec {
    pub replicas: i32,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ControllersSpec {
    pub replicas: i32,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ListenerSpec {
    pub name: String,
    pub port: i32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicSpec {
    pub cluster_ref: ClusterRef,
    pub topic_name: Option<String>,
    pub partitions: i32,
    pub replication_factor: Option<i32>,
    #[serde(default)]
    pub config: BTreeMap<String, Scalar>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ClusterRef {
    pub name: String,
}

impl ClusterSpec {
    /// How many of the brokers vote: as asked, else three, or one below three brokers.
    pub fn voters(&self) -> i32 {
        match &self.controllers {
            Some(controllers) => controllers.replicas,
            None if self.brokers.replicas >= 3 => 3,
            None => 1,
        }
    }
}

impl Topic {
    /// The topic's name in Kafka.
    pub fn topic_name(&self) -> &str {
        self.spec.topic_name.as_deref().unwrap_or(&self.metadata.name)
    }
}

/// The text of a configuration value, which YAML may give unquoted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scalar(String);

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Scalar(text)),
            value @ (Value::Bool(_) | Value::Number(_)) => Ok(Scalar(value.to_string())),
            other => Err(de::Error::custom(format!("{other} is not one value"))),
        }
    }
}
