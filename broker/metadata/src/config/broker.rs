//! Broker configs that may be altered while brokers run, for one or for all of them: the broker
//! keys of topic configs, and a few limits. Everything else is set in the broker's configuration
//! file.

use super::{
    BrokerKey, CORDONED_LOG_DIRS, ConfigKind, KeyError, Support, Valid, broker_key, check_value,
    topic_configs,
};

/// A broker config that may be altered dynamically.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BrokerConfigDef {
    pub name: &'static str,
    pub kind: ConfigKind,
    pub valid: Valid,
}

const fn limit(name: &'static str, kind: ConfigKind, least: i64) -> BrokerConfigDef {
    BrokerConfigDef { name, kind, valid: Valid::AtLeast(least) }
}

const LIMITS: &[BrokerConfigDef] = &[
    limit("max.connections", ConfigKind::Int, 0),
    limit("max.connections.per.ip", ConfigKind::Int, 0),
    limit("num.io.threads", ConfigKind::Int, 1),
    limit("num.network.threads", ConfigKind::Int, 1),
    limit("num.recovery.threads.per.data.dir", ConfigKind::Int, 1),
    limit("num.replica.fetchers", ConfigKind::Int, 1),
    limit("log.cleaner.threads", ConfigKind::Int, 0),
    limit("log.cleaner.backoff.ms", ConfigKind::Long, 0),
    limit("log.cleaner.dedupe.buffer.size", ConfigKind::Long, 1),
    limit("log.cleaner.io.buffer.size", ConfigKind::Int, 0),
    limit("producer.id.expiration.ms", ConfigKind::Int, 1),
    BrokerConfigDef {
        name: "transaction.partition.verification.enable",
        kind: ConfigKind::Boolean,
        valid: Valid::Any,
    },
    limit("leader.replication.throttled.rate", ConfigKind::Long, 0),
    limit("follower.replication.throttled.rate", ConfigKind::Long, 0),
    limit("replica.alter.log.dirs.io.max.bytes.per.second", ConfigKind::Long, 0),
];

/// Which directories get no new replicas differs from broker to broker.
const PER_BROKER: &[BrokerConfigDef] =
    &[BrokerConfigDef { name: CORDONED_LOG_DIRS, kind: ConfigKind::List, valid: Valid::Any }];

/// The key of the minimum, for topics and brokers.
pub(crate) const MIN_ISR: &str = "min.insync.replicas";

/// All dynamic broker configs. Keys with which no broker would start cannot be altered either.
pub fn dynamic_broker_configs() -> impl Iterator<Item = BrokerConfigDef> {
    let of_topics = topic_configs().iter().filter_map(|def| {
        let name = def.broker_keys.first()?.name;
        let refused = broker_key(name).is_some_and(|key| key.support == Support::DefaultOnly);
        (!refused).then_some(BrokerConfigDef { name, kind: def.kind, valid: def.valid })
    });
    of_topics.chain(LIMITS.iter().copied()).chain(PER_BROKER.iter().copied())
}

/// Whether the config can be set for one broker only, not for all of them.
pub fn is_per_broker(name: &str) -> bool {
    PER_BROKER.iter().any(|def| def.name == name)
}

/// Whether the config can be set for all brokers only, not for one of them. The controller keeps
/// replicas eligible by the minimum at which it knows the high watermark to stand still: a leader
/// with another one would commit what they lack (KIP-966).
pub fn is_cluster_wide(name: &str) -> bool {
    name == MIN_ISR
}

/// The definition of a dynamic broker config; `None` where the key is unknown or fixed at start.
pub fn dynamic_broker_config(name: &str) -> Option<BrokerConfigDef> {
    dynamic_broker_configs().find(|def| def.name == name)
}
impl BrokerKey {
    /// May be altered while brokers run, for one or for all of them, and takes effect then. Every
    /// other key is read at the start of a broker only.
    pub fn is_dynamic(&self) -> bool {
        dynamic_broker_config(self.name).is_some()
    }

    /// Whether a broker starts with this value and, for dynamic keys, the controller accepts it.
    pub fn validate(&self, value: &str) -> Result<(), KeyError> {
        self.kind.check(value).map_err(KeyError::Invalid)?;
        if let Some(def) = dynamic_broker_config(self.name) {
            check_value(def.kind, def.valid, value).map_err(KeyError::Invalid)?;
        }
        if self.support == Support::DefaultOnly && value != self.default.unwrap_or_default() {
            let default = self.default.unwrap_or("not set").to_owned();
            return Err(KeyError::Unsupported { default });
        }
        Ok(())
    }
}
