//! Nodes of the bed are containers: stopping one is a machine that loses its power. Whatever a
//! scenario does to a node is undone at its end, whether it passed or not.

use std::sync::PoisonError;
use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;

use crate::Scenario;
use crate::command::Tool;

/// From a node's start to its first sign of life.
const BACK: Duration = Duration::from_secs(120);

impl Scenario {
    /// Names of the worker nodes, one in each zone.
    pub fn workers(&self) -> Result<Vec<String>> {
        let selector = "--selector=!node-role.kubernetes.io/control-plane";
        let names = Tool::Kubectl.run(&["get", "nodes", selector, "-o", "name"])?;
        Ok(names.lines().map(|name| name.trim_start_matches("node/").to_owned()).collect())
    }

    /// The address of a node, at which its NodePorts answer.
    pub fn node_address(&self, node: &str) -> Result<String> {
        let path = "jsonpath={.status.addresses[?(@.type==\"InternalIP\")].address}";
        Tool::Kubectl.run(&["get", "node", node, "-o", path])
    }

    /// Takes a node's power away.
    pub fn stop_node(&self, node: &str) -> Result<()> {
        self.say(format!("stopping node {node}"));
        self.hurts(node);
        Tool::Docker.run(&["kill", node]).map(drop)
    }

    pub fn start_node(&self, node: &str) -> Result<()> {
        self.say(format!("starting node {node}"));
        Tool::Docker.run(&["start", node])?;
        Tool::Kubectl.run(&["wait", "--for=condition=Ready", "--timeout=120s", "node", node])?;
        Ok(())
    }

    /// `kubectl drain`, which evicts and so asks the disruption budgets.
    pub fn drain_node(&self, node: &str, seconds: u32) -> Result<()> {
        self.say(format!("draining node {node}"));
        self.hurts(node);
        let timeout = format!("--timeout={seconds}s");
        let which = "--pod-selector=barnabas.dev/cluster";
        let how = ["--ignore-daemonsets", "--delete-emptydir-data", &timeout, which];
        Tool::Kubectl.run(&[&["drain", node][..], &how].concat()).map(drop)
    }

    pub fn uncordon_node(&self, node: &str) -> Result<()> {
        Tool::Kubectl.run(&["uncordon", node]).map(drop)
    }

    /// The node that a pod runs on.
    pub fn node_of(&self, pod: &str) -> Result<String> {
        self.kubectl(&["get", "pod", pod, "-o", "jsonpath={.spec.nodeName}"])
    }

    fn hurts(&self, node: &str) {
        self.hurt.lock().unwrap_or_else(PoisonError::into_inner).insert(node.to_owned());
    }

    /// Every one of them, whatever became of the others.
    pub(crate) async fn heal_nodes(&self) -> Result<()> {
        let hurt = std::mem::take(&mut *self.hurt.lock().unwrap_or_else(PoisonError::into_inner));
        let mut errors = Vec::new();
        for node in hurt {
            if let Err(error) = self.heal(&node).await {
                errors.push(format!("{node}: {error:#}"));
            }
        }
        ensure!(errors.is_empty(), "nodes do not come back: {}", errors.join("; "));
        Ok(())
    }

    /// A node without power is listed as ready for another 40 s, so its lease says whether it is
    /// back for the next scenario.
    async fn heal(&self, node: &str) -> Result<()> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), "kube-node-lease");
        let renewed = async || {
            let lease = leases.get(node).await?;
            Ok::<_, anyhow::Error>(lease.spec.and_then(|spec| spec.renew_time))
        };
        let before = renewed().await.unwrap_or_default();
        self.start_node(node)?;
        self.uncordon_node(node)?;
        let is_back = async || Ok(renewed().await? != before);
        self.eventually(&format!("node {node} is back"), BACK, is_back).await
    }
}
