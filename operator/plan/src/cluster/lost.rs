//! Brokers that do not come back by themselves: their node is gone or silent, or the node that
//! their volume is on. Where the user sets a time, or asks, such a broker gets another pod, and
//! another volume where no node can reach the old one. That gives up what the old one holds, so it
//! is done for one broker after the other, and only where a broker that is up has each of its
//! partitions in sync. A broker that the active controller still hears from is not lost, whatever
//! is said of its node.

use base::BrokerId;

use super::input::{StageInput, listed, majority};
use super::{Notes, StageResult};
use crate::decision::{Lost, LostWhy, Need, Phase, Step};
use crate::observed::{PartitionView, PodPhase, PodView, QuorumView, Replacement};

/// What comes next for a lost broker.
enum Next {
    Replace { volume: bool },
    Need,
    Wait(LostWhy),
}

pub(super) fn stage(input: &StageInput<'_>, notes: &mut Notes) -> StageResult {
    let leaving = notes.leaving(input);
    let stay: Vec<BrokerId> = input.ids().filter(|id| !leaving.contains(id)).collect();
    let pods = input.seen.pods.iter().filter(|(id, _)| !leaving.contains(id));
    for (&id, pod) in pods {
        if !is_lost(input, id) && pod.replace.is_none() {
            continue;
        }
        match next(input, &stay, id, pod) {
            Some(Next::Replace { volume }) => {
                let what = if volume { "its pod and its volume" } else { "its pod" };
                let text = format!("broker {id} does not come back: replacing {what}");
                let step = Step::Replace { broker: id, volume };
                return StageResult::Act(step, Phase::Waiting, text);
            }
            Some(Next::Need) => return StageResult::Need(Need::Partitions),
            Some(Next::Wait(why)) => notes.lost.push(Lost { broker: id, why }),
            None => {}
        }
    }
    StageResult::Done
}

/// Its node does not answer, or no node that does can reach its volume.
pub(super) fn is_lost(input: &StageInput<'_>, id: BrokerId) -> bool {
    let Some(pod) = input.pod(id).filter(|pod| !pod.ready) else { return false };
    let orphaned_broker = input.seen.claims.get(&id).is_some_and(|claim| claim.stranded);
    pod.node_lost || orphaned_broker && pod.phase == PodPhase::Unschedulable
}

/// `None` where it may only be on its way back.
fn next(input: &StageInput<'_>, stay: &[BrokerId], id: BrokerId, pod: &PodView) -> Option<Next> {
    let waits = |text: String| Some(Next::Wait(LostWhy::Waits(text)));
    if pod.ready {
        return waits("it is ready: only a broker that is down is replaced".into());
    }
    if pod.replace.is_none() {
        let down_ms = input.seen.now_ms - pod.since_ms;
        match input.desired().node_loss_ms {
            None if input.is_fresh(pod) => return None,
            None => return Some(Next::Wait(LostWhy::TimeNotSet)),
            Some(after) if down_ms < after => return Some(Next::Wait(LostWhy::NotYet)),
            Some(_) => {}
        }
    }
    let Some(quorum) = input.quorum().filter(|quorum| quorum.leader.is_some()) else {
        return waits("without an active controller nobody says who has its data".into());
    };
    if input.broker(id).is_some_and(|broker| !broker.fenced) {
        return waits("the active controller hears from it".into());
    }
    if !input.fleet().has(id) {
        // It is removed already, and only its pod is in the way.
        return Some(Next::Replace { volume: false });
    }
    if let Some(text) = unready(input, quorum, stay, id) {
        return waits(text);
    }
    let claim = input.seen.claims.get(&id);
    let stays = claim.is_some_and(|claim| !claim.stranded && !claim.deleting);
    if stays && pod.replace.is_none() {
        return Some(Next::Replace { volume: false });
    }
    let Some(partitions) = input.partitions() else { return Some(Next::Need) };
    Some(match last_copies(input, partitions, id, pod.replace) {
        None => Next::Replace { volume: true },
        Some(why) => Next::Wait(why),
    })
}

/// Why others are not ready for it: one broker is replaced at a time, and a voter that comes back
/// empty is taken in by a majority of the others.
fn unready(
    input: &StageInput<'_>,
    quorum: &QuorumView,
    stay: &[BrokerId],
    id: BrokerId,
) -> Option<String> {
    let others = quorum.voters.keys().filter(|other| **other != id);
    let alive = others.filter(|other| input.is_live_voter(**other)).count();
    if quorum.voters.contains_key(&id) && alive < majority(quorum.voters.len()) {
        return Some("it votes, and too few other voters are alive".into());
    }
    let others = stay.iter().copied().filter(|other| *other != id && !is_lost(input, *other));
    let unhealthy = others.filter_map(|other| input.flaw(other));
    unhealthy
        .filter(|flaw| flaw.fresh || !is_rolls(input, flaw.broker))
        .map(|flaw| flaw.text)
        .next()
}

/// It may be that only its new spec makes it whole, which may wait for the lost broker in turn.
fn is_rolls(input: &StageInput<'_>, id: BrokerId) -> bool {
    input.pod(id).is_some_and(|pod| pod.outdated || pod.restart_marked)
}

/// Partitions of which the broker may have the last copy.
fn last_copies(
    input: &StageInput<'_>,
    partitions: &[PartitionView],
    id: BrokerId,
    asked: Option<Replacement>,
) -> Option<LostWhy> {
    let serves = |other: &BrokerId| {
        let unfenced = input.broker(*other).is_some_and(|broker| !broker.fenced);
        *other != id && unfenced && !is_lost(input, *other)
    };
    let last = partitions.iter().filter(|p| p.replicas.contains(&id) && !p.isr.iter().any(serves));
    let (alone, behind): (Vec<_>, Vec<_>) = last.partition(|p| p.replicas == [id]);
    // What has other replicas, which are behind, would be emptied by an empty leader.
    let give_up = asked == Some(Replacement::LoseData);
    let names = |all: &[&PartitionView]| {
        let names: Vec<String> = all.iter().map(|p| p.name()).collect();
        listed(&names, names.len() as u64)
    };
    let mut what = Vec::new();
    if !alone.is_empty() && !give_up {
        what.push(format!("it has the only replica of {}", names(&alone)));
    }
    if !behind.is_empty() {
        what.push(format!(
            "no broker that is up is in sync for {} (one of them may be made the leader by an \
             unclean election, which loses what it lacks)",
            names(&behind)
        ));
    }
    let given_up = !alone.is_empty() && !give_up;
    (!what.is_empty()).then(|| LostWhy::LastCopy { what: what.join("; "), given_up })
}
