//! Even counts of replicas, then of preferred leaders. Every move takes a replica from a broker to
//! one with at least two fewer, so the counts get closer with each and it ends; which replica it is
//! evens out each topic, for a topic's load goes with its partitions, and then the bytes. Leaders
//! are evened out by changing the order of replicas, which moves no data.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use base::BrokerId;

use super::spread::Spread;
use super::{Limits, Move, MoveBroker, Planned};
use crate::observed::PartitionView;

/// The next moves towards even counts; none where that is reached, or nothing may be started.
pub fn rebalance(partitions: &[PartitionView], brokers: &[MoveBroker], limits: Limits) -> Planned {
    let spread = Spread::of(partitions, brokers);
    let remaining = excess(&spread);
    let mut plan = Rebalance {
        spread,
        hosted: hosted(partitions),
        by_topic: by_topic(partitions),
        taken: BTreeSet::new(),
        limits,
    };
    let mut moves = Vec::new();
    while moves.len() < limits.batch {
        let Some((at, target)) = plan.next_replica(partitions) else { break };
        moves.push(plan.take(&partitions[at], at, target));
    }
    // Leaders follow once the replicas lie where they stay.
    let settled = moves.is_empty() && !partitions.iter().any(PartitionView::is_moving);
    while settled && moves.len() < limits.batch {
        let Some((at, target)) = plan.next_leader(partitions) else { break };
        moves.push(plan.take(&partitions[at], at, target));
    }
    Planned { remaining: remaining.max(moves.len()), moves, obstacle: None }
}

struct Rebalance<'a> {
    spread: Spread<'a>,
    /// Indices of the partitions that each broker has a replica of.
    hosted: BTreeMap<BrokerId, Vec<usize>>,
    /// How many replicas of a topic a broker has.
    by_topic: BTreeMap<(&'a str, BrokerId), i64>,
    /// Partitions that get a move in this batch.
    taken: BTreeSet<usize>,
    limits: Limits,
}

fn hosted(partitions: &[PartitionView]) -> BTreeMap<BrokerId, Vec<usize>> {
    let mut hosted: BTreeMap<BrokerId, Vec<usize>> = BTreeMap::new();
    for (at, p) in partitions.iter().enumerate() {
        for id in p.target() {
            hosted.entry(id).or_default().push(at);
        }
    }
    hosted
}

fn by_topic(partitions: &[PartitionView]) -> BTreeMap<(&str, BrokerId), i64> {
    let mut counts = BTreeMap::new();
    for p in partitions {
        for id in p.target() {
            *counts.entry((&*p.topic, id)).or_default() += 1;
        }
    }
    counts
}

/// Replicas above the share of their broker.
fn excess(spread: &Spread<'_>) -> usize {
    let counts = spread.usable.iter().map(|id| spread.load(*id).replicas);
    let counts: Vec<i64> = counts.collect();
    let total: i64 = counts.iter().sum();
    let share = total.div_euclid(counts.len().max(1) as i64) + 1;
    let above: i64 = counts.iter().map(|n| (n - share).max(0)).sum();
    usize::try_from(above).unwrap_or(0)
}

impl<'a> Rebalance<'a> {
    fn take(&mut self, p: &'a PartitionView, at: usize, target: Vec<BrokerId>) -> Move {
        for (ids, sign) in [(&p.target(), -1), (&target, 1)] {
            for id in ids {
                *self.by_topic.entry((&p.topic, *id)).or_default() += sign;
            }
        }
        self.spread.reassign(p, &target);
        self.taken.insert(at);
        Move::of(p, target)
    }

    /// From the fullest to the emptiest broker that a partition may go to.
    fn next_replica(&self, partitions: &[PartitionView]) -> Option<(usize, Vec<BrokerId>)> {
        let free = |id: &BrokerId| self.spread.load(*id).busy < self.limits.per_broker;
        let mut by_count: Vec<BrokerId> = self.spread.usable.iter().copied().filter(free).collect();
        by_count.sort_by_key(|id| (self.spread.load(*id).replicas, *id));
        for &to in &by_count {
            for &from in by_count.iter().rev() {
                let gap = self.spread.load(from).replicas - self.spread.load(to).replicas;
                if gap < 2 {
                    break;
                }
                if let Some(found) = self.best_of(partitions, from, to) {
                    return Some(found);
                }
            }
        }
        None
    }

    /// The partition that is best moved from one broker to the other.
    fn best_of(
        &self,
        partitions: &[PartitionView],
        from: BrokerId,
        to: BrokerId,
    ) -> Option<(usize, Vec<BrokerId>)> {
        let (full, empty) = (self.spread.load(from), self.spread.load(to));
        let lead = full.leads - empty.leads >= 2;
        let of = |p, id| self.by_topic.get(&(p, id)).copied().unwrap_or(0);
        let hosted = self.hosted.get(&from)?.iter().copied();
        let movable = hosted.filter(|at| !self.taken.contains(at)).filter_map(|at| {
            let p = &partitions[at];
            let in_sync = p.replicas.iter().all(|id| p.isr.contains(id));
            if p.is_moving() || !in_sync || p.replicas.contains(&to) {
                return None;
            }
            let swap = |id: &BrokerId| if *id == from { to } else { *id };
            let target: Vec<BrokerId> = p.replicas.iter().map(swap).collect();
            let before = self.spread.racks(p.replicas.iter().copied());
            let after = self.spread.racks(target.iter().copied());
            let topic = of(&*p.topic, from) - of(&*p.topic, to);
            let bytes = i128::from(p.bytes.unwrap_or(0));
            let skew = (full.bytes - empty.bytes - 2 * bytes).abs();
            let fits = (p.replicas.first() == Some(&from)) == lead;
            let rank = (Reverse(after), Reverse(topic), Reverse(fits), skew, &p.topic, p.partition);
            (after >= before).then_some((rank, at, target))
        });
        movable.min_by(|a, b| a.0.cmp(&b.0)).map(|(_, at, target)| (at, target))
    }

    /// A partition whose preferred leader leads much more than another of its replicas.
    fn next_leader(&self, partitions: &[PartitionView]) -> Option<(usize, Vec<BrokerId>)> {
        let mut by_count: Vec<BrokerId> = self.spread.usable.iter().copied().collect();
        by_count.sort_by_key(|id| (Reverse(self.spread.load(*id).leads), *id));
        for from in by_count {
            let leads = self.spread.load(from).leads;
            for &at in self.hosted.get(&from).into_iter().flatten() {
                let p = &partitions[at];
                if self.taken.contains(&at) || p.replicas.first() != Some(&from) {
                    continue;
                }
                let others = p.replicas.iter().enumerate().skip(1);
                let others = others.filter(|(_, id)| {
                    let usable = self.spread.usable.contains(id) && p.isr.contains(id);
                    usable && leads - self.spread.load(**id).leads >= 2
                });
                let to = others.min_by_key(|(_, id)| (self.spread.load(**id).leads, **id));
                if let Some((index, _)) = to {
                    let mut target = p.replicas.clone();
                    target.swap(0, index);
                    return Some((at, target));
                }
            }
        }
        None
    }
}
