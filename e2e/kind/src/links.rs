//! Links that are cut: between nodes, as a network between zones is, and to the API server, which
//! is there and does not answer. Whatever is cut is mended at the scenario's end.

use std::sync::PoisonError;

use anyhow::{Context, Result, ensure};

use crate::Scenario;
use crate::command::Tool;

/// Whoever runs in containers of their own on the control plane's node, by its program.
const API_SERVER: &str = "kube-apiserver";
/// Of our rules, by which they are found again.
const CHAIN: &str = "SCENARIO";

impl Scenario {
    /// Cuts a worker off from the other workers, and its pods from theirs. The control plane, the
    /// load with it, sees both sides.
    pub fn cut_off(&self, node: &str) -> Result<()> {
        self.say(format!("cutting {node} off from the other workers"));
        self.cut.lock().unwrap_or_else(PoisonError::into_inner).insert(node.to_owned());
        let mut script = format!("iptables -w -N {CHAIN}\n");
        for other in self.workers()?.iter().filter(|other| *other != node) {
            for addresses in [self.node_address(other)?, pods_of(other)?] {
                script += &format!("iptables -w -A {CHAIN} -s {addresses} -j DROP\n");
                script += &format!("iptables -w -A {CHAIN} -d {addresses} -j DROP\n");
            }
        }
        for chain in ["INPUT", "OUTPUT", "FORWARD"] {
            script += &format!("iptables -w -I {chain} -j {CHAIN}\n");
        }
        Tool::Docker.run(&["exec", node, "sh", "-ec", &script]).map(drop)
    }

    /// Mends what was cut.
    pub fn mend_links(&self) -> Result<()> {
        let cut = std::mem::take(&mut *self.cut.lock().unwrap_or_else(PoisonError::into_inner));
        let mut errors = Vec::new();
        for node in cut {
            self.say(format!("{node} reaches the other workers again"));
            if let Err(error) = Tool::Docker.run(&["exec", &node, "sh", "-c", &mend()]) {
                errors.push(format!("{node}: {error:#}"));
            }
        }
        ensure!(errors.is_empty(), "links stay cut: {}", errors.join("; "));
        Ok(())
    }

    /// The API server, which does not answer while this lives: requests hang, as on a machine that
    /// is out of memory.
    pub fn api_server_hangs(&self) -> Result<Hanging<'_>> {
        let path = "jsonpath={.items[0].metadata.name}";
        let selector = "--selector=node-role.kubernetes.io/control-plane";
        let node = Tool::Kubectl.run(&["get", "nodes", selector, "-o", path])?;
        let pid = Tool::Docker.run(&["exec", &node, "pidof", API_SERVER])?;
        let pid = pid.split_whitespace().next().context("no API server runs")?.to_owned();
        self.say("the API server does not answer any more");
        let hanging = Hanging { scenario: self, node, pid };
        hanging.signal("-STOP")?;
        Ok(hanging)
    }
}

/// An API server that is stopped, until this is dropped.
pub struct Hanging<'a> {
    scenario: &'a Scenario,
    node: String,
    pid: String,
}

impl Hanging<'_> {
    fn signal(&self, signal: &str) -> Result<()> {
        Tool::Docker.run(&["exec", &self.node, "kill", signal, &self.pid]).map(drop)
    }
}

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        match self.signal("-CONT") {
            Ok(()) => self.scenario.say("the API server goes on"),
            Err(error) => self.scenario.say(format!("the API server stays stopped: {error:#}")),
        }
    }
}

/// The addresses of a node's pods.
fn pods_of(node: &str) -> Result<String> {
    Tool::Kubectl.run(&["get", "node", node, "-o", "jsonpath={.spec.podCIDR}"])
}

fn mend() -> String {
    let chains = ["INPUT", "OUTPUT", "FORWARD"];
    let chains = chains.map(|chain| format!("iptables -w -D {chain} -j {CHAIN}; "));
    format!("{}iptables -w -F {CHAIN} && iptables -w -X {CHAIN}", chains.concat())
}
