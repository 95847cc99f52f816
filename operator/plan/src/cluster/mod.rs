//! The next step of a cluster: stages in order of urgency, of which the first that can act does.
//! A stage that can only wait says so and lets the later ones go on, unless what they would do
//! would get in its way.

mod blockers;
mod drain;
mod input;
mod level;
mod lost;
mod rebalance;
mod removed_brokers;
mod report;
mod roll;
mod shrink;
mod volumes;
mod voters;

use std::collections::{BTreeMap, BTreeSet};

use base::BrokerId;
use input::StageInput;

use crate::decision::{Lost, Need, Phase, Plan, Progress, Refusal, Step};
use crate::fleet::PoolName;
use crate::observed::Observed;

/// What a stage comes to.
enum StageResult {
    /// Nothing to do here.
    Done,
    /// It waits; later stages may act.
    Wait(Phase, String),
    /// It waits, and nothing else may be begun meanwhile.
    Hold(Phase, String),
    Act(Step, Phase, String),
    Need(Need),
}

/// What stages learn for those after them, and for the status.
#[derive(Default)]
struct Notes {
    refused: Option<Refusal>,
    degraded: Option<String>,
    lost: Vec<Lost>,
    progress: Option<Progress>,
    /// Whether a rebalance is under way, if that was looked at.
    rebalancing: Option<bool>,
    /// As [`Plan::blocking`].
    blocking: u64,
    /// Pods that are yet to be replaced.
    to_restart: usize,
    /// Said when all is done.
    remarks: Vec<String>,
}

impl Notes {
    /// Brokers that are on their way out; none while their removal is refused.
    fn leaving(&self, input: &StageInput<'_>) -> BTreeSet<BrokerId> {
        match self.refused {
            Some(_) => BTreeSet::new(),
            None => input.fleet().surplus(),
        }
    }
}

type Stage = fn(&StageInput<'_>, &mut Notes) -> StageResult;

const STAGES: &[Stage] = &[
    blockers::stage,
    voters::stage,
    removed_brokers::stage,
    shrink::stage,
    lost::stage,
    roll::stage,
    drain::stage,
    rebalance::stage,
    drain::end_of_throttle,
    level::stage,
];

/// Decides the next step.
pub fn next_step(seen: &Observed) -> Plan {
    let input = StageInput::new(seen);
    let mut plan = report::blank(&input);
    if seen.desired.paused {
        plan.phase = Phase::Paused;
        plan.message = "paused: nothing is changed".into();
        return plan;
    }
    if let Some((sizes, message)) = larger_sets(&input) {
        plan.sizes = sizes;
        plan.phase = if input.fleet().size() == 0 { Phase::Creating } else { Phase::ScalingUp };
        plan.message = message;
        plan.requeue_ms = Some(report::STEP_MS);
        return plan;
    }
    decide(&input, &mut plan);
    plan
}

fn decide(input: &StageInput<'_>, plan: &mut Plan) {
    let mut notes = Notes::default();
    let mut waits: Option<(Phase, String)> = None;
    let mut ended = false;
    for stage in STAGES {
        match stage(input, &mut notes) {
            StageResult::Done => continue,
            StageResult::Wait(phase, text) => {
                waits.get_or_insert((phase, text));
                continue;
            }
            StageResult::Hold(phase, text) => {
                waits.get_or_insert((phase, text));
            }
            StageResult::Act(step, phase, text) => report::act(input, plan, step, phase, text),
            StageResult::Need(need) => plan.needs.push(need),
        }
        ended = true;
        break;
    }
    report::finish(input, plan, notes, waits, ended);
}

/// How many pods each pool is to have, where that is more than it has, and why. Pods are added at
/// once: a broker more endangers nothing. One that is gone but hosts replicas or votes is brought
/// back, so that it can be drained.
fn larger_sets(input: &StageInput<'_>) -> Option<(BTreeMap<PoolName, i32>, String)> {
    let orphaned = removed_brokers::orphaned_brokers(input);
    let fleet = input.fleet();
    let (mut sizes, mut returns) = (fleet.sizes(), None);
    for (name, pool) in &fleet.pools {
        let of_pool = |id: &BrokerId| fleet.pool_of(*id).is_some_and(|(other, _)| other == name);
        let last = orphaned.iter().copied().rfind(of_pool);
        let with_last = last.map_or(0, |id| pool.size_without(id) + 1);
        let wanted = pool.wanted.max(with_last);
        if wanted > pool.size() {
            sizes.insert(name.clone(), wanted);
            returns = returns.or(last.filter(|_| wanted > pool.wanted));
        }
    }
    let (before, after) = (fleet.size(), sizes.values().sum::<i32>());
    if after <= before {
        return None;
    }
    let text = match returns {
        Some(id) => {
            format!("broker {id} is gone, but is still needed: it comes back to be drained")
        }
        None if before == 0 => format!("creating {after} brokers"),
        None => format!("growing from {before} to {after} brokers"),
    };
    Some((sizes, text))
}
