//! How replicas, preferred leaders, bytes and moves are spread over the brokers, and which broker
//! a replica is best given to.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use base::BrokerId;

use super::MoveBroker;
use crate::observed::PartitionView;

/// What one broker has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Load {
    /// Once all moves in flight are done.
    pub(super) replicas: i64,
    /// Partitions that it is the preferred leader of.
    pub(super) leads: i64,
    pub(super) bytes: i128,
    /// Moves in flight that it takes part in.
    pub(super) busy: usize,
}

pub(super) struct Spread {
    /// A number for the rack of each broker; all brokers without one share one.
    racks: BTreeMap<BrokerId, usize>,
    rack_count: usize,
    pub(super) usable: BTreeSet<BrokerId>,
    /// How many racks those are in.
    usable_racks: usize,
    loads: BTreeMap<BrokerId, Load>,
}

impl Spread {
    pub(super) fn new(brokers: &[MoveBroker]) -> Spread {
        let names: BTreeSet<Option<&str>> = brokers.iter().map(|b| b.rack.as_deref()).collect();
        let number = |b: &MoveBroker| names.iter().position(|name| *name == b.rack.as_deref());
        let usable_racks = brokers.iter().filter(|b| b.usable).map(|b| b.rack.as_deref());
        let usable_racks = usable_racks.collect::<BTreeSet<_>>().len();
        let numbered = brokers.iter().filter_map(|b| Some((b.id, number(b)?)));
        Spread {
            racks: numbered.collect(),
            rack_count: names.len(),
            usable_racks,
            usable: brokers.iter().filter(|b| b.usable).map(|b| b.id).collect(),
            loads: BTreeMap::new(),
        }
    }

    pub(super) fn of(partitions: &[PartitionView], brokers: &[MoveBroker]) -> Spread {
        let mut spread = Spread::new(brokers);
        for p in partitions {
            spread.count(p, &p.target(), 1);
            for id in p.adding.iter().chain(&p.removing) {
                spread.load_mut(*id).busy += 1;
            }
        }
        spread
    }

    pub(super) fn load(&self, id: BrokerId) -> Load {
        self.loads.get(&id).copied().unwrap_or_default()
    }

    pub(super) fn load_mut(&mut self, id: BrokerId) -> &mut Load {
        self.loads.entry(id).or_default()
    }

    fn count(&mut self, p: &PartitionView, replicas: &[BrokerId], sign: i64) {
        for (i, id) in replicas.iter().enumerate() {
            let load = self.load_mut(*id);
            load.replicas += sign;
            load.bytes += i128::from(sign) * i128::from(p.bytes.unwrap_or(0));
            load.leads += if i == 0 { sign } else { 0 };
        }
    }

    /// Notes that the partition's replicas will be these.
    pub(super) fn reassign(&mut self, p: &PartitionView, target: &[BrokerId]) {
        let before = p.target();
        self.count(p, &before, -1);
        self.count(p, target, 1);
        let gone = before.iter().filter(|id| !target.contains(id));
        let come = target.iter().filter(|id| !before.contains(id));
        for id in gone.chain(come) {
            self.load_mut(*id).busy += 1;
        }
    }

    /// The number of a broker's rack; one that is not known shares that of an unknown rack.
    pub(super) fn rack(&self, id: BrokerId) -> usize {
        self.racks.get(&id).copied().unwrap_or(self.rack_count)
    }

    /// How many numbers of racks there are, the unknown one included.
    pub(super) fn rack_count(&self) -> usize {
        self.rack_count + 1
    }

    /// How many racks these brokers are in.
    pub(super) fn racks(&self, ids: impl Iterator<Item = BrokerId> + Clone) -> usize {
        let racks = ids.map(|id| self.rack(id));
        let first = |(at, rack): &(usize, usize)| !racks.clone().take(*at).any(|r| r == *rack);
        racks.clone().enumerate().filter(first).count()
    }

    /// How many racks this many replicas can be in.
    pub(super) fn width(&self, replicas: usize) -> usize {
        self.usable_racks.min(replicas)
    }

    /// The broker to add to `others`: in another rack where there is one, then the one with the
    /// fewest replicas. `free` says which may take part in one more move; `None` where all that
    /// are as good by rack may not, or no broker is left.
    pub(super) fn best(
        &self,
        others: &[BrokerId],
        leads: bool,
        free: impl Fn(BrokerId) -> bool,
    ) -> Option<BrokerId> {
        let candidates = self.usable.iter().copied().filter(|id| !others.contains(id));
        let ranked = candidates.map(|id| {
            let racks = self.racks(others.iter().copied().chain([id]));
            let load = self.load(id);
            let leads = if leads { load.leads } else { 0 };
            (Reverse(racks), load.replicas, leads, load.bytes, id)
        });
        let ranked: Vec<_> = ranked.collect();
        let widest = ranked.iter().map(|rank| rank.0).min()?;
        let ranked = ranked.into_iter().filter(|rank| rank.0 == widest && free(rank.4));
        ranked.min().map(|rank| rank.4)
    }
}
