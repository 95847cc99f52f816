//! What removed brokers leave behind: a registration, then a volume claim. Each goes only when
//! nothing is lost with it.

use std::collections::BTreeSet;

use base::BrokerId;

use super::input::StageInput;
use super::{Notes, StageResult};
use crate::decision::{Need, Phase, Refusal, Step};

pub(super) fn stage(input: &StageInput<'_>, notes: &mut Notes) -> StageResult {
    let Some(cluster) = input.cluster() else { return StageResult::Done };
    let mut waits = StageResult::Done;
    for (&id, broker) in cluster.brokers.iter().filter(|(id, _)| !input.fleet().has(**id)) {
        if input.pod(id).is_some() {
            let text = format!("broker {id} is stopping");
            waits = StageResult::Wait(Phase::ScalingDown, text);
            continue;
        }
        let empty = broker.risk.as_ref().is_some_and(|risk| risk.hosted == 0);
        if !empty || !broker.fenced || votes(input, id) != Some(false) {
            let text = format!("broker {id} is gone, and is forgotten once it is fenced");
            waits = StageResult::Wait(Phase::ScalingDown, text);
            continue;
        }
        let text = format!("broker {id} is gone for good: unregistering it");
        return StageResult::Act(Step::Unregister(id), Phase::ScalingDown, text);
    }
    match claim(input, notes) {
        StageResult::Done => waits,
        acts => acts,
    }
}

/// A claim whose broker is gone and forgotten, where the user wants it deleted.
fn claim(input: &StageInput<'_>, notes: &mut Notes) -> StageResult {
    if !input.desired().delete_claims {
        return StageResult::Done;
    }
    for (&id, claim) in input.seen.claims.iter().filter(|(id, _)| !input.fleet().has(**id)) {
        let used = input.pod(id).is_some() || input.broker(id).is_some();
        if claim.deleting || used || votes(input, id) != Some(false) {
            continue;
        }
        let Some(partitions) = input.partitions() else {
            return StageResult::Need(Need::Partitions);
        };
        if let Some(partition) = partitions.iter().find(|p| p.replicas.contains(&id)) {
            let name = partition.name();
            notes.refused = Some(Refusal {
                reason: "VolumeInUse",
                message: format!("the volume of broker {id} stays: it holds a replica of {name}"),
            });
            continue;
        }
        let text = format!("deleting the volume claim of broker {id}");
        return StageResult::Act(Step::DeleteClaim(id), Phase::ScalingDown, text);
    }
    StageResult::Done
}

fn votes(input: &StageInput<'_>, id: BrokerId) -> Option<bool> {
    Some(input.quorum()?.voters.contains_key(&id))
}

/// Brokers beyond their sets that host replicas or vote: somebody else shrank the sets.
pub(super) fn orphaned_brokers(input: &StageInput<'_>) -> BTreeSet<BrokerId> {
    let brokers = input.cluster().into_iter().flat_map(|cluster| cluster.brokers.keys().copied());
    let hosting = brokers.filter(|id| input.risk(*id).is_some_and(|risk| risk.hosted > 0));
    let voting: Vec<BrokerId> = match input.quorum() {
        Some(quorum) => quorum.voters.keys().copied().collect(),
        // What is no longer known counts only where nothing works without it.
        None if input.is_served() => Vec::new(),
        None => input.seen.last_voters.iter().chain(&input.seen.changing_voter).copied().collect(),
    };
    hosting.chain(voting).filter(|id| !input.fleet().has(*id)).collect()
}
