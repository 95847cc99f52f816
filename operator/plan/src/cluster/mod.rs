//! The next step of a cluster: stages in order of urgency, of which the first that can act does.
//! A stage that can only wait says so and lets the later ones go on, unless what they would do
//! would get in its way.

mod blockers;
mod drain;
mod facts;
mod leftovers;
mod level;
mod lost;
mod rebalance;
mod report;
mod roll;
mod shrink;
mod volumes;
mod voters;

use facts::Facts;

use crate::decision::{Lost, Need, Phase, Plan, Progress, Refusal, Step};
use crate::observed::Observed;

/// What a stage comes to.
enum Verdict {
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

type Stage = fn(&Facts<'_>, &mut Notes) -> Verdict;

const STAGES: &[Stage] = &[
    blockers::stage,
    voters::stage,
    leftovers::stage,
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
    let facts = Facts::new(seen);
    let mut plan = report::blank(&facts);
    if seen.desired.paused {
        plan.phase = Phase::Paused;
        plan.message = "paused: nothing is changed".into();
        return plan;
    }
    if let Some(message) = larger_set(&facts) {
        plan.set_replicas = wanted_size(&facts);
        plan.phase = if facts.size == 0 { Phase::Creating } else { Phase::ScalingUp };
        plan.message = message;
        plan.requeue_ms = Some(report::STEP_MS);
        return plan;
    }
    decide(&facts, &mut plan);
    plan
}

fn decide(facts: &Facts<'_>, plan: &mut Plan) {
    let mut notes = Notes::default();
    let mut waits: Option<(Phase, String)> = None;
    let mut ended = false;
    for stage in STAGES {
        match stage(facts, &mut notes) {
            Verdict::Done => continue,
            Verdict::Wait(phase, text) => {
                waits.get_or_insert((phase, text));
                continue;
            }
            Verdict::Hold(phase, text) => {
                waits.get_or_insert((phase, text));
            }
            Verdict::Act(step, phase, text) => report::act(plan, step, phase, text),
            Verdict::Need(need) => plan.needs.push(need),
        }
        ended = true;
        break;
    }
    report::finish(facts, plan, notes, waits, ended);
}

/// How many pods there are to be, where that is more than there are. Pods are added at once: a
/// broker more endangers nothing. One that is gone but hosts replicas or votes is brought back,
/// so that it can be drained.
fn wanted_size(facts: &Facts<'_>) -> i32 {
    let stranded = leftovers::stranded(facts).map_or(0, |id| id.0 + 1);
    facts.desired().replicas.max(facts.size).max(stranded)
}

fn larger_set(facts: &Facts<'_>) -> Option<String> {
    let (wanted, desired) = (wanted_size(facts), facts.desired().replicas);
    if wanted <= facts.size {
        return None;
    }
    Some(if wanted > desired {
        let id = wanted - 1;
        format!("broker {id} is gone, but is still needed: it comes back to be drained")
    } else if facts.size == 0 {
        format!("creating {desired} brokers")
    } else {
        format!("growing from {} to {desired} brokers", facts.size)
    })
}
