//! The configs that keep moves from taking all of the network, as Kafka's own tool sets them:
//! a rate on every broker that takes part, and on each topic the list of replicas that it applies
//! to. Only these are slowed down: a list of all would push followers out of sync.

use std::collections::{BTreeMap, BTreeSet};

use base::BrokerId;

use super::Move;
use crate::observed::PartitionView;

/// Configs of a broker: bytes per second that moves may take, as leader and as follower.
pub const THROTTLED_RATES: [&str; 2] =
    ["leader.replication.throttled.rate", "follower.replication.throttled.rate"];
/// Configs of a topic: the replicas that the rates apply to, as leaders and as followers.
pub const THROTTLED_REPLICAS: [&str; 2] =
    ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"];

/// Configs to set and to delete. Rates are set before the lists and deleted after them: while a
/// rate is set, there may be lists to delete.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ThrottleChange {
    /// Per broker: [`THROTTLED_RATES`]; `None` deletes both.
    pub brokers: BTreeMap<BrokerId, Option<i64>>,
    /// Per topic: the lists of throttled replicas; `None` deletes both.
    pub topics: BTreeMap<String, Option<ThrottledTopic>>,
}

/// Values of [`THROTTLED_REPLICAS`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ThrottledTopic {
    pub leader: String,
    pub follower: String,
}

/// What to set before `moves` begin; `None` where they copy nothing. Partitions of the same topics
/// that are in flight stay throttled.
pub fn throttle(rate: i64, moves: &[Move], partitions: &[PartitionView]) -> Option<ThrottleChange> {
    let targets: BTreeMap<(&str, i32), &[BrokerId]> = moves
        .iter()
        .map(|m| ((&*m.partition.topic, m.partition.partition), &*m.replicas))
        .collect();
    let topics: BTreeSet<&str> = targets.keys().map(|(topic, _)| *topic).collect();
    let mut change = ThrottleChange::default();
    let mut lists: BTreeMap<&str, (Vec<String>, Vec<String>)> = BTreeMap::new();
    for p in partitions.iter().filter(|p| topics.contains(&*p.topic)) {
        let settled = p.replicas.iter().filter(|id| !p.adding.contains(id));
        let settled: Vec<BrokerId> = settled.copied().collect();
        let to = match targets.get(&(&*p.topic, p.partition)) {
            Some(target) => target.iter().copied().filter(|id| !settled.contains(id)).collect(),
            None => p.adding.clone(),
        };
        if to.is_empty() {
            continue;
        }
        let (leader, follower) = lists.entry(&p.topic).or_default();
        leader.extend(settled.iter().map(|id| format!("{}:{id}", p.partition)));
        follower.extend(to.iter().map(|id| format!("{}:{id}", p.partition)));
        change.brokers.extend(settled.iter().chain(&to).map(|id| (*id, Some(rate))));
    }
    for (topic, (leader, follower)) in lists {
        let lists = ThrottledTopic { leader: leader.join(","), follower: follower.join(",") };
        change.topics.insert(topic.to_owned(), Some(lists));
    }
    (change != ThrottleChange::default()).then_some(change)
}

/// What to delete once nothing moves.
pub fn unthrottle(brokers: &[BrokerId], topics: &[String]) -> ThrottleChange {
    ThrottleChange {
        brokers: brokers.iter().map(|id| (*id, None)).collect(),
        topics: topics.iter().map(|topic| (topic.clone(), None)).collect(),
    }
}
