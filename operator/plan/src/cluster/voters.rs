//! Who votes: brokers of as many racks as there are, so that no rack has more of the majority than
//! it must; those that vote already before others, then the lowest ids. One that is lost for long
//! makes way for another. Voters change one at a time: one is added once it follows closely as an
//! observer, and leaves before its pod does. A change is made only while those that would then vote
//! have a majority that is alive: it can be committed, and nothing is lost by it.

use std::collections::{BTreeMap, BTreeSet};

use base::BrokerId;

use super::facts::{Facts, majority};
use super::{Notes, Verdict};
use crate::decision::{Phase, Step};
use crate::observed::QuorumView;

pub(super) fn stage(facts: &Facts<'_>, notes: &mut Notes) -> Verdict {
    let Some(quorum) = facts.quorum() else {
        return wait("the quorum does not say who votes".into());
    };
    notes.remarks.extend(lopsided(facts, quorum));
    let wanted = wanted(facts, quorum);
    let missing =
        facts.staying().filter(|id| wanted.contains(id) && !quorum.voters.contains_key(id));
    let missing: Vec<BrokerId> = missing.collect();
    for &id in &missing {
        if is_able(facts, quorum, id) {
            return add(facts, quorum, id);
        }
    }
    // Those that are down first, the leader last: it would have to hand its office over.
    let mut surplus: Vec<BrokerId> =
        quorum.voters.keys().copied().filter(|id| !wanted.contains(id)).collect();
    surplus.sort_by_key(|&id| {
        (facts.is_live_voter(id), quorum.leader == Some(id), std::cmp::Reverse(id))
    });
    // A voter goes once its successor votes, unless it has none.
    match (surplus.first(), missing.first()) {
        (Some(&id), None) => remove(facts, quorum, id, "fewer or others are to vote"),
        (Some(&id), Some(_)) if !facts.is_live_voter(id) => {
            remove(facts, quorum, id, "it is down, and others are to vote")
        }
        (_, Some(&id)) => wait(format!("broker {id} is to vote: {}", unable(facts, quorum, id))),
        (None, None) => Verdict::Done,
    }
}

/// How many are to vote.
fn count(facts: &Facts<'_>) -> i32 {
    facts.desired().voters.clamp(1, facts.desired().replicas.max(1))
}

/// Who is to begin the quorum: nothing is known of racks yet.
pub(super) fn first(facts: &Facts<'_>) -> impl Iterator<Item = BrokerId> + use<> {
    (0..count(facts)).map(BrokerId)
}

/// Who is to vote. Others than those who do are chosen only for another rack, or for one who is
/// lost, and only if they could vote at once: a quorum at rest stays as it is.
fn wanted(facts: &Facts<'_>, quorum: &QuorumView) -> BTreeSet<BrokerId> {
    let all = 0..facts.desired().replicas.max(1);
    let mut left: Vec<BrokerId> = all.map(BrokerId).collect();
    let mut chosen = BTreeSet::new();
    let mut of_rack: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    while chosen.len() < usize::try_from(count(facts)).unwrap_or(1) {
        let best = left.iter().enumerate().min_by_key(|(_, id)| {
            let votes = quorum.voters.contains_key(id);
            let fit = if votes { !is_lost(facts, **id) } else { is_able(facts, quorum, **id) };
            let rack = of_rack.get(&rack(facts, **id)).copied().unwrap_or(0);
            (!fit, rack, !votes, **id)
        });
        let Some(at) = best.map(|(at, _)| at) else { break };
        let id = left.remove(at);
        *of_rack.entry(rack(facts, id)).or_default() += 1;
        chosen.insert(id);
    }
    chosen
}

fn rack<'a>(facts: &Facts<'a>, id: BrokerId) -> Option<&'a str> {
    facts.broker(id)?.rack.as_deref()
}

/// A voter that has been down for so long that it may never come back.
fn is_lost(facts: &Facts<'_>, id: BrokerId) -> bool {
    let since = match facts.pod(id) {
        Some(pod) if pod.ready => None,
        Some(pod) => Some(pod.since_ms),
        None => facts.seen.missing_since.get(&id).copied(),
    };
    let long =
        since.is_some_and(|since| facts.seen.now_ms - since >= facts.desired().voter_lost_ms);
    long && !facts.is_live_voter(id)
}

/// Whether one rack of several holds a majority of the votes: with it the cluster is lost.
fn lopsided(facts: &Facts<'_>, quorum: &QuorumView) -> Option<String> {
    let racks: BTreeSet<Option<&str>> = facts.staying().map(|id| rack(facts, id)).collect();
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for rack in quorum.voters.keys().filter_map(|id| rack(facts, *id)) {
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
fn is_able(facts: &Facts<'_>, quorum: &QuorumView, id: BrokerId) -> bool {
    let caught_up = quorum.observers.get(&id).is_some_and(|observer| observer.caught_up);
    let registered = facts.broker(id).is_some_and(|broker| !broker.fenced);
    caught_up && registered && facts.pod(id).is_some_and(|pod| pod.serves())
}

fn unable(facts: &Facts<'_>, quorum: &QuorumView, id: BrokerId) -> String {
    match (facts.flaw(id), quorum.observers.get(&id)) {
        (Some(flaw), _) => flaw.text,
        (None, None) => "it does not follow the quorum yet".into(),
        (None, Some(_)) => "it is catching up with the quorum".into(),
    }
}

fn live(facts: &Facts<'_>, quorum: &QuorumView) -> usize {
    quorum.voters.keys().filter(|id| facts.is_live_voter(**id)).count()
}

fn add(facts: &Facts<'_>, quorum: &QuorumView, id: BrokerId) -> Verdict {
    let live = live(facts, quorum);
    let (before, after) = (majority(quorum.voters.len()), majority(quorum.voters.len() + 1));
    if live < before || live + 1 < after {
        return wait(format!("broker {id} is to vote: only {live} voters are alive"));
    }
    let text = format!("broker {id} becomes a voter");
    Verdict::Act(Step::AddVoter(id), Phase::ChangingVoters, text)
}

fn remove(facts: &Facts<'_>, quorum: &QuorumView, id: BrokerId, why: &str) -> Verdict {
    let voters = quorum.voters.len();
    let live = live(facts, quorum);
    let left = live - usize::from(facts.is_live_voter(id));
    if voters == 1 || live < majority(voters) || left < majority(voters - 1) {
        let text = format!("broker {id} is to vote no more ({why}): too few others are alive");
        return wait(text);
    }
    let text = format!("broker {id} votes no more: {why}");
    Verdict::Act(Step::RemoveVoter(id), Phase::ChangingVoters, text)
}

fn wait(text: String) -> Verdict {
    Verdict::Wait(Phase::ChangingVoters, text)
}
