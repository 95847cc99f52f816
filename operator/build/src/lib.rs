//! From a `KafkaCluster` and what is known of its surroundings to the Kubernetes objects that run
//! it. Pure: equal input gives equal bytes, and nothing here talks to anyone.
//!
//! What the pod template contains restarts every broker when it changes, so it contains what needs
//! a restart and nothing else: [`config_hash`] stands for the configuration file, of which
//! dynamic keys, voters and addresses are no part. What differs with the surroundings (rack,
//! addresses that clients see) reaches a running broker by an annotation of its pod,
//! [`pod_properties`], and one that starts by its file, which remembers what was last known.

mod address;
mod config;
mod facts;
mod input;
mod listeners;
mod metadata_of;
mod names;
mod place;
mod pod;
mod policy;
mod properties;
mod release;
mod remembered;
mod secret;
mod services;
mod stateful_set;
mod text;

pub use config::{
    ConfigProblem, check_config, cluster_id, config_hash, dynamic_config, static_config,
};
pub use facts::{BrokerFacts, Facts, ListenerFacts, NodeFacts};
pub use input::{ClusterInput, Objects, SecretUse};
pub use listeners::{internal_bootstrap, listener_status, needs_pod_config};
pub use metadata_of::{labels, owner_reference, selector};
pub use names::{
    BROKER_PROPERTIES_ANNOTATION, CLUSTER_ID_ANNOTATION, CONFIG_HASH_ANNOTATION, CONTAINER, Names,
    RESTART_ANNOTATION, RESTARTED_ANNOTATION, ordinal_of_pod,
};
pub use place::{kept_config, owned_config, pod_properties};
pub use properties::{broker_properties, common_properties};
pub use release::{image, is_older, version};
pub use remembered::Remembered;
pub use secret::{internal_secret, mounts_internal_secret};
pub use stateful_set::{claim_owner, immutable_difference, needs_recreation};

/// All objects of a cluster. Their order within each kind is that of listeners and ordinals.
pub fn objects(input: &ClusterInput<'_>) -> Objects {
    Objects {
        service_account: policy::service_account(input),
        config_map: properties::config_map(input),
        services: services::services(input),
        network_policy: policy::network_policy(input),
        pod_disruption_budget: policy::pod_disruption_budget(input),
        stateful_set: stateful_set::stateful_set(input),
    }
}

#[cfg(test)]
mod tests;
