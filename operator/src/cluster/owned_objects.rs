//! Applies the objects of a cluster, and removes those that it no longer has.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::slice::from_ref;

use build::{Names, Objects};
use crd::KafkaCluster;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, Preconditions, PropagationPolicy};
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};

use super::kinds::managed_kinds;
use super::observe::LiveObjects;
use super::problem::Problem;
use crate::apply::{Child, apply, controller_of, quantity};
use crate::error::{Category, Error, Result, request};
use crate::{Context, apply as applying};

/// What became of the objects.
#[derive(Default)]
pub struct Applied {
    pub wrote: bool,
    /// Services that Kubernetes refuses, with its reason.
    pub refused: Option<Problem>,
}

/// Services named in one message.
const NAMED_MAX: usize = 3;

macro_rules! apply_in_order {
    (applied { $($live:ident: $kind:ty, $wanted:expr, $apply:ident, $pruned:literal;)* }
     $($tended:tt)*) => {
        impl Writer<'_> {
            async fn every_kind(&self, objects: &Objects, live: &LiveObjects) -> Result<Applied> {
                let mut done = Applied::default();
                $({
                    let wanted: fn(&Objects) -> &[$kind] = $wanted;
                    self.$apply(wanted(objects), &live.$live, &mut done).await?;
                })*
                $(if $pruned {
                    let wanted: fn(&Objects) -> &[$kind] = $wanted;
                    self.prune(wanted(objects), &live.$live, &mut done).await?;
                })*
                Ok(done)
            }
        }
    };
}

managed_kinds!(apply_in_order);

/// Applies everything, the StatefulSet last: its pods need the rest. A listener's Service that is
/// refused is told of and holds nothing else up.
pub async fn apply_all(
    context: &Context,
    cluster: &KafkaCluster,
    names: &Names<'_>,
    live: &LiveObjects,
    objects: &Objects,
) -> Result<Applied> {
    Writer::new(context, cluster, names).every_kind(objects, live).await
}

/// Applies the ConfigMap alone. Returns whether it was written.
pub async fn apply_config(
    context: &Context,
    cluster: &KafkaCluster,
    names: &Names<'_>,
    live: &LiveObjects,
    config: &ConfigMap,
) -> Result<bool> {
    let mut done = Applied::default();
    let writer = Writer::new(context, cluster, names);
    writer.all(from_ref(config), &live.config_maps, &mut done).await?;
    Ok(done.wrote)
}

struct Writer<'a> {
    context: &'a Context,
    names: &'a Names<'a>,
    owner: &'a str,
}

impl<'a> Writer<'a> {
    fn new(context: &'a Context, cluster: &'a KafkaCluster, names: &'a Names<'a>) -> Writer<'a> {
        Writer { context, names, owner: cluster.metadata.uid.as_deref().unwrap_or_default() }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.context.client.clone(), self.names.namespace)
    }

    async fn all<K>(
        &self,
        wanted: &[K],
        live: &BTreeMap<String, K>,
        done: &mut Applied,
    ) -> Result<()>
    where
        K: Child + Resource<Scope = NamespaceResourceScope>,
    {
        for wanted in wanted {
            done.wrote |= self.one(wanted, live).await?;
        }
        Ok(())
    }

    async fn one<K>(&self, wanted: &K, live: &BTreeMap<String, K>) -> Result<bool>
    where
        K: Child + Resource<Scope = NamespaceResourceScope>,
    {
        let live = live.get(&wanted.name_any());
        Ok(apply(self.context, &self.api(), self.owner, wanted, live).await?.1)
    }

    /// A node port that is taken, a field that cannot change, a quota: brokers need only the names
    /// that the first Services give them.
    async fn services(
        &self,
        wanted: &[Service],
        live: &BTreeMap<String, Service>,
        done: &mut Applied,
    ) -> Result<()> {
        let mut refused = Vec::new();
        let needed = [self.names.headless_service(), self.names.bootstrap_service()];
        for service in wanted {
            match self.one(service, live).await {
                Ok(wrote) => done.wrote |= wrote,
                Err(error) if is_refusal(&error) && !needed.contains(&service.name_any()) => {
                    tracing::warn!(service = service.name_any(), %error, "refused");
                    refused.push(error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        done.refused = refusal(&refused);
        Ok(())
    }

    async fn sets(
        &self,
        wanted: &[StatefulSet],
        live: &BTreeMap<String, StatefulSet>,
        done: &mut Applied,
    ) -> Result<()> {
        for wanted in wanted {
            done.wrote |= self.set(wanted, live.get(&wanted.name_any())).await?;
        }
        Ok(())
    }

    /// A field that Kubernetes does not let change: the set is made anew around its pods.
    async fn set(&self, wanted: &StatefulSet, live: Option<&StatefulSet>) -> Result<bool> {
        let api = self.api();
        let Some(old) = live else {
            return Ok(apply(self.context, &api, self.owner, wanted, None).await?.1);
        };
        if old.metadata.deletion_timestamp.is_some() {
            // It goes once its pods are orphans, and is then made anew.
            return Ok(false);
        }
        let hash = applying::hash_of(wanted)?;
        let wanted = same_quantities(old, wanted);
        let name = wanted.name_any();
        let field = match build::immutable_difference(old, &wanted) {
            Some(field) => field,
            None => match apply(self.context, &api, self.owner, &wanted, live).await {
                Ok((_, wrote)) => return Ok(wrote),
                Err(error) if is_immutable(&error) => "a field that cannot change",
                Err(error) => return Err(error),
            },
        };
        if self.context.marks.know(self.owner, old, &hash) {
            // A policy changed what was made: it would do so again.
            return Ok(false);
        }
        tracing::info!(name, field, "recreating the StatefulSet around its pods");
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Orphan),
            ..delete_this(old)
        };
        self.context.metrics.wrote("StatefulSet");
        delete(&api, &name, &params).await?;
        Ok(true)
    }

    /// Deletes what this cluster owns and no longer wants.
    async fn prune<K>(
        &self,
        wanted: &[K],
        live: &BTreeMap<String, K>,
        done: &mut Applied,
    ) -> Result<()>
    where
        K: Child + Resource<Scope = NamespaceResourceScope> + Debug,
    {
        let wanted: BTreeSet<String> = wanted.iter().map(ResourceExt::name_any).collect();
        let api: Api<K> = self.api();
        for (name, object) in live.iter().filter(|(name, _)| !wanted.contains(*name)) {
            let ours = controller_of(object).is_some_and(|owner| owner.uid == self.owner);
            if ours && object.meta().deletion_timestamp.is_none() {
                tracing::info!(kind = %K::kind(&()), name, "deleting what is no longer wanted");
                self.context.metrics.wrote(&K::kind(&()));
                delete(&api, name, &delete_this(object)).await?;
                done.wrote = true;
            }
        }
        Ok(())
    }
}

/// The API server's own list of what may change in a set is the newest there is.
fn is_immutable(error: &Error) -> bool {
    let says = error.to_string().contains("updates to statefulset spec for fields other than");
    error.category() == Category::Rejected && says
}

fn is_refusal(error: &Error) -> bool {
    matches!(error.category(), Category::Rejected | Category::Forbidden | Category::Foreign)
}

fn refusal(refused: &[String]) -> Option<Problem> {
    let named = &refused[..refused.len().min(NAMED_MAX)];
    let rest = match refused.len() - named.len() {
        0 => String::new(),
        rest => format!("; and {rest} more"),
    };
    let message = format!("Kubernetes refuses {}{rest}", named.join("; "));
    (!refused.is_empty()).then_some(Problem { reason: "ServiceRefused", message, lasting: true })
}

/// Only this very object, not one that took its name since.
pub fn delete_this<K: Resource>(object: &K) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions {
            uid: object.meta().uid.clone(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    }
}

/// Deletes; what is gone already is no error.
pub async fn delete<K: Child>(api: &Api<K>, name: &str, params: &DeleteParams) -> Result<()> {
    let doing = format!("delete {} {name}", K::kind(&()));
    match request(doing, api.delete(name, params)).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// The API server may write a size its own way (`1Gi` for `1024Mi`): then its text is taken, so
/// that only a different size is a difference.
fn same_quantities(live: &StatefulSet, wanted: &StatefulSet) -> StatefulSet {
    let mut wanted = wanted.clone();
    let live = live.spec.iter().flat_map(|s| s.volume_claim_templates.iter().flatten());
    let mine = wanted.spec.iter_mut().flat_map(|s| s.volume_claim_templates.iter_mut().flatten());
    for (live, wanted) in live.zip(mine) {
        let of = |claim: &k8s_openapi::api::core::v1::PersistentVolumeClaim| {
            claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage").cloned()
        };
        let (Some(live), Some(now)) = (of(live), of(wanted)) else { continue };
        if quantity(&live.0) != quantity(&now.0) {
            continue;
        }
        let requests = wanted.spec.as_mut().and_then(|s| s.resources.as_mut()?.requests.as_mut());
        if let Some(size) = requests.and_then(|requests| requests.get_mut("storage")) {
            *size = live;
        }
    }
    wanted
}

/// Sets one annotation of a pod.
pub async fn annotate_pod(
    context: &Context,
    namespace: &str,
    pod: &str,
    key: &str,
    value: Option<&str>,
) -> Result<()> {
    let api: Api<k8s_openapi::api::core::v1::Pod> =
        Api::namespaced(context.client.clone(), namespace);
    let part: Value = json!({"metadata": {"annotations": {key: value}}});
    applying::patch_part(&context.metrics, &api, pod, &part).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn set(size: &str) -> StatefulSet {
        serde_json::from_value(json!({"spec": {"selector": {}, "serviceName": "s", "template": {},
            "volumeClaimTemplates": [{"metadata": {"name": "data"},
                "spec": {"resources": {"requests": {"storage": size}}}}]}}))
        .unwrap()
    }

    #[test]
    fn a_field_that_the_api_server_does_not_let_change_is_known_by_its_words() {
        let refusal = |message: &str| {
            let status = json!({"status": "Failure", "message": message, "reason": "Invalid",
                "code": 422});
            let status: kube::core::Status = serde_json::from_value(status).unwrap();
            Error::api("apply StatefulSet s")(kube::Error::Api(Box::new(status)))
        };
        assert!(is_immutable(&refusal(
            "StatefulSet.apps \"s\" is invalid: spec: Forbidden: updates to statefulset spec for \
             fields other than 'replicas', 'ordinals', 'template' are forbidden"
        )));
        assert!(!is_immutable(&refusal("spec.template: Required value")));
    }

    #[test]
    fn a_set_is_recreated_for_another_size_not_for_another_spelling() {
        let live = set("1Gi");
        let differs =
            |size| build::immutable_difference(&live, &same_quantities(&live, &set(size)));
        assert_eq!(differs("1024Mi"), None);
        assert_eq!(differs("2Gi"), Some("volumeClaimTemplates"));
    }
}
