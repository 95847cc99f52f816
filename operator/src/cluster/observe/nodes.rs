//! Nodes: racks come from their labels, addresses of external listeners from their status, and a
//! node that cannot be reached explains a pod that does not answer. One watch for all clusters,
//! pruned to what is used. Without the right to watch nodes all of that is unknown, and said so.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::runtime::Stop;

/// What is known of a pod's node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeState {
    /// It answers, and has since then, where that is known.
    Fine {
        since_ms: Option<i64>,
    },
    /// It does not answer, or is gone.
    Lost,
    Unknown,
}

/// How long passes wait at the start for the first list.
const PATIENCE: Duration = Duration::from_secs(10);

/// The nodes of the Kubernetes cluster.
pub struct Nodes {
    store: Store<Node>,
    sight: watch::Sender<Sight>,
}

/// Whether nodes can be seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sight {
    /// Not asked yet.
    Coming,
    Clear,
    Refused,
}

impl Nodes {
    /// Nothing is known, ever.
    pub fn unknown() -> Arc<Nodes> {
        let (store, _) = reflector::store();
        Arc::new(Nodes { store, sight: watch::Sender::new(Sight::Refused) })
    }

    /// These, and no others.
    #[cfg(test)]
    pub fn of(nodes: Vec<Node>) -> Arc<Nodes> {
        let (store, mut writer) = reflector::store();
        writer.apply_watcher_event(&watcher::Event::Init);
        for node in nodes {
            writer.apply_watcher_event(&watcher::Event::InitApply(node));
        }
        writer.apply_watcher_event(&watcher::Event::InitDone);
        Arc::new(Nodes { store, sight: watch::Sender::new(Sight::Clear) })
    }

    /// Watches until stopped.
    pub fn start(client: Client, stop: Stop) -> Arc<Nodes> {
        let (store, writer) = reflector::store();
        let nodes = Arc::new(Nodes { store, sight: watch::Sender::new(Sight::Coming) });
        let watched = nodes.clone();
        let config = watcher::Config::default().any_semantic();
        let stream = watcher(Api::<Node>::all(client), config)
            .default_backoff()
            .modify(prune)
            .reflect(writer);
        tokio::spawn(async move {
            let mut stream = std::pin::pin!(stream.take_until(stop.stopped()));
            let mut complained = false;
            while let Some(event) = stream.next().await {
                match event {
                    Ok(watcher::Event::InitDone) => {
                        watched.sight.send_replace(Sight::Clear);
                    }
                    Ok(_) => {}
                    Err(error) if !complained => {
                        complained = true;
                        let first = |sight: &mut Sight| {
                            let coming = *sight == Sight::Coming;
                            coming.then(|| *sight = Sight::Refused).is_some()
                        };
                        watched.sight.send_if_modified(first);
                        tracing::warn!(%error, "nodes cannot be watched: no racks, no node states");
                    }
                    Err(error) => tracing::debug!(%error, "nodes cannot be watched"),
                }
            }
        });
        nodes
    }

    /// The node; `None` where there is none of the name, or none can be seen.
    pub fn get(&self, name: &str) -> Option<Arc<Node>> {
        self.store.get(&ObjectRef::new(name))
    }

    /// Waits for the first list, or for its refusal.
    pub async fn settled(&self) {
        let mut sight = self.sight.subscribe();
        let settled = sight.wait_for(|sight| *sight != Sight::Coming);
        if timeout(PATIENCE, settled).await.is_err() {
            tracing::warn!("nodes were not listed in time");
        }
    }

    /// Whether nodes can be seen at all.
    pub fn are_known(&self) -> bool {
        *self.sight.borrow() == Sight::Clear
    }

    /// Whether some node that answers is like this.
    pub fn any_answers(&self, is: impl Fn(&Node) -> bool) -> bool {
        self.store.state().iter().any(|node| answers(node) && is(node))
    }

    pub fn state(&self, name: Option<&str>) -> NodeState {
        match (self.are_known(), name) {
            (true, Some(name)) => match self.get(name) {
                Some(node) if answers(&node) => NodeState::Fine { since_ms: since_ms(&node) },
                Some(_) | None => NodeState::Lost,
            },
            _ => NodeState::Unknown,
        }
    }
}

fn ready(node: &Node) -> impl Iterator<Item = &NodeCondition> {
    let conditions = node.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.filter(|c| c.type_ == "Ready")
}

/// Its kubelet reports. One that reports `NotReady` still answers.
fn answers(node: &Node) -> bool {
    ready(node).all(|c| c.status != "Unknown")
}

/// Since when the kubelet reports what it reports.
fn since_ms(node: &Node) -> Option<i64> {
    ready(node).filter_map(|c| c.last_transition_time.as_ref()).map(|t| t.0.as_millisecond()).max()
}

/// Keeps names, labels, addresses and the Ready condition without its heartbeats.
fn prune(node: &mut Node) {
    node.metadata.managed_fields = None;
    node.metadata.annotations = None;
    node.spec = None;
    if let Some(status) = &mut node.status {
        let conditions = status
            .conditions
            .take()
            .map(|all| all.into_iter().filter(|c| c.type_ == "Ready").collect());
        let addresses = status.addresses.take();
        *status =
            k8s_openapi::api::core::v1::NodeStatus { conditions, addresses, ..Default::default() };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_is_lost_when_its_kubelet_is_silent_and_pruning_keeps_what_is_used() {
        let node = |ready: &str| -> Node {
            serde_json::from_value(json!({
                "metadata": {"name": "n", "labels": {"zone": "a"}, "annotations": {"x": "y"}},
                "spec": {"podCIDR": "10.0.0.0/24"},
                "status": {"images": [],
                    "addresses": [{"type": "InternalIP", "address": "1.2.3.4"}],
                    "conditions": [{"type": "MemoryPressure", "status": "Unknown"},
                        {"type": "Ready", "status": ready,
                            "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
            }))
            .unwrap()
        };
        let mut fine = node("True");
        prune(&mut fine);
        assert!(answers(&fine));
        assert!(answers(&node("False")));
        assert!(!answers(&node("Unknown")));
        assert_eq!(since_ms(&fine), Some(1_767_225_600_000), "its Ready condition says it");
        assert_eq!(fine.metadata.labels.unwrap()["zone"], "a");
        assert_eq!(fine.status.unwrap().addresses.unwrap()[0].address, "1.2.3.4");
    }
}
