//! The controller of `KafkaCluster`. Watches say when to look; a pass then reads everything anew,
//! decides, applies, takes at most one step, and reports.

mod act;
mod claims;
mod dynamic;
mod kinds;
mod lost;
mod observe;
mod owned_objects;
pub mod owner;
mod pass;
mod problem;
mod remembered;
mod risks;
mod secret;
mod status;
mod upgrade;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use build::Names;
use crd::KafkaCluster;
use futures::stream::{BoxStream, select_all};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{self, Action, Config, Controller};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::{Predicate, WatchStreamExt, predicates, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::error::{Category, Error};
use crate::kafka::Admin;
use crate::runtime::Stop;
use crate::{Context, apply};
use kinds::managed_kinds;
use observe::Nodes;

/// Churn of pods within so much time is one pass.
const DEBOUNCE: Duration = Duration::from_millis(300);
/// Wait after the first failure without a fixed one, and the longest.
const BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(120);
/// A pass that takes longer gives its place to other clusters, and begins anew.
const PASS_MAX: Duration = Duration::from_secs(180);
const CLUSTER_LABEL: &str = "barnabas.dev/cluster";

/// What passes share.
pub struct Operator {
    pub context: Arc<Context>,
    pub nodes: Arc<Nodes>,
    /// Failures in a row of each cluster: they only stretch the wait.
    failures: Mutex<HashMap<(String, String), u32>>,
    /// Connections to the brokers of each cluster.
    admins: Mutex<HashMap<(String, String), Admin>>,
    /// Clusters of other operators that were told of, by uid, and whose.
    others: Mutex<HashSet<(String, String)>>,
    /// Clusters that are being rolled because the operator is a new one.
    rolls: Mutex<BTreeSet<(String, String)>>,
    /// Done once: those that the operator before this one had begun with are among them.
    rolls_known: OnceCell<()>,
}

/// Runs until stopped.
pub async fn run(context: Arc<Context>, stop: Stop) -> Result<()> {
    let nodes = match context.settings.global_read {
        true => Nodes::start(context.client.clone(), stop.clone()),
        false => Nodes::unknown(),
    };
    nodes.settled().await;
    let operator = Arc::new(Operator::new(context, nodes));
    let namespaces = operator.context.settings.namespaces();
    let scopes: Vec<Option<String>> = match namespaces.is_empty() {
        true => vec![None],
        false => namespaces.into_iter().map(|n| Some(n.to_owned())).collect(),
    };
    let controllers = scopes.iter().map(|scope| control(&operator, scope.as_deref(), &stop));
    futures::future::join_all(controllers).await;
    Ok(())
}

/// One controller: of one namespace, or of all.
async fn control(operator: &Arc<Operator>, namespace: Option<&str>, stop: &Stop) {
    let client = &operator.context.client;
    let (store, writer) = reflector::store();
    let changed =
        predicates::generation.combine(predicates::annotations).combine(predicates::finalizers);
    // By metadata: one that cannot be read must not keep the others from being seen.
    let sight = operator.context.watching(namespace, &KafkaCluster::kind(&()));
    let clusters = watcher(api::<Cluster>(client, namespace), watcher::Config::default())
        .default_backoff()
        .inspect(move |event| sight.saw(event.as_ref().err()))
        .modify(|cluster| cluster.managed_fields_mut().clear())
        .reflect(writer)
        .applied_objects()
        .predicate_filter(changed, Default::default());
    let config = Config::default()
        .debounce(DEBOUNCE)
        .concurrency(operator.context.settings.concurrent_clusters);
    Controller::for_stream(clusters, store)
        .with_config(config)
        .watches_stream(children(&operator.context, namespace), |child| owner(&child))
        .graceful_shutdown_on(stop.stopped())
        .run(reconcile, on_error, operator.clone())
        .for_each(async |result| match result {
            // Its objects still change while they go with it.
            Err(controller::Error::ObjectNotFound(gone)) => {
                operator.forget(gone.namespace.as_deref().unwrap_or_default(), &gone.name);
            }
            Err(error) => tracing::debug!(%error, "controller"),
            Ok(_) => {}
        })
        .await;
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// A cluster, by what it says of itself: a pass reads it anew.
type Cluster = PartialObjectMeta<KafkaCluster>;

/// An object of ours that changed, by what it says of itself.
type Child = PartialObjectMeta<Pod>;

type Children = BoxStream<'static, Result<Child, watcher::Error>>;

macro_rules! watches {
    (applied { $($f:ident: $kind:ty, $w:expr, $a:ident, $p:literal;)* }
     tended { $($g:ident: $tended:ty, $o:ident;)* }) => {
        /// Every change of an object that bears our label. Only metadata travels.
        fn children(context: &Arc<Context>, namespace: Option<&str>) -> Children {
            let all = [
                $(touched::<$kind>(context, namespace),)*
                $(touched::<$tended>(context, namespace),)*
            ];
            select_all(all).boxed()
        }
    };
}

managed_kinds!(watches);

fn touched<K>(context: &Arc<Context>, namespace: Option<&str>) -> Children
where
    K: apply::Child + Resource<Scope = NamespaceResourceScope> + Send + Sync + 'static,
{
    let config = watcher::Config::default()
        .labels(&format!("app.kubernetes.io/managed-by={}", apply::MANAGER));
    let sight = context.watching(namespace, &K::kind(&()));
    watcher(api::<PartialObjectMeta<K>>(&context.client, namespace), config)
        .default_backoff()
        .inspect(move |event| sight.saw(event.as_ref().err()))
        .touched_objects()
        .map_ok(|object| Child {
            types: object.types,
            metadata: object.metadata,
            _phantom: std::marker::PhantomData,
        })
        .boxed()
}

/// The cluster that an object belongs to, by its label.
fn owner(child: &Child) -> Option<ObjectRef<Cluster>> {
    let name = child.labels().get(CLUSTER_LABEL)?;
    Some(ObjectRef::new(name).within(child.namespace()?.as_str()))
}

async fn reconcile(object: Arc<Cluster>, operator: Arc<Operator>) -> Result<Action, Error> {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let begun = Instant::now();
    let pass = timeout(PASS_MAX, operator.pass(&namespace, &name));
    let result = pass.await.unwrap_or_else(|_| Err(Error::Timeout("the pass".into())));
    let failure = result.as_ref().err().map(Error::category);
    operator.context.metrics.passed("cluster", begun.elapsed(), failure);
    if let Err(error) = &result {
        match failure {
            // Seen again at once, and nobody has to know.
            Some(Category::Conflict) => {
                tracing::info!(namespace, name, %error, "somebody else wrote in between");
            }
            _ => tracing::warn!(namespace, name, %error, "pass failed"),
        }
        operator.report_failure(&namespace, &name, error).await;
    } else {
        operator.failures.lock().remove(&(namespace, name));
    }
    result
}

fn on_error(object: Arc<Cluster>, error: &Error, operator: Arc<Operator>) -> Action {
    let key = (object.namespace().unwrap_or_default(), object.name_any());
    let mut failures = operator.failures.lock();
    let in_a_row = failures.entry(key).or_insert(0);
    *in_a_row = in_a_row.saturating_add(1);
    let wait = error.category().retry().unwrap_or_else(|| backoff(*in_a_row));
    Action::requeue(wait)
}

fn backoff(failures: u32) -> Duration {
    let factor = 1_u32 << failures.saturating_sub(1).min(10);
    (BACKOFF * factor).min(BACKOFF_MAX)
}

impl Operator {
    fn new(context: Arc<Context>, nodes: Arc<Nodes>) -> Operator {
        Operator {
            context,
            nodes,
            failures: Mutex::default(),
            admins: Mutex::default(),
            others: Mutex::default(),
            rolls: Mutex::default(),
            rolls_known: OnceCell::new(),
        }
    }

    /// The cluster is gone: so are its connections and its series.
    fn forget(&self, namespace: &str, name: &str) {
        self.context.metrics.forget_cluster(namespace, name);
        let key = (namespace.to_owned(), name.to_owned());
        self.failures.lock().remove(&key);
        self.admins.lock().remove(&key);
        self.rolls.lock().remove(&key);
        self.context.throttles.forget(namespace, name);
    }
}

/// A user has to see what only a user can mend.
fn reason_of(category: Category) -> Option<&'static str> {
    match category {
        Category::Rejected => Some("RefusedByKubernetes"),
        Category::Forbidden => Some("Forbidden"),
        Category::Foreign => Some("NameTaken"),
        Category::Internal => Some("InternalError"),
        Category::Conflict | Category::Api | Category::Brokers | Category::Timeout => None,
    }
}

fn names(cluster: &KafkaCluster) -> Names<'_> {
    Names {
        cluster: cluster.metadata.name.as_deref().unwrap_or_default(),
        namespace: cluster.metadata.namespace.as_deref().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn waits_grow_with_failures_up_to_a_limit() {
        assert_eq!(backoff(1), Duration::from_secs(1));
        assert_eq!(backoff(4), Duration::from_secs(8));
        assert_eq!(backoff(u32::MAX), BACKOFF_MAX);
    }
}
