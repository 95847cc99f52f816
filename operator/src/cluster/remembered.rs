//! What the last status says: all that a pass remembers of those before.

use std::collections::BTreeMap;

use base::BrokerId;
use crd::{BrokerStatus, KafkaCluster, find_condition, kind};

/// Who voted when that was last known.
pub fn voters(cluster: &KafkaCluster) -> Vec<BrokerId> {
    let voters = cluster.status.iter().flat_map(|status| &status.voters);
    voters.copied().map(BrokerId).collect()
}

/// Who was being added to them, or removed.
pub fn changing_voter(cluster: &KafkaCluster) -> Option<BrokerId> {
    cluster.status.as_ref().and_then(|status| status.changing_voter).map(BrokerId)
}

/// Brokers that had no pod in the last pass, and since when.
pub fn missing_since(cluster: &KafkaCluster) -> BTreeMap<BrokerId, i64> {
    let brokers = cluster.status.iter().flat_map(|status| &status.brokers);
    let missing = brokers.filter(|b| b.state.as_deref() == Some(plan::BrokerState::Missing.name()));
    let since = |b: &BrokerStatus| Some((BrokerId(b.id), b.since.as_ref()?.0.as_millisecond()));
    missing.filter_map(since).collect()
}

/// Whether the last pass saw a rebalance going on.
pub fn was_rebalancing(cluster: &KafkaCluster) -> bool {
    let conditions = cluster.status.as_ref().map_or(&[][..], |status| &status.conditions);
    find_condition(conditions, kind::REBALANCING).is_some_and(|c| c.status == "True")
}
