//! The custom resources of Barnabas, `KafkaCluster` and `Topic` (`barnabas.dev/v1alpha1`): types
//! only, each with its validation rules beside the field.
//!
//! The same YAML drives the operator on Kubernetes and `broker dev` on one machine. CEL rules
//! refuse at apply what can never work; what depends on other objects becomes a condition.

mod cluster;
mod condition;
mod config_value;
mod install;
mod listener;
mod pod;
mod schema;
mod status;
mod topic;

pub use cluster::{
    AllowUnavailable, BrokersSpec, ControllersSpec, ImagePullPolicy, KafkaCluster,
    KafkaClusterSpec, NetworkPolicySpec, RackSpec, RebalanceMode, RebalanceSpec, RollingSpec,
    StorageDeletionPolicy, StorageSpec, UpgradePolicy,
};
pub use condition::{
    ConditionStatus, EntityReason, NewCondition, find_condition, kind, remove_condition,
    set_condition,
};
pub use config_value::ConfigValue;
pub use install::{all_yaml, definitions, files};
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
pub use listener::{CONTROLLER_PORT, HTTP_PORT, ListenerSpec, ListenerType};
pub use pod::PodTemplate;
pub use schema::{
    CONFIG_KEYS_MAX, RESERVED_BROKER_KEYS, RESERVED_TOPIC_KEYS, is_reserved_broker_key,
};
pub use status::{
    BrokerAddress, BrokerRevision, BrokerStatus, KafkaClusterStatus, ListenerStatus, Phase,
    RebalanceStatus, StepStatus,
};
pub use topic::{ClusterRef, Topic, TopicDeletionPolicy, TopicSpec, TopicStatus};

/// The API group of every resource here.
pub const GROUP: &str = "barnabas.dev";
/// The version served and stored.
pub const VERSION: &str = "v1alpha1";

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use kube::CustomResourceExt;

    use super::*;

    #[test]
    fn what_is_misspelled_is_named() {
        let text = "metadata: {name: a}\nspec: {brokers: {replica: 3}}\n";
        let error = serde_yaml::from_str::<KafkaCluster>(text).unwrap_err().to_string();
        assert!(error.contains("unknown field `replica`"), "{error}");
    }

    #[test]
    fn schemas_can_be_made() {
        for crd in [KafkaCluster::crd(), Topic::crd()] {
            let text = serde_yaml::to_string(&crd).unwrap();
            assert!(text.contains("x-kubernetes-validations"), "{text}");
        }
    }
}
