//! Labels, owners and names of objects.

use std::collections::BTreeMap;

use crd::{GROUP, KafkaCluster, VERSION};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};

use crate::input::ClusterInput;
use crate::names::names;

/// Labels of every object and pod of a cluster. They select pods and claims, so they never change:
/// not with the version, not with the spec.
pub fn labels(cluster: &str) -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/name", "barnabas"),
        ("app.kubernetes.io/instance", cluster),
        ("app.kubernetes.io/component", "broker"),
        ("app.kubernetes.io/managed-by", "barnabas-operator"),
        ("barnabas.dev/cluster", cluster),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}

/// The labels as `kubectl get -l` and the scale subresource take them.
pub fn selector(cluster: &str) -> String {
    let pairs: Vec<String> =
        labels(cluster).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

pub(crate) fn label_selector(cluster: &str) -> LabelSelector {
    LabelSelector { match_labels: Some(labels(cluster)), ..LabelSelector::default() }
}

/// The cluster as owner. It does not block its deletion: there is nothing to wait for.
pub fn owner_reference(cluster: &KafkaCluster) -> OwnerReference {
    OwnerReference {
        api_version: format!("{GROUP}/{VERSION}"),
        kind: "KafkaCluster".into(),
        name: cluster.metadata.name.clone().unwrap_or_default(),
        uid: cluster.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(false),
    }
}

pub(crate) fn object_meta(input: &ClusterInput<'_>, name: String) -> ObjectMeta {
    meta_of(input.cluster, name)
}

pub(crate) fn meta_of(cluster: &KafkaCluster, name: String) -> ObjectMeta {
    let names = names(cluster);
    ObjectMeta {
        name: Some(name),
        namespace: Some(names.namespace.to_owned()),
        labels: Some(labels(names.cluster)),
        owner_references: Some(vec![owner_reference(cluster)]),
        ..ObjectMeta::default()
    }
}
