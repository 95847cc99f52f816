//! The secret that a cluster's brokers prove to each other: made once, before the first pod that
//! mounts it, and demanded once every pod has it.
//!
//! The operator has no right to read secrets, nor to change or delete them. It asks to create this
//! one as long as no broker has started with it; that it is there already is as good as made.
//! Afterwards it never does: a second text under the same name would make strangers of the brokers
//! that start from then on.

use build::{ClusterInput, Names, SecretUse, internal_secret, mounts_internal_secret};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Pod, PodSpec, Secret};
use kube::Api;
use kube::api::PostParams;

use super::observe::LiveObjects;
use crate::Context;
use crate::error::{Result, request};

/// What the pods are to demand. A cluster from before there was a secret is rolled twice: while
/// pods are there that do not have it, the others must serve them.
pub fn stage(live: &LiveObjects, names: &Names<'_>) -> SecretUse {
    let pods = live.pods.values().all(|pod| has_secret(pod.spec.as_ref()));
    let set = live.set(names).is_none_or(|set| has_secret(template(set)));
    if pods && set { SecretUse::Required } else { SecretUse::Given }
}

fn template(set: &StatefulSet) -> Option<&PodSpec> {
    set.spec.as_ref()?.template.spec.as_ref()
}

fn has_secret(pod: Option<&PodSpec>) -> bool {
    pod.is_some_and(mounts_internal_secret)
}

/// Makes the secret unless a broker may have read it. Returns whether it was made.
pub async fn ensure(
    context: &Context,
    input: &ClusterInput<'_>,
    names: &Names<'_>,
    live: &LiveObjects,
) -> Result<bool> {
    if live.pods.values().any(|pod| has_secret(pod.spec.as_ref()) && has_started(pod)) {
        return Ok(false);
    }
    let text = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    let api: Api<Secret> = Api::namespaced(context.client.clone(), names.namespace);
    let secret = internal_secret(input, &text);
    let doing = format!("create Secret {}", names.internal_secret());
    match request(doing, api.create(&PostParams::default(), &secret)).await {
        Ok(_) => {
            context.metrics.wrote("Secret");
            tracing::info!(name = names.internal_secret(), "made the secret of the brokers");
            Ok(true)
        }
        Err(error) if error.is_already_there() => Ok(false),
        Err(error) => Err(error),
    }
}

/// A volume is mounted before the first container starts, and read by it.
fn has_started(pod: &Pod) -> bool {
    let mut statuses =
        pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.any(|container| {
        let state = container.state.as_ref();
        let past = container.last_state.as_ref().is_some_and(|state| state.terminated.is_some());
        past || state.is_some_and(|state| state.running.is_some() || state.terminated.is_some())
    })
}
