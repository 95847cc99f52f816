//! Who votes: brokers of as many racks as there are, so that no rack has more of the majority than
//! it must; those that vote already before others, then the lowest ids. One that is lost for long
//! makes way for another. Voters change one at a time: one is added once it follows closely as an
//! observer, and leaves before its pod does. A change is made only while those that would then vote
//! have a majority that is alive: it can be committed, and nothing is lost by it.

use std::collections::{BTreeMap, BTreeSet};

use base::BrokerId;

use super::input::{StageInput, majority};
use super::{Notes, StageResult};
use crate::decision::{Phase, Step};
use crate::observed::QuorumView;

pub(super) fn stage(input: &StageInput<'_>, notes: &mut Notes) -> StageResult {
    let Some(quorum) = input.quorum() else {
        return wait("the quorum does not say who votes".into());
    };
    notes.remarks.extend(lopsided(input, quorum));
    let wanted = wanted(input, quorum);
    let missing =
        input.fleet().staying().filter(|id| wanted.contains(id) && !quorum.voters.contains_key(id));
    let missing: Vec<BrokerId> = missing.collect();
    for &id in &missing {
        if is_able(input, quorum, id) {
            return add(input, quorum, id);
        }
    }
    // Those that are down first, the leader last: it would have to hand its office over.
    let mut surplus: Vec<BrokerId> =
        quorum.voters.keys().copied().filter(|id| !wanted.contains(id)).collect();
    surplus.sort_by_key(|&id| {
        (input.is_live_voter(id), quorum.leader == Some(id), std::cmp::Reverse(id))
    });
    // A voter goes once its successor votes, unless it has none.
    match (surplus.first(), missing.first()) {
        (Some(&id), None) => remove(input, quorum, id, "fewer or others are to vote"),
        (Some(&id), Some(_)) if !input.is_live_voter(id) => {
            remove(input, quorum, id, "it is down, and others are to vote")
        }
        (_, Some(&id)) => wait(format!("broker {id} is to vote: {}", unable(input, quorum, id))),
        (None, None) => StageResult::Done,
    }
}

/// How many are to vote.
fn count(input: &StageInput<'_>) -> usize {
    let most = input.fleet().electable().count().max(1);
    usize::try_from(input.desired().voters).unwrap_or(1).clamp(1, most)
}

/// Who is to vote. Others than those who do are chosen only for another rack, or for one who is
/// lost, and only if they could vote at once: a quorum at rest stays as it is.
fn wanted(input: &StageInput<'_>, quorum: &QuorumView) -> BTreeSet<BrokerId> {
    let mut left: Vec<BrokerId> = input.fleet().electable().collect();
    let mut chosen = BTreeSet::new();
    let mut of_rack: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    while chosen.len() < count(input) {
        let best = left.iter().enumerate().min_by_key(|(_, id)| {
            let votes = quorum.voters.contains_key(id);
            let fit = if votes { !is_lost(input, **id) } else { is_able(input, quorum, **id) };
            let rack = of_rack.get(&rack(input, **id)).copied().unwrap_or(0);
            (!fit, rack, !votes, **id)
        });
        let Some(at) = best.map(|(at, _)| at) else { break };
        let id = left.remove(at);
        *of_rack.entry(rack(input, id)).or_default() += 1;
        chosen.insert(id);
    }
    chosen
}

fn rack<'a>(input: &StageInput<'a>, id: BrokerId) -> Option<&'a str> {
    input.broker(id)?.rack.as_deref()
}

/// A voter that has been down for so long that it may never come back.
fn is_lost(input: &StageInput<'_>, id: BrokerId) -> bool {
    let since = match input.pod(id) {
        Some(pod) if pod.ready => None,
        Some(pod) => Some(pod.since_ms),
        None => input.seen.missing_since.get(&id).copied(),
    };
    let long =
        since.is_some_and(|since| input.seen.now_ms - since >= input.desired().voter_lost_ms);
    long && !input.is_live_voter(id)
}

/// Whether one rack of several holds a majority of the votes: with it the cluster is lost.
fn lopsided(input: &StageInput<'_>, quorum: &QuorumView) -> Option<String> {
    let racks: BTreeSet<Option<&str>> = input.fleet().staying().map(|id| rack(input, id)).collect();
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for rack in quorum.voters.keys().filter_map(|id| rack(input, *id)) {
        *votes.entry(rack).or_default() += 1;
    }
    let voters = quorum.voters.len();
    let most = votes.into_iter().find(|(_, held)| *held >= majority(voters))?;
    let (rack, held) = most;
    (racks.len() > 1 && voters > 1).then(|| {
        format!("rack {rack} holds {held} of {voters} votes: without it nothing can be changed")
    })
}

/// It follows as an observer, closely, and its pod is whole enough to vote.
fn is_able(input: &StageInput<'_>, quorum: &QuorumView, id: BrokerId) -> bool {
    let caught_up = quorum.observers.get(&id).is_some_and(|observer| observer.caught_up);
    let registered = input.broker(id).is_some_and(|broker| !broker.fenced);
    caught_up && registered && input.pod(id).is_some_and(|pod| pod.serves())
}

fn unable(input: &StageInput<'_>, quorum: &QuorumView, id: BrokerId) -> String {
    match (input.flaw(id), quorum.observers.get(&id)) {
        (Some(flaw), _) => flaw.text,
        (None, None) => "it does not follow the quorum yet".into(),
        (None, Some(_)) => "it is catching up with the quorum".into(),
    }
}

fn live(input: &StageInput<'_>, quorum: &QuorumView) -> usize {
    quorum.voters.keys().filter(|id| input.is_live_voter(**id)).count()
}

fn add(input: &StageInput<'_>, quorum: &QuorumView, id: BrokerId) -> StageResult {
    let live = live(input, quorum);
    let (before, after) = (majority(quorum.voters.len()), majority(quorum.voters.len() + 1));
    if live < before || live + 1 < after {
        return wait(format!("broker {id} is to vote: only {live} voters are alive"));
    }
    let text = format!("broker {id} becomes a voter");
    StageResult::Act(Step::AddVoter(id), Phase::ChangingVoters, text)
}

fn remove(input: &StageInput<'_>, quorum: &QuorumView, id: BrokerId, why: &str) -> StageResult {
    let voters = quorum.voters.len();
    let live = live(input, quorum);
    let left = live - usize::from(input.is_live_voter(id));
    if voters == 1 || live < majority(voters) || left < majority(voters - 1) {
        let text = format!("broker {id} is to vote no more ({why}): too few others are alive");
        return wait(text);
    }
    let text = format!("broker {id} votes no more: {why}");
    StageResult::Act(Step::RemoveVoter(id), Phase::ChangingVoters, text)
}

fn wait(text: String) -> StageResult {
    StageResult::Wait(Phase::ChangingVoters, text)
}
