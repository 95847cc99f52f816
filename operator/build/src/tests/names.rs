//! Names: whatever the API server takes for a cluster gives names that it takes for its parts.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Service;
use proptest::prelude::*;

use super::{build, cluster, input};
use crate::{ClusterInput, objects, ordinal_of_pod, selector};

/// Services: a DNS label that begins with a letter. Pods carry the set's name and a hash of ten
/// characters in a label.
fn is_service_name(name: &str) -> bool {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= 63
        && name.chars().all(ok)
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
}

fn name(service: &Service) -> String {
    service.metadata.name.clone().unwrap()
}

proptest! {
    #[test]
    fn all_names_are_valid_and_differ(
        name in "[a-z]([-a-z0-9]{0,38}[a-z0-9])?",
        listener in "[a-z][a-z0-9]{0,10}",
        replicas in prop_oneof![Just(1), Just(1000), 2..20i32],
    ) {
        prop_assume!(listener != "plain");
        let mut cluster = cluster(&format!(
            "{{brokers: {{replicas: {replicas}}}, listeners: [{{name: plain, port: 9092}}, \
             {{name: {listener}, port: 9095, type: NodePort}}]}}"
        ));
        cluster.metadata.name = Some(name.clone());
        let objects = build(&cluster);
        let mut seen = BTreeSet::new();
        for service in &objects.services {
            let name = service.metadata.name.clone().unwrap();
            prop_assert!(is_service_name(&name), "{name}");
            prop_assert!(seen.insert(name.clone()), "{name} twice");
        }
        let set = objects.stateful_set.metadata.name.unwrap();
        for suffix in ["-0123456789", "-999"] {
            let of_pod = set.clone() + suffix;
            prop_assert!(is_service_name(&of_pod), "{of_pod}");
        }
        let names = input(&cluster).names();
        prop_assert_eq!(ordinal_of_pod(&name, &names.pod(replicas - 1)), Some(replicas - 1));
    }
}

#[test]
fn pods_of_others_have_no_ordinal() {
    assert_eq!(ordinal_of_pod("castle", "castle-broker-12"), Some(12));
    for other in [
        "castle-broker-01",
        "castle-broker-",
        "castle-broker--1",
        "castle-brokers-1",
        "other-broker-1",
        "castle-broker-1-x",
        "castle-two-broker-1",
    ] {
        assert_eq!(ordinal_of_pod("castle", other), None, "{other}");
    }
}

/// A new broker needs its file and its Services before its pod starts; a broker that is still
/// there keeps them until it is gone.
#[test]
fn files_and_services_cover_brokers_to_come_and_to_go() {
    let spec = "{brokers: {replicas: 5}, listeners: [{name: plain, port: 9092}, \
                {name: outside, port: 9095, type: NodePort}]}";
    let growing = cluster(spec);
    let shrinking = cluster(&spec.replace('5', "3"));
    for (cluster, replicas) in [(&growing, 3), (&shrinking, 5)] {
        let objects = objects(&ClusterInput { replicas, ..input(cluster) });
        let files = objects.config_map.data.unwrap();
        assert!(files.contains_key("castle-broker-4.properties"), "{:?}", files.keys());
        assert!(objects.services.iter().any(|s| name(s) == "castle-outside-4"));
        assert_eq!(objects.stateful_set.spec.unwrap().replicas, Some(replicas));
    }
}

/// Everything goes with the cluster, is found by its labels, and selects its own pods only.
#[test]
fn everything_belongs_to_the_cluster() {
    let cluster = cluster(super::FULL);
    let objects = build(&cluster);
    let mut metadata = vec![
        objects.config_map.metadata,
        objects.network_policy.unwrap().metadata,
        objects.pod_disruption_budget.metadata,
        objects.stateful_set.metadata,
    ];
    metadata.extend(objects.services.into_iter().map(|service| service.metadata));
    for metadata in metadata {
        let owner = &metadata.owner_references.unwrap()[0];
        assert_eq!((owner.kind.as_str(), owner.uid.as_str()), ("KafkaCluster", super::UID));
        assert_eq!((owner.controller, owner.block_owner_deletion), (Some(true), Some(false)));
        assert_eq!(metadata.labels.unwrap()["barnabas.dev/cluster"], "castle");
        assert_eq!(metadata.namespace.as_deref(), Some("keep"));
    }
    let set = objects.stateful_set.spec.unwrap();
    let of_pods = set.template.metadata.unwrap().labels.unwrap();
    for (key, value) in set.selector.match_labels.unwrap() {
        assert_eq!(of_pods[&key], value, "the user's labels do not replace the operator's");
        assert!(selector("castle").contains(&format!("{key}={value}")));
    }
    assert_eq!(of_pods["team"], "data");
}
