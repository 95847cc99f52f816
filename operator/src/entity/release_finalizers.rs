//! The end of an operator that lives in the namespace which it looks after. When that namespace is
//! deleted its pods go first, the operator's too, and resources with a finalizer would keep
//! it for ever.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures::{StreamExt, stream};
use kube::Resource;
use kube::api::{Api, ListParams};
use tokio::time::timeout;

use super::api::{ApiServer, PATIENCE, Resources};
use super::controller::entry_of;
use super::resource::{Entity, Key};
use super::worker::WRITES_AT_A_TIME;
use crate::Context;

/// Takes our finalizer off the resources of the operator's own namespace, if that is being deleted.
/// Called when the controllers have ended, which would put them on again.
pub async fn release_finalizers<E: Entity>(context: &Arc<Context>) -> Result<()> {
    let Context { settings, client, .. } = &**context;
    let (own, watched) = (settings.namespace.as_str(), settings.namespaces());
    let ours = watched.is_empty() || watched.contains(&own);
    if !ours || !context.namespace_goes(own).await {
        return Ok(());
    }
    let kind = E::Resource::kind(&());
    let all: Api<E::Resource> = Api::namespaced(client.clone(), own);
    let listed = timeout(PATIENCE, all.list_metadata(&ListParams::default())).await;
    let listed = listed.with_context(|| format!("list {kind}s: no answer"))?;
    let listed = listed.with_context(|| format!("list {kind}s"))?;
    let entries = listed.items.into_iter().map(|resource| {
        let key = Key::new(own, resource.metadata.name.clone().unwrap_or_default());
        entry_of::<E>(&key, resource.metadata)
    });
    let held: Vec<_> =
        entries.filter_map(|e| e.finalizers_with(false).map(|rest| (e, rest))).collect();
    let resources = ApiServer { context: context.clone() };
    let writing = held.iter().map(|(entry, rest)| resources.write_finalizers(entry, rest));
    let done: Vec<_> = stream::iter(writing).buffer_unordered(WRITES_AT_A_TIME).collect().await;
    tracing::info!(%kind, released = done.len(), "let go with the namespace");
    let mut done = done.into_iter();
    done.try_for_each(|written| written.map(drop)).with_context(|| format!("let {kind}s go"))
}
