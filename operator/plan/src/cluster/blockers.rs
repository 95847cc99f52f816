//! What is in the way of everything else: pods that do not start, and brokers that do not answer.
//! A pod that does not start serves nothing, so it is replaced as soon as there is a newer spec,
//! whatever else goes on; one that does not start on the newest is named.

use std::cmp::Reverse;

use base::BrokerId;

use super::facts::{Facts, majority};
use super::volumes::{self, Volume};
use super::voters::first as first_voters;
use super::{Notes, Verdict};
use crate::decision::{Need, Phase, RestartReason, Step};
use crate::observed::{PodPhase, PodView};

/// A process that runs but never becomes ready, in a cluster where nothing works, may be replaced
/// after this long.
const UNANSWERED_MS: i64 = 120_000;
/// Within this time of a pod's creation its condition `Ready` is set to false for the first time.
const BEGIN_MS: i64 = 10_000;

pub(super) fn stage(facts: &Facts<'_>, notes: &mut Notes) -> Verdict {
    let mut newest = Vec::new();
    for id in facts.ids() {
        let stuck = |pod: &&PodView| pod.phase.is_broken() || facts.is_stalled(pod);
        let Some(pod) = facts.pod(id).filter(stuck) else {
            newest.extend(crashing(facts, id).or_else(|| facts.overdue(id)));
            continue;
        };
        let trouble = pod.trouble().unwrap_or_default();
        let reason = if pod.outdated || pod.restart_marked {
            Some((RestartReason::Stuck, "its spec has changed"))
        } else {
            // With a full disk that was given room, only a new pod gets it.
            let reason = RestartReason::FileSystemResize;
            facts.is_to_grow(id, pod).then_some((reason, reason.text()))
        };
        if let Some((reason, why)) = reason {
            let text = format!("replacing broker {id}, which {trouble}: {why}");
            match volumes::of(facts, id) {
                Volume::Stays | Volume::Spare => {
                    return Verdict::Act(restart(id, reason), Phase::Rolling, text);
                }
                Volume::Unknown => return Verdict::Need(Need::Partitions),
                Volume::Needed(why) => {
                    newest.push(format!("broker {id} {trouble}, and is not replaced: {why}"));
                    continue;
                }
            }
        }
        newest.push(format!("broker {id} {trouble}"));
    }
    if !newest.is_empty() {
        notes.degraded = Some(newest.join("; "));
    }
    let served = facts.is_served();
    match (facts.cluster(), facts.quorum()) {
        (None, _) if served => {
            Verdict::Hold(Phase::Unknown, format!("nothing is touched: {}", silence(facts)))
        }
        (Some(_), Some(quorum)) if quorum.leader.is_none() => {
            let voters = quorum.voters.iter().filter(|(_, voter)| !voter.caught_up);
            headless(facts, notes, voters.map(|(id, _)| *id).collect())
        }
        // A broker is ready only while there is a leader.
        (None, _) | (Some(_), None) if !served => headless(facts, notes, last_voters(facts)),
        _ => Verdict::Done,
    }
}

/// A process that runs between two crashes may be the one that others need: whether it can be
/// spared is for the roll to ask. Here it is only named, where no other spec is on its way.
fn crashing(facts: &Facts<'_>, id: BrokerId) -> Option<String> {
    let flaw = facts.pod(id).filter(|pod| pod.crashing).and_then(|_| facts.flaw(id))?;
    flaw.broken.then_some(flaw.text)
}

/// As the status has them; at the very beginning, those that are to begin.
fn last_voters(facts: &Facts<'_>) -> Vec<BrokerId> {
    match facts.seen.last_voters.as_slice() {
        [] => first_voters(facts).collect(),
        known => known.to_vec(),
    }
}

fn silence<'a>(facts: &Facts<'a>) -> &'a str {
    facts.seen.unreachable.as_deref().unwrap_or("the quorum has no leader")
}

/// Without an active controller nothing can be changed, and what is known of partitions is old or
/// nothing. Brokers may serve all the same, so a voter is replaced only if none is on its way or
/// known to be broken, one at a time: those first that were fenced before the quorum was lost,
/// then those that came last.
fn headless(facts: &Facts<'_>, notes: &Notes, voters: Vec<BrokerId>) -> Verdict {
    let coming = voters.iter().filter_map(|id| facts.flaw(*id)).any(|f| f.fresh || f.broken);
    let fenced = |id: BrokerId| {
        let brokers = facts.cluster().map(|cluster| &cluster.brokers);
        brokers.is_some_and(|brokers| brokers.get(&id).is_none_or(|broker| broker.fenced))
    };
    let hopeless = voters.iter().copied().filter(|&id| is_hopeless(facts, id));
    let hopeless = hopeless.filter(|&id| fenced(id) || !is_better(facts, id, &voters));
    let first = hopeless.min_by_key(|&id| {
        let created = facts.pod(id).map(|pod| pod.created_ms);
        (!fenced(id), Reverse(created), id)
    });
    if let Some(id) = first.filter(|_| !coming && may_elect(facts)) {
        let text = format!("replacing broker {id}: none is ready, and its spec has changed");
        return Verdict::Act(restart(id, RestartReason::Stuck), Phase::Rolling, text);
    }
    let text = format!("waiting for the brokers: {}", silence(facts));
    let new = facts.ids().all(|id| facts.pod(id).is_none_or(|pod| pod.was_never_ready()));
    match &notes.degraded {
        Some(broken) => Verdict::Hold(Phase::Degraded, format!("{text}; {broken}")),
        None => Verdict::Hold(if new { Phase::Creating } else { Phase::Waiting }, text),
    }
}

/// As many voters as elect a leader are where they can run. With fewer no new pod would help, and
/// the one that is replaced may have what the others on lost nodes cannot serve.
fn may_elect(facts: &Facts<'_>) -> bool {
    let voters: Vec<BrokerId> = match facts.quorum() {
        Some(quorum) => quorum.voters.keys().copied().collect(),
        None => last_voters(facts),
    };
    let runs = |pod: &PodView| !pod.node_lost && pod.phase != PodPhase::Unschedulable;
    let there = voters.iter().filter(|id| facts.pod(**id).is_some_and(runs)).count();
    there >= majority(voters.len())
}

/// The newest spec does worse than the broker's own: one that has it was never ready although this
/// one still was, or those that have it would be a majority by themselves.
fn is_better(facts: &Facts<'_>, id: BrokerId, voters: &[BrokerId]) -> bool {
    let Some(pod) = facts.pod(id) else { return false };
    let newest = voters.iter().filter_map(|other| facts.pod(*other)).filter(|pod| !pod.outdated);
    let newest: Vec<&PodView> = newest.collect();
    let mut failed = newest.iter().filter(|other| other.was_never_ready());
    let failed = failed.any(|other| other.created_ms < pod.since_ms);
    failed || newest.len() >= majority(voters.len())
}

impl PodView {
    fn was_never_ready(&self) -> bool {
        !self.ready && self.since_ms - self.created_ms < BEGIN_MS
    }
}

/// It runs, but has not been ready for long, and there is a newer spec.
fn is_hopeless(facts: &Facts<'_>, id: BrokerId) -> bool {
    facts.pod(id).is_some_and(|pod| {
        let long = facts.seen.now_ms - pod.since_ms >= UNANSWERED_MS;
        let stays = volumes::spared(facts, id).is_ok();
        // Of one on a node that is silent nobody knows whether it is ready.
        let mute = pod.node_lost;
        pod.phase == PodPhase::Running && !pod.ready && !mute && pod.outdated && long && stays
    })
}

fn restart(id: BrokerId, reason: RestartReason) -> Step {
    Step::Restart { brokers: vec![id], reason }
}
