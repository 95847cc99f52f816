//! Pods and processes that end without a word. Kubernetes has no word for that: a deletion, forced
//! or not, sends SIGTERM first, and a broker that hears it hands its leaders off.

use anyhow::{Context, Result, ensure};

use crate::Scenario;
use crate::command::Tool;

impl Scenario {
    /// Deletes a pod by force: its object is gone at once and is replaced, without waiting for the
    /// process, which is told to end and has a moment for it.
    pub fn kill_pod(&self, pod: &str) -> Result<()> {
        self.say(format!("deleting pod {pod} by force"));
        delete_by_force(&self.namespace, pod)
    }

    /// Kills a broker's process as the kernel does it where memory is short. The pod stays, with
    /// its UID and its volume, and its container is started again: `restarts` counts that.
    pub fn crash_broker(&self, pod: &str) -> Result<()> {
        self.say(format!("crashing {pod}"));
        crash(&self.namespace, pod)
    }

    /// How often the containers of a pod were started again.
    pub fn restarts(&self, pod: &str) -> Result<u32> {
        let path = "jsonpath={.status.containerStatuses[*].restartCount}";
        let counts = self.kubectl(&["get", "pod", pod, "-o", path])?;
        counts.split_whitespace().map(|count| Ok(count.parse::<u32>()?)).sum()
    }
}

pub(crate) fn delete_by_force(namespace: &str, pod: &str) -> Result<()> {
    let what = ["--namespace", namespace, "delete", "pod", pod];
    let how = ["--grace-period=0", "--force", "--wait=false"];
    Tool::Kubectl.run(&[&what[..], &how].concat()).map(drop)
}

/// Kills the first process of each container of a pod, past the kubelet, which would ask it first.
pub(crate) fn crash(namespace: &str, pod: &str) -> Result<()> {
    let path = "jsonpath={.spec.nodeName} {.status.containerStatuses[*].containerID}";
    let pod_is = Tool::Kubectl.run(&["--namespace", namespace, "get", "pod", pod, "-o", path])?;
    let (node, containers) = pod_is.split_once(' ').context("a pod without containers")?;
    let containers: Vec<&str> = containers.split_whitespace().collect();
    ensure!(!containers.is_empty(), "{pod} has no container that could be killed");
    for container in containers {
        let id = container.trim_start_matches("containerd://");
        // A node and its container in the engine have one name.
        let kill = ["exec", node, "ctr", "--namespace", "k8s.io", "tasks", "kill"];
        Tool::Docker.run(&[&kill[..], &["--signal", "SIGKILL", id]].concat())?;
    }
    Ok(())
}
