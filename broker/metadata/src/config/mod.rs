//! The typed registry of topic configs, and how their effective values come about: the topic's own
//! value, then the dynamic configs of the broker, then those of all brokers, then the broker's
//! static configuration, then Kafka's default. Below the topic, a config goes by its broker key
//! (`retention.ms` is `log.retention.ms` there).

mod broker;
mod cordon;
mod docs;
mod gone;
mod key;
mod keys;
mod registry;
mod resolve;
mod resource;
mod settings;
mod unbuilt;

pub(crate) use broker::MIN_ISR;
pub use broker::{
    BrokerConfigDef, dynamic_broker_config, dynamic_broker_configs, is_cluster_wide, is_per_broker,
};
pub use cordon::{CORDONED_LOG_DIRS, check_cordon, is_cordoned, is_dir_cordoned};
pub use docs::broker_key_doc;
pub use gone::gone_broker_key;
pub use key::{BrokerKey, KeyError, Kind, Support};
pub use keys::{
    RACK_AWARE_SELECTOR, Scoped, broker_key, broker_keys, is_foreign_key, is_internal_broker_key,
    nearest_broker_key, scoped,
};
pub use registry::{internal_topic_configs, topic_configs};
pub use resolve::{ConfigLayers, ConfigSource, Resolved, Synonym, resolve};
pub use resource::{CLIENT_METRICS_CONFIGS, GROUP_CONFIGS, ResourceConfigDef};
pub use settings::{CleanupPolicy, CompressionType, TimestampType, TopicSettings};
pub(crate) use settings::{min_insync_replicas, unclean_leader_election};

use std::collections::BTreeMap;
use std::sync::Arc;

/// The type of a config's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigKind {
    Boolean,
    String,
    Int,
    Long,
    Double,
    List,
}

impl ConfigKind {
    /// The number of the type in DescribeConfigs.
    pub fn code(self) -> i8 {
        match self {
            ConfigKind::Boolean => 1,
            ConfigKind::String => 2,
            ConfigKind::Int => 3,
            ConfigKind::Long => 5,
            ConfigKind::Double => 6,
            ConfigKind::List => 7,
        }
    }
}

/// Which values of the type are valid.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Valid {
    Any,
    AtLeast(i64),
    Between(i64, i64),
    /// -1, or a number in the range.
    DefaultOr(i64, i64),
    /// A fraction from 0 to 1.
    Fraction,
    OneOf(&'static [&'static str]),
    /// A list without duplicates of these, maybe empty.
    ListOf(&'static [&'static str]),
    /// `*`, or a list of `partition:broker`.
    ThrottledReplicas,
}

/// A broker key that stands for a topic config, and what one unit of its value means.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BrokerSynonym {
    pub name: &'static str,
    pub unit: i64,
}

/// One topic config.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TopicConfigDef {
    pub name: &'static str,
    pub kind: ConfigKind,
    pub default: &'static str,
    pub valid: Valid,
    /// By precedence; the first can be altered dynamically. Empty where the broker has no key.
    pub broker_keys: &'static [BrokerSynonym],
    pub doc: &'static str,
}

/// The definition of a topic config, internal ones included.
pub fn topic_config(name: &str) -> Option<&'static TopicConfigDef> {
    let configs = topic_configs();
    let found = configs.binary_search_by(|def| def.name.cmp(name)).ok();
    let found = found.map(|index| &configs[index]);
    found.or_else(|| internal_topic_configs().iter().find(|def| def.name == name))
}

/// A topic config that a broker key stands for.
pub fn topic_config_of_broker_key(key: &str) -> Option<&'static TopicConfigDef> {
    topic_configs().iter().find(|def| def.broker_keys.iter().any(|k| k.name == key))
}

/// Checks a value against type and range; the error is for the user.
pub fn validate_value(
    name: &str,
    kind: ConfigKind,
    valid: Valid,
    value: &str,
) -> Result<(), String> {
    check_value(kind, valid, value)
        .map_err(|why| format!("Invalid value {value} for configuration {name}: {why}"))
}

/// The same, without the name and the value in the message.
fn check_value(kind: ConfigKind, valid: Valid, value: &str) -> Result<(), String> {
    let invalid = |why: &str| Err(why.to_owned());
    match kind {
        ConfigKind::Boolean => match value.trim().to_ascii_lowercase().as_str() {
            "true" | "false" => Ok(()),
            _ => invalid("Expected value to be either true or false"),
        },
        ConfigKind::Int => match value.trim().parse::<i32>() {
            Ok(number) => valid.check_number(i64::from(number)),
            Err(_) => invalid("Not a number of type INT"),
        },
        ConfigKind::Long => match value.trim().parse::<i64>() {
            Ok(number) => valid.check_number(number),
            Err(_) => invalid("Not a number of type LONG"),
        },
        ConfigKind::Double => match value.trim().parse::<f64>() {
            Ok(number) if valid == Valid::Fraction && !(0.0..=1.0).contains(&number) => {
                invalid("Value must be between 0 and 1")
            }
            Ok(number) if number.is_finite() => Ok(()),
            _ => invalid("Not a number of type DOUBLE"),
        },
        ConfigKind::String | ConfigKind::List => valid.check_text(value),
    }
}

impl Valid {
    fn check_number(self, number: i64) -> Result<(), String> {
        match self {
            Valid::AtLeast(least) if number < least => {
                Err(format!("Value must be at least {least}"))
            }
            Valid::Between(low, high) if !(low..=high).contains(&number) => {
                Err(format!("Value must be between {low} and {high}"))
            }
            Valid::DefaultOr(low, high) if number != -1 && !(low..=high).contains(&number) => {
                Err(format!("Value must be -1 or between {low} and {high}"))
            }
            _ => Ok(()),
        }
    }

    fn check_text(self, value: &str) -> Result<(), String> {
        match self {
            Valid::OneOf(choices) if !choices.contains(&value) => {
                Err(format!("String must be one of: {}", choices.join(", ")))
            }
            Valid::ListOf(choices) => {
                let items = list_items(value);
                let known = items.iter().all(|item| choices.contains(item));
                let unique = items.iter().enumerate().all(|(i, item)| !items[..i].contains(item));
                match (known, unique) {
                    (false, _) => Err(format!("Items must be among: {}", choices.join(", "))),
                    (_, false) => Err("Items must not be repeated".into()),
                    _ => Ok(()),
                }
            }
            Valid::ThrottledReplicas => {
                let items = list_items(value);
                if items.as_slice() == ["*"] || items.iter().all(|item| is_replica(item)) {
                    Ok(())
                } else {
                    Err("Expected * or a list of [partitionId]:[brokerId]".into())
                }
            }
            _ => Ok(()),
        }
    }
}

fn is_replica(item: &str) -> bool {
    let number = |text: &str| text.parse::<u32>().is_ok();
    item.split_once(':').is_some_and(|(partition, broker)| number(partition) && number(broker))
}

/// The items of a list config.
pub fn list_items(value: &str) -> Vec<&str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
}

/// Checks a topic's whole set of overrides, as it will be; the error is for the user.
pub fn validate_topic_configs(configs: &BTreeMap<Arc<str>, Arc<str>>) -> Result<(), String> {
    for (name, value) in configs {
        let Some(def) = topic_config(name) else {
            return Err(format!("Unknown topic config name: {name}"));
        };
        validate_value(name, def.kind, def.valid, value)?;
    }
    let number = |name: &str| {
        let value = configs.get(name).map(|value| &**value);
        let default = || topic_config(name).map_or("0", |def| def.default);
        value.unwrap_or_else(default).trim().parse::<i64>().unwrap_or(0)
    };
    let (least, most) = (number("min.compaction.lag.ms"), number("max.compaction.lag.ms"));
    if least > most {
        return Err(format!(
            "conflict topic config setting min.compaction.lag.ms ({least}) > \
             max.compaction.lag.ms ({most})"
        ));
    }
    if configs.get("remote.storage.enable").is_some_and(|v| v.eq_ignore_ascii_case("true")) {
        return Err("Tiered Storage functionality is disabled in the broker. Topic cannot be \
                    configured with remote log storage."
            .into());
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "tests.rs"]
mod tests;
