//! The StatefulSet, whose pods the operator alone replaces.

use crd::{KafkaCluster, StorageDeletionPolicy, StorageSpec};
use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::input::ClusterInput;
use crate::metadata_of::{label_selector, labels, object_meta, owner_reference};
use crate::names::DATA_VOLUME;
use crate::pod;

pub(crate) fn stateful_set(input: &ClusterInput<'_>) -> StatefulSet {
    let names = input.names();
    let claims = input
        .cluster
        .spec
        .brokers
        .storage
        .as_ref()
        .map(|storage| vec![claim_template(names.cluster, storage)]);
    StatefulSet {
        metadata: object_meta(input, names.broker()),
        spec: Some(StatefulSetSpec {
            replicas: Some(input.replicas),
            service_name: Some(names.headless_service()),
            selector: label_selector(names.cluster),
            pod_management_policy: Some("Parallel".into()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".into()),
                ..StatefulSetUpdateStrategy::default()
            }),
            persistent_volume_claim_retention_policy: Some(
                StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: Some("Retain".into()),
                    when_scaled: Some("Retain".into()),
                },
            ),
            template: pod::template(input),
            volume_claim_templates: claims,
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

fn claim_template(cluster: &str, storage: &StorageSpec) -> PersistentVolumeClaim {
    let size = [("storage".to_owned(), Quantity(storage.size.clone()))].into();
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(DATA_VOLUME.into()),
            labels: Some(labels(cluster)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            storage_class_name: storage.storage_class.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(size),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

/// The owner that a broker's claim is to have: the cluster where claims go with it, else none.
/// Not as controller: that is nobody's.
pub fn claim_owner(cluster: &KafkaCluster) -> Option<OwnerReference> {
    let storage = cluster.spec.brokers.storage.as_ref()?;
    (storage.deletion_policy == StorageDeletionPolicy::Delete)
        .then(|| OwnerReference { controller: None, ..owner_reference(cluster) })
}

/// Whether the live set has to be deleted with its pods left alone (`propagationPolicy: Orphan`)
/// and created anew, as a field differs that Kubernetes does not let change: a grown volume.
pub fn needs_recreation(live: &StatefulSet, desired: &StatefulSet) -> bool {
    immutable_difference(live, desired).is_some()
}

/// The first field that Kubernetes does not let change and that differs.
pub fn immutable_difference(live: &StatefulSet, desired: &StatefulSet) -> Option<&'static str> {
    let (Some(live), Some(desired)) = (&live.spec, &desired.spec) else { return None };
    if live.selector != desired.selector {
        return Some("selector");
    }
    if live.service_name != desired.service_name {
        return Some("serviceName");
    }
    if live.pod_management_policy != desired.pod_management_policy {
        return Some("podManagementPolicy");
    }
    if claims(live) != claims(desired) {
        return Some("volumeClaimTemplates");
    }
    None
}

/// What we say of claims; the API server adds defaults of its own. A class left to the server is
/// not in the template either.
fn claims(spec: &StatefulSetSpec) -> Vec<(Option<&str>, Option<&str>, Option<&Quantity>)> {
    spec.volume_claim_templates
        .iter()
        .flatten()
        .map(|claim| {
            let spec = claim.spec.as_ref();
            let class = spec.and_then(|spec| spec.storage_class_name.as_deref());
            let requests = spec.and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
            (claim.metadata.name.as_deref(), class, requests.and_then(|r| r.get("storage")))
        })
        .collect()
}
