//! Replicas move onto brokers that have far less than their share, new ones, and into racks that
//! their partition lacks. A rebalance begins when some broker hosts less than half of the average,
//! or two replicas of a partition share a rack while another rack has none, with every broker whole
//! and no restart due. It goes on until the counts are even; that it does is read from the status.

use std::collections::BTreeSet;

use base::BrokerId;

use super::drain::{limits, start, targets};
use super::input::{StageInput, brokers};
use super::{Notes, StageResult};
use crate::decision::{Need, Phase, Progress, Step};
use crate::moves;
use crate::observed::PartitionView;

/// Partitions whose preferred leaders one step elects at most.
const ELECT_MAX: usize = 1000;

pub(super) fn stage(input: &StageInput<'_>, notes: &mut Notes) -> StageResult {
    if !notes.leaving(input).is_empty() {
        notes.rebalancing = Some(false);
        return StageResult::Done;
    }
    let Some(in_flight) = input.moves().map(<[_]>::len) else { return StageResult::Done };
    if notes.to_restart > 0 || input.ids().any(|id| input.flaw(id).is_some()) {
        return in_flight_only(notes, in_flight);
    }
    let Some(poor) = poor(input) else { return in_flight_only(notes, in_flight) };
    let auto = input.desired().rebalance.auto;
    if poor.is_empty() && !input.seen.rebalancing {
        match in_flight == 0 && auto && has_racks(input) {
            false => return in_flight_only(notes, in_flight),
            true => match input.partitions().map(|p| moves::shares_racks(p, &targets(input))) {
                None => return StageResult::Need(Need::Partitions),
                Some(false) => return StageResult::Done,
                Some(true) => {}
            },
        }
    }
    if !auto {
        if !poor.is_empty() {
            let text = format!("{} hosts few replicas; rebalance.mode is Manual", brokers(&poor));
            notes.remarks.push(text);
        }
        notes.rebalancing = Some(false);
        return in_flight_only(notes, in_flight);
    }
    let Some(partitions) = input.partitions() else { return StageResult::Need(Need::Partitions) };
    let planned = moves::rebalance(partitions, &targets(input), limits(input));
    let started = planned.moves.len();
    notes.progress = Some(Progress { in_flight, remaining: planned.remaining });
    notes.rebalancing = Some(started > 0 || in_flight > 0);
    if started > 0 {
        let text = format!(
            "rebalancing: moving {started} partitions, {} more to go",
            planned.remaining.saturating_sub(started)
        );
        return start(input, planned, Phase::Rebalancing, text);
    }
    if in_flight > 0 {
        let text = format!("rebalancing: {in_flight} partitions on the move");
        return StageResult::Wait(Phase::Rebalancing, text);
    }
    notes.progress = None;
    let due: Vec<_> = partitions.iter().filter(|p| is_led_elsewhere(p)).take(ELECT_MAX).collect();
    if due.is_empty() || !input.seen.rebalancing {
        return StageResult::Done;
    }
    let due = due.iter().map(|p| base::TopicPartition::new(&*p.topic, p.partition)).collect();
    let text = "replicas are even: electing preferred leaders".to_owned();
    StageResult::Act(Step::ElectPreferred(due), Phase::Rebalancing, text)
}

/// Moves that nobody here began, or that end by themselves.
fn in_flight_only(notes: &mut Notes, in_flight: usize) -> StageResult {
    if in_flight == 0 {
        return StageResult::Done;
    }
    notes.progress = Some(Progress { in_flight, remaining: 0 });
    StageResult::Wait(Phase::Rebalancing, format!("{in_flight} partitions on the move"))
}

/// Whether there are several racks.
fn has_racks(input: &StageInput<'_>) -> bool {
    let racks = input.ids().map(|id| input.broker(id)?.rack.as_deref());
    let racks: Option<BTreeSet<&str>> = racks.collect();
    racks.is_some_and(|racks| racks.len() > 1)
}

/// Brokers with less than half of the average; `None` where it is not known.
fn poor(input: &StageInput<'_>) -> Option<Vec<BrokerId>> {
    let hosted: Option<Vec<(BrokerId, u64)>> =
        input.ids().map(|id| Some((id, input.risk(id)?.hosted))).collect();
    let hosted = hosted?;
    let total: u64 = hosted.iter().map(|(_, n)| n).sum();
    let even = total / (hosted.len() as u64).max(1);
    Some(hosted.iter().filter(|(_, n)| n * 2 < even).map(|(id, _)| *id).collect())
}

fn is_led_elsewhere(p: &PartitionView) -> bool {
    p.replicas.first().is_some_and(|first| p.leader != Some(*first) && p.isr.contains(first))
}
