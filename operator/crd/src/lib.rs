//! The custom resources of Barnabas, `KafkaCluster` and `Topic` (`barnabas.dev/v1alpha1`): types
//! only, each with its validation rules beside the field.
//!
//! The same YAML drives the operator on Kubernetes and `broker dev` on one machine. CEL rules
//! refuse at apply what can never work; what depends on other objects becomes a condition.

// Each printed column repeats the keys of the others.
#![allow(clippy::duplicated_attributes)]

mod cluster;
mod config_value;
mod manifest;
mod topic;

pub use cluster::{
    BrokersSpec, ControllersSpec, KafkaCluster, KafkaClusterSpec, KafkaClusterStatus, ListenerSpec,
    ListenerType, StorageDeletionPolicy, StorageSpec,
};
pub use config_value::ConfigValue;
pub use manifest::{Manifest, ManifestError, parse_manifests};
pub use topic::{ClusterRef, Topic, TopicDeletionPolicy, TopicSpec, TopicStatus};

/// The API group of every resource here.
pub const GROUP: &str = "barnabas.dev";
/// The version served and stored.
pub const VERSION: &str = "v1alpha1";
