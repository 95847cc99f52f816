//! Replicas of a partition in as many racks as there are, then even counts of replicas, then of
//! preferred leaders. A move to a rack that the partition lacks only ever adds to its racks. Every
//! other move takes a replica from a broker to one with at least two fewer, so the counts get
//! closer with each and it ends; which replica it is evens out each topic, for a topic's load goes
//! with its partitions, and then the bytes. Leaders are evened out by changing the order of
//! replicas, which moves no data.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use base::BrokerId;

use super::spread::Spread;
use super::{Limits, Move, MoveBroker, Planned};
use crate::observed::PartitionView;

/// The next moves towards even counts; none where that is reached, or nothing may be started.
pub fn rebalance(partitions: &[PartitionView], brokers: &[MoveBroker], limits: Limits) -> Planned {
    let spread = Spread::of(partitions, brokers);
    let narrow = partitions.iter().filter(|p| is_narrow(p, &spread)).count();
    let remaining = excess(&spread) + narrow;
    let mut plan = Rebalance::new(partitions, spread, limits);
    let mut moves = Vec::new();
    for at in 0..partitions.len() {
        if moves.len() == limits.batch {
            break;
        }
        if let Some(target) = plan.wider(at) {
            moves.push(plan.take(at, target));
        }
    }
    while moves.len() < limits.batch {
        let Some((at, target)) = plan.next_replica() else { break };
        moves.push(plan.take(at, target));
    }
    // Leaders follow once the replicas lie where they stay.
    let settled = moves.is_empty() && !partitions.iter().any(PartitionView::is_moving);
    while settled && moves.len() < limits.batch {
        let Some((at, target)) = plan.next_leader() else { break };
        moves.push(plan.take(at, target));
    }
    Planned { remaining: remaining.max(moves.len()), moves, obstacle: None }
}

/// Whether some partition has two replicas in one rack and none in another that has a broker.
pub fn shares_racks(partitions: &[PartitionView], brokers: &[MoveBroker]) -> bool {
    let known = brokers.iter().filter(|broker| broker.usable).all(|broker| broker.rack.is_some());
    let spread = Spread::new(brokers);
    known && partitions.iter().any(|p| is_narrow(p, &spread))
}

fn is_narrow(p: &PartitionView, spread: &Spread) -> bool {
    let target = p.target();
    spread.racks(target.iter().copied()) < spread.width(target.len())
}

/// A hundred brokers with a hundred thousand partitions are planned for within the time that a
/// pass has: pairs of brokers between which nothing can move are known before they are looked at.
struct Rebalance<'a> {
    partitions: &'a [PartitionView],
    spread: Spread,
    /// Indices of the partitions that each broker has a replica of.
    hosted: BTreeMap<BrokerId, Vec<usize>>,
    /// Racks that some replica of a broker may go to.
    reach: BTreeMap<BrokerId, BTreeSet<usize>>,
    /// Pairs, from and to, between which nothing can move in this batch.
    barren: BTreeSet<(BrokerId, BrokerId)>,
    /// A number for the topic of each partition.
    topics: Vec<u32>,
    /// How many replicas of a topic a broker has.
    by_topic: HashMap<(u32, BrokerId), i64>,
    /// Partitions that get a move in this batch.
    taken: BTreeSet<usize>,
    limits: Limits,
}

/// It can be moved: nothing else is under way with it, and all of it is in sync.
fn is_settled(p: &PartitionView) -> bool {
    !p.is_moving() && p.replicas.iter().all(|id| p.isr.contains(id))
}

fn numbers(partitions: &[PartitionView]) -> Vec<u32> {
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    let mut all = Vec::with_capacity(partitions.len());
    for p in partitions {
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        all.push(*numbers.entry(&p.topic).or_insert(next));
    }
    all
}

/// Replicas above the share of their broker.
fn excess(spread: &Spread) -> usize {
    let counts = spread.usable.iter().map(|id| spread.load(*id).replicas);
    let counts: Vec<i64> = counts.collect();
    let total: i64 = counts.iter().sum();
    let share = total.div_euclid(counts.len().max(1) as i64) + 1;
    let above: i64 = counts.iter().map(|n| (n - share).max(0)).sum();
    usize::try_from(above).unwrap_or(0)
}

impl<'a> Rebalance<'a> {
    fn new(partitions: &'a [PartitionView], spread: Spread, limits: Limits) -> Rebalance<'a> {
        let mut plan = Rebalance {
            partitions,
            spread,
            hosted: BTreeMap::new(),
            reach: BTreeMap::new(),
            barren: BTreeSet::new(),
            topics: numbers(partitions),
            by_topic: HashMap::new(),
            taken: BTreeSet::new(),
            limits,
        };
        for (at, p) in partitions.iter().enumerate() {
            for id in p.target() {
                plan.hosted.entry(id).or_default().push(at);
                *plan.by_topic.entry((plan.topics[at], id)).or_default() += 1;
            }
            if is_settled(p) {
                plan.note_reach(p);
            }
        }
        plan
    }

    /// A replica may go to any rack that has none, and to any at all where its own has another.
    fn note_reach(&mut self, p: &PartitionView) {
        let racks: Vec<usize> = p.replicas.iter().map(|id| self.spread.rack(*id)).collect();
        for (id, own) in p.replicas.iter().zip(&racks) {
            let shared = racks.iter().filter(|rack| *rack == own).count() > 1;
            let to = (0..self.spread.rack_count())
                .filter(|rack| shared || rack == own || !racks.contains(rack));
            self.reach.entry(*id).or_default().extend(to);
        }
    }

    fn take(&mut self, at: usize, target: Vec<BrokerId>) -> Move {
        let p = &self.partitions[at];
        for (ids, sign) in [(&p.target(), -1), (&target, 1)] {
            for id in ids {
                *self.by_topic.entry((self.topics[at], *id)).or_default() += sign;
            }
        }
        self.spread.reassign(p, &target);
        self.taken.insert(at);
        Move::of(p, target)
    }

    /// The replicas with one that shares its rack moved to a rack that has none: the one of the
    /// fullest broker, and the preferred leader last.
    fn wider(&self, at: usize) -> Option<Vec<BrokerId>> {
        let p = &self.partitions[at];
        if !is_settled(p) || !is_narrow(p, &self.spread) {
            return None;
        }
        let free = |id: BrokerId| self.spread.load(id).busy < self.limits.per_broker;
        let rack_of = |id: &BrokerId| self.spread.rack(*id);
        let shares = |id: &&BrokerId| {
            p.replicas.iter().filter(|other| rack_of(other) == rack_of(id)).count() > 1
        };
        let shared = p.replicas.iter().filter(shares).filter(|id| free(**id));
        let from = shared.min_by_key(|id| {
            let first = p.replicas.first() == Some(*id);
            (first, Reverse(self.spread.load(**id).replicas), Reverse(**id))
        })?;
        let others: Vec<BrokerId> = p.replicas.iter().copied().filter(|id| id != from).collect();
        let to = self.spread.best(&others, false, free)?;
        let swap = |id: &BrokerId| if id == from { to } else { *id };
        let target: Vec<BrokerId> = p.replicas.iter().map(swap).collect();
        let racks = |ids: &[BrokerId]| self.spread.racks(ids.iter().copied());
        (racks(&target) > racks(&p.replicas)).then_some(target)
    }

    /// From the fullest to the emptiest broker that a partition may go to.
    fn next_replica(&mut self) -> Option<(usize, Vec<BrokerId>)> {
        let free = |id: &BrokerId| self.spread.load(*id).busy < self.limits.per_broker;
        let mut by_count: Vec<BrokerId> = self.spread.usable.iter().copied().filter(free).collect();
        by_count.sort_by_key(|id| (self.spread.load(*id).replicas, *id));
        for &to in &by_count {
            let rack = self.spread.rack(to);
            for &from in by_count.iter().rev() {
                let gap = self.spread.load(from).replicas - self.spread.load(to).replicas;
                if gap < 2 {
                    break;
                }
                let reaches = self.reach.get(&from).is_some_and(|racks| racks.contains(&rack));
                if !reaches || self.barren.contains(&(from, to)) {
                    continue;
                }
                if let Some(found) = self.best_of(from, to) {
                    return Some(found);
                }
                // What is taken meanwhile only leaves less to choose from.
                self.barren.insert((from, to));
            }
        }
        None
    }

    /// The partition that is best moved from one broker to the other.
    fn best_of(&self, from: BrokerId, to: BrokerId) -> Option<(usize, Vec<BrokerId>)> {
        let (full, empty) = (self.spread.load(from), self.spread.load(to));
        let lead = full.leads - empty.leads >= 2;
        let of = |topic, id| self.by_topic.get(&(topic, id)).copied().unwrap_or(0);
        let swap = |id: &BrokerId| if *id == from { to } else { *id };
        let hosted = self.hosted.get(&from)?.iter().copied();
        let movable = hosted.filter(|at| !self.taken.contains(at)).filter_map(|at| {
            let p = &self.partitions[at];
            if p.replicas.contains(&to) || !is_settled(p) {
                return None;
            }
            let before = self.spread.racks(p.replicas.iter().copied());
            let after = self.spread.racks(p.replicas.iter().map(swap));
            let topic = of(self.topics[at], from) - of(self.topics[at], to);
            let bytes = i128::from(p.bytes.unwrap_or(0));
            let skew = (full.bytes - empty.bytes - 2 * bytes).abs();
            let fits = (p.replicas.first() == Some(&from)) == lead;
            let rank = (Reverse(after), Reverse(topic), Reverse(fits), skew, &p.topic, p.partition);
            (after >= before).then_some((rank, at))
        });
        let (_, at) = movable.min_by(|a, b| a.0.cmp(&b.0))?;
        Some((at, self.partitions[at].replicas.iter().map(swap).collect()))
    }

    /// A partition whose preferred leader leads much more than another of its replicas.
    fn next_leader(&self) -> Option<(usize, Vec<BrokerId>)> {
        let mut by_count: Vec<BrokerId> = self.spread.usable.iter().copied().collect();
        by_count.sort_by_key(|id| (Reverse(self.spread.load(*id).leads), *id));
        let fewest = by_count.last().map_or(0, |id| self.spread.load(*id).leads);
        for from in by_count {
            let leads = self.spread.load(from).leads;
            if leads - fewest < 2 {
                break;
            }
            for &at in self.hosted.get(&from).into_iter().flatten() {
                let p = &self.partitions[at];
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
