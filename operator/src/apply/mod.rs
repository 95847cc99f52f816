//! Server-side apply that writes only what differs: a converged cluster causes no writes. An
//! object is written when it is missing, when what is wanted has changed since it was last written
//! (an annotation keeps a hash of that), or when somebody changed what the operator set.

mod compare;
mod marks;

pub use compare::{covers, quantity};
pub use marks::Marks;

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Context;
use crate::error::{Error, Result, request};
use crate::runtime::Metrics;

/// The field manager of everything that the operator writes.
pub const MANAGER: &str = "barnabas-operator";
/// Annotation with the hash of what was last applied.
pub const HASH: &str = "barnabas.dev/applied-hash";

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// A kind that the operator writes.
pub trait Child: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug {}

impl<K> Child for K where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug
{
}

/// Makes one object what is wanted. `live` is the object as it was listed; `owner` is the uid that
/// controls it. Returns the object, and whether it was written.
pub async fn apply<K: Child>(
    context: &Context,
    api: &Api<K>,
    owner: &str,
    wanted: &K,
    live: Option<&K>,
) -> Result<(K, bool)> {
    let name = wanted.name_any();
    let kind = K::kind(&());
    let fetched = match live {
        Some(_) => None,
        // Without our labels it was not listed; it may be there all the same.
        None => request(format!("read {kind} {name}"), api.get_opt(&name)).await?,
    };
    let live = live.or(fetched.as_ref());
    let mut wanted = value_of(wanted)?;
    let hash = hash_text(&wanted);
    wanted["metadata"]["annotations"][HASH] = json!(hash);
    if let Some(live) = live {
        check_owner(live, owner)?;
        if compare::covers(&value_of(live)?, &wanted) {
            context.marks.forget(owner, live);
            return Ok((live.clone(), false));
        }
        if context.marks.know(owner, live, &hash) {
            return Ok((live.clone(), false));
        }
    }
    context.metrics.wrote(&kind);
    let params = PatchParams::apply(MANAGER).force();
    let patch = Patch::Apply(&wanted);
    let applying = api.patch(&name, &params, &patch);
    let applied = request(format!("apply {kind} {name}"), applying).await?;
    tracing::info!(kind = %kind, name, "applied");
    if !compare::covers(&value_of(&applied)?, &wanted) {
        context.marks.note(owner, &applied, &hash);
    }
    Ok((applied, true))
}

/// What tells one wish from another.
pub fn hash_of<K: Child>(wanted: &K) -> Result<String> {
    Ok(hash_text(&value_of(wanted)?))
}

fn hash_text(wanted: &Value) -> String {
    format!("{:016x}", compare::hash(wanted))
}

/// The object as it is sent.
pub fn value_of<K: Serialize>(object: &K) -> Result<Value> {
    serde_json::to_value(object).map_err(|e| Error::Build(e.to_string()))
}

/// Changes a part of an object that something else owns: a pod, a volume claim.
pub async fn patch_part<K: Child>(
    metrics: &Metrics,
    api: &Api<K>,
    name: &str,
    part: &Value,
) -> Result<K> {
    let kind = K::kind(&());
    metrics.wrote(&kind);
    tracing::info!(kind = %kind, name, "patched");
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    let patch = Patch::Merge(part);
    request(format!("patch {kind} {name}"), api.patch(name, &params, &patch)).await
}

/// An object of that name that belongs to something else is not taken over.
fn check_owner<K: Child>(live: &K, owner: &str) -> Result<()> {
    let foreign = |why: String| {
        Err(Error::Foreign(format!("{} {} exists and {why}", K::kind(&()), live.name_any())))
    };
    match controller_of(live) {
        Some(by) if by.uid == owner => Ok(()),
        Some(by) => foreign(format!("belongs to {} {}", by.kind, by.name)),
        None if live.labels().get(MANAGED_BY).is_some_and(|by| by == MANAGER) => Ok(()),
        None => foreign("was not made by the operator".into()),
    }
}

/// The owner reference that controls an object.
pub fn controller_of<K: Resource>(object: &K) -> Option<&OwnerReference> {
    object.owner_references().iter().find(|o| o.controller == Some(true))
}
