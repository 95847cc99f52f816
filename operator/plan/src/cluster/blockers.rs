//! What is in the way of everything else: pods that do not start, and brokers that do not answer.
//! A pod that does not start serves nothing, so it is replaced as soon as there is a newer spec,
//! whatever else goes on; one that does not start on the newest is named.

use base::BrokerId;

use super::facts::Facts;
use super::{Notes, Verdict};
use crate::decision::{Phase, RestartReason, Step};
use crate::observed::PodPhase;

/// A process that runs but never becomes ready, in a cluster where none is and none answers, may
/// be replaced after this long.
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
    match facts.cluster() {
        Some(_) => Verdict::Done,
        None => unanswered(facts, notes),
    }
}

/// Nothing is known of any partition, so nothing that serves is touched.
fn unanswered(facts: &Facts<'_>, notes: &Notes) -> Verdict {
    let why = facts.seen.unreachable.as_deref().unwrap_or("no broker answers");
    let serving = facts.ids().filter_map(|id| facts.pod(id)).any(|pod| pod.ready);
    if serving {
        return Verdict::Hold(Phase::Unknown, format!("nothing is touched: {why}"));
    }
    let hopeless = facts.ids().find(|&id| {
        facts.pod(id).is_some_and(|pod| {
            let long = facts.seen.now_ms - pod.since_ms >= UNANSWERED_MS;
            pod.phase == PodPhase::Running && pod.outdated && long
        })
    });
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
