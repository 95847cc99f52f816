//! Nodes of the bed are containers: stopping one is a machine that loses its power. Whatever a
//! scenario does to a node is undone at its end, whether it passed or not.

use std::sync::PoisonError;

use anyhow::Result;

use crate::Scenario;
use crate::command::Tool;

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

    pub(crate) fn heal_nodes(&self) -> Result<()> {
        let hurt = std::mem::take(&mut *self.hurt.lock().unwrap_or_else(PoisonError::into_inner));
        for node in hurt {
            self.start_node(&node)?;
            self.uncordon_node(&node)?;
        }
        Ok(())
    }
}
