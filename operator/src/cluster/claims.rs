//! Volume claims: they grow with the spec, and go with the cluster where the user wants that. A
//! volume is never made smaller; a claim may ask for less again as long as it did not get it.

use std::collections::BTreeMap;

use base::BrokerId;
use build::Names;
use crd::{KafkaCluster, StorageDeletionPolicy};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimCondition};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, ResourceExt};
use plan::ClaimView;
use serde_json::json;

use super::observe::LiveObjects;
use super::problem::Problem;
use crate::Context;
use crate::apply::{patch_part, quantity};
use crate::error::{Category, Error, Result, request};

const ID: &str = build::CLUSTER_ID_ANNOTATION;
/// On a volume claim that was kept when its broker was removed.
const RETAINED: &str = "barnabas.dev/retained";
/// Claims named in one message.
const NAMED_MAX: usize = 3;

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
        lost: is_lost(claim),
        stranded: false,
    }
}

/// What the user has to know of volumes that pods use and that go, or are gone, with the commands
/// that keep their data.
pub fn going(live: &LiveObjects) -> Vec<Problem> {
    let used = live.claims.iter().filter(|(id, _)| live.pods.contains_key(id));
    let used: Vec<_> = used.map(|(_, claim)| claim).collect();
    let going = used.iter().filter(|c| c.metadata.deletion_timestamp.is_some());
    let lost = used.iter().filter(|c| is_lost(c));
    let problem = |reason, message| Problem { reason, message, lasting: true };
    let going = (!names(going.clone()).is_empty()).then(|| {
        let volumes: Vec<&str> = going.clone().filter_map(|c| volume(c)).collect();
        let message = format!(
            "claims {} are being deleted: their data goes when their pods stop. To keep it: \
             kubectl patch pv {} --patch \
             '{{\"spec\":{{\"persistentVolumeReclaimPolicy\":\"Retain\"}}}}'",
            names(going.clone()),
            volumes.join(" "),
        );
        problem("VolumeGoing", message)
    });
    let lost = (!names(lost.clone()).is_empty()).then(|| {
        let message = format!(
            "the volumes of claims {} no longer exist: their brokers run on, and cannot start \
             again",
            names(lost),
        );
        problem("VolumeLost", message)
    });
    going.into_iter().chain(lost).collect()
}

fn names<'a>(claims: impl Iterator<Item = &'a &'a PersistentVolumeClaim>) -> String {
    claims.map(|claim| claim.name_any()).collect::<Vec<_>>().join(", ")
}

/// The volume that a claim is bound to.
pub fn volume(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref()?.volume_name.as_deref()
}

fn is_lost(claim: &PersistentVolumeClaim) -> bool {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Lost")
}

fn is_true(condition: &PersistentVolumeClaimCondition, kind: &str) -> bool {
    condition.type_ == kind && condition.status == "True"
}

/// The id that the volumes know their cluster by, where they are older than this resource. One
/// that goes says nothing.
pub fn cluster_id(claims: &BTreeMap<BrokerId, PersistentVolumeClaim>) -> Option<&String> {
    let stay = claims.values().filter(|claim| claim.metadata.deletion_timestamp.is_none());
    stay.into_iter().find_map(|claim| claim.annotations().get(ID))
}

/// The claim was kept when its broker was removed.
pub fn is_retained(claim: &PersistentVolumeClaim) -> bool {
    claim.annotations().contains_key(RETAINED)
}

/// Fails while volumes of an earlier cluster of that name are still to be deleted: a new cluster on
/// some of them and not on others would have half of each.
pub fn none_of_before(cluster: &KafkaCluster, live: &LiveObjects, names: &Names<'_>) -> Result<()> {
    // One that is known already has its volumes; its set may be away to be made anew.
    let known = cluster.status.as_ref().is_some_and(|status| status.cluster_id.is_some());
    if known || live.set(names).is_some() {
        return Ok(());
    }
    let uid = cluster.metadata.uid.as_deref().unwrap_or_default();
    let of_before = |claim: &&PersistentVolumeClaim| {
        let owners = claim.owner_references();
        let earlier = owners.iter().any(|o| o.kind == "KafkaCluster" && o.name == names.cluster);
        let ours = owners.iter().any(|o| o.uid == uid);
        claim.metadata.deletion_timestamp.is_some() || earlier && !ours
    };
    let going: Vec<String> =
        live.claims.values().filter(of_before).map(ResourceExt::name_any).take(NAMED_MAX).collect();
    match going.is_empty() {
        true => Ok(()),
        false => Err(Error::Foreign(format!(
            "volumes of an earlier cluster of this name are still being deleted: {}",
            going.join(", ")
        ))),
    }
}

/// What growing volumes have come to: one that failed needs somebody.
pub fn growth(claims: &BTreeMap<BrokerId, PersistentVolumeClaim>) -> Vec<Problem> {
    let present = claims.values().filter(|claim| claim.metadata.deletion_timestamp.is_none());
    let (mut failed, mut grow) = (Vec::new(), Vec::new());
    for claim in present {
        let name = claim.name_any();
        match (failure(claim), requested(claim)) {
            (Some(why), _) => failed.push(format!("{name} ({why})")),
            (None, Some(wanted)) if is_less(capacity(claim), Some(wanted)) => {
                grow.push(format!("{name} to {wanted}"));
            }
            _ => {}
        }
    }
    let problem = |reason, what: &str, named: &[String], lasting| {
        let rest = named.len().saturating_sub(NAMED_MAX);
        let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        let names = named[..named.len() - rest].join(", ");
        (!named.is_empty()).then(|| Problem {
            reason,
            message: format!("{what}: {names}{more}"),
            lasting,
        })
    };
    let failed = problem("VolumeResizeFailed", "volumes could not grow", &failed, true);
    let grow = problem("VolumeResizing", "volumes grow", &grow, false);
    failed.into_iter().chain(grow).collect()
}

/// What went wrong when the volume was to grow, in the words of whoever tried.
fn failure(claim: &PersistentVolumeClaim) -> Option<String> {
    let status = claim.status.as_ref()?;
    let failed = ["ControllerResizeError", "NodeResizeError"];
    let mut conditions = status.conditions.iter().flatten();
    let said = conditions.find(|c| failed.contains(&c.type_.as_str()) && c.status == "True");
    if let Some(said) = said {
        return Some(said.message.clone().unwrap_or_else(|| said.type_.clone()));
    }
    let resources = status.allocated_resource_statuses.as_ref()?;
    resources.get("storage").filter(|state| state.ends_with("Infeasible")).cloned()
}

fn requested(claim: &PersistentVolumeClaim) -> Option<&str> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    Some(requests.get("storage")?.0.as_str())
}

/// What the volume really has.
pub fn capacity(claim: &PersistentVolumeClaim) -> Option<&str> {
    Some(claim.status.as_ref()?.capacity.as_ref()?.get("storage")?.0.as_str())
}

/// Whether one size is below another; never where one is not known.
pub fn is_less(size: Option<&str>, than: Option<&str>) -> bool {
    let both = size.and_then(quantity).zip(than.and_then(quantity));
    both.is_some_and(|(size, than)| size < than)
}

/// What became of the claims.
#[derive(Debug, Default)]
pub struct ClaimChanges {
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
pub async fn reconcile(
    context: &Context,
    cluster: &KafkaCluster,
    live: &LiveObjects,
    names: &Names<'_>,
) -> Result<ClaimChanges> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), names.namespace);
    let wanted = cluster.spec.brokers.storage.as_ref().map(|s| s.size.as_str());
    let owner = build::claim_owner(cluster);
    let uid = cluster.metadata.uid.as_deref().unwrap_or_default();
    let mut tended = ClaimChanges::default();
    let present = live.claims.iter().filter(|(_, c)| c.metadata.deletion_timestamp.is_none());
    for (id, claim) in present {
        let name = claim.name_any();
        if let Some(keep) = retains(cluster, live, names, *id, claim) {
            let mark = keep.then_some("true");
            let part = json!({"metadata": {"annotations": {RETAINED: mark}}});
            patch_part(&context.metrics, &api, &name, &part).await?;
            tended.wrote = true;
            continue;
        }
        if is_retained(claim) {
            continue;
        }
        if let Some(owners) = owners(claim, uid, owner.as_ref()) {
            let version = &claim.metadata.resource_version;
            let part = json!({"metadata": {"ownerReferences": owners, "resourceVersion": version}});
            patch_part(&context.metrics, &api, &name, &part).await?;
            tended.wrote = true;
        }
        // One that asked for more than it got may ask for less again, down to what it has.
        let lower = |size: &&str| {
            let size = Some(*size);
            is_less(capacity(claim), size) && is_less(size, requested(claim))
        };
        let grows = |size: &&str| is_less(requested(claim), Some(*size));
        let Some(size) = wanted.filter(|size| grows(size) || lower(size)) else { continue };
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
    match request(format!("read StorageClass {name}"), api.get_opt(&name)).await {
        Ok(Some(class)) if class.allow_volume_expansion != Some(true) => Ok(Some(name)),
        Ok(_) => Ok(None),
        Err(error) if error.category() == Category::Forbidden => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a claim is to be marked as kept, or no longer; `None` where it is as it is to be. One
/// whose broker is gone under the policy Retain is kept for good, whatever the policy says later;
/// one that a broker takes up again is like any other.
fn retains(
    cluster: &KafkaCluster,
    live: &LiveObjects,
    names: &Names<'_>,
    id: BrokerId,
    claim: &PersistentVolumeClaim,
) -> Option<bool> {
    let size = live.set(names)?.spec.as_ref()?.replicas?;
    let policy = cluster.spec.brokers.storage.as_ref()?.deletion_policy;
    let left = id.0 >= size && !live.pods.contains_key(&id);
    match is_retained(claim) {
        true => (id.0 < size).then_some(false),
        false => (left && policy == StorageDeletionPolicy::Retain).then_some(true),
    }
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
        assert!(is_less(requested(&claim("1Gi", &[])), Some("2Gi")));
        assert!(!is_less(requested(&claim("2Gi", &[])), Some("2048Mi")));
        assert!(!is_less(capacity(&claim("2Gi", &[])), Some("3Gi")), "not known");
    }

    #[test]
    fn what_becomes_of_a_growing_volume_is_told() {
        let with = |status| {
            let mut claim = claim("2Gi", &[]);
            claim.status = Some(serde_json::from_value(status).unwrap());
            let said = growth(&[(BrokerId(0), claim)].into());
            said.into_iter().map(|p| (p.reason, p.message, p.lasting)).next()
        };
        assert_eq!(with(json!({"capacity": {"storage": "2Gi"}})), None);
        let grows = with(json!({"capacity": {"storage": "1Gi"}})).unwrap();
        assert_eq!(grows, ("VolumeResizing", "volumes grow: data-c-broker-0 to 2Gi".into(), false));
        let error =
            json!([{"type": "ControllerResizeError", "status": "True", "message": "quota"}]);
        let failed = with(json!({"capacity": {"storage": "1Gi"}, "conditions": error})).unwrap();
        let words = "volumes could not grow: data-c-broker-0 (quota)";
        assert_eq!(failed, ("VolumeResizeFailed", words.into(), true));
        let infeasible = json!({"storage": "NodeResizeInfeasible"});
        let failed = with(json!({"allocatedResourceStatuses": infeasible})).unwrap();
        assert!(failed.2 && failed.1.contains("NodeResizeInfeasible"));
    }

    #[test]
    fn volumes_that_go_or_are_gone_are_told_of_with_the_command_that_keeps_them() {
        let mut live = LiveObjects::default();
        for id in [0, 1, 2] {
            let mut claim = claim("1Gi", &[]);
            claim.metadata.name = Some(format!("data-c-broker-{id}"));
            claim.spec.as_mut().unwrap().volume_name = Some(format!("pv-{id}"));
            live.claims.insert(BrokerId(id), claim);
            live.pods.insert(BrokerId(id), Default::default());
        }
        assert_eq!(going(&live), []);
        let at = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        live.claims.get_mut(&BrokerId(1)).unwrap().metadata.deletion_timestamp = Some(at);
        let lost = live.claims.get_mut(&BrokerId(2)).unwrap();
        lost.status = serde_json::from_value(json!({"phase": "Lost"})).unwrap();
        assert!(view(lost, 0).lost);
        let told = going(&live);
        assert_eq!((told[0].reason, told[1].reason), ("VolumeGoing", "VolumeLost"));
        let command = "kubectl patch pv pv-1 --patch \
                       '{\"spec\":{\"persistentVolumeReclaimPolicy\":\"Retain\"}}'";
        assert!(told[0].message.contains("data-c-broker-1 are being"), "{}", told[0].message);
        assert!(told[0].message.ends_with(command), "{}", told[0].message);
        assert!(told[1].message.contains("data-c-broker-2 no longer exist"));
        live.pods.clear();
        assert_eq!(going(&live), [], "what no pod uses goes at once");
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
