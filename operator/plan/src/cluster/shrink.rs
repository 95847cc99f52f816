//! Fewer brokers: the highest ordinals are cordoned, drained (in `drain`), and removed one by one
//! once they host nothing and do not vote. Where too few would be left for some topic, nothing of
//! this is begun, and what was begun is taken back; all else goes on. Brokers that stay although
//! they were to go are opened again.

use std::collections::BTreeSet;

use base::BrokerId;

use super::drain::end_of_throttle;
use super::input::{StageInput, brokers, listed};
use super::{Notes, StageResult};
use crate::decision::{Need, Phase, Refusal, Step};
use crate::observed::{MoveView, PartitionView};

pub(super) fn stage(input: &StageInput<'_>, notes: &mut Notes) -> StageResult {
    let surplus = input.fleet().surplus();
    if surplus.is_empty() {
        return open(input, &surplus);
    }
    let Some(partitions) = input.partitions() else { return StageResult::Need(Need::Partitions) };
    notes.refused = refusal(input, partitions);
    if notes.refused.is_some() {
        return open(input, &BTreeSet::new());
    }
    match open(input, &surplus) {
        StageResult::Done => {}
        acts => return acts,
    }
    let mut closed = Vec::new();
    for &id in &surplus {
        // One that is not registered is given nothing; it is seen to when it registers.
        if input.broker(id).is_none() {
            continue;
        }
        match input.is_cordoned(id) {
            Some(true) => {}
            Some(false) => closed.push(id),
            None => return wait(format!("broker {id} does not say whether it is cordoned")),
        }
    }
    if !closed.is_empty() {
        let text = format!("{} will be removed: no new replicas there", brokers(&closed));
        return StageResult::Act(Step::Cordon(closed), Phase::ScalingDown, text);
    }
    for last in input.fleet().last_of_surplus() {
        match remove(input, notes, partitions, last) {
            StageResult::Done => {}
            acts => return acts,
        }
    }
    StageResult::Done
}

fn remove(
    input: &StageInput<'_>,
    notes: &mut Notes,
    partitions: &[PartitionView],
    last: BrokerId,
) -> StageResult {
    let hosts = partitions.iter().any(|p| p.replicas.contains(&last));
    let (Some(cluster), Some(moves), Some(quorum)) =
        (input.cluster(), input.moves(), input.quorum())
    else {
        return wait(format!("broker {last} is to go, but not everything is known of it"));
    };
    let empty = match cluster.brokers.get(&last) {
        None => true,
        Some(broker) => broker.risk.as_ref().is_some_and(|risk| risk.hosted == 0),
    };
    if hosts || !empty || moves.iter().any(|m| m.replicas.contains(&last)) {
        return StageResult::Done;
    }
    if quorum.voters.contains_key(&last) {
        return wait(format!("broker {last} is empty, but still votes"));
    }
    // The rates on brokers are what tells of a throttle: they go before the brokers do.
    match end_of_throttle(input, notes) {
        StageResult::Done => {}
        first => return first,
    }
    let text = format!("broker {last} is empty: removing it");
    StageResult::Act(Step::Shrink { broker: last }, Phase::ScalingDown, text)
}

/// Whether some topic has more replicas than there would be brokers.
fn refusal(input: &StageInput<'_>, partitions: &[PartitionView]) -> Option<Refusal> {
    let left = input.fleet().size_wanted();
    let wide = |p: &&PartitionView| p.target().len() as i32 > left;
    let mut topics: Vec<(&str, usize)> =
        partitions.iter().filter(wide).map(|p| (&*p.topic, p.target().len())).collect();
    topics.sort_unstable();
    topics.dedup_by_key(|(topic, _)| *topic);
    let names = topics.iter().take(10);
    let names: Vec<String> = names.map(|(name, rf)| format!("{name} ({rf})")).collect();
    if names.is_empty() {
        return None;
    }
    let rest = match topics.len() - names.len() {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    let message = format!(
        "{left} brokers are too few for the replication factor of topics {}{rest}: {} brokers stay",
        names.join(", "),
        input.fleet().size(),
    );
    Some(Refusal { reason: "ReplicationFactor", message })
}

/// Opens brokers that are cordoned and stay (whoever cordoned them: the number of brokers is how a
/// user asks for a drain): first what was leaving them stays, then they take
/// new replicas again. The cordon goes last, for it tells that the moves were ours.
fn open(input: &StageInput<'_>, leaving: &BTreeSet<BrokerId>) -> StageResult {
    let stay = input.ids().filter(|id| !leaving.contains(id));
    let cordoned: Vec<BrokerId> = stay.filter(|&id| input.is_cordoned(id) == Some(true)).collect();
    if cordoned.is_empty() {
        return StageResult::Done;
    }
    let Some(moves) = input.moves() else {
        return wait("which partitions are being moved is not known".into());
    };
    if input.lacks_isr() {
        return StageResult::Need(Need::Partitions);
    }
    let from = moves.iter().filter(|m| cordoned.iter().any(|id| m.removing.contains(id)));
    let from = from.filter(|m| !m.removing.iter().any(|id| leaving.contains(id)));
    let undo: Vec<_> = from.filter(|m| is_revocable(m)).map(|m| m.partition.clone()).collect();
    if !undo.is_empty() {
        let names: Vec<String> = undo.iter().map(ToString::to_string).collect();
        let names = listed(&names, names.len() as u64);
        let text = format!("{} stays: taking back the moves of {names}", brokers(&cordoned));
        return StageResult::Act(Step::CancelMoves(undo), Phase::ScalingUp, text);
    }
    let text = format!("{} stays: it takes new replicas again", brokers(&cordoned));
    StageResult::Act(Step::Uncordon(cordoned), Phase::ScalingUp, text)
}

/// Taking a move back drops what it added. That must cost the partition no replica in sync, so
/// one that is nearly done is left to finish.
fn is_revocable(m: &MoveView) -> bool {
    let added = m.adding.iter().any(|id| m.isr.contains(id));
    let settled = m.replicas.iter().filter(|id| !m.adding.contains(id));
    !m.isr.is_empty() && (!added || settled.clone().all(|id| m.isr.contains(id)))
}

fn wait(text: String) -> StageResult {
    StageResult::Wait(Phase::ScalingDown, text)
}
