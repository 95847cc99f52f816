//! Throttles. That of a cluster has two users: moves of the cluster, and those of its topics. One
//! sets it and begins its moves, or sees that none is left and ends it, before the other does.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use base::BrokerId;
use parking_lot::Mutex;
use plan::moves::{THROTTLED_RATES, THROTTLED_REPLICAS, ThrottleChange, ThrottledTopic};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::configs::{ConfigChange, ConfigResource};

/// By namespace and name of the cluster.
type ByCluster = HashMap<(String, String), Arc<AsyncMutex<()>>>;

/// A lock for each cluster.
#[derive(Default)]
pub struct Throttles(Mutex<ByCluster>);

impl Throttles {
    /// Waits for its turn.
    pub async fn hold(&self, namespace: &str, cluster: &str) -> OwnedMutexGuard<()> {
        let key = (namespace.to_owned(), cluster.to_owned());
        let lock = self.0.lock().entry(key).or_default().clone();
        lock.lock_owned().await
    }

    /// The cluster is gone.
    pub fn forget(&self, namespace: &str, cluster: &str) {
        self.0.lock().remove(&(namespace.to_owned(), cluster.to_owned()));
    }
}

/// What a throttle changes, in this order: rates are set before the lists that they apply to, and
/// deleted after them, so that while a rate is set there may be lists.
pub fn throttle_changes(change: &ThrottleChange) -> [Vec<ConfigChange>; 3] {
    let (set, clear): (Vec<_>, Vec<_>) =
        change.brokers.iter().map(rates).partition(|change| change.delete.is_empty());
    [set, change.topics.iter().map(lists).collect(), clear]
}

fn rates((id, rate): (&BrokerId, &Option<i64>)) -> ConfigChange {
    let keys = || THROTTLED_RATES.map(str::to_owned).into_iter();
    let (mut set, mut delete) = (BTreeMap::new(), BTreeSet::new());
    match rate {
        Some(rate) => set.extend(keys().map(|key| (key, rate.to_string()))),
        None => delete.extend(keys()),
    }
    ConfigChange { resource: ConfigResource::Broker(*id), set, delete }
}

fn lists((topic, lists): (&String, &Option<ThrottledTopic>)) -> ConfigChange {
    let [leader, follower] = THROTTLED_REPLICAS.map(str::to_owned);
    let (mut set, mut delete) = (BTreeMap::new(), BTreeSet::new());
    match lists {
        Some(lists) => {
            set.insert(leader, lists.leader.clone());
            set.insert(follower, lists.follower.clone());
        }
        None => delete.extend([leader, follower]),
    }
    ConfigChange { resource: ConfigResource::Topic(topic.clone()), set, delete }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttle_sets_rates_and_lists_and_clears_both() {
        let mut change = ThrottleChange::default();
        change.brokers.insert(BrokerId(1), Some(1000));
        change.brokers.insert(BrokerId(2), None);
        change.topics.insert("t".into(), None);
        let [rates, lists, cleared] = throttle_changes(&change);
        assert_eq!(rates[0].set.len(), 2);
        assert!(rates[0].set.values().all(|rate| rate == "1000"));
        assert_eq!(lists[0].delete.len(), 2);
        assert_eq!((rates.len(), cleared.len(), cleared[0].delete.len()), (1, 1, 2));
    }
}
