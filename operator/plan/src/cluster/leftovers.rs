//! What removed brokers leave behind: a registration, then a volume claim. Each goes only when
//! nothing is lost with it.

use base::BrokerId;

use super::facts::Facts;
use super::{Notes, Verdict};
use crate::decision::{Need, Phase, Refusal, Step};

/// The highest ordinal that a set may have.
const ORDINAL_MAX: i32 = 1000;

pub(super) fn stage(facts: &Facts<'_>, notes: &mut Notes) -> Verdict {
    let Some(cluster) = facts.cluster() else { return Verdict::Done };
    let mut waits = Verdict::Done;
    for (&id, broker) in cluster.brokers.iter().filter(|(id, _)| id.0 >= facts.size) {
        if facts.pod(id).is_some() {
            let text = format!("broker {id} is stopping");
            waits = Verdict::Wait(Phase::ScalingDown, text);
            continue;
        }
        let empty = broker.risk.as_ref().is_some_and(|risk| risk.hosted == 0);
        if !empty || !broker.fenced || votes(facts, id) != Some(false) {
            let text = format!("broker {id} is gone, and is forgotten once it is fenced");
            waits = Verdict::Wait(Phase::ScalingDown, text);
            continue;
        }
        let text = format!("broker {id} is gone for good: unregistering it");
        return Verdict::Act(Step::Unregister(id), Phase::ScalingDown, text);
    }
    match claim(facts, notes) {
        Verdict::Done => waits,
        acts => acts,
    }
}

/// A claim whose broker is gone and forgotten, where the user wants it deleted.
fn claim(facts: &Facts<'_>, notes: &mut Notes) -> Verdict {
    if !facts.desired().delete_claims {
        return Verdict::Done;
    }
    for (&id, claim) in facts.seen.claims.iter().filter(|(id, _)| id.0 >= facts.size) {
        let used = facts.pod(id).is_some() || facts.broker(id).is_some();
        if claim.deleting || used || votes(facts, id) != Some(false) {
            continue;
        }
        let Some(partitions) = facts.partitions() else { return Verdict::Need(Need::Partitions) };
        if let Some(partition) = partitions.iter().find(|p| p.replicas.contains(&id)) {
            let name = partition.name();
            notes.refused = Some(Refusal {
                reason: "VolumeInUse",
                message: format!("the volume of broker {id} stays: it holds a replica of {name}"),
            });
            continue;
        }
        let text = format!("deleting the volume claim of broker {id}");
        return Verdict::Act(Step::DeleteClaim(id), Phase::ScalingDown, text);
    }
    Verdict::Done
}

fn votes(facts: &Facts<'_>, id: BrokerId) -> Option<bool> {
    Some(facts.quorum()?.voters.contains_key(&id))
}

/// The highest broker beyond the set that hosts replicas or votes: somebody else shrank the set.
pub(super) fn stranded(facts: &Facts<'_>) -> Option<BrokerId> {
    let brokers = facts.cluster().into_iter().flat_map(|cluster| cluster.brokers.keys().copied());
    let hosting = brokers.filter(|id| facts.risk(*id).is_some_and(|risk| risk.hosted > 0));
    let voting: Vec<BrokerId> = match facts.quorum() {
        Some(quorum) => quorum.voters.keys().copied().collect(),
        // What is no longer known counts only where nothing works without it.
        None if facts.is_served() => Vec::new(),
        None => facts.seen.last_voters.clone(),
    };
    let beyond = facts.size..ORDINAL_MAX;
    hosting.chain(voting).filter(|id| beyond.contains(&id.0)).max()
}
