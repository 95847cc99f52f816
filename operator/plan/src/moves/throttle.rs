//! The configs that keep moves from taking all of the network, as Kafka's own tool sets them:
//! a rate on every broker, and on each topic the list of replicas that it applies to. The rates
//! are set first and cleared last: while one is set, there may be lists to clear.

use std::collections::BTreeMap;

use base::BrokerId;

/// Configs to set and to delete; apply them as one IncrementalAlterConfigs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ThrottleChange {
    /// Per broker: `leader.` and `follower.replication.throttled.rate`; `None` deletes both.
    pub brokers: BTreeMap<BrokerId, Option<i64>>,
    /// Per topic: the lists of throttled replicas; `None` deletes both.
    pub topics: BTreeMap<String, Option<ThrottledTopic>>,
}

/// Values of `leader.` and `follower.replication.throttled.replicas`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ThrottledTopic {
    pub leader: String,
    pub follower: String,
}
