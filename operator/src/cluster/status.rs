//! The status of a cluster: what is, and what it waits for. It is a function of what a pass saw
//! and decided and of the status before, so that a cluster at rest has the same status again.

use std::collections::BTreeMap;

use base::BrokerId;
use build::Names;
use crd::{
    BrokerRevision, BrokerStatus, ConditionStatus, KafkaCluster, KafkaClusterStatus,
    ListenerStatus, ListenerType, NewCondition, Phase, RebalanceStatus, StepStatus, Time, kind,
    set_condition,
};
use kube::ResourceExt;
use plan::{Plan, Step};

use super::observe::pods::is_ready;
use super::observe::{LiveObjects, Observation};
use super::problem::Problem;
use super::{claims, risks, upgrade};

/// Kept volumes named in the status.
const RETAINED_MAX: usize = 100;
/// Problems named in one message.
const NAMED_MAX: usize = 5;

/// The status after a pass.
pub fn of_pass(look: &Observation, problems: &[Problem], now: &Time) -> KafkaClusterStatus {
    let Observation { cluster, plan, .. } = look;
    let mut status = cluster.status.clone().unwrap_or_default();
    seen_now(&mut status, look, now);
    upgrade::note(&mut status, look);
    let phase = match (plan.phase, problems.iter().any(|problem| problem.lasting)) {
        (Phase::Ready, true) => Phase::Degraded,
        (phase, _) => phase,
    };
    let message = message(plan, problems);
    status.step = step(&status, plan, phase, &message, now);
    status.phase = Some(phase);
    status.message = Some(message);
    conditions(&mut status, cluster, look, problems, now);
    status
}

/// What is, whatever is to be.
fn seen_now(status: &mut KafkaClusterStatus, look: &Observation, now: &Time) {
    let Observation { cluster, live, facts, seen, plan, .. } = look;
    let names = super::names(cluster);
    common(status, cluster, &names, live);
    let owner = cluster.metadata.annotations.as_ref().and_then(|all| all.get(super::owner::OWNER));
    status.operator = owner.cloned();
    status.storage_size = storage_size(cluster, live);
    let retained = live.claims.values().filter(|claim| claims::is_retained(claim));
    status.retained_volumes = retained.map(ResourceExt::name_any).take(RETAINED_MAX).collect();
    let image = upgrade::uniform(live.pods.values());
    status.version = image.map(|i| build::version(&i).to_owned()).or(status.version.take());
    if seen.cluster.is_some() {
        status.cluster_id = Some(build::cluster_id(cluster));
    }
    status.listeners = build::listener_status(cluster, seen.fleet.size(), facts);
    status.brokers = brokers(&names, look, now);
    if let Some(quorum) = seen.cluster.as_ref().and_then(|c| c.quorum.as_ref()) {
        status.voters = quorum.voters.keys().map(|id| id.0).collect();
        if quorum.leader.is_some() {
            status.changing_voter = plan.step.changed_voter().map(|id| id.0);
        }
    } else if status.voters.is_empty() {
        // Those that are to begin: another number in the spec must not make brokers that start
        // later begin another quorum.
        let first = seen.fleet.first_voters(seen.desired.voters);
        status.voters = first.map(|id| id.0).collect();
    }
    status.rebalance = plan.rebalance.map(|progress| RebalanceStatus {
        in_flight: i64::try_from(progress.in_flight).unwrap_or(i64::MAX),
        remaining: i64::try_from(progress.remaining).unwrap_or(i64::MAX),
    });
}

/// The status before and what a step that is about to change the voters makes of it: should nobody
/// be seen to lead the quorum after it, either may be so.
pub fn before_step(look: &Observation, now: &Time) -> Option<KafkaClusterStatus> {
    look.plan.step.changed_voter()?;
    let mut status = look.cluster.status.clone().unwrap_or_default();
    seen_now(&mut status, look, now);
    Some(status)
}

/// The smallest size that a volume has. The definition's rule lets no spec be below it, and would
/// refuse a status above the spec.
fn storage_size(cluster: &KafkaCluster, live: &LiveObjects) -> Option<String> {
    let wanted = cluster.spec.brokers.storage.as_ref()?.size.as_str();
    let used = live.claims.iter().filter(|(id, _)| live.pods.contains_key(id));
    let mut smallest = wanted;
    let mut known = false;
    for size in used.filter_map(|(_, claim)| claims::capacity(claim)) {
        known = true;
        if claims::is_less(Some(size), Some(smallest)) {
            smallest = size;
        }
    }
    known.then(|| smallest.to_owned())
}

/// The status of a cluster whose config brokers would refuse. The rest of the spec waits with it:
/// what belongs together is not applied by halves.
pub fn of_invalid(look: &Observation, problems: &[Problem], now: &Time) -> KafkaClusterStatus {
    let cluster = &look.cluster;
    let mut status = cluster.status.clone().unwrap_or_default();
    seen_now(&mut status, look, now);
    let wrong = build::check_config(cluster);
    let named: Vec<String> = wrong.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    let rest = wrong.len() - named.len();
    let rest = if rest > 0 { format!("; and {rest} more") } else { String::new() };
    let mut message =
        format!("{}{rest}; the spec is not applied until this is mended", named.join("; "));
    for problem in problems {
        message.extend(["; ", &problem.message]);
    }
    status.phase = Some(Phase::Invalid);
    status.step = None;
    for (kind, holds) in [(kind::VALID, false), (kind::READY, false), (kind::PROGRESSING, false)] {
        set(&mut status, cluster, now, kind, holds.into(), "InvalidConfig", &message);
    }
    status.message = Some(message);
    status
}

/// The status after a pass that failed for a reason that only a user can mend.
pub fn of_failure(
    cluster: &KafkaCluster,
    reason: &str,
    error: &str,
    now: &Time,
) -> KafkaClusterStatus {
    let mut status = cluster.status.clone().unwrap_or_default();
    status.observed_generation = cluster.metadata.generation;
    status.phase = Some(Phase::Degraded);
    set(&mut status, cluster, now, kind::READY, ConditionStatus::False, reason, error);
    set(&mut status, cluster, now, kind::DEGRADED, ConditionStatus::True, reason, error);
    status.message = Some(error.into());
    status
}

/// The status of a cluster whose spec this operator cannot read.
pub fn of_unreadable(
    before: &KafkaClusterStatus,
    generation: Option<i64>,
    error: &str,
    now: &Time,
) -> KafkaClusterStatus {
    let mut status = before.clone();
    let version = env!("CARGO_PKG_VERSION");
    let message = format!(
        "operator {version} cannot read this resource, and changes nothing of it: {error}; a newer \
         operator may, or take out of the spec what this one does not know"
    );
    status.observed_generation = generation;
    status.phase = Some(Phase::Invalid);
    status.step = None;
    for kind in [kind::VALID, kind::READY, kind::PROGRESSING] {
        let (reason, message) = ("Unreadable".into(), message.clone());
        let new = NewCondition { kind, status: ConditionStatus::False, reason, message };
        set_condition(&mut status.conditions, new, generation, now);
    }
    status.message = Some(message);
    status
}

/// The status of a cluster that goes with its namespace. Topics read in it that there is nothing
/// left for them to guard: the right to take their finalizers off may go before they do.
pub fn of_going(cluster: &KafkaCluster, now: &Time) -> KafkaClusterStatus {
    let mut status = cluster.status.clone().unwrap_or_default();
    let message = "the namespace is being deleted";
    status.observed_generation = cluster.metadata.generation;
    status.phase = Some(Phase::Deleting);
    status.step = None;
    for kind in [kind::READY, kind::PROGRESSING] {
        set(&mut status, cluster, now, kind, false.into(), "NamespaceDeleted", message);
    }
    status.message = Some(message.into());
    status
}

fn common(
    status: &mut KafkaClusterStatus,
    cluster: &KafkaCluster,
    names: &Names<'_>,
    live: &LiveObjects,
) {
    let ready = live.pods.values().filter(|pod| is_ready(pod)).count();
    status.observed_generation = cluster.metadata.generation;
    status.replicas = i32::try_from(live.pods.len()).ok();
    status.ready_replicas = i32::try_from(ready).ok();
    status.selector = Some(build::selector(names.cluster));
}

fn message(plan: &Plan, problems: &[Problem]) -> String {
    let mut parts = vec![plan.message.clone()];
    parts.extend(plan.degraded.clone());
    parts.extend(plan.refused.as_ref().map(|refused| refused.message.clone()));
    parts.extend(problems.iter().map(|problem| problem.message.clone()));
    let mut said: Vec<String> = Vec::new();
    for part in parts.into_iter().filter(|part| !part.is_empty()) {
        if !said.iter().any(|other| other.contains(&part)) {
            said.push(part);
        }
    }
    said.join("; ")
}

/// The step under way, since when it has had this name.
fn step(
    before: &KafkaClusterStatus,
    plan: &Plan,
    phase: Phase,
    message: &str,
    now: &Time,
) -> Option<StepStatus> {
    let name = match &plan.step {
        Step::Nothing if matches!(phase, Phase::Ready | Phase::Paused) => return None,
        Step::Nothing => format!("{phase}"),
        step => step.name().to_owned(),
    };
    let since = before.step.as_ref().filter(|step| step.name == name);
    let since = since.and_then(|step| step.since.clone()).unwrap_or_else(|| now.clone());
    Some(StepStatus { name, since: Some(since), detail: Some(message.into()) })
}

fn brokers(names: &Names<'_>, look: &Observation, now: &Time) -> Vec<BrokerStatus> {
    let Observation { live, facts, seen, plan, health, .. } = look;
    let before = look.cluster.status.iter().flat_map(|status| &status.brokers);
    let before: BTreeMap<i32, &BrokerStatus> = before.map(|broker| (broker.id, broker)).collect();
    let cluster = seen.cluster.as_ref();
    let revision_known = seen.fleet.is_taken_up();
    let status = |(id, state): (&BrokerId, &plan::BrokerStatus)| {
        let view = seen.pods.get(id);
        let known = cluster.and_then(|c| c.brokers.get(id));
        let node = facts.brokers.get(&id.0).and_then(|broker| broker.node.as_ref());
        let node_rack = node.and_then(|node| node.rack.clone());
        let words = [Some(&state.message), health.get(id)].into_iter().flatten();
        let words: Vec<&str> = words.map(String::as_str).filter(|w| !w.is_empty()).collect();
        let name = state.state.name();
        let same = before.get(&id.0).filter(|before| before.state.as_deref() == Some(name));
        BrokerStatus {
            id: id.0,
            pod: names.pod(id.0),
            node: view.and_then(|pod| pod.node.clone()),
            rack: known.and_then(|broker| broker.rack.clone()).or(node_rack),
            ready: live.pods.get(id).is_some_and(is_ready),
            registered: cluster.map(|_| known.is_some()),
            fenced: known.map(|broker| broker.fenced),
            voter: cluster
                .and_then(|c| c.quorum.as_ref())
                .is_some_and(|quorum| quorum.voters.contains_key(id)),
            revision: view.filter(|_| revision_known).map(|pod| match pod.outdated {
                true => BrokerRevision::Outdated,
                false => BrokerRevision::Current,
            }),
            state: Some(name.into()),
            since: same.and_then(|before| before.since.clone()).or_else(|| Some(now.clone())),
            message: (!words.is_empty()).then(|| words.join("; ")),
        }
    };
    plan.brokers.iter().map(status).collect()
}

fn conditions(
    status: &mut KafkaClusterStatus,
    cluster: &KafkaCluster,
    look: &Observation,
    problems: &[Problem],
    now: &Time,
) {
    let plan = &look.plan;
    let phase = status.phase.unwrap_or_default();
    let word = phase.to_string();
    let text = status.message.clone().unwrap_or_default();
    let refused = plan.refused.as_ref().map(|refused| refused.reason);
    let lasting = || problems.iter().filter(|problem| problem.lasting);
    let degraded = lasting().next().map(|problem| problem.reason);
    let degraded = degraded.or(plan.degraded.as_ref().map(|_| "BrokerStuck"));
    let noted = problems.first().filter(|_| phase == Phase::Ready).map(|problem| problem.reason);
    let reason = degraded.or(refused).or(noted).unwrap_or(&word);
    let ready = match phase {
        Phase::Unknown => ConditionStatus::Unknown,
        Phase::Paused => all_running(plan).into(),
        // What cannot be had beside does not make the brokers less ready.
        _ => (plan.phase == Phase::Ready).into(),
    };
    let progressing = !matches!(
        phase,
        Phase::Ready | Phase::Paused | Phase::Degraded | Phase::Invalid | Phase::Unknown
    );
    let said = plan.degraded.iter().cloned().chain(lasting().map(|p| p.message.clone()));
    let said = said.collect::<Vec<_>>().join("; ");
    let progressing = progressing && refused.is_none();
    set(status, cluster, now, kind::VALID, true.into(), "Valid", "");
    set(status, cluster, now, kind::READY, ready, reason, &text);
    set(status, cluster, now, kind::PROGRESSING, progressing.into(), &word, &text);
    let broken = degraded.is_some();
    set(
        status,
        cluster,
        now,
        kind::DEGRADED,
        broken.into(),
        degraded.unwrap_or("AsExpected"),
        &said,
    );
    let risks = risks::of(cluster, &look.live.pods);
    let named: Vec<&str> = risks.iter().take(NAMED_MAX).map(|(_, text)| text.as_str()).collect();
    let why = risks.first().map_or("NoneKnown", |(reason, _)| reason);
    set(status, cluster, now, kind::AT_RISK, (!risks.is_empty()).into(), why, &named.join("; "));
    let paused = cluster.spec.paused;
    let why = if paused { "PausedByUser" } else { "NotPaused" };
    set(status, cluster, now, kind::PAUSED, paused.into(), why, "");
    let rebalancing = if paused { look.seen.rebalancing } else { plan.rebalancing };
    let why = if rebalancing { "Rebalancing" } else { "Even" };
    set(status, cluster, now, kind::REBALANCING, rebalancing.into(), why, "");
}

fn all_running(plan: &Plan) -> bool {
    plan.brokers.values().all(|broker| broker.state == plan::BrokerState::Running)
}

fn set(
    status: &mut KafkaClusterStatus,
    cluster: &KafkaCluster,
    now: &Time,
    kind: &'static str,
    holds: ConditionStatus,
    reason: &str,
    message: &str,
) {
    let new = NewCondition { kind, status: holds, reason: reason.into(), message: message.into() };
    set_condition(&mut status.conditions, new, cluster.metadata.generation, now);
}

/// Listeners that clients cannot be told all addresses of, though the brokers are ready.
pub fn unaddressed(look: &Observation) -> Option<Problem> {
    let fleet = &look.seen.fleet;
    let listeners = build::listener_status(&look.cluster, fleet.size(), &look.facts);
    let lacks = |listener: &ListenerStatus| {
        let has = |id: &BrokerId| listener.addresses.iter().any(|a| a.broker == id.0);
        let missing: Vec<String> =
            fleet.ids().filter(|id| !has(id)).map(|id| id.to_string()).take(NAMED_MAX).collect();
        let bootstrap = listener.bootstrap_servers.is_none();
        let of = match (missing.is_empty(), bootstrap) {
            (true, false) => return None,
            (true, true) => "for bootstrap".to_owned(),
            (false, _) => format!("for brokers {}", missing.join(", ")),
        };
        let why = match listener.kind {
            ListenerType::LoadBalancer => ": no load balancer was given to its Services yet",
            _ => "",
        };
        Some(format!("listener {} has no address {of}{why}", listener.name))
    };
    let texts: Vec<String> = listeners.iter().filter_map(lacks).collect();
    let ready = look.plan.phase == Phase::Ready && !texts.is_empty();
    let problem = Problem { reason: "AddressUnknown", message: texts.join("; "), lasting: false };
    ready.then_some(problem)
}
