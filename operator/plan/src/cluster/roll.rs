//! Restarts, one broker after the other: those that do not serve first, the active controller
//! last. One is restarted only if no partition falls below its minimum ISR by it, the quorum
//! keeps its majority, and every other broker is whole, with all its replicas in sync, and has been
//! for some seconds: the one before is then truly back. Brokers of one rack may go together where
//! the brokers say that the rack can be spared.

use base::BrokerId;

use super::input::{StageInput, Unhealthy, brokers, listed};
use super::{Notes, StageResult, volumes};
use crate::decision::{Need, Phase, RestartReason, Step};
use crate::observed::{AllowUnavailable, BrokerRisk, RackRisk};

pub(super) fn stage(input: &StageInput<'_>, notes: &mut Notes) -> StageResult {
    let leaving = notes.leaving(input);
    let due: Vec<(BrokerId, RestartReason)> =
        input.ids().filter_map(|id| Some((id, reason(input, id)?))).collect();
    notes.to_restart = due.iter().filter(|(id, _)| !leaving.contains(id)).count();
    let volumes = volumes::are_unknown(input, due.iter().map(|(id, _)| *id));
    if volumes || input.lacks_isr() && !due.is_empty() {
        return StageResult::Need(Need::Partitions);
    }
    let stay = input.ids().filter(|id| !leaving.contains(id));
    let unhealthy = stay.filter_map(|id| input.flaw(id).or_else(|| input.unsettled(id)));
    let unhealthy: Vec<Unhealthy> = unhealthy.collect();
    let broken = unhealthy.iter().find(|flaw| flaw.broken);
    for &(id, reason) in &due {
        let Some(pod) = input.pod(id).filter(|pod| !pod.ready) else { continue };
        // No second broker goes onto a spec that is known not to start.
        let allowed = broken.is_none() || !pod.outdated;
        if allowed && is_idle(input, id) {
            let text = format!("restarting broker {id}, which is not ready: {}", reason.text());
            return restart(vec![id], reason, text);
        }
    }
    let due: Vec<(BrokerId, RestartReason)> =
        due.into_iter().filter(|(id, _)| !leaving.contains(id)).collect();
    if due.is_empty() {
        return StageResult::Done;
    }
    if let Some(flaw) = broken {
        let text = format!("the roll has stopped, {} to go: {}", due.len(), flaw.text);
        return StageResult::Wait(Phase::Degraded, text);
    }
    let verdict = serving(input, &due, &unhealthy);
    if !matches!(verdict, StageResult::Act(..)) {
        notes.blocking = blocking(input, &due);
    }
    verdict
}

/// A replica that a move is only about to add holds nothing up.
fn blocking(input: &StageInput<'_>, due: &[(BrokerId, RestartReason)]) -> u64 {
    let lagging: u64 = input.ids().filter_map(|id| input.lagging(id)).sum();
    let at_risk = due.iter().filter_map(|(id, _)| input.risk(*id)).map(|risk| risk.at_risk);
    lagging.max(at_risk.max().unwrap_or(0))
}

/// Why a pod is to be replaced; `None` where it is not, or already is being.
fn reason(input: &StageInput<'_>, id: BrokerId) -> Option<RestartReason> {
    let pod = input.pod(id).filter(|pod| pod.serves())?;
    if pod.restart_marked {
        Some(RestartReason::Asked)
    } else if pod.outdated {
        Some(RestartReason::Outdated)
    } else {
        input.is_to_grow(id, pod).then_some(RestartReason::FileSystemResize)
    }
}

/// It does not serve, so that nobody misses it, whoever else is down.
fn is_idle(input: &StageInput<'_>, id: BrokerId) -> bool {
    let idle = |risk: &BrokerRisk| risk.leading == 0 && can_stop(input, id, risk).is_ok();
    let needed = input.broker(id).is_some_and(|broker| !broker.risk.as_ref().is_some_and(idle));
    !needed && volumes::can_stop(input, id).is_ok() && input.quorum_spares(&[id]) == Some(true)
}

/// A broker that is due and not whole goes before all others, which wait for it: it may be that
/// only the new spec makes it whole. Others that are not whole must be due as well, and not be
/// coming back by themselves.
fn unhealthy_first(
    input: &StageInput<'_>,
    due: &[(BrokerId, RestartReason)],
    unhealthy: &[Unhealthy],
) -> Option<StageResult> {
    let has_flaw = |id: BrokerId| unhealthy.iter().any(|flaw| flaw.broker == id);
    let is_due = |id: BrokerId| due.iter().any(|(other, _)| *other == id);
    for &(id, reason) in due.iter().filter(|(id, _)| has_flaw(*id)) {
        let mut others = unhealthy.iter().filter(|flaw| flaw.broker != id);
        if others.all(|flaw| is_due(flaw.broker) && !flaw.fresh) && safe(input, id).is_ok() {
            let text = format!("restarting broker {id}, which is not whole: {}", reason.text());
            return Some(restart(vec![id], reason, text));
        }
    }
    None
}

/// Among brokers that serve.
fn serving(
    input: &StageInput<'_>,
    due: &[(BrokerId, RestartReason)],
    unhealthy: &[Unhealthy],
) -> StageResult {
    let Some(leader) = input.quorum().and_then(|quorum| quorum.leader) else {
        return StageResult::Wait(
            Phase::Rolling,
            "waiting: the active controller is not known".into(),
        );
    };
    if let Some(first) = unhealthy_first(input, due, unhealthy) {
        return first;
    }
    // One that has to keep its volume may never go, and the leader does not wait for it.
    let turn = |id: BrokerId| id != leader && volumes::can_stop(input, id).is_ok();
    let others: Vec<_> = due.iter().copied().filter(|(id, _)| turn(*id)).collect();
    let round = if others.is_empty() { due } else { &others };
    if !unhealthy.is_empty() && !may_join(input, round, unhealthy) {
        let texts: Vec<&str> = unhealthy.iter().take(3).map(|flaw| &*flaw.text).collect();
        let text = format!("waiting to restart {} more: {}", due.len(), texts.join("; "));
        let fresh = unhealthy.iter().any(|flaw| flaw.fresh);
        return if fresh { hold(text) } else { StageResult::Wait(Phase::Rolling, text) };
    }
    let mut obstacle = None;
    for &(id, reason) in round {
        match safe(input, id) {
            Err(why) => {
                obstacle.get_or_insert(why);
            }
            Ok(()) => {
                let Some(batch) = batch(input, id, round, unhealthy) else { continue };
                let text = format!("restarting {}: {}", brokers(&batch), reason.text());
                return restart(batch, reason, text);
            }
        }
    }
    let why = obstacle.unwrap_or_else(|| "the racks cannot spare more".into());
    let text = format!("waiting to restart {} more: {why}", due.len());
    match input.moves() {
        // Moves in flight end by themselves, and a partition that moves can spare less.
        Some(moves) if !moves.is_empty() => hold(text),
        _ => StageResult::Wait(Phase::Rolling, text),
    }
}

fn hold(text: String) -> StageResult {
    StageResult::Hold(Phase::Rolling, text)
}

fn restart(brokers: Vec<BrokerId>, reason: RestartReason, text: String) -> StageResult {
    StageResult::Act(Step::Restart { brokers, reason }, Phase::Rolling, text)
}

/// Whether the broker can be spared; why not, otherwise.
fn safe(input: &StageInput<'_>, id: BrokerId) -> Result<(), String> {
    let risk = input.risk(id).ok_or(format!("what depends on broker {id} is not known"))?;
    can_stop(input, id, risk)?;
    volumes::can_stop(input, id)?;
    match input.quorum_spares(&[id]) {
        Some(true) => Ok(()),
        Some(false) => Err(format!("without broker {id} the quorum has no majority")),
        None => Err("the quorum does not say who votes".into()),
    }
}

fn can_stop(input: &StageInput<'_>, id: BrokerId, risk: &BrokerRisk) -> Result<(), String> {
    if risk.at_risk > 0 {
        let names = listed(&risk.examples, risk.at_risk);
        return Err(format!("without broker {id}, below min.insync.replicas: {names}"));
    }
    if risk.unavoidable > 0 && !may_be_unavailable(input) {
        let names = listed(&risk.unavoidable_examples, risk.unavoidable);
        return Err(format!("no other broker can stand in for broker {id}: {names}"));
    }
    Ok(())
}

fn may_be_unavailable(input: &StageInput<'_>) -> bool {
    input.desired().rolling.allow_unavailable == AllowUnavailable::Proceed
}

/// The rack of a broker, if all of it can be spared.
fn spare_rack<'a>(input: &StageInput<'a>, id: BrokerId) -> Option<&'a str> {
    let rack = input.broker(id)?.rack.as_deref()?;
    let risk: &RackRisk = input.cluster()?.racks.get(rack)?;
    let safe = risk.at_risk == 0 && (risk.unavoidable == 0 || may_be_unavailable(input));
    safe.then_some(rack)
}

fn limit(input: &StageInput<'_>) -> usize {
    let rolling = input.desired().rolling;
    match (rolling.max_unavailable, rolling.same_rack_parallel) {
        (Some(most), _) => usize::try_from(most).unwrap_or(1).max(1),
        (None, true) => usize::MAX,
        (None, false) => 1,
    }
}

/// Whether some broker may be restarted while others are not whole: those of its own rack, if all
/// of the rack can be spared.
fn may_join(
    input: &StageInput<'_>,
    due: &[(BrokerId, RestartReason)],
    unhealthy: &[Unhealthy],
) -> bool {
    unhealthy.len() < limit(input) && due.iter().any(|(id, _)| shares_rack(input, *id, unhealthy))
}

fn shares_rack(input: &StageInput<'_>, id: BrokerId, unhealthy: &[Unhealthy]) -> bool {
    let rack = spare_rack(input, id);
    let rack_of = |id: BrokerId| input.broker(id).and_then(|b| b.rack.as_deref());
    rack.is_some() && unhealthy.iter().all(|flaw| rack_of(flaw.broker) == rack)
}

/// The broker and those that may go with it.
fn batch(
    input: &StageInput<'_>,
    first: BrokerId,
    due: &[(BrokerId, RestartReason)],
    unhealthy: &[Unhealthy],
) -> Option<Vec<BrokerId>> {
    if !unhealthy.is_empty() && !shares_rack(input, first, unhealthy) {
        return None;
    }
    let room = limit(input).checked_sub(unhealthy.len()).filter(|&room| room > 0)?;
    let mut batch = vec![first];
    let Some(rack) = spare_rack(input, first) else { return Some(batch) };
    for &(id, _) in due.iter().filter(|(id, _)| *id != first) {
        let same = input.broker(id).and_then(|b| b.rack.as_deref()) == Some(rack);
        if batch.len() == room || !same || safe(input, id).is_err() {
            continue;
        }
        batch.push(id);
        if input.quorum_spares(&batch) != Some(true) {
            batch.pop();
        }
    }
    Some(batch)
}
