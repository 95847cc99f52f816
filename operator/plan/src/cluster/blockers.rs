//! What is in the way of everything else: pods that do not start, and brokers that do not answer.
//! A pod that does not start serves nothing, so it is replaced as soon as there is a newer spec,
//! whatever else goes on; one that does not start on the newest is named.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use base::BrokerId;

use super::input::{StageInput, majority};
use super::volumes::{self, Volume};
use super::{Notes, StageResult};
use crate::decision::{Need, Phase, RestartReason, Step};
use crate::observed::{PodPhase, PodView};

/// A process that runs but never becomes ready, in a cluster where nothing works, may be replaced
/// after this long.
const UNANSWERED_MS: i64 = 120_000;
/// Within this time of a pod's creation its condition `Ready` is set to false for the first time.
const BEGIN_MS: i64 = 10_000;

pub(super) fn stage(input: &StageInput<'_>, notes: &mut Notes) -> StageResult {
    let mut newest = Vec::new();
    for id in input.ids() {
        let stuck = |pod: &&PodView| pod.phase.is_broken() || input.is_stalled(pod);
        let Some(pod) = input.pod(id).filter(stuck) else {
            newest.extend(crashing(input, id).or_else(|| input.overdue(id)));
            continue;
        };
        let trouble = pod.trouble().unwrap_or_default();
        let reason = if pod.outdated || pod.restart_marked {
            Some((RestartReason::Stuck, "its spec has changed"))
        } else {
            // With a full disk that was given room, only a new pod gets it.
            let reason = RestartReason::FileSystemResize;
            input.is_to_grow(id, pod).then_some((reason, reason.text()))
        };
        if let Some((reason, why)) = reason {
            let text = format!("replacing broker {id}, which {trouble}: {why}");
            match volumes::of(input, id) {
                Volume::Stays | Volume::Spare => {
                    return StageResult::Act(restart(id, reason), Phase::Rolling, text);
                }
                Volume::Unknown => return StageResult::Need(Need::Partitions),
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
    let served = input.is_served();
    match (input.cluster(), input.quorum()) {
        (None, _) if served => {
            StageResult::Hold(Phase::Unknown, format!("nothing is touched: {}", silence(input)))
        }
        (Some(_), Some(quorum)) if quorum.leader.is_none() => {
            let voters = quorum.voters.iter().filter(|(_, voter)| !voter.caught_up);
            no_controller(input, notes, voters.map(|(id, _)| *id).collect())
        }
        // A broker is ready only while there is a leader.
        (None, _) | (Some(_), None) if !served => no_controller(input, notes, last_voters(input)),
        _ => StageResult::Done,
    }
}

/// A process that runs between two crashes may be the one that others need: whether it can be
/// spared is for the roll to ask. Here it is only named, where no other spec is on its way.
fn crashing(input: &StageInput<'_>, id: BrokerId) -> Option<String> {
    let flaw = input.pod(id).filter(|pod| pod.crashing).and_then(|_| input.flaw(id))?;
    flaw.broken.then_some(flaw.text)
}

/// As the status has them; at the very beginning, those that are to begin.
fn last_voters(input: &StageInput<'_>) -> Vec<BrokerId> {
    match input.seen.last_voters.as_slice() {
        [] => input.fleet().first_voters(input.desired().voters).collect(),
        known => known.to_vec(),
    }
}

fn silence<'a>(input: &StageInput<'a>) -> &'a str {
    input.seen.unreachable.as_deref().unwrap_or("the quorum has no leader")
}

/// Without an active controller nothing can be changed, and what is known of partitions is old or
/// nothing. Brokers may serve all the same, so a voter is replaced only if none is on its way or
/// known to be broken, one at a time: those first that were fenced before the quorum was lost,
/// then those that came last.
fn no_controller(input: &StageInput<'_>, notes: &Notes, voters: Vec<BrokerId>) -> StageResult {
    let coming = voters.iter().filter_map(|id| input.flaw(*id)).any(|f| f.fresh || f.broken);
    let fenced = |id: BrokerId| {
        let brokers = input.cluster().map(|cluster| &cluster.brokers);
        brokers.is_some_and(|brokers| brokers.get(&id).is_none_or(|broker| broker.fenced))
    };
    let hopeless = voters.iter().copied().filter(|&id| is_hopeless(input, id));
    let hopeless = hopeless.filter(|&id| volumes::can_stop(input, id).is_ok());
    let hopeless = hopeless.filter(|&id| fenced(id) || !is_better(input, id, &voters));
    let first = hopeless.min_by_key(|&id| {
        let created = input.pod(id).map(|pod| pod.created_ms);
        (!fenced(id), Reverse(created), id)
    });
    if let Some(id) = first.filter(|_| !coming && may_elect(input)) {
        let text = format!("replacing broker {id}: none is ready, and its spec has changed");
        return StageResult::Act(restart(id, RestartReason::Stuck), Phase::Rolling, text);
    }
    let held = voters.iter().filter_map(|&id| held(input, id).map(|why| format!("; {why}")));
    let text = format!("waiting for the brokers: {}{}", silence(input), held.collect::<String>());
    let new = input.ids().all(|id| input.pod(id).is_none_or(|pod| pod.was_never_ready()));
    match &notes.degraded {
        Some(broken) => StageResult::Hold(Phase::Degraded, format!("{text}; {broken}")),
        None => StageResult::Hold(if new { Phase::Creating } else { Phase::Waiting }, text),
    }
}

/// Who may vote: those who are known to, and the same after the change that was under way then.
fn possible_voters(input: &StageInput<'_>) -> Vec<BTreeSet<BrokerId>> {
    let known: BTreeSet<BrokerId> = match input.quorum() {
        Some(quorum) => quorum.voters.keys().copied().collect(),
        None => last_voters(input).into_iter().collect(),
    };
    let changing: BTreeSet<BrokerId> = input.seen.changing_voter.into_iter().collect();
    let changed = known.symmetric_difference(&changing).copied().collect();
    vec![known, changed]
}

/// As many voters as elect a leader are where they can run, and not held on a spec that they never
/// ran well on. With fewer no new pod would help, and the one that is replaced may have what the
/// others cannot serve.
fn may_elect(input: &StageInput<'_>) -> bool {
    let runs = |pod: &PodView| !pod.node_lost && pod.phase != PodPhase::Unschedulable;
    let there = |id: &&BrokerId| {
        let pod = input.pod(**id).filter(|pod| runs(pod));
        pod.is_some_and(|pod| !pod.was_never_ready() || held(input, **id).is_none())
    };
    let enough =
        |voters: &BTreeSet<_>| voters.iter().filter(there).count() >= majority(voters.len());
    possible_voters(input).iter().all(enough)
}

/// The newest spec does worse than the broker's own: one that has it was never ready although this
/// one was until about then, or those that have it would be a majority by themselves. Had this one
/// failed first, it would have been waited for, as long as for any, before another got that spec.
fn is_better(input: &StageInput<'_>, id: BrokerId, voters: &[BrokerId]) -> bool {
    let Some(pod) = input.pod(id) else { return false };
    let newest = |id: &BrokerId| input.pod(*id).filter(|pod| !pod.outdated);
    let mut failed = voters.iter().filter_map(newest).filter(|other| other.was_never_ready());
    let failed = !pod.was_never_ready()
        && failed.any(|other| other.created_ms < pod.since_ms + UNANSWERED_MS);
    let suffice =
        |voters: &BTreeSet<_>| voters.iter().filter_map(newest).count() >= majority(voters.len());
    failed || possible_voters(input).iter().all(suffice)
}

impl PodView {
    fn was_never_ready(&self) -> bool {
        !self.ready && self.since_ms - self.created_ms < BEGIN_MS
    }
}

/// It runs, but has not been ready for long, and there is a newer spec.
fn is_hopeless(input: &StageInput<'_>, id: BrokerId) -> bool {
    input.pod(id).is_some_and(|pod| {
        let long = input.seen.now_ms - pod.known_since_ms() >= UNANSWERED_MS;
        // Of one on a node that is silent nobody knows whether it is ready.
        let mute = pod.node_lost;
        pod.phase == PodPhase::Running && !pod.ready && !mute && pod.outdated && long
    })
}

/// Why a broker that only a newer spec may help does not get it.
fn held(input: &StageInput<'_>, id: BrokerId) -> Option<String> {
    is_hopeless(input, id).then(|| volumes::can_stop(input, id).err()).flatten()
}

fn restart(id: BrokerId, reason: RestartReason) -> Step {
    Step::Restart { brokers: vec![id], reason }
}
