//! Broker configs that may be altered while brokers run: the broker keys of topic configs, and a few
//! limits. Everything else is set in the broker's configuration file.

use super::{ConfigKind, Valid, topic_configs};

/// For whom a dynamic config may be set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DynamicScope {
    /// For one broker, or for all brokers as their default.
    ClusterWide,
    /// For one broker only.
    PerBroker,
}

/// A broker config that may be altered dynamically.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BrokerConfigDef {
    pub name: &'static str,
    pub kind: ConfigKind,
    pub valid: Valid,
    pub scope: DynamicScope,
}

const fn limit(name: &'static str, kind: ConfigKind, least: i64) -> BrokerConfigDef {
    let valid = Valid::AtLeast(least);
    BrokerConfigDef { name, kind, valid, scope: DynamicScope::ClusterWide }
}

const fn rate(name: &'static str) -> BrokerConfigDef {
    let scope = DynamicScope::PerBroker;
    BrokerConfigDef { name, kind: ConfigKind::Long, valid: Valid::AtLeast(0), scope }
}

const LIMITS: &[BrokerConfigDef] = &[
    limit("max.connections", ConfigKind::Int, 0),
    limit("max.connections.per.ip", ConfigKind::Int, 0),
    limit("max.connection.creation.rate", ConfigKind::Int, 0),
    limit("num.io.threads", ConfigKind::Int, 1),
    limit("num.network.threads", ConfigKind::Int, 1),
    limit("num.recovery.threads.per.data.dir", ConfigKind::Int, 1),
    limit("num.replica.fetchers", ConfigKind::Int, 1),
    limit("background.threads", ConfigKind::Int, 1),
    limit("log.cleaner.threads", ConfigKind::Int, 0),
    limit("log.cleaner.backoff.ms", ConfigKind::Long, 0),
    limit("log.cleaner.dedupe.buffer.size", ConfigKind::Long, 1),
    limit("log.cleaner.io.buffer.size", ConfigKind::Int, 0),
    limit("producer.id.expiration.ms", ConfigKind::Int, 1),
    rate("leader.replication.throttled.rate"),
    rate("follower.replication.throttled.rate"),
    rate("replica.alter.log.dirs.io.max.bytes.per.second"),
];

/// All dynamic broker configs.
pub fn dynamic_broker_configs() -> impl Iterator<Item = BrokerConfigDef> {
    let of_topics = topic_configs().iter().filter_map(|def| {
        let name = def.broker_keys.first()?.name;
        let scope = DynamicScope::ClusterWide;
        Some(BrokerConfigDef { name, kind: def.kind, valid: def.valid, scope })
    });
    of_topics.chain(LIMITS.iter().copied())
}

/// The definition of a dynamic broker config; `None` where the key is unknown or fixed at start.
pub fn dynamic_broker_config(name: &str) -> Option<BrokerConfigDef> {
    dynamic_broker_configs().find(|def| def.name == name)
}
