//! Volume claims: they grow with the spec, and go with the cluster where the user wants that. A
//! claim is never made smaller.

use std::collections::BTreeMap;

use base::BrokerId;
use build::Names;
use crd::KafkaCluster;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimCondition};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, ResourceExt};
use plan::ClaimView;
use serde_json::json;

use crate::Context;
use crate::apply::{patch_part, quantity};
use crate::error::{Category, Error, Result};

const ID: &str = build::CLUSTER_ID_ANNOTATION;

/// A claim as the planner sees it.
pub fn view(claim: &PersistentVolumeClaim, now_ms: i64) -> ClaimView {
    let mut conditions = claim.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let pending = conditions.find(|c| is_true(c, "FileSystemResizePending"));
    let since = |c: &PersistentVolumeClaimCondition| {
        c.last_transition_time.as_ref().map_or(now_ms, |time| time.0.as_millisecond())
    };
    ClaimView {
        resize_since_ms: pending.map(since),
        deleting: claim.metadata.deletion_timestamp.is_some(),
    }
}

fn is_true(condition: &PersistentVolumeClaimCondition, kind: &str) -> bool {
    condition.type_ == kind && condition.status == "True"
}

/// The id that the volumes know their cluster by, where they are older than this resource.
pub fn cluster_id(claims: &BTreeMap<BrokerId, PersistentVolumeClaim>) -> Option<&String> {
    claims.values().find_map(|claim| claim.annotations().get(ID))
}

/// What became of the claims.
#[derive(Debug, Default)]
pub struct Tended {
    pub wrote: bool,
    /// A volume cannot grow, with the API server's reason. The StatefulSet keeps the old size.
    pub refused: Option<String>,
}

/// Notes on every claim the `id` of the cluster that it holds data of, once that is certain.
/// Returns whether any was new.
pub async fn note(
    context: &Context,
    names: &Names<'_>,
    claims: &BTreeMap<BrokerId, PersistentVolumeClaim>,
    id: &str,
) -> Result<bool> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), names.namespace);
    let mut wrote = false;
    let present = claims.values().filter(|claim| claim.metadata.deletion_timestamp.is_none());
    for claim in present.filter(|claim| !claim.annotations().contains_key(ID)) {
        let part = json!({"metadata": {"annotations": {ID: id}}});
        patch_part(&context.metrics, &api, &claim.name_any(), &part).await?;
        wrote = true;
    }
    Ok(wrote)
}

/// Gives every claim its size and its owner.
pub async fn tend(
    context: &Context,
    cluster: &KafkaCluster,
    names: &Names<'_>,
    claims: &BTreeMap<BrokerId, PersistentVolumeClaim>,
) -> Result<Tended> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), names.namespace);
    let wanted = cluster.spec.brokers.storage.as_ref().map(|s| s.size.as_str());
    let owner = build::claim_owner(cluster);
    let uid = cluster.metadata.uid.as_deref().unwrap_or_default();
    let mut tended = Tended::default();
    for claim in claims.values().filter(|c| c.metadata.deletion_timestamp.is_none()) {
        let name = claim.name_any();
        if let Some(owners) = owners(claim, uid, owner.as_ref()) {
            let version = &claim.metadata.resource_version;
            let part = json!({"metadata": {"ownerReferences": owners, "resourceVersion": version}});
            patch_part(&context.metrics, &api, &name, &part).await?;
            tended.wrote = true;
        }
        let Some(size) = wanted.filter(|size| is_smaller(claim, size)) else { continue };
        if tended.refused.is_some() {
            continue;
        }
        if let Some(class) = fixed_class(context, claim).await? {
            tended.refused = Some(format!(
                "the volume of {name} cannot grow to {size}: storage class {class} does not have \
                 allowVolumeExpansion"
            ));
            continue;
        }
        let part = json!({"spec": {"resources": {"requests": {"storage": size}}}});
        match patch_part(&context.metrics, &api, &name, &part).await {
            Ok(_) => tended.wrote = true,
            Err(e) if matches!(e.category(), Category::Forbidden | Category::Rejected) => {
                tended.refused = Some(format!("the volume of {name} cannot grow to {size}: {e}"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(tended)
}

/// The claim's storage class, if it is known not to let volumes grow. Where classes cannot be
/// read, the API server's answer to the attempt tells.
async fn fixed_class(context: &Context, claim: &PersistentVolumeClaim) -> Result<Option<String>> {
    let class = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.clone());
    let Some(name) = class.filter(|_| context.settings.global_read) else { return Ok(None) };
    let api: Api<StorageClass> = Api::all(context.client.clone());
    match api.get_opt(&name).await {
        Ok(Some(class)) if class.allow_volume_expansion != Some(true) => Ok(Some(name)),
        Ok(_) => Ok(None),
        Err(error) => match Error::api(format!("read StorageClass {name}"))(error) {
            error if error.category() == Category::Forbidden => Ok(None),
            error => Err(error),
        },
    }
}

fn is_smaller(claim: &PersistentVolumeClaim, size: &str) -> bool {
    let now = claim.spec.as_ref().and_then(|s| s.resources.as_ref()?.requests.as_ref());
    let now = now.and_then(|requests| quantity(&requests.get("storage")?.0));
    matches!((now, quantity(size)), (Some(now), Some(wanted)) if now < wanted)
}

/// The claim's owners as they are to be, where they are not; those of others stay.
fn owners(
    claim: &PersistentVolumeClaim,
    cluster: &str,
    wanted: Option<&OwnerReference>,
) -> Option<Vec<OwnerReference>> {
    let now = claim.owner_references();
    let mut owners: Vec<_> = now.iter().filter(|o| o.uid != cluster).cloned().collect();
    owners.extend(wanted.cloned());
    // Ours as it is to be said now: an older version of the API may no longer be served.
    let mut ours = now.iter().filter(|o| o.uid == cluster);
    let same = ours.next() == wanted && ours.next().is_none();
    (!same).then_some(owners)
}

/// Puts the live set's claim templates into the wanted one: its volumes cannot grow.
pub fn keep_size(wanted: &mut StatefulSet, live: Option<&StatefulSet>) {
    let live = live.and_then(|set| set.spec.as_ref()?.volume_claim_templates.as_ref());
    let live = live.and_then(|t| t.first()?.spec.as_ref()?.resources.clone());
    let templates = wanted.spec.as_mut().and_then(|s| s.volume_claim_templates.as_mut());
    let spec = templates.and_then(|t| t.first_mut()?.spec.as_mut());
    if let (Some(resources), Some(spec)) = (live, spec) {
        spec.resources = Some(resources);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn claim(size: &str, owners: &[&str]) -> PersistentVolumeClaim {
        let owners: Vec<_> = owners
            .iter()
            .map(|uid| json!({"apiVersion": "v1", "kind": "K", "name": "n", "uid": uid}))
            .collect();
        serde_json::from_value(json!({"metadata": {"name": "data-c-broker-0",
            "ownerReferences": owners}, "spec": {"resources": {"requests": {"storage": size}}}}))
        .unwrap()
    }

    #[test]
    fn claims_grow_and_never_shrink() {
        assert!(is_smaller(&claim("1Gi", &[]), "2Gi"));
        assert!(!is_smaller(&claim("2Gi", &[]), "2048Mi"));
        assert!(!is_smaller(&claim("2Gi", &[]), "1Gi"));
    }

    #[test]
    fn a_claim_belongs_to_the_cluster_only_while_it_goes_with_it() {
        let ours: OwnerReference = claim("1Gi", &["c"]).owner_references()[0].clone();
        let uids = |owners: Option<Vec<OwnerReference>>| {
            owners.map(|all| all.into_iter().map(|o| o.uid).collect::<Vec<_>>())
        };
        assert_eq!(uids(owners(&claim("1Gi", &["x"]), "c", Some(&ours))).unwrap(), ["x", "c"]);
        assert_eq!(uids(owners(&claim("1Gi", &["x", "c"]), "c", None)).unwrap(), ["x"]);
        assert_eq!(uids(owners(&claim("1Gi", &["c"]), "c", Some(&ours))), None);
        assert_eq!(uids(owners(&claim("1Gi", &["x"]), "c", None)), None);
        let newer = OwnerReference { api_version: "v2".into(), ..ours };
        let said = owners(&claim("1Gi", &["x", "c"]), "c", Some(&newer)).unwrap();
        assert_eq!(said[1].api_version, "v2", "and not twice: {said:?}");
        assert_eq!(said.len(), 2);
    }
}
