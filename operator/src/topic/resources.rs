//! Writes to the API server: the status and the finalizer of a Topic. A trait, so that tests can
//! do without one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crd::{KafkaCluster, Topic, TopicStatus};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use super::index::{Entry, FINALIZER, Key};
use crate::error::pages;
use crate::runtime::{Metrics, Severity};
use crate::{Context, Error, Result};

const FIELD_MANAGER: &str = "barnabas-operator";
/// One request.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Whether a write had something to write to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    Done,
    /// The resource is gone, or another one of the same name.
    Gone,
    /// Somebody else wrote in between: the watch tells what.
    Raced,
}

/// What this controller writes to, and asks of, the API server.
pub trait Resources: Send + Sync + 'static {
    fn metrics(&self) -> &Metrics;
    /// Asked before something is given up for good because a cluster is gone.
    fn cluster_exists(&self, key: &Key) -> impl Future<Output = Result<bool>> + Send;
    /// Topics, by their names in Kafka, that resources of the cluster name which are not being
    /// deleted and not among `known` (by uid). Asked before a topic is deleted.
    fn named_by_others(
        &self,
        cluster: &Key,
        known: &BTreeSet<String>,
    ) -> impl Future<Output = Result<BTreeSet<String>>> + Send;
    /// Nobody else sets or ends the throttle of the cluster meanwhile.
    fn hold_throttle(&self, cluster: &Key) -> impl Future<Output = OwnedMutexGuard<()>> + Send;
    fn write_status(
        &self,
        entry: &Entry,
        status: &TopicStatus,
    ) -> impl Future<Output = Result<Written>> + Send;
    /// Replaces the finalizers that `entry` has.
    fn write_finalizers(
        &self,
        entry: &Entry,
        finalizers: &[String],
    ) -> impl Future<Output = Result<Written>> + Send;
    fn event(
        &self,
        entry: &Entry,
        severity: Severity,
        reason: &str,
        note: &str,
    ) -> impl Future<Output = ()> + Send;
}

/// The API server.
pub struct ApiServer {
    pub context: Arc<Context>,
}

impl ApiServer {
    fn api(&self, entry: &Entry) -> Api<Topic> {
        Api::namespaced(self.context.client.clone(), &entry.wish.namespace)
    }
}

impl Resources for ApiServer {
    fn metrics(&self) -> &Metrics {
        &self.context.metrics
    }

    async fn cluster_exists(&self, key: &Key) -> Result<bool> {
        let api: Api<KafkaCluster> = Api::namespaced(self.context.client.clone(), &key.namespace);
        let doing = || format!("look for KafkaCluster {}", key.name);
        let found = timeout(PATIENCE, api.get_metadata_opt(&key.name)).await;
        let found = found.map_err(|_| Error::Timeout(doing()))?.map_err(Error::api(doing()))?;
        Ok(found.is_some_and(|cluster| cluster.metadata.deletion_timestamp.is_none()))
    }

    async fn named_by_others(
        &self,
        cluster: &Key,
        known: &BTreeSet<String>,
    ) -> Result<BTreeSet<String>> {
        // As they come: one that cannot be read names a topic all the same.
        let kind = ApiResource::erase::<Topic>(&());
        let client = self.context.client.clone();
        let api: Api<DynamicObject> = Api::namespaced_with(client, &cluster.namespace, &kind);
        let list = |params| {
            let api = &api;
            async move { api.list(&params).await }
        };
        let topics = pages("list Topics", ListParams::default(), list).await?;
        let others = topics.iter().filter(|topic| {
            let living = topic.metadata.deletion_timestamp.is_none();
            living && topic.metadata.uid.as_ref().is_some_and(|uid| !known.contains(uid))
        });
        Ok(others.filter_map(|topic| topic_of(topic, &cluster.name)).collect())
    }

    async fn hold_throttle(&self, cluster: &Key) -> OwnedMutexGuard<()> {
        self.context.throttles.hold(&cluster.namespace, &cluster.name).await
    }

    async fn write_status(&self, entry: &Entry, status: &TopicStatus) -> Result<Written> {
        self.context.metrics.wrote("TopicStatus");
        let patch = json!({
            "apiVersion": format!("{}/{}", crd::GROUP, crd::VERSION),
            "kind": "Topic",
            "metadata": { "name": entry.wish.name, "uid": entry.wish.uid },
            "status": status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let api = self.api(entry);
        let patch = Patch::Apply(&patch);
        let writing = api.patch_status(&entry.wish.name, &params, &patch);
        let doing = || format!("write the status of Topic {}", entry.wish.name);
        written(timeout(PATIENCE, writing).await.map_err(|_| Error::Timeout(doing()))?, doing)
    }

    async fn write_finalizers(&self, entry: &Entry, finalizers: &[String]) -> Result<Written> {
        self.context.metrics.wrote("Topic");
        // A JSON patch with tests where there are some: the version may have moved on with a
        // status that we wrote ourselves.
        let version = json!({ "metadata": {
            "resourceVersion": entry.resource_version, "finalizers": finalizers,
        } });
        let replace = json!([
            { "op": "test", "path": "/metadata/uid", "value": entry.wish.uid },
            { "op": "test", "path": "/metadata/finalizers", "value": entry.finalizers },
            { "op": "replace", "path": "/metadata/finalizers", "value": finalizers },
        ]);
        let patch: Patch<serde_json::Value> = match entry.finalizers.is_empty() {
            true => Patch::Merge(version),
            false => Patch::Json(
                serde_json::from_value(replace)
                    .map_err(|error| Error::Build(format!("patch of the finalizers: {error}")))?,
            ),
        };
        let api = self.api(entry);
        let params =
            PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
        let writing = api.patch(&entry.wish.name, &params, &patch);
        let doing = || format!("write the finalizers of Topic {}", entry.wish.name);
        written(timeout(PATIENCE, writing).await.map_err(|_| Error::Timeout(doing()))?, doing)
    }

    async fn event(&self, entry: &Entry, severity: Severity, reason: &str, note: &str) {
        let on = ObjectReference {
            api_version: Some(format!("{}/{}", crd::GROUP, crd::VERSION)),
            kind: Some("Topic".into()),
            name: Some(entry.wish.name.clone()),
            namespace: Some(entry.wish.namespace.clone()),
            uid: Some(entry.wish.uid.clone()),
            ..ObjectReference::default()
        };
        let Context { events, metrics, .. } = &*self.context;
        events.publish(metrics, &on, severity, reason, "Reconcile", note).await;
    }
}

/// The topic that a resource names in that cluster.
fn topic_of(topic: &DynamicObject, cluster: &str) -> Option<String> {
    let spec = &topic.data["spec"];
    let ours = spec["clusterRef"]["name"] == cluster;
    let name = spec["topicName"].as_str().map(str::to_owned);
    ours.then(|| name.unwrap_or_else(|| topic.name_any()))
}

fn written(result: kube::Result<Topic>, doing: impl Fn() -> String) -> Result<Written> {
    match result {
        Ok(_) => Ok(Written::Done),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Written::Gone),
        // 422: a test of the patch did not hold.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Written::Raced),
        Err(kube::Error::Api(status))
            if status.code == 422 && status.message.contains("test operation") =>
        {
            Ok(Written::Raced)
        }
        Err(error) => Err(Error::api(doing())(error)),
    }
}

/// The finalizers that a resource is to have; `None` where it has them.
pub fn finalizers(entry: &Entry, wanted: bool) -> Option<Vec<String>> {
    match (entry.has_finalizer(), wanted) {
        (true, false) => {
            let others = entry.finalizers.iter().filter(|name| *name != FINALIZER);
            Some(others.cloned().collect())
        }
        (false, true) => {
            let mut all = entry.finalizers.clone();
            all.push(FINALIZER.to_owned());
            Some(all)
        }
        _ => None,
    }
}
