//! The objects of a cluster as the API server has them now. They are read anew in every pass, so
//! that nothing is decided on what a cache has not yet heard of; watches only say when to look.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use base::BrokerId;
use futures::TryFutureExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::apply::controller_of;
use crate::error::{Error, Result, pages};

/// All reads of a pass, which are made side by side.
const PATIENCE: Duration = Duration::from_secs(15);

/// The objects of a cluster, by name.
#[derive(Default)]
pub struct LiveObjects {
    pub sets: BTreeMap<String, StatefulSet>,
    pub services: BTreeMap<String, Service>,
    pub config_maps: BTreeMap<String, ConfigMap>,
    pub budgets: BTreeMap<String, PodDisruptionBudget>,
    pub policies: BTreeMap<String, NetworkPolicy>,
    pub accounts: BTreeMap<String, ServiceAccount>,
    /// Pods of the set, by ordinal.
    pub pods: BTreeMap<BrokerId, Pod>,
    /// Volume claims of the set, by ordinal.
    pub claims: BTreeMap<BrokerId, PersistentVolumeClaim>,
}

impl LiveObjects {
    pub fn set<'a>(&'a self, names: &build::Names<'_>) -> Option<&'a StatefulSet> {
        self.sets.get(&names.broker())
    }
}

/// Reads everything that bears the cluster's labels.
pub async fn read(client: &Client, names: &build::Names<'_>) -> Result<LiveObjects> {
    let reads = async {
        tokio::try_join!(
            list::<StatefulSet>(client, names),
            list::<Service>(client, names),
            list::<ConfigMap>(client, names),
            list::<PodDisruptionBudget>(client, names),
            list::<NetworkPolicy>(client, names),
            list::<ServiceAccount>(client, names),
            list::<Pod>(client, names),
            list::<PersistentVolumeClaim>(client, names),
        )
    };
    let reads = timeout(PATIENCE, reads).map_err(|_| Error::Timeout("read objects".into())).await?;
    let (sets, services, config_maps, budgets, policies, accounts, pods, claims) = reads?;
    let set = names.broker();
    let pods = pods.into_values().filter(|pod| is_of_set(pod, &set));
    let (pod, claim) = (format!("{set}-"), format!("data-{set}-"));
    Ok(LiveObjects {
        pods: by_ordinal(pods, &pod),
        claims: by_ordinal(claims.into_values(), &claim),
        sets,
        services,
        config_maps,
        budgets,
        policies,
        accounts,
    })
}

/// While a set is recreated its pods have no owner, or that of before.
fn is_of_set(pod: &Pod, set: &str) -> bool {
    controller_of(pod).is_none_or(|owner| owner.kind == "StatefulSet" && owner.name == set)
}

fn by_ordinal<K: Resource>(
    objects: impl Iterator<Item = K>,
    prefix: &str,
) -> BTreeMap<BrokerId, K> {
    let numbered = objects.filter_map(|object| {
        let ordinal = super::pods::ordinal(object.meta().name.as_deref()?, prefix)?;
        Some((ordinal, object))
    });
    numbered.collect()
}

async fn list<K>(client: &Client, names: &build::Names<'_>) -> Result<BTreeMap<String, K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let api = Api::<K>::namespaced(client.clone(), names.namespace);
    let params = ListParams::default().labels(&build::selector(names.cluster));
    let list = |params| {
        let api = &api;
        async move { api.list(&params).await }
    };
    let doing = format!("list {}s", K::kind(&()));
    // Eight of them run side by side, on one stack.
    let objects = Box::pin(pages(&doing, params, list)).await?;
    Ok(objects.into_iter().map(|object| (object.name_any(), object)).collect())
}
