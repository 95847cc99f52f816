//! Which brokers there are and are to be, pool by pool. Brokers of a pool are alike and run in one
//! StatefulSet; their ids follow each other from the pool's base on. Every cluster has one pool,
//! from 0 on, whose brokers may all vote.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use base::BrokerId;

/// The most brokers that a pool may have.
const POOL_MAX: i32 = 1000;

/// Empty for the pool that every cluster has.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct PoolName(pub String);

/// Brokers that are alike.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pool {
    /// Id of its first broker.
    pub base: i32,
    /// Its brokers may vote.
    pub votes: bool,
    /// How many brokers the user wants.
    pub wanted: i32,
    /// `None` where the StatefulSet does not exist yet.
    pub set: Option<SetView>,
}

impl Pool {
    /// How many pods the StatefulSet is told to have.
    pub fn size(&self) -> i32 {
        self.set.as_ref().map_or(0, |set| set.replicas)
    }

    fn ids(&self, positions: Range<i32>) -> impl Iterator<Item = BrokerId> + use<> {
        let base = self.base;
        positions.map(move |position| BrokerId(base + position))
    }

    /// The broker's place in the pool, which is one less than the size that includes it.
    fn position(&self, id: BrokerId) -> Option<i32> {
        (self.base..self.base + POOL_MAX).contains(&id.0).then(|| id.0 - self.base)
    }

    /// The size without this broker and those after it.
    pub fn size_without(&self, id: BrokerId) -> i32 {
        self.position(id).unwrap_or(self.size())
    }
}

/// The StatefulSet as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SetView {
    /// `spec.replicas`.
    pub replicas: i32,
    /// `status.updateRevision`; `None` while the StatefulSet controller has not yet seen the
    /// newest spec (`observedGeneration < generation`): then no pod is known to be outdated.
    pub revision: Option<String>,
}

/// All pools of a cluster. Their ids do not overlap.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fleet {
    pub pools: BTreeMap<PoolName, Pool>,
}

impl Fleet {
    /// One pool, of brokers that may all vote.
    pub fn of_one(wanted: i32, set: Option<SetView>) -> Fleet {
        let pool = Pool { base: 0, votes: true, wanted, set };
        Fleet { pools: BTreeMap::from([(PoolName::default(), pool)]) }
    }

    /// Brokers that have a pod, or are soon to have one.
    pub fn ids(&self) -> impl Iterator<Item = BrokerId> {
        self.pools.values().flat_map(|pool| pool.ids(0..pool.size()))
    }

    /// Brokers that the user wants.
    pub fn wanted(&self) -> impl Iterator<Item = BrokerId> {
        self.pools.values().flat_map(|pool| pool.ids(0..pool.wanted))
    }

    /// Brokers that the user wants and that may vote.
    pub fn electable(&self) -> impl Iterator<Item = BrokerId> {
        let pools = self.pools.values().filter(|pool| pool.votes);
        pools.flat_map(|pool| pool.ids(0..pool.wanted))
    }

    /// Who begins the quorum, where so many are to vote: nothing is known of racks yet.
    pub fn first_voters(&self, count: i32) -> impl Iterator<Item = BrokerId> {
        self.electable().take(usize::try_from(count).unwrap_or(0))
    }

    /// Brokers that are there now and stay.
    pub fn staying(&self) -> impl Iterator<Item = BrokerId> {
        self.pools.values().flat_map(|pool| pool.ids(0..pool.size().min(pool.wanted)))
    }

    /// Brokers that the user wants gone.
    pub fn surplus(&self) -> BTreeSet<BrokerId> {
        self.pools.values().flat_map(|pool| pool.ids(pool.wanted..pool.size())).collect()
    }

    /// Brokers of the surplus that can go next: a StatefulSet loses its last pod only.
    pub fn last_of_surplus(&self) -> impl Iterator<Item = BrokerId> {
        let pools = self.pools.values().filter(|pool| pool.size() > pool.wanted);
        pools.flat_map(|pool| pool.ids(pool.size() - 1..pool.size()))
    }

    /// The pool that has a broker of that id, or may have one.
    pub fn pool_of(&self, id: BrokerId) -> Option<(&PoolName, &Pool)> {
        self.pools.iter().find(|(_, pool)| pool.position(id).is_some())
    }

    /// Whether some StatefulSet has the broker.
    pub fn has(&self, id: BrokerId) -> bool {
        self.is_within(id, Pool::size)
    }

    /// Whether the user wants the broker.
    pub fn is_wanted(&self, id: BrokerId) -> bool {
        self.is_within(id, |pool| pool.wanted)
    }

    fn is_within(&self, id: BrokerId, size: impl Fn(&Pool) -> i32) -> bool {
        self.pools.values().any(|pool| pool.position(id).is_some_and(|at| at < size(pool)))
    }

    /// How many brokers there are.
    pub fn size(&self) -> i32 {
        self.pools.values().map(Pool::size).sum()
    }

    /// How many brokers the user wants.
    pub fn size_wanted(&self) -> i32 {
        self.pools.values().map(|pool| pool.wanted).sum()
    }

    /// How many pods each pool is to have where nothing changes.
    pub fn sizes(&self) -> BTreeMap<PoolName, i32> {
        let size = |pool: &Pool| pool.set.as_ref().map_or(pool.wanted, |set| set.replicas);
        self.pools.iter().map(|(name, pool)| (name.clone(), size(pool))).collect()
    }

    /// Whether Kubernetes has taken up the newest spec of the pods of every pool.
    pub fn is_taken_up(&self) -> bool {
        let knows = |set: &SetView| set.revision.is_some();
        self.pools.values().all(|pool| pool.set.as_ref().is_some_and(knows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(base: i32, votes: bool, wanted: i32, size: i32) -> Pool {
        Pool { base, votes, wanted, set: Some(SetView { replicas: size, revision: None }) }
    }

    /// Three brokers of which one is to go, and two more, from 1000 on, that do not vote.
    fn fleet() -> Fleet {
        let pools = [("", pool(0, true, 2, 3)), ("large", pool(1000, false, 4, 2))];
        let named = pools.into_iter().map(|(name, pool)| (PoolName(name.to_owned()), pool));
        Fleet { pools: named.collect() }
    }

    fn ids(ids: impl IntoIterator<Item = BrokerId>) -> Vec<i32> {
        ids.into_iter().map(|id| id.0).collect()
    }

    #[test]
    fn ids_of_a_pool_follow_each_other_from_its_base() {
        let fleet = fleet();
        assert_eq!(ids(fleet.ids()), [0, 1, 2, 1000, 1001]);
        assert_eq!(ids(fleet.wanted()), [0, 1, 1000, 1001, 1002, 1003]);
        assert_eq!(ids(fleet.staying()), [0, 1, 1000, 1001]);
        assert_eq!(ids(fleet.surplus()), [2]);
        assert_eq!(ids(fleet.last_of_surplus()), [2]);
        assert_eq!(ids(fleet.electable()), [0, 1]);
        assert_eq!((fleet.size(), fleet.size_wanted()), (5, 6));
    }

    #[test]
    fn a_broker_is_of_one_pool_whether_it_is_there_or_not() {
        let fleet = fleet();
        let of = |id| fleet.pool_of(BrokerId(id)).map(|(name, _)| name.0.as_str());
        assert_eq!((of(2), of(999), of(1003), of(2000)), (Some(""), Some(""), Some("large"), None));
        assert!(fleet.has(BrokerId(2)) && !fleet.is_wanted(BrokerId(2)));
        assert!(!fleet.has(BrokerId(1002)) && fleet.is_wanted(BrokerId(1002)));
        assert!(!fleet.has(BrokerId(3)) && !fleet.has(BrokerId(-1)));
        let (_, large) = fleet.pool_of(BrokerId(1001)).expect("it is there");
        assert_eq!(large.size_without(BrokerId(1001)), 1);
    }
}
