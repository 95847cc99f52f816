//! Writes to the API server: the status and the finalizer of a resource. A trait, so that tests can
//! do without one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crd::KafkaCluster;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, Resource};
use serde_json::json;
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use super::resource::{Entity, Entry, Key, Wish};
use crate::apply::MANAGER;
use crate::error::pages;
use crate::runtime::{Metrics, Severity};
use crate::{Context, Error, Result};

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
pub trait Resources<E: Entity>: Send + Sync + 'static {
    fn metrics(&self) -> &Metrics;
    /// Asked before something is given up for good because a cluster is gone.
    fn cluster_exists(&self, key: &Key) -> impl Future<Output = Result<bool>> + Send;
    /// Entities, by their names in Kafka, that resources of the cluster name which are not being
    /// deleted and not among `known` (by uid). Asked before an entity is deleted.
    fn named_by_others(
        &self,
        cluster: &Key,
        known: &BTreeSet<String>,
    ) -> impl Future<Output = Result<BTreeSet<String>>> + Send;
    /// Nobody else sets or ends the throttle of the cluster meanwhile.
    fn hold_throttle(&self, cluster: &Key) -> impl Future<Output = OwnedMutexGuard<()>> + Send;
    fn write_status(
        &self,
        entry: &Entry<E>,
        status: &E::Status,
    ) -> impl Future<Output = Result<Written>> + Send;
    /// Replaces the finalizers that `entry` has.
    fn write_finalizers(
        &self,
        entry: &Entry<E>,
        finalizers: &[String],
    ) -> impl Future<Output = Result<Written>> + Send;
    fn event(
        &self,
        entry: &Entry<E>,
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
    fn api<E: Entity>(&self, entry: &Entry<E>) -> Api<E::Resource> {
        Api::namespaced(self.context.client.clone(), entry.wish.namespace())
    }
}

impl<E: Entity> Resources<E> for ApiServer {
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
        // As they come: one that cannot be read names an entity all the same.
        let kind = ApiResource::erase::<E::Resource>(&());
        let client = self.context.client.clone();
        let api: Api<DynamicObject> = Api::namespaced_with(client, &cluster.namespace, &kind);
        let list = |params| {
            let api = &api;
            async move { api.list(&params).await }
        };
        let doing = format!("list {}s", kind.kind);
        let resources = pages(&doing, ListParams::default(), list).await?;
        let others = resources.iter().filter(|resource| {
            let living = resource.metadata.deletion_timestamp.is_none();
            let ours = resource.data["spec"]["clusterRef"]["name"] == cluster.name;
            let uid = resource.metadata.uid.as_ref();
            living && ours && uid.is_some_and(|uid| !known.contains(uid))
        });
        Ok(others.map(E::name_in_kafka).collect())
    }

    async fn hold_throttle(&self, cluster: &Key) -> OwnedMutexGuard<()> {
        self.context.throttles.hold(&cluster.namespace, &cluster.name).await
    }

    async fn write_status(&self, entry: &Entry<E>, status: &E::Status) -> Result<Written> {
        let kind = E::Resource::kind(&());
        self.context.metrics.wrote(&format!("{kind}Status"));
        let patch = json!({
            "apiVersion": E::Resource::api_version(&()),
            "kind": kind,
            "metadata": { "name": entry.wish.name(), "uid": entry.wish.uid() },
            "status": status,
        });
        let params = PatchParams::apply(MANAGER).force();
        let api = self.api(entry);
        let patch = Patch::Apply(&patch);
        let writing = api.patch_status(entry.wish.name(), &params, &patch);
        let doing = || format!("write the status of {kind} {}", entry.wish.name());
        written(timeout(PATIENCE, writing).await.map_err(|_| Error::Timeout(doing()))?, doing)
    }

    async fn write_finalizers(&self, entry: &Entry<E>, finalizers: &[String]) -> Result<Written> {
        let kind = E::Resource::kind(&());
        self.context.metrics.wrote(&kind);
        // A JSON patch with tests where there are some: the version may have moved on with a
        // status that we wrote ourselves.
        let version = json!({ "metadata": {
            "resourceVersion": entry.resource_version, "finalizers": finalizers,
        } });
        let replace = json!([
            { "op": "test", "path": "/metadata/uid", "value": entry.wish.uid() },
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
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..Default::default() };
        let writing = api.patch(entry.wish.name(), &params, &patch);
        let doing = || format!("write the finalizers of {kind} {}", entry.wish.name());
        written(timeout(PATIENCE, writing).await.map_err(|_| Error::Timeout(doing()))?, doing)
    }

    async fn event(&self, entry: &Entry<E>, severity: Severity, reason: &str, note: &str) {
        let on = ObjectReference {
            api_version: Some(E::Resource::api_version(&()).into_owned()),
            kind: Some(E::Resource::kind(&()).into_owned()),
            name: Some(entry.wish.name().to_owned()),
            namespace: Some(entry.wish.namespace().to_owned()),
            uid: Some(entry.wish.uid().to_owned()),
            ..ObjectReference::default()
        };
        let Context { events, metrics, .. } = &*self.context;
        events.publish(metrics, &on, severity, reason, "Reconcile", note).await;
    }
}

fn written<K>(result: kube::Result<K>, doing: impl Fn() -> String) -> Result<Written> {
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
