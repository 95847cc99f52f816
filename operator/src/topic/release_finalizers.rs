//! The end of an operator that lives in the namespace which it looks after. When that namespace is
//! deleted its pods go first, the operator's too, and Topics with a finalizer would keep it for
//! ever.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use crd::Topic;
use futures::{StreamExt, stream};
use kube::api::{Api, ListParams};
use tokio::time::timeout;

use super::controller::entry_of;
use super::index::Key;
use super::resources::{ApiServer, PATIENCE, Resources, finalizers};
use super::worker::WRITES_AT_A_TIME;
use crate::Context;

/// Takes our finalizer off the Topics of the operator's own namespace, if that is being deleted.
/// Called when the controllers have ended, which would put them on again.
pub async fn release_finalizers(context: &Arc<Context>) -> Result<()> {
    let Context { settings, client, .. } = &**context;
    let (own, watched) = (settings.namespace.as_str(), settings.namespaces());
    let ours = watched.is_empty() || watched.contains(&own);
    if !ours || !context.namespace_goes(own).await {
        return Ok(());
    }
    let topics: Api<Topic> = Api::namespaced(client.clone(), own);
    let listed = timeout(PATIENCE, topics.list_metadata(&ListParams::default())).await;
    let listed = listed.context("list Topics: no answer")?.context("list Topics")?;
    let entries = listed.items.into_iter().map(|topic| {
        let key = Key::new(own, topic.metadata.name.clone().unwrap_or_default());
        entry_of(&key, topic.metadata)
    });
    let held: Vec<_> =
        entries.filter_map(|e| finalizers(&e, false).map(|rest| (e, rest))).collect();
    let resources = ApiServer { context: context.clone() };
    let writing = held.iter().map(|(entry, rest)| resources.write_finalizers(entry, rest));
    let done: Vec<_> = stream::iter(writing).buffer_unordered(WRITES_AT_A_TIME).collect().await;
    tracing::info!(topics = done.len(), "let go with the namespace");
    done.into_iter().try_for_each(|written| written.map(drop)).context("let Topics go")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::super::index::FINALIZER;
    use super::*;
    use crate::fake_api::FakeApi;

    const TOPIC: &str = "/apis/barnabas.dev/v1alpha1/namespaces/ns/topics/t";

    async fn finalizers_after(namespace: serde_json::Value, watched: &str) -> serde_json::Value {
        let api = FakeApi::default();
        api.put("/api/v1/namespaces/ns", json!({"metadata": namespace}));
        api.put(
            TOPIC,
            json!({"metadata": {"finalizers": ["other", FINALIZER]}, "spec": {
            "clusterRef": {"name": "c"}, "partitions": 1, "replicationFactor": 1}}),
        );
        let flags = ["--namespace", "ns", "--watch-namespaces", watched];
        release_finalizers(&api.context(&flags)).await.unwrap();
        api.get(TOPIC).unwrap()["metadata"]["finalizers"].clone()
    }

    #[tokio::test]
    async fn topics_are_let_go_with_the_operator_s_own_namespace_only() {
        let going = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        let held = json!(["other", FINALIZER]);
        assert_eq!(finalizers_after(going.clone(), "ns").await, json!(["other"]));
        assert_eq!(finalizers_after(going, "elsewhere").await, held);
        assert_eq!(finalizers_after(json!({}), "ns").await, held);
    }
}
