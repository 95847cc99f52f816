//! What guards the brokers: disruption budget, network policy, service account.

use std::collections::BTreeSet;

use crd::{CONTROLLER_PORT, HTTP_PORT, ListenerSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::facts::BrokerFacts;
use crate::input::ClusterInput;
use crate::metadata_of::{label_selector, object_meta};

/// An account without rights; `None` where the user names another.
pub(crate) fn service_account(input: &ClusterInput<'_>) -> Option<ServiceAccount> {
    if input.cluster.spec.brokers.pod_template.service_account_name.is_some() {
        return None;
    }
    Some(ServiceAccount {
        metadata: object_meta(input, input.names().broker()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    })
}

/// An eviction takes one broker at a time. Whether that one is safe to take, the operator's own
/// restarts ask the brokers; an eviction cannot.
pub(crate) fn pod_disruption_budget(input: &ClusterInput<'_>) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: object_meta(input, input.names().broker()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(
                input.cluster.spec.brokers.max_evictions.unwrap_or(1),
            )),
            selector: Some(label_selector(input.names().cluster)),
            // A broker that catches up is not ready, but may lead: two of them must not go at once.
            // A pod that never got to run can be evicted whatever this says.
            unhealthy_pod_eviction_policy: Some("IfHealthyBudget".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}

/// Pods of the operator, in whatever namespace it is.
fn operators() -> NetworkPolicyPeer {
    let labels = [
        ("app.kubernetes.io/part-of".to_owned(), "barnabas".to_owned()),
        ("app.kubernetes.io/component".to_owned(), "operator".to_owned()),
    ];
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        pod_selector: Some(LabelSelector {
            match_labels: Some(labels.into()),
            ..LabelSelector::default()
        }),
        ..NetworkPolicyPeer::default()
    }
}

/// Clients from anywhere, health and metrics from any pod, where the user names nobody; the quorum
/// and replication among brokers whoever else there is. None where the user wants none.
pub(crate) fn network_policy(input: &ClusterInput<'_>) -> Option<NetworkPolicy> {
    let wishes = &input.cluster.spec.network_policy;
    if !wishes.enabled {
        return None;
    }
    let cluster = input.names().cluster;
    let port = |port: i32| NetworkPolicyPort {
        port: Some(IntOrString::Int(port)),
        protocol: Some("TCP".into()),
        ..NetworkPolicyPort::default()
    };
    // Those that brokers are to bind, and those that some bind still.
    let wanted = input.cluster.spec.listeners.iter().map(|l| l.port);
    let bound = |l: &ListenerSpec| {
        let of = |known: &BrokerFacts| known.bound.get(&l.name).copied();
        input.facts.brokers.values().filter_map(of).collect::<Vec<_>>()
    };
    let bound = input.cluster.spec.listeners.iter().flat_map(bound);
    let mut client_ports: Vec<i32> = wanted.collect();
    let old: BTreeSet<i32> = bound.filter(|port| !client_ports.contains(port)).collect();
    client_ports.extend(old);
    let brokers = NetworkPolicyPeer {
        pod_selector: Some(label_selector(cluster)),
        ..NetworkPolicyPeer::default()
    };
    // Brokers are clients of each other, and the operator of them.
    let named = wishes.clients.iter().cloned().chain([brokers.clone(), operators()]);
    let clients = NetworkPolicyIngressRule {
        ports: Some(client_ports.into_iter().map(port).collect()),
        from: (!wishes.clients.is_empty()).then(|| named.collect()),
    };
    let anywhere_inside = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        ..NetworkPolicyPeer::default()
    };
    let only = |from: Vec<NetworkPolicyPeer>, number: i32| NetworkPolicyIngressRule {
        ports: Some(vec![port(number)]),
        from: Some(from),
    };
    let readers = match wishes.metrics.is_empty() {
        true => vec![anywhere_inside],
        false => wishes.metrics.iter().cloned().chain([operators()]).collect(),
    };
    Some(NetworkPolicy {
        metadata: object_meta(input, input.names().broker()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(label_selector(cluster)),
            policy_types: Some(vec!["Ingress".into()]),
            ingress: Some(vec![
                clients,
                only(vec![brokers], CONTROLLER_PORT),
                only(readers, HTTP_PORT),
            ]),
            ..NetworkPolicySpec::default()
        }),
    })
}
