//! What a pod is doing, from what Kubernetes says of it.

use base::BrokerId;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use plan::{PodPhase, PodView, Replacement};

use super::nodes::NodeState;

/// A container that ended so often, and so recently, is expected to end again while it runs.
const CRASHES: i32 = 3;
const CRASH_AGE_MS: i64 = 120_000;
/// A pod that no node takes may only wait for its volume to be made.
const UNSCHEDULED_MS: i64 = 10_000;
/// A pod that ends should be gone by its grace period and this.
const TERMINATION_SLACK_MS: i64 = 60_000;

/// The ordinal in a name like `C-broker-3` or `data-C-broker-3`; `prefix` is all before it.
pub fn ordinal(name: &str, prefix: &str) -> Option<BrokerId> {
    let digits = name.strip_prefix(prefix)?;
    let canonical = digits == "0" || !digits.starts_with('0');
    let number: i32 = digits.parse().ok()?;
    (canonical && number >= 0).then_some(BrokerId(number))
}

/// On a broker's pod: it is to be replaced, with its volume.
pub const REPLACE: &str = "barnabas.dev/replace";
pub const LOSE_DATA: &str = "lose-data";

/// What the user asked for of a broker that is down.
pub fn asked(pod: &Pod) -> Option<Replacement> {
    match pod.annotations().get(REPLACE)?.as_str() {
        "true" => Some(Replacement::Safe),
        LOSE_DATA => Some(Replacement::LoseData),
        _ => None,
    }
}

/// The pod as the planner sees it. `revision` is the set's newest, where that is known.
pub fn view(pod: &Pod, revision: Option<&str>, node: NodeState, now_ms: i64) -> PodView {
    let status = pod.status.clone().unwrap_or_default();
    let (phase, problem) = phase(pod, &status, now_ms);
    let crash = (phase == PodPhase::Running).then(|| crash(&status, now_ms)).flatten();
    let ready = condition(&status, "Ready");
    let created = pod.metadata.creation_timestamp.as_ref().map(|t| t.0);
    let since = ready.and_then(|r| r.last_transition_time.as_ref()).map(|t| t.0).or(created);
    // A pod that goes is down from when it had to be at the latest, whatever was last said of it.
    let going = pod.metadata.deletion_timestamp.as_ref().map(|t| t.0);
    let since = match going.filter(|_| ready.is_some_and(|r| r.status == "True")) {
        Some(going) => Some(going),
        None => since,
    };
    let created_ms = created.map_or(now_ms, Timestamp::as_millisecond);
    let own = pod.labels().get("controller-revision-hash");
    PodView {
        uid: pod.uid().unwrap_or_default(),
        outdated: revision.is_some_and(|newest| own.map(String::as_str) != Some(newest)),
        ready: is_ready(pod),
        since_ms: since.map_or(now_ms, Timestamp::as_millisecond),
        created_ms,
        restart_marked: pod.annotations().get("barnabas.dev/restart").is_some_and(|v| v == "true"),
        replace: asked(pod),
        node: pod.spec.as_ref().and_then(|s| s.node_name.clone()),
        // A node that answers ends its pods; one that cannot be seen should have.
        node_lost: match node {
            NodeState::Fine { .. } => false,
            NodeState::Lost => true,
            NodeState::Unknown => is_overdue(pod, now_ms),
        },
        node_since_ms: match node {
            NodeState::Fine { since_ms: Some(since_ms) } => since_ms.max(created_ms),
            _ => created_ms,
        },
        phase,
        crashing: crash.is_some(),
        problem: problem.or(crash),
    }
}

/// Kubernetes calls it ready, and it is not going.
pub fn is_ready(pod: &Pod) -> bool {
    let ready = pod.status.as_ref().and_then(|status| condition(status, "Ready"));
    ready.is_some_and(|r| r.status == "True") && pod.metadata.deletion_timestamp.is_none()
}

/// It should long have ended: its node does not answer.
fn is_overdue(pod: &Pod, now_ms: i64) -> bool {
    let Some(deletion) = &pod.metadata.deletion_timestamp else { return false };
    // The timestamp has the grace period in it.
    now_ms > deletion.0.as_millisecond().saturating_add(TERMINATION_SLACK_MS)
}

/// What is known of a container that runs, is not ready, and has crashed again and again.
fn crash(status: &PodStatus, now_ms: i64) -> Option<String> {
    status.container_statuses.iter().flatten().find_map(|container| {
        let last = container.last_state.as_ref().and_then(|s| s.terminated.as_ref());
        let at = last.and_then(|t| t.finished_at.as_ref()).map(|t| t.0.as_millisecond());
        let recent = at.is_some_and(|at| now_ms.saturating_sub(at) < CRASH_AGE_MS);
        let crashing = !container.ready && container.restart_count >= CRASHES && recent;
        crashing.then(|| ended(container))
    })
}

fn phase(pod: &Pod, status: &PodStatus, now_ms: i64) -> (PodPhase, Option<String>) {
    if pod.metadata.deletion_timestamp.is_some() {
        let late = is_overdue(pod, now_ms).then(|| "it should have ended long ago".to_owned());
        return (PodPhase::Terminating, late);
    }
    let scheduled = condition(status, "PodScheduled");
    if let Some(unscheduled) = scheduled.filter(|c| c.status == "False") {
        let reason = unscheduled.reason.as_deref().unwrap_or_default();
        let said = said("no node takes it", unscheduled.message.as_deref());
        let since = unscheduled.last_transition_time.as_ref().map(|t| t.0.as_millisecond());
        let long = since.is_none_or(|since| now_ms.saturating_sub(since) >= UNSCHEDULED_MS);
        return match reason {
            "Unschedulable" if long => (PodPhase::Unschedulable, Some(said)),
            _ => (PodPhase::Creating, Some(said)),
        };
    }
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses);
    let problem = containers.flatten().find_map(broken);
    if let Some((phase, problem)) = problem {
        return (phase, Some(problem));
    }
    match status.phase.as_deref() {
        Some("Running") => (PodPhase::Running, None),
        Some("Failed") => {
            let why = status.reason.as_deref().or(status.message.as_deref());
            (PodPhase::Creating, Some(said("it failed", why)))
        }
        _ => (PodPhase::Creating, None),
    }
}

/// A container that does not run, and does not come up by itself.
fn broken(container: &ContainerStatus) -> Option<(PodPhase, String)> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().unwrap_or_default();
    match reason {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "RegistryUnavailable"
        | "ImageInspectError"
        | "CreateContainerConfigError"
        | "CreateContainerError"
        | "RunContainerError" => {
            Some((PodPhase::ImageError, said(reason, waiting.message.as_deref())))
        }
        "CrashLoopBackOff" => Some((PodPhase::CrashLoop, ended(container))),
        _ => None,
    }
}

fn ended(container: &ContainerStatus) -> String {
    let last = container.last_state.as_ref().and_then(|s| s.terminated.as_ref());
    let Some(last) = last else { return "its process ends again and again".into() };
    let reason = last.reason.as_deref().unwrap_or("Error");
    let times = match container.restart_count {
        count @ ..=1 => count.to_string() + " time",
        count => format!("{count} times"),
    };
    let text =
        format!("its process ended {times}, last with exit code {} ({reason})", last.exit_code);
    said(&text, last.message.as_deref())
}

fn said(what: &str, message: Option<&str>) -> String {
    match message.map(str::trim).filter(|m| !m.is_empty()) {
        Some(message) => format!("{what}: {}", message.chars().take(300).collect::<String>()),
        None => what.into(),
    }
}

fn condition<'a>(status: &'a PodStatus, kind: &str) -> Option<&'a PodCondition> {
    status.conditions.iter().flatten().find(|c| c.type_ == kind)
}

#[cfg(test)]
#[path = "pods_tests.rs"]
mod tests;
