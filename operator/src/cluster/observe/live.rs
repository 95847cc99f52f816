//! The objects of a cluster as the API server has them now. They are read anew in every pass, so
//! that nothing is decided on what a cache has not yet heard of; watches only say when to look.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use base::BrokerId;
use build::Names;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::super::kinds::managed_kinds;
use crate::apply::controller_of;
use crate::error::{Error, Result, pages};

/// All reads of a pass, which are made side by side.
const PATIENCE: Duration = Duration::from_secs(15);

macro_rules! live_objects {
    (applied { $($name:ident: $kind:ty, $w:expr, $a:ident, $p:literal;)* }
     tended { $($tended:ident: $made:ty, $broker:ident;)* }) => {
        /// The objects of a cluster: those that are applied by name, those that Kubernetes makes
        /// for the set by broker.
        #[derive(Default)]
        pub struct LiveObjects {
            $(pub $name: BTreeMap<String, $kind>,)*
            $(pub $tended: BTreeMap<BrokerId, $made>,)*
        }

        /// Reads everything that bears the cluster's labels.
        pub async fn read(client: &Client, names: &Names<'_>) -> Result<LiveObjects> {
            let reads = async {
                tokio::try_join!(
                    $(list::<$kind>(client, names),)*
                    $(list::<$made>(client, names),)*
                )
            };
            let late = |_| Error::Timeout("read objects".into());
            let ($($name,)* $($tended,)*) = timeout(PATIENCE, reads).await.map_err(late)??;
            Ok(LiveObjects {
                $($name: by_name($name),)*
                $($tended: by_broker($tended, |object| $broker(object, names)),)*
            })
        }
    };
}

managed_kinds!(live_objects);

impl LiveObjects {
    pub fn set<'a>(&'a self, names: &Names<'_>) -> Option<&'a StatefulSet> {
        self.sets.get(&names.broker())
    }
}

fn by_name<K: Resource>(objects: Vec<K>) -> BTreeMap<String, K> {
    objects.into_iter().map(|object| (object.name_any(), object)).collect()
}

fn by_broker<K: Resource>(
    objects: Vec<K>,
    broker: impl Fn(&K) -> Option<BrokerId>,
) -> BTreeMap<BrokerId, K> {
    objects.into_iter().filter_map(|object| Some((broker(&object)?, object))).collect()
}

fn broker_of_pod(pod: &Pod, names: &Names<'_>) -> Option<BrokerId> {
    let set = names.broker();
    let name = pod.metadata.name.as_deref().filter(|_| is_of_set(pod, &set))?;
    super::pods::ordinal(name, &format!("{set}-"))
}

fn broker_of_claim(claim: &PersistentVolumeClaim, names: &Names<'_>) -> Option<BrokerId> {
    super::pods::ordinal(claim.metadata.name.as_deref()?, &format!("data-{}-", names.broker()))
}

/// While a set is recreated its pods have no owner, or that of before.
fn is_of_set(pod: &Pod, set: &str) -> bool {
    controller_of(pod).is_none_or(|owner| owner.kind == "StatefulSet" && owner.name == set)
}

async fn list<K>(client: &Client, names: &Names<'_>) -> Result<Vec<K>>
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
    // All of them run side by side, on one stack.
    Box::pin(pages(&doing, params, list)).await
}
