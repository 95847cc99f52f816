//! Moves off the brokers that are to go. Each replica there is replaced in place, so that the
//! order of preference stays; partitions led there go last, so that leaders move once.

use std::collections::BTreeSet;

use base::BrokerId;

use super::spread::Spread;
use super::{Limits, Move, MoveBroker, Planned};
use crate::observed::PartitionView;

/// The next moves off `leaving`. Partitions already on the way are left alone, unless they are on
/// the way to a broker that leaves.
pub fn drain(
    partitions: &[PartitionView],
    brokers: &[MoveBroker],
    leaving: &BTreeSet<BrokerId>,
    limits: Limits,
) -> Planned {
    let mut spread = Spread::of(partitions, brokers);
    spread.usable.retain(|id| !leaving.contains(id));
    let mut due: Vec<&PartitionView> =
        partitions.iter().filter(|p| p.target().iter().any(|id| leaving.contains(id))).collect();
    let leads = |p: &PartitionView| p.leader.is_some_and(|id| leaving.contains(&id));
    due.sort_by_cached_key(|p| (leads(p), p.topic.clone(), p.partition));
    let mut planned = Planned { remaining: due.len(), ..Planned::default() };
    for p in due {
        if planned.moves.len() == limits.batch {
            break;
        }
        let misled = p.adding.iter().any(|id| leaving.contains(id));
        if p.is_moving() && !misled {
            continue;
        }
        match target(p, &spread, leaving, limits) {
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

/// The partition's replicas with every leaving one replaced; `None` where it has to wait for
/// other moves.
fn target(
    p: &PartitionView,
    spread: &Spread,
    leaving: &BTreeSet<BrokerId>,
    limits: Limits,
) -> Result<Option<Vec<BrokerId>>, String> {
    let free = |id: BrokerId| spread.load(id).busy < limits.per_broker;
    let before = p.target();
    let from = before.iter().filter(|id| leaving.contains(id));
    if !p.is_moving() && !from.copied().all(free) {
        return Ok(None);
    }
    let mut target: Vec<BrokerId> =
        before.iter().copied().filter(|id| !leaving.contains(id)).collect();
    for (at, id) in before.iter().enumerate() {
        if !leaving.contains(id) {
            continue;
        }
        if spread.best(&target, at == 0, |_| true).is_none() {
            return Err(format!("{} has no other broker to go to that is ready", p.name()));
        }
        let Some(to) = spread.best(&target, at == 0, free) else { return Ok(None) };
        target.insert(at.min(target.len()), to);
    }
    Ok(Some(target))
}
