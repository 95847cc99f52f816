//! What is in the way of everything else: pods that do not start, and brokers that do not answer.
//! A pod that does not start serves nothing, so it is replaced as soon as there is a newer spec,
//! whatever else goes on; one that does not start on the newest is named.

use base::BrokerId;

use super::facts::Facts;
use super::{Notes, Verdict};
use crate::decision::{Phase, RestartReason, Step};
use crate::observed::{PodPhase, QuorumView};

/// A process that runs but never becomes ready, in a cluster where nothing works, may be replaced
/// after this long.
const UNANSWERED_MS: i64 = 120_000;

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
    match (facts.cluster(), facts.quorum()) {
        (None, _) => unanswered(facts, notes),
        (Some(_), Some(quorum)) if quorum.leader.is_none() => headless(facts, notes, quorum),
        (Some(_), _) => Verdict::Done,
    }
}

/// Without an active controller nothing can be changed, and what brokers say is old. They still
/// serve, so only a voter that has had no part in this for long is replaced, one at a time.
fn headless(facts: &Facts<'_>, notes: &Notes, quorum: &QuorumView) -> Verdict {
    let voters = quorum.voters.iter().filter(|(_, voter)| !voter.caught_up);
    let voters: Vec<BrokerId> = voters.map(|(id, _)| *id).collect();
    let coming = voters.iter().filter_map(|id| facts.flaw(*id)).any(|flaw| flaw.fresh);
    if let Some(id) = voters.iter().copied().find(|id| !coming && is_hopeless(facts, *id)) {
        let text = format!("replacing broker {id}: the quorum has no leader without it");
        return Verdict::Act(restart(id), Phase::Rolling, text);
    }
    let text = "the quorum has no leader: nothing can be changed".to_owned();
    match &notes.degraded {
        Some(broken) => Verdict::Hold(Phase::Degraded, format!("{text}; {broken}")),
        None => Verdict::Hold(Phase::Waiting, text),
    }
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
    let hopeless = facts.ids().find(|&id| is_hopeless(facts, id));
    if let Some(id) = hopeless {
        let text = format!("replacing broker {id}: none is ready, and its spec has changed");
        return Verdict::Act(restart(id), Phase::Rolling, text);
    }
    match &notes.degraded {
        Some(broken) => Verdict::Hold(Phase::Degraded, broken.clone()),
        None => Verdict::Hold(Phase::Creating, format!("waiting for the brokers: {why}")),
    }
}

fn restart(id: BrokerId) -> Step {
    Step::Restart { brokers: vec![id], reason: RestartReason::Stuck, hand_off_leaders: false }
}
