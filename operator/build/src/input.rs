//! What the builders take and give.

use crd::KafkaCluster;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use crate::facts::Facts;
use crate::names::{Names, names};

/// A cluster, and what was decided about it.
#[derive(Clone, Copy, Debug)]
pub struct ClusterInput<'a> {
    /// The resource, which the API server or `check_config` found valid.
    pub cluster: &'a KafkaCluster,
    /// Pods that there are to be: what the plan says, never the spec directly.
    pub replicas: i32,
    /// Ids for `controller.quorum.voters`: the first voters before the cluster exists, then the
    /// current ones as the quorum tells them.
    pub voters: &'a [i32],
    /// The cluster does not exist yet: brokers with empty disks may begin it.
    pub begin: bool,
    /// What brokers demand of each other.
    pub secret: SecretUse,
    /// Image of the brokers; see [`crate::image`].
    pub image: &'a str,
    /// What is known of the surroundings.
    pub facts: &'a Facts,
}

/// How far the brokers' shared secret is introduced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecretUse {
    /// Brokers have it, and serve those too that do not have it yet.
    Given,
    /// Nobody is served without it.
    Required,
}

/// Every object of a cluster. Each has name, namespace, labels and owner.
#[derive(Clone, Debug, PartialEq)]
pub struct Objects {
    /// None where the user names an account.
    pub service_account: Option<ServiceAccount>,
    pub config_map: ConfigMap,
    /// Headless, bootstrap, then those of the external listeners.
    pub services: Vec<Service>,
    /// None where the user wants none.
    pub network_policy: Option<NetworkPolicy>,
    pub pod_disruption_budget: PodDisruptionBudget,
    pub stateful_set: StatefulSet,
}

impl<'a> ClusterInput<'a> {
    pub(crate) fn names(&self) -> Names<'a> {
        names(self.cluster)
    }

    /// Ordinals that need a file and Services: those that exist and those to come.
    pub(crate) fn ordinals(&self) -> std::ops::Range<i32> {
        0..self.replicas.max(self.cluster.spec.brokers.replicas).max(0)
    }
}
