//! What the controller takes from the configuration of its broker.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::supported;
use crate::liveness::LivenessSettings;

/// What the controller takes from the broker's own configuration.
#[derive(Clone, Debug)]
pub struct ControllerSettings {
    /// `num.partitions`
    pub default_partitions: i32,
    /// `default.replication.factor`
    pub default_replication_factor: i16,
    /// The broker's static config by Kafka's broker keys: the level below dynamic configs.
    pub static_config: Arc<BTreeMap<String, String>>,
    pub liveness: LivenessSettings,
    /// `auto.leader.rebalance.enable`
    pub auto_leader_rebalance: bool,
    /// `leader.imbalance.check.interval.seconds`, in ms.
    pub rebalance_interval_ms: i64,
    /// `leader.imbalance.per.broker.percentage`
    pub leader_imbalance_percent: usize,
    /// Feature levels that the first controller of a cluster finalizes.
    pub bootstrap_features: Vec<(Arc<str>, i16)>,
}

impl Default for ControllerSettings {
    fn default() -> ControllerSettings {
        ControllerSettings {
            default_partitions: 1,
            default_replication_factor: 1,
            static_config: Arc::default(),
            liveness: LivenessSettings::default(),
            auto_leader_rebalance: true,
            rebalance_interval_ms: 300_000,
            leader_imbalance_percent: 10,
            bootstrap_features: supported::bootstrap(),
        }
    }
}
