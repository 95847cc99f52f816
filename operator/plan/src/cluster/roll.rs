//! Restarts, one broker after the other: those that do not serve first, the active controller
//! last. One is restarted only if no partition falls below its minimum ISR by it, the quorum
//! keeps its majority, and every other broker is whole, with all its replicas in sync, and has been
//! for some seconds: the one before is then truly back. Brokers of one rack may go together where
//! the brokers say that the rack can be spared.

use base::BrokerId;

use super::facts::{Facts, Flaw, brokers, listed};
use super::{Notes, Verdict, volumes};
use crate::decision::{Need, Phase, RestartReason, Step};
use crate::observed::{AllowUnavailable, BrokerRisk, RackRisk};

pub(super) fn stage(facts: &Facts<'_>, notes: &mut Notes) -> Verdict {
    let leaving = if notes.refused.is_some() { Default::default() } else { facts.surplus() };
    let due: Vec<(BrokerId, RestartReason)> =
        facts.ids().filter_map(|id| Some((id, reason(facts, id)?))).collect();
    notes.to_restart = due.iter().filter(|(id, _)| !leaving.contains(id)).count();
    let volumes = volumes::are_unknown(facts, due.iter().map(|(id, _)| *id));
    if volumes || facts.lacks_isr() && !due.is_empty() {
        return Verdict::Need(Need::Partitions);
    }
    let stay = facts.ids().filter(|id| !leaving.contains(id));
    let flaws = stay.filter_map(|id| facts.flaw(id).or_else(|| facts.unsettled(id)));
    let flaws: Vec<Flaw> = flaws.collect();
    let broken = flaws.iter().find(|flaw| flaw.broken);
    for &(id, reason) in &due {
        let Some(pod) = facts.pod(id).filter(|pod| !pod.ready) else { continue };
        // No second broker goes onto a spec that is known not to start.
        let allowed = broken.is_none() || !pod.outdated;
        if allowed && is_idle(facts, id) {
            let text = format!("restarting broker {id}, which is not ready: {}", reason.text());
            return restart(vec![id], reason, text);
        }
    }
    let due: Vec<(BrokerId, RestartReason)> =
        due.into_iter().filter(|(id, _)| !leaving.contains(id)).collect();
    if due.is_empty() {
        return Verdict::Done;
    }
    if let Some(flaw) = broken {
        let text = format!("the roll has stopped, {} to go: {}", due.len(), flaw.text);
        return Verdict::Wait(Phase::Degraded, text);
    }
    let verdict = serving(facts, &due, &flaws);
    if !matches!(verdict, Verdict::Act(..)) {
        notes.blocking = blocking(facts, &due);
    }
    verdict
}

/// A replica that a move is only about to add holds nothing up.
fn blocking(facts: &Facts<'_>, due: &[(BrokerId, RestartReason)]) -> u64 {
    let lagging: u64 = facts.ids().filter_map(|id| facts.lagging(id)).sum();
    let at_risk = due.iter().filter_map(|(id, _)| facts.risk(*id)).map(|risk| risk.at_risk);
    lagging.max(at_risk.max().unwrap_or(0))
}

/// Why a pod is to be replaced; `None` where it is not, or already is being.
fn reason(facts: &Facts<'_>, id: BrokerId) -> Option<RestartReason> {
    let pod = facts.pod(id).filter(|pod| pod.serves())?;
    if pod.restart_marked {
        Some(RestartReason::Asked)
    } else if pod.outdated {
        Some(RestartReason::Outdated)
    } else {
        facts.is_to_grow(id, pod).then_some(RestartReason::FileSystemResize)
    }
}

/// It does not serve, so that nobody misses it, whoever else is down.
fn is_idle(facts: &Facts<'_>, id: BrokerId) -> bool {
    let idle = |risk: &BrokerRisk| risk.leading == 0 && spared(facts, id, risk).is_ok();
    let needed = facts.broker(id).is_some_and(|broker| !broker.risk.as_ref().is_some_and(idle));
    !needed && volumes::spared(facts, id).is_ok() && facts.quorum_spares(&[id]) == Some(true)
}

/// A broker that is due and not whole goes before all others, which wait for it: it may be that
/// only the new spec makes it whole. Others that are not whole must be due as well, and not be
/// coming back by themselves.
fn ailing(facts: &Facts<'_>, due: &[(BrokerId, RestartReason)], flaws: &[Flaw]) -> Option<Verdict> {
    let has_flaw = |id: BrokerId| flaws.iter().any(|flaw| flaw.broker == id);
    let is_due = |id: BrokerId| due.iter().any(|(other, _)| *other == id);
    for &(id, reason) in due.iter().filter(|(id, _)| has_flaw(*id)) {
        let mut others = flaws.iter().filter(|flaw| flaw.broker != id);
        if others.all(|flaw| is_due(flaw.broker) && !flaw.fresh) && safe(facts, id).is_ok() {
            let text = format!("restarting broker {id}, which is not whole: {}", reason.text());
            return Some(restart(vec![id], reason, text));
        }
    }
    None
}

/// Among brokers that serve.
fn serving(facts: &Facts<'_>, due: &[(BrokerId, RestartReason)], flaws: &[Flaw]) -> Verdict {
    let Some(leader) = facts.quorum().and_then(|quorum| quorum.leader) else {
        return Verdict::Wait(Phase::Rolling, "waiting: the active controller is not known".into());
    };
    if let Some(first) = ailing(facts, due, flaws) {
        return first;
    }
    // One that has to keep its volume may never go, and the leader does not wait for it.
    let turn = |id: BrokerId| id != leader && volumes::spared(facts, id).is_ok();
    let others: Vec<_> = due.iter().copied().filter(|(id, _)| turn(*id)).collect();
    let round = if others.is_empty() { due } else { &others };
    if !flaws.is_empty() && !may_join(facts, round, flaws) {
        let texts: Vec<&str> = flaws.iter().take(3).map(|flaw| &*flaw.text).collect();
        let text = format!("waiting to restart {} more: {}", due.len(), texts.join("; "));
        let fresh = flaws.iter().any(|flaw| flaw.fresh);
        return if fresh { hold(text) } else { Verdict::Wait(Phase::Rolling, text) };
    }
    let mut obstacle = None;
    for &(id, reason) in round {
        match safe(facts, id) {
            Err(why) => {
                obstacle.get_or_insert(why);
            }
            Ok(()) => {
                let Some(batch) = batch(facts, id, round, flaws) else { continue };
                let text = format!("restarting {}: {}", brokers(&batch), reason.text());
                return restart(batch, reason, text);
            }
        }
    }
    let why = obstacle.unwrap_or_else(|| "the racks cannot spare more".into());
    let text = format!("waiting to restart {} more: {why}", due.len());
    match facts.moves() {
        // Moves in flight end by themselves, and a partition that moves can spare less.
        Some(moves) if !moves.is_empty() => hold(text),
        _ => Verdict::Wait(Phase::Rolling, text),
    }
}

fn hold(text: String) -> Verdict {
    Verdict::Hold(Phase::Rolling, text)
}

fn restart(brokers: Vec<BrokerId>, reason: RestartReason, text: String) -> Verdict {
    Verdict::Act(Step::Restart { brokers, reason }, Phase::Rolling, text)
}

/// Whether the broker can be spared; why not, otherwise.
fn safe(facts: &Facts<'_>, id: BrokerId) -> Result<(), String> {
    let risk = facts.risk(id).ok_or(format!("what depends on broker {id} is not known"))?;
    spared(facts, id, risk)?;
    volumes::spared(facts, id)?;
    match facts.quorum_spares(&[id]) {
        Some(true) => Ok(()),
        Some(false) => Err(format!("without broker {id} the quorum has no majority")),
        None => Err("the quorum does not say who votes".into()),
    }
}

fn spared(facts: &Facts<'_>, id: BrokerId, risk: &BrokerRisk) -> Result<(), String> {
    if risk.at_risk > 0 {
        let names = listed(&risk.examples, risk.at_risk);
        return Err(format!("without broker {id}, below min.insync.replicas: {names}"));
    }
    if risk.unavoidable > 0 && !may_be_unavailable(facts) {
        let names = listed(&risk.unavoidable_examples, risk.unavoidable);
        return Err(format!("no other broker can stand in for broker {id}: {names}"));
    }
    Ok(())
}

fn may_be_unavailable(facts: &Facts<'_>) -> bool {
    facts.desired().rolling.allow_unavailable == AllowUnavailable::Proceed
}

/// The rack of a broker, if all of it can be spared.
fn spare_rack<'a>(facts: &Facts<'a>, id: BrokerId) -> Option<&'a str> {
    let rack = facts.broker(id)?.rack.as_deref()?;
    let risk: &RackRisk = facts.cluster()?.racks.get(rack)?;
    let safe = risk.at_risk == 0 && (risk.unavoidable == 0 || may_be_unavailable(facts));
    safe.then_some(rack)
}

fn limit(facts: &Facts<'_>) -> usize {
    let rolling = facts.desired().rolling;
    match (rolling.max_unavailable, rolling.same_rack_parallel) {
        (Some(most), _) => usize::try_from(most).unwrap_or(1).max(1),
        (None, true) => usize::MAX,
        (None, false) => 1,
    }
}

/// Whether some broker may be restarted while others are not whole: those of its own rack, if all
/// of the rack can be spared.
fn may_join(facts: &Facts<'_>, due: &[(BrokerId, RestartReason)], flaws: &[Flaw]) -> bool {
    flaws.len() < limit(facts) && due.iter().any(|(id, _)| shares_rack(facts, *id, flaws))
}

fn shares_rack(facts: &Facts<'_>, id: BrokerId, flaws: &[Flaw]) -> bool {
    let rack = spare_rack(facts, id);
    let rack_of = |id: BrokerId| facts.broker(id).and_then(|b| b.rack.as_deref());
    rack.is_some() && flaws.iter().all(|flaw| rack_of(flaw.broker) == rack)
}

/// The broker and those that may go with it.
fn batch(
    facts: &Facts<'_>,
    first: BrokerId,
    due: &[(BrokerId, RestartReason)],
    flaws: &[Flaw],
) -> Option<Vec<BrokerId>> {
    if !flaws.is_empty() && !shares_rack(facts, first, flaws) {
        return None;
    }
    let room = limit(facts).checked_sub(flaws.len()).filter(|&room| room > 0)?;
    let mut batch = vec![first];
    let Some(rack) = spare_rack(facts, first) else { return Some(batch) };
    for &(id, _) in due.iter().filter(|(id, _)| *id != first) {
        let same = facts.broker(id).and_then(|b| b.rack.as_deref()) == Some(rack);
        if batch.len() == room || !same || safe(facts, id).is_err() {
            continue;
        }
        batch.push(id);
        if facts.quorum_spares(&batch) != Some(true) {
            batch.pop();
        }
    }
    Some(batch)
}
