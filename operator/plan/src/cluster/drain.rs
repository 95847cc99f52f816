//! Replicas leave the brokers that are to go, in bounded batches; and throttles end with the moves
//! that they were set for.

use std::collections::BTreeSet;

use base::BrokerId;

use super::input::{StageInput, brokers, listed};
use super::{Notes, StageResult};
use crate::decision::{Need, Phase, Progress, Step};
use crate::moves::{self, Limits, MoveBroker, Planned};

/// Moves that one step starts at most.
const BATCH_MAX: usize = 500;

pub(super) fn stage(input: &StageInput<'_>, notes: &mut Notes) -> StageResult {
    let leaving = input.fleet().surplus();
    if leaving.is_empty() || notes.refused.is_some() {
        return StageResult::Done;
    }
    let (Some(partitions), Some(moves)) = (input.partitions(), input.moves()) else {
        return wait("which partitions are being moved is not known".into());
    };
    let planned = moves::drain(partitions, &targets(input), &leaving, limits(input));
    let progress = Progress { in_flight: moves.len(), remaining: planned.remaining };
    notes.progress = Some(progress);
    let names = brokers(&leaving);
    if !planned.moves.is_empty() {
        let text = format!(
            "draining {names}: moving {} partitions, {} more to go",
            planned.moves.len(),
            planned.remaining - planned.moves.len()
        );
        return start(input, planned, Phase::ScalingDown, text);
    }
    if planned.remaining == 0 && moves.is_empty() {
        // Empty, as far as is known here; what is still in the way is said elsewhere.
        return wait(format!("{names} empty; waiting for it to be confirmed"));
    }
    let leaving_now = moves.iter().filter(|m| m.removing.iter().any(|id| leaving.contains(id)));
    let moving: Vec<String> = leaving_now.map(|m| m.partition.to_string()).collect();
    let waits = match (moving.is_empty(), planned.obstacle) {
        (false, _) => format!("waiting for {}", listed(&moving, moving.len() as u64)),
        (true, Some(obstacle)) => obstacle,
        (true, None) => format!("waiting for {} other moves", moves.len()),
    };
    wait(format!("draining {names}, {} partitions to go: {waits}", planned.remaining))
}

/// No move is in flight or wanted: rates that are still set go, and the lists they applied to.
pub(super) fn end_of_throttle(input: &StageInput<'_>, _: &mut Notes) -> StageResult {
    match input.moves() {
        Some([]) => clear_throttle(input, "all moves are done: ending their throttle"),
        _ => StageResult::Done,
    }
}

fn clear_throttle(input: &StageInput<'_>, text: &str) -> StageResult {
    let throttled = throttled(input);
    if throttled.is_empty() {
        return StageResult::Done;
    }
    let Some(topics) = &input.seen.throttled_topics else {
        return StageResult::Need(Need::ThrottledTopics);
    };
    let change = moves::unthrottle(&throttled, topics);
    StageResult::Act(Step::ClearThrottle(change), Phase::Rebalancing, text.to_owned())
}

/// Brokers with a rate of their own.
fn throttled(input: &StageInput<'_>) -> Vec<BrokerId> {
    let brokers = input.cluster().into_iter().flat_map(|cluster| &cluster.brokers);
    let throttled = brokers.filter(|(_, b)| b.settings.is_some_and(|s| s.throttled));
    throttled.map(|(id, _)| *id).collect()
}

/// Begins moves. Where they are no longer to be throttled, what throttled the last ones goes first.
pub(super) fn start(
    input: &StageInput<'_>,
    planned: Planned,
    phase: Phase,
    text: String,
) -> StageResult {
    let Some(rate) = input.desired().rebalance.throttle else {
        return match clear_throttle(input, "moves are no longer throttled") {
            StageResult::Done => StageResult::Act(
                Step::StartMoves { moves: planned.moves, throttle: None },
                phase,
                text,
            ),
            first => first,
        };
    };
    let partitions = input.partitions().unwrap_or_default();
    let throttle = moves::throttle(rate, &planned.moves, partitions);
    StageResult::Act(Step::StartMoves { moves: planned.moves, throttle }, phase, text)
}

/// All brokers, and whether they may get replicas.
pub(super) fn targets(input: &StageInput<'_>) -> Vec<MoveBroker> {
    let stay: BTreeSet<BrokerId> = input.fleet().staying().collect();
    let Some(cluster) = input.cluster() else { return Vec::new() };
    let all = cluster.brokers.iter().map(|(&id, broker)| MoveBroker {
        id,
        rack: broker.rack.clone(),
        usable: stay.contains(&id)
            && !broker.fenced
            && broker.settings.is_some_and(|settings| !settings.cordoned),
    });
    all.collect()
}

pub(super) fn limits(input: &StageInput<'_>) -> Limits {
    let per_broker = input.desired().rebalance.moves_per_broker;
    Limits { per_broker: usize::try_from(per_broker).unwrap_or(1).max(1), batch: BATCH_MAX }
}

fn wait(text: String) -> StageResult {
    StageResult::Wait(Phase::ScalingDown, text)
}
