//! Who votes: the brokers with the lowest ids, changed one at a time. A voter is added once it
//! follows closely as an observer, and leaves before its pod does. A change is made only while
//! those that would then vote have a majority that is alive: it can be committed, and nothing is
//! lost by it.

use std::collections::BTreeSet;

use base::BrokerId;

use super::facts::{Facts, majority};
use super::{Notes, Verdict};
use crate::decision::{Phase, Step};
use crate::observed::QuorumView;

pub(super) fn stage(facts: &Facts<'_>, _: &mut Notes) -> Verdict {
    let Some(quorum) = facts.quorum() else {
        return wait("the quorum does not say who votes".into());
    };
    let wanted: BTreeSet<BrokerId> = wanted(facts).collect();
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

/// Who is to vote.
pub(super) fn wanted(facts: &Facts<'_>) -> impl Iterator<Item = BrokerId> + use<> {
    let wanted = facts.desired().voters.clamp(1, facts.desired().replicas.max(1));
    (0..wanted).map(BrokerId)
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
