//! Another replication factor. Replicas are added where they widen the racks and even the counts
//! out, at the end of the list; those dropped are the ones that matter least. Nothing is dropped
//! while a replica that stays is not in sync: the partition must not lose a copy that it needs.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use base::BrokerId;

use super::spread::Spread;
use super::{Limits, Move, MoveBroker, Planned};
use crate::observed::PartitionView;

/// Moves that bring every partition to `factor` replicas. `hosted` says how many replicas the
/// brokers have in all. Compared with what each partition will have once its moves in flight are
/// done.
pub fn resize(
    partitions: &[PartitionView],
    brokers: &[MoveBroker],
    hosted: &BTreeMap<BrokerId, u64>,
    factor: usize,
    limits: Limits,
) -> Planned {
    let mut spread = Spread::new(brokers);
    for (id, count) in hosted {
        spread.load_mut(*id).replicas = i64::try_from(*count).unwrap_or(i64::MAX);
    }
    for id in partitions.iter().flat_map(|p| p.adding.iter().chain(&p.removing)) {
        spread.load_mut(*id).busy += 1;
    }
    let mut planned = Planned::default();
    for p in partitions.iter().filter(|p| p.target().len() != factor) {
        planned.remaining += 1;
        if planned.moves.len() == limits.batch {
            continue;
        }
        let target = match p.replicas.len() < factor {
            _ if p.is_moving() => Ok(undone(p, factor)),
            true => grown(p, &spread, factor, limits),
            false => shrunk(p, &spread, factor),
        };
        match target {
            Ok(Some(target)) => {
                spread.reassign(p, &target);
                planned.moves.push(Move::of(p, target));
            }
            Ok(None) => {}
            Err(obstacle) => {
                planned.obstacle.get_or_insert(obstacle);
            }
        }
    }
    planned
}

type Target = Result<Option<Vec<BrokerId>>, String>;

/// The replicas of before, where just that many are wanted again and all of them are in sync.
fn undone(p: &PartitionView, factor: usize) -> Option<Vec<BrokerId>> {
    let before = p.replicas.iter().copied().filter(|id| !p.adding.contains(id));
    let before: Vec<BrokerId> = before.collect();
    let in_sync = before.iter().all(|id| p.isr.contains(id));
    (in_sync && before.len() == factor).then_some(before)
}

fn grown(p: &PartitionView, spread: &Spread, factor: usize, limits: Limits) -> Target {
    let free = |id: BrokerId| spread.load(id).busy < limits.per_broker;
    let mut target = p.replicas.clone();
    while target.len() < factor {
        if spread.best(&target, false, |_| true).is_none() {
            return Err(format!("{} has no other broker that is ready", p.name()));
        }
        let Some(to) = spread.best(&target, false, free) else { return Ok(None) };
        target.push(to);
    }
    Ok(Some(target))
}

fn shrunk(p: &PartitionView, spread: &Spread, factor: usize) -> Target {
    let mut target = p.replicas.clone();
    while target.len() > factor.max(1) {
        // Out of sync first, then what costs no rack, then the fullest broker; the preferred
        // leader last.
        let worst = (0..target.len()).min_by_key(|&at| {
            let id = target[at];
            let rest = target.iter().copied().filter(|other| *other != id);
            let load = Reverse(spread.load(id).replicas);
            (p.isr.contains(&id), Reverse(spread.racks(rest)), at == 0, load, Reverse(id))
        });
        target.remove(worst.unwrap_or(target.len() - 1));
    }
    match target.iter().find(|id| !p.isr.contains(id)) {
        Some(id) => Err(format!("{} waits for broker {id} to be in sync", p.name())),
        None => Ok(Some(target)),
    }
}
