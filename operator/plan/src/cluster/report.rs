//! What the user is told of a plan: phase, message, the state of each broker.

use std::collections::{BTreeMap, BTreeSet};

use base::BrokerId;

use super::Notes;
use super::input::{StageInput, Unhealthy};
use crate::decision::{BrokerState, BrokerStatus, Phase, Plan, Step};
use crate::observed::PodPhase;

/// A step was taken: what it changes shows soon.
pub(super) const STEP_MS: u64 = 1_000;
/// Brokers do not tell when they are done.
const WAIT_MS: u64 = 2_000;
/// What is refused may be allowed at any time, and nobody tells.
const REFUSED_MS: u64 = 10_000;

/// A plan that changes nothing.
pub(super) fn blank(input: &StageInput<'_>) -> Plan {
    Plan {
        sizes: input.fleet().sizes(),
        step: Step::Nothing,
        needs: Vec::new(),
        phase: Phase::Unknown,
        message: String::new(),
        refused: None,
        degraded: None,
        lost: Vec::new(),
        blocking: 0,
        rebalance: None,
        rebalancing: input.seen.rebalancing,
        brokers: states(input),
        requeue_ms: None,
    }
}

pub(super) fn act(input: &StageInput<'_>, plan: &mut Plan, step: Step, phase: Phase, text: String) {
    if let Step::Shrink { broker } = step
        && let Some((name, pool)) = input.fleet().pool_of(broker)
    {
        plan.sizes.insert(name.clone(), pool.size_without(broker));
    }
    plan.step = step;
    plan.phase = phase;
    plan.message = text;
    plan.requeue_ms = Some(STEP_MS);
}

/// Fills in what no stage said.
pub(super) fn finish(
    input: &StageInput<'_>,
    plan: &mut Plan,
    notes: Notes,
    waits: Option<(Phase, String)>,
    ended: bool,
) {
    plan.refused = notes.refused;
    plan.degraded = notes.degraded;
    plan.lost = notes.lost;
    plan.blocking = notes.blocking;
    plan.rebalance = notes.progress;
    plan.rebalancing = notes.rebalancing.unwrap_or(plan.rebalancing);
    if plan.step != Step::Nothing || !plan.needs.is_empty() {
        return;
    }
    if let Some((phase, text)) = waits {
        plan.phase = if plan.degraded.is_some() { Phase::Degraded } else { phase };
        plan.message = text;
        plan.requeue_ms = Some(WAIT_MS);
        return;
    }
    debug_assert!(!ended, "invariant: a stage that ends a plan says why");
    if let Some((phase, text)) = unfinished(input) {
        plan.phase = if plan.degraded.is_some() { Phase::Degraded } else { phase };
        plan.message = text;
        plan.requeue_ms = Some(WAIT_MS);
    } else if let Some(refused) = &plan.refused {
        plan.phase = Phase::Waiting;
        plan.message = refused.message.clone();
        plan.requeue_ms = Some(REFUSED_MS);
    } else {
        plan.phase = Phase::Ready;
        let ready = format!("{} brokers are ready", input.fleet().size());
        plan.message = std::iter::once(ready).chain(notes.remarks).collect::<Vec<_>>().join("; ");
        let grows = |id| input.seen.claims.get(&id).is_some_and(|c| c.resize_since_ms.is_some());
        plan.requeue_ms = input.ids().any(grows).then_some(REFUSED_MS);
    }
}

/// Brokers that are not whole, or of which nobody knows yet whether they are to be restarted.
fn unfinished(input: &StageInput<'_>) -> Option<(Phase, String)> {
    let unhealthy: Vec<Unhealthy> = input.ids().filter_map(|id| input.flaw(id)).collect();
    if unhealthy.is_empty() {
        let unseen = !input.fleet().is_taken_up();
        let text = "Kubernetes has not yet taken up the newest spec of the pods";
        return unseen.then(|| (Phase::Rolling, text.to_owned()));
    }
    let texts: Vec<&str> = unhealthy.iter().take(3).map(|flaw| &*flaw.text).collect();
    let rest = match unhealthy.len() - texts.len() {
        0 => String::new(),
        rest => format!("; and {rest} more"),
    };
    let new = |flaw: &Unhealthy| input.broker(flaw.broker).is_none();
    let phase = match (unhealthy.iter().all(new), unhealthy.len() as i32 == input.fleet().size()) {
        (true, true) => Phase::Creating,
        (true, false) => Phase::ScalingUp,
        _ => Phase::Waiting,
    };
    Some((phase, format!("{}{rest}", texts.join("; "))))
}

fn states(input: &StageInput<'_>) -> BTreeMap<BrokerId, BrokerStatus> {
    let mut ids: BTreeSet<BrokerId> = input.ids().collect();
    ids.extend(input.fleet().wanted());
    ids.extend(input.seen.pods.keys());
    if let Some(cluster) = input.cluster() {
        ids.extend(cluster.brokers.keys());
    }
    ids.into_iter().map(|id| (id, state(input, id))).collect()
}

fn state(input: &StageInput<'_>, id: BrokerId) -> BrokerStatus {
    let says = |state, message: String| BrokerStatus { state, message };
    let leaving = !input.fleet().is_wanted(id);
    let flaw = input.flaw(id);
    let text = flaw.map(|flaw| flaw.text).unwrap_or_default();
    let Some(pod) = input.pod(id) else {
        return match leaving {
            true => says(BrokerState::Removing, "its pod is gone".into()),
            false => says(BrokerState::Missing, text),
        };
    };
    match pod.phase {
        PodPhase::Terminating if leaving => return says(BrokerState::Removing, text),
        PodPhase::Terminating => return says(BrokerState::Restarting, text),
        PodPhase::Creating => return says(BrokerState::Creating, text),
        PodPhase::Running if pod.crashing && !pod.ready => return says(BrokerState::Stuck, text),
        PodPhase::Running => {}
        _ => return says(BrokerState::Stuck, text),
    }
    if input.cluster().is_none() {
        return says(BrokerState::Unknown, "the brokers do not answer".into());
    }
    match input.broker(id) {
        _ if input.is_cordoned(id) == Some(true) && leaving => {
            let hosted = input.risk(id).map_or(0, |risk| risk.hosted);
            says(BrokerState::Draining, format!("{hosted} replicas to go"))
        }
        None => says(BrokerState::Starting, text),
        Some(broker) if broker.fenced => says(BrokerState::Starting, text),
        Some(_) if !text.is_empty() => says(BrokerState::CatchingUp, text),
        Some(_) if pod.outdated => says(BrokerState::Outdated, "its spec has changed".into()),
        Some(_) => says(BrokerState::Running, String::new()),
    }
}
