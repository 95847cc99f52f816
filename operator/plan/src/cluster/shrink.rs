//! Fewer brokers: the highest ordinals are cordoned, drained (in `drain`), and removed one by one
//! once they host nothing and do not vote. Where too few would be left for some topic, nothing of
//! this is begun, and what was begun is taken back; all else goes on. Brokers that stay although
//! they were to go are opened again.

use std::collections::BTreeSet;

use base::BrokerId;

use super::drain::end_of_throttle;
use super::facts::{Facts, brokers, listed};
use super::{Notes, Verdict};
use crate::decision::{Need, Phase, Refusal, Step};
use crate::observed::{MoveView, PartitionView};

pub(super) fn stage(facts: &Facts<'_>, notes: &mut Notes) -> Verdict {
    let surplus = facts.surplus();
    if surplus.is_empty() {
        return open(facts, &surplus);
    }
    let Some(partitions) = facts.partitions() else { return Verdict::Need(Need::Partitions) };
    notes.refused = refusal(facts, partitions);
    if notes.refused.is_some() {
        return open(facts, &BTreeSet::new());
    }
    match open(facts, &surplus) {
        Verdict::Done => {}
        acts => return acts,
    }
    let mut closed = Vec::new();
    for &id in &surplus {
        // One that is not registered is given nothing; it is seen to when it registers.
        if facts.broker(id).is_none() {
            continue;
        }
        match facts.is_cordoned(id) {
            Some(true) => {}
            Some(false) => closed.push(id),
            None => return wait(format!("broker {id} does not say whether it is cordoned")),
        }
    }
    if !closed.is_empty() {
        let text = format!("{} will be removed: no new replicas there", brokers(&closed));
        return Verdict::Act(Step::Cordon(closed), Phase::ScalingDown, text);
    }
    remove_last(facts, notes, partitions)
}

/// The set can lose its last pod only.
fn remove_last(facts: &Facts<'_>, notes: &mut Notes, partitions: &[PartitionView]) -> Verdict {
    let last = BrokerId(facts.size - 1);
    let hosts = partitions.iter().any(|p| p.replicas.contains(&last));
    let (Some(cluster), Some(moves), Some(quorum)) =
        (facts.cluster(), facts.moves(), facts.quorum())
    else {
        return wait(format!("broker {last} is to go, but not everything is known of it"));
    };
    let empty = match cluster.brokers.get(&last) {
        None => true,
        Some(broker) => broker.risk.as_ref().is_some_and(|risk| risk.hosted == 0),
    };
    if hosts || !empty || moves.iter().any(|m| m.replicas.contains(&last)) {
        return Verdict::Done;
    }
    if quorum.voters.contains_key(&last) {
        return wait(format!("broker {last} is empty, but still votes"));
    }
    // The rates on brokers are what tells of a throttle: they go before the brokers do.
    match end_of_throttle(facts, notes) {
        Verdict::Done => {}
        first => return first,
    }
    let text = format!("broker {last} is empty: removing it");
    Verdict::Act(Step::Shrink { broker: last }, Phase::ScalingDown, text)
}

/// Whether some topic has more replicas than there would be brokers.
fn refusal(facts: &Facts<'_>, partitions: &[PartitionView]) -> Option<Refusal> {
    let left = facts.desired().replicas;
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
        facts.size,
    );
    Some(Refusal { reason: "ReplicationFactor", message })
}

/// Opens brokers that are cordoned and stay (whoever cordoned them: the number of brokers is how a
/// user asks for a drain): first what was leaving them stays, then they take
/// new replicas again. The cordon goes last, for it tells that the moves were ours.
fn open(facts: &Facts<'_>, leaving: &BTreeSet<BrokerId>) -> Verdict {
    let stay = facts.ids().filter(|id| !leaving.contains(id));
    let cordoned: Vec<BrokerId> = stay.filter(|&id| facts.is_cordoned(id) == Some(true)).collect();
    if cordoned.is_empty() {
        return Verdict::Done;
    }
    let Some(moves) = facts.moves() else {
        return wait("which partitions are being moved is not known".into());
    };
    if facts.lacks_isr() {
        return Verdict::Need(Need::Partitions);
    }
    let from = moves.iter().filter(|m| cordoned.iter().any(|id| m.removing.contains(id)));
    let from = from.filter(|m| !m.removing.iter().any(|id| leaving.contains(id)));
    let undo: Vec<_> = from.filter(|m| is_revocable(m)).map(|m| m.partition.clone()).collect();
    if !undo.is_empty() {
        let names: Vec<String> = undo.iter().map(ToString::to_string).collect();
        let names = listed(&names, names.len() as u64);
        let text = format!("{} stays: taking back the moves of {names}", brokers(&cordoned));
        return Verdict::Act(Step::CancelMoves(undo), Phase::ScalingUp, text);
    }
    let text = format!("{} stays: it takes new replicas again", brokers(&cordoned));
    Verdict::Act(Step::Uncordon(cordoned), Phase::ScalingUp, text)
}

/// Taking a move back drops what it added. That must cost the partition no replica in sync, so
/// one that is nearly done is left to finish.
fn is_revocable(m: &MoveView) -> bool {
    let added = m.adding.iter().any(|id| m.isr.contains(id));
    let settled = m.replicas.iter().filter(|id| !m.adding.contains(id));
    !m.isr.is_empty() && (!added || settled.clone().all(|id| m.isr.contains(id)))
}

fn wait(text: String) -> Verdict {
    Verdict::Wait(Phase::ScalingDown, text)
}
