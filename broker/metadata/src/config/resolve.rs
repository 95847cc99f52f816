//! From the layers of configuration to one effective value and its sources.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base::BrokerId;

use super::{MIN_ISR, TopicConfigDef, is_cluster_wide};
use crate::image::{ConfigMap, Image};
use crate::record::ConfigResource;

/// Where a value comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ConfigSource {
    Topic,
    DynamicBroker,
    DynamicDefaultBroker,
    StaticBroker,
    Default,
    ClientMetrics,
    Group,
}

impl ConfigSource {
    /// The number of the source in DescribeConfigs.
    pub fn code(self) -> i8 {
        match self {
            ConfigSource::Topic => 1,
            ConfigSource::DynamicBroker => 2,
            ConfigSource::DynamicDefaultBroker => 3,
            ConfigSource::StaticBroker => 4,
            ConfigSource::Default => 5,
            ConfigSource::ClientMetrics => 7,
            ConfigSource::Group => 8,
        }
    }
}

/// The layers from which a topic's configs are resolved.
#[derive(Clone, Copy, Debug)]
pub struct ConfigLayers<'a> {
    pub topic: Option<&'a ConfigMap>,
    pub broker: Option<&'a ConfigMap>,
    pub broker_default: Option<&'a ConfigMap>,
    /// The broker's configuration file, only what it sets, by broker keys.
    pub static_config: &'a BTreeMap<String, String>,
    /// `min.insync.replicas` by the active controller's file: it counts in place of this file's.
    pub file_min_isr: Option<i32>,
}

impl<'a> ConfigLayers<'a> {
    /// The layers of a topic as a broker sees them; without a broker, as the controller does.
    pub fn of_topic(
        image: &'a Image,
        topic: &str,
        broker: Option<BrokerId>,
        static_config: &'a BTreeMap<String, String>,
    ) -> ConfigLayers<'a> {
        ConfigLayers {
            topic: image.config(&ConfigResource::Topic(topic.into())),
            broker: broker.and_then(|id| image.config(&ConfigResource::Broker(id))),
            broker_default: image.config(&ConfigResource::BrokerDefault),
            static_config,
            file_min_isr: image.file_min_isr,
        }
    }

    /// What a new topic without overrides would have.
    pub fn of_broker(
        image: &'a Image,
        broker: Option<BrokerId>,
        static_config: &'a BTreeMap<String, String>,
    ) -> ConfigLayers<'a> {
        ConfigLayers { topic: None, ..ConfigLayers::of_topic(image, "", broker, static_config) }
    }

    /// What a broker's file says, whatever the cluster says.
    pub(crate) fn of_file(static_config: &'a BTreeMap<String, String>) -> ConfigLayers<'a> {
        let (topic, broker, broker_default) = (None, None, None);
        ConfigLayers { topic, broker, broker_default, static_config, file_min_isr: None }
    }
}

/// A value with its name in the layer that sets it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Synonym {
    pub name: String,
    pub value: String,
    pub source: ConfigSource,
}

/// An effective value and everything that could have been: the first synonym is the winner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolved {
    pub value: String,
    pub source: ConfigSource,
    pub synonyms: Vec<Synonym>,
}

/// The effective value of a config, with all its sources by precedence.
pub fn resolve(def: &TopicConfigDef, layers: &ConfigLayers<'_>) -> Resolved {
    let found = candidates(def, layers).map(|(name, value, source)| Synonym {
        name: name.to_owned(),
        value: value.into_owned(),
        source,
    });
    let synonyms: Vec<Synonym> = found.collect();
    let winner = &synonyms[0];
    Resolved { value: winner.value.clone(), source: winner.source, synonyms }
}

/// The effective value only, without copying where possible.
pub(crate) fn effective<'a>(def: &TopicConfigDef, layers: &ConfigLayers<'a>) -> Cow<'a, str> {
    candidates(def, layers).next().map_or(Cow::Borrowed(def.default), |(_, value, _)| value)
}

/// Every layer's value by precedence; the default comes last, so there is always one.
fn candidates<'a>(
    def: &TopicConfigDef,
    layers: &ConfigLayers<'a>,
) -> impl Iterator<Item = (&'static str, Cow<'a, str>, ConfigSource)> {
    let (name, default, keys) = (def.name, def.default, def.broker_keys);
    let layers = *layers;
    let get = |map: Option<&'a ConfigMap>, key: &str| map.and_then(|map| map.get(key));
    let topic =
        get(layers.topic, name).map(|value| (name, Cow::Borrowed(&**value), ConfigSource::Topic));
    // Only the first key can be set dynamically.
    let dynamic_key = keys.first().map(|key| key.name);
    // What all must agree on is never one broker's own.
    let broker = layers.broker.filter(|_| !is_cluster_wide(name));
    let dynamic = [
        (broker, ConfigSource::DynamicBroker),
        (layers.broker_default, ConfigSource::DynamicDefaultBroker),
    ];
    let dynamic = dynamic.into_iter().filter_map(move |(map, source)| {
        let key = dynamic_key?;
        Some((key, Cow::Borrowed(&**map?.get(key)?), source))
    });
    let agreed = layers.file_min_isr.filter(|_| name == MIN_ISR);
    let told = agreed.map(|value| value.to_string()).filter(|value| value != default);
    let told = told.map(|value| (name, Cow::Owned(value), ConfigSource::StaticBroker));
    let own_file = if agreed.is_none() { keys } else { &[] };
    let fixed = own_file.iter().filter_map(move |key| {
        let value = layers.static_config.get(key.name)?;
        Some((key.name, in_unit(value, key.unit), ConfigSource::StaticBroker))
    });
    let default_name = dynamic_key.unwrap_or(name);
    let default = (default_name, Cow::Borrowed(default), ConfigSource::Default);
    topic.into_iter().chain(dynamic).chain(told).chain(fixed).chain([default])
}

/// Hours and minutes become milliseconds; negative numbers mean "no limit" in every unit.
fn in_unit(value: &str, unit: i64) -> Cow<'_, str> {
    match value.trim().parse::<i64>() {
        Ok(number) if unit != 1 && number >= 0 => number.saturating_mul(unit).to_string().into(),
        _ => Cow::Borrowed(value),
    }
}
