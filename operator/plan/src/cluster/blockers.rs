//! What is in the way of everything else: pods that do not start, and brokers that do not answer.
//! A pod that does not start serves nothing, so it is replaced as soon as there is a newer spec,
//! whatever else goes on; one that does not start on the newest is named.

use std::cmp::Reverse;

use base::BrokerId;

use super::facts::{Facts, majority};
use super::{Notes, Verdict};
use crate::decision::{Phase, RestartReason, Step};
use crate::observed::{PodPhase, PodView};

/// A process that runs but never becomes ready, in a cluster where nothing works, may be replaced
/// after this long.
const UNANSWERED_MS: i64 = 120_000;
/// Within this time of a pod's creation its condition `Ready` is set to false for the first time.
const BEGIN_MS: i64 = 10_000;

pub(super) fn stage(facts: &Facts<'_>, notes: &mut Notes) -> Verdict {
    let mut newest = Vec::new();
    for id in facts.ids() {
        let Some(pod) = facts.pod(id).filter(|pod| pod.phase.is_broken()) else { continue };
        let trouble = pod.trouble().unwrap_or_default();
        if pod.outdated || pod.restart_marked {
            let text = format!("replacing broker {id}, which {trouble}: its spec has changed");
            return Verdict::Act(restart(id), Phase::Rolling, text);
        }
        newest.push(format!("broker {id} {trouble}"));
    }
    if !newest.is_empty() {
        notes.degraded = Some(newest.join("; "));
    }
    let Some(cluster) = facts.cluster() else { return unanswered(facts, notes) };
    let served = facts.ids().filter_map(|id| facts.pod(id)).any(|pod| pod.ready);
    match &cluster.quorum {
        Some(quorum) if quorum.leader.is_none() => {
            let voters = quorum.voters.iter().filter(|(_, voter)| !voter.caught_up);
            headless(facts, notes, voters.map(|(id, _)| *id).collect())
        }
        // A broker is ready only while there is a leader. Any of them may be a voter.
        None if !served => headless(facts, notes, facts.ids().collect()),
        _ => Verdict::Done,
    }
}

/// Without an active controller nothing can be changed, and what brokers say is old. They still
/// serve, so a voter is replaced only if none is on its way or known to be broken, one at a time:
/// those first that were fenced before the quorum was lost, then those that came last.
fn headless(facts: &Facts<'_>, notes: &Notes, voters: Vec<BrokerId>) -> Verdict {
    let coming = voters.iter().filter_map(|id| facts.flaw(*id)).any(|f| f.fresh || f.broken);
    let fenced = |id: BrokerId| facts.broker(id).is_none_or(|broker| broker.fenced);
    let hopeless = voters.iter().copied().filter(|&id| is_hopeless(facts, id));
    let hopeless = hopeless.filter(|&id| fenced(id) || !is_better(facts, id, &voters));
    let first = hopeless.min_by_key(|&id| {
        let created = facts.pod(id).map(|pod| pod.created_ms);
        (!fenced(id), Reverse(created), id)
    });
    if let Some(id) = first.filter(|_| !coming) {
        let text = format!("replacing broker {id}: the quorum has no leader without it");
        return Verdict::Act(restart(id), Phase::Rolling, text);
    }
    let text = "the quorum has no leader: nothing can be changed".to_owned();
    match &notes.degraded {
        Some(broken) => Verdict::Hold(Phase::Degraded, format!("{text}; {broken}")),
        None => Verdict::Hold(Phase::Waiting, text),
    }
}

/// The newest spec does worse than the broker's own: one that has it was never ready although this
/// one still was, or those that have it would be a majority by themselves.
fn is_better(facts: &Facts<'_>, id: BrokerId, voters: &[BrokerId]) -> bool {
    let Some(pod) = facts.pod(id) else { return false };
    let newest = voters.iter().filter_map(|other| facts.pod(*other)).filter(|pod| !pod.outdated);
    let newest: Vec<&PodView> = newest.collect();
    let never_ready =
        |other: &&PodView| !other.ready && other.since_ms - other.created_ms < BEGIN_MS;
    let failed = newest.iter().copied().filter(never_ready).any(|p| p.created_ms < pod.since_ms);
    failed || newest.len() >= majority(voters.len())
}

/// It runs, but has not been ready for long, and there is a newer spec.
fn is_hopeless(facts: &Facts<'_>, id: BrokerId) -> bool {
    facts.pod(id).is_some_and(|pod| {
        let long = facts.seen.now_ms - pod.since_ms >= UNANSWERED_MS;
        pod.phase == PodPhase::Running && !pod.ready && pod.outdated && long
    })
}

/// Nothing is known of any partition, so nothing that serves is touched.
fn unanswered(facts: &Facts<'_>, notes: &Notes) -> Verdict {
    let why = facts.seen.unreachable.as_deref().unwrap_or("no broker answers");
    let serving = facts.ids().filter_map(|id| facts.pod(id)).any(|pod| pod.ready);
    if serving {
        return Verdict::Hold(Phase::Unknown, format!("nothing is touched: {why}"));
    }
    match &notes.degraded {
        Some(broken) => Verdict::Hold(Phase::Degraded, broken.clone()),
        None => Verdict::Hold(Phase::Creating, format!("waiting for the brokers: {why}")),
    }
}

fn restart(id: BrokerId) -> Step {
    Step::Restart { brokers: vec![id], reason: RestartReason::Stuck, hand_off_leaders: false }
}
