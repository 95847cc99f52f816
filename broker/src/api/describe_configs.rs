//! DescribeConfigs (key 32): every config of topics and brokers with its value, source and
//! synonyms.

use std::sync::Arc;

use base::{BrokerId, ErrorCode};
use metadata::config::{
    BrokerKey, ConfigLayers, ConfigSource, Kind, Synonym, broker_key, broker_keys,
    dynamic_broker_config, dynamic_broker_configs, resolve, topic_configs,
};
use metadata::{ConfigMap, ConfigResource, ControllerError, Image};
use wire::Str;
use wire::messages::describe_configs_request::DescribeConfigsResource;
use wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use wire::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::configs::{BROKER_LOGGER, resource_from_wire};
use crate::{Broker, RequestContext};

/// Number of the source "dynamic config of a client metrics subscription" and of a group.
const SOURCE_CLIENT_METRICS: i8 = 7;
const SOURCE_GROUP: i8 = 8;
const TYPE_STRING: i8 = 2;
const TYPE_PASSWORD: i8 = 9;

/// What the client wants to see besides the values.
#[derive(Clone, Copy)]
struct Details {
    synonyms: bool,
    documentation: bool,
}

pub async fn handle(
    broker: &Arc<Broker>,
    _: &RequestContext,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let details = Details {
        synonyms: request.include_synonyms,
        documentation: request.include_documentation,
    };
    let image = broker.image();
    let results = request
        .resources
        .into_iter()
        .map(|resource| {
            let (resource_type, resource_name) =
                (resource.resource_type, resource.resource_name.clone());
            match describe(broker, &image, resource, details) {
                Ok(configs) => DescribeConfigsResult {
                    resource_type,
                    resource_name,
                    configs,
                    ..Default::default()
                },
                Err(error) => DescribeConfigsResult {
                    error_code: error.code.code(),
                    error_message: Some(Str::from(&error.message)),
                    resource_type,
                    resource_name,
                    ..Default::default()
                },
            }
        })
        .collect();
    DescribeConfigsResponse { results, ..Default::default() }
}

fn describe(
    broker: &Broker,
    image: &Image,
    resource: DescribeConfigsResource,
    details: Details,
) -> Result<Vec<DescribeConfigsResourceResult>, ControllerError> {
    if resource.resource_type == BROKER_LOGGER {
        return Ok(Vec::new());
    }
    let target = resource_from_wire(resource.resource_type, &resource.resource_name)?;
    let mut configs = match &target {
        ConfigResource::Topic(name) => topic(broker, image, name, details)?,
        ConfigResource::BrokerDefault => broker_default(image, details),
        ConfigResource::Broker(id) if *id == broker.id => broker_configs(broker, image, details),
        ConfigResource::Broker(id) => return Err(wrong_broker(broker, *id)),
        ConfigResource::Group(_) => dynamic_only(image, &target, SOURCE_GROUP),
        ConfigResource::ClientMetrics(_) => dynamic_only(image, &target, SOURCE_CLIENT_METRICS),
    };
    if let Some(wanted) = &resource.configuration_keys {
        configs.retain(|config| wanted.contains(&config.name));
    }
    Ok(configs)
}

/// Clients send a broker's resource to that broker, since only it knows its configuration file.
fn wrong_broker(broker: &Broker, wanted: BrokerId) -> ControllerError {
    let message = format!("broker {} was asked for the configs of broker {wanted}", broker.id);
    ControllerError::new(ErrorCode::InvalidRequest, message)
}

fn topic(
    broker: &Broker,
    image: &Image,
    name: &str,
    details: Details,
) -> Result<Vec<DescribeConfigsResourceResult>, ControllerError> {
    if image.topic(name).is_none() {
        return Err(ErrorCode::UnknownTopicOrPartition.into());
    }
    let layers = ConfigLayers::of_topic(image, name, Some(broker.id), &broker.config.explicit);
    let config = |def| {
        let resolved = resolve(def, &layers);
        DescribeConfigsResourceResult {
            name: Str::from(def.name),
            value: Some(Str::from(resolved.value)),
            config_source: resolved.source.code(),
            synonyms: synonyms(resolved.synonyms, details),
            config_type: def.kind.code(),
            documentation: details.documentation.then(|| Str::from(def.doc)),
            ..Default::default()
        }
    };
    Ok(topic_configs().iter().map(config).collect())
}

fn synonyms(all: Vec<Synonym>, details: Details) -> Vec<DescribeConfigsSynonym> {
    if !details.synonyms {
        return Vec::new();
    }
    let convert = |s: Synonym| DescribeConfigsSynonym {
        name: Str::from(s.name),
        value: Some(Str::from(s.value)),
        source: s.source.code(),
    };
    all.into_iter().map(convert).collect()
}

/// Only what is set for all brokers: nothing else is theirs in common.
fn broker_default(image: &Image, details: Details) -> Vec<DescribeConfigsResourceResult> {
    let Some(configs) = image.config(&ConfigResource::BrokerDefault) else {
        return Vec::new();
    };
    let source = ConfigSource::DynamicDefaultBroker;
    configs.iter().map(|(name, value)| altered(name, value, source, details)).collect()
}

/// A dynamic value by itself.
fn altered(
    name: &str,
    value: &str,
    source: ConfigSource,
    details: Details,
) -> DescribeConfigsResourceResult {
    let synonym = Synonym { name: name.to_owned(), value: value.to_owned(), source };
    DescribeConfigsResourceResult {
        name: Str::from(name),
        value: Some(Str::from(value)),
        config_source: source.code(),
        synonyms: synonyms(vec![synonym], details),
        config_type: dynamic_broker_config(name).map_or(TYPE_STRING, |d| d.kind.code()),
        ..Default::default()
    }
}

/// All broker keys: dynamic values first, then this broker's file, then defaults.
fn broker_configs(
    broker: &Broker,
    image: &Image,
    details: Details,
) -> Vec<DescribeConfigsResourceResult> {
    let own = image.config(&ConfigResource::Broker(broker.id));
    let all = image.config(&ConfigResource::BrokerDefault);
    let known = broker_keys().map(|key| broker_config(broker, key, own, all, details));
    // Some can be altered only (throttles): they are shown where they are set.
    let altered_only = dynamic_broker_configs().filter(|def| broker_key(def.name).is_none());
    let altered_only = altered_only.filter_map(|def| {
        let layers =
            [(own, ConfigSource::DynamicBroker), (all, ConfigSource::DynamicDefaultBroker)];
        let set =
            |(map, source): (Option<&ConfigMap>, _)| Some((map?.get(def.name)?.clone(), source));
        let (value, source) = layers.into_iter().find_map(set)?;
        Some(altered(def.name, &value, source, details))
    });
    known.chain(altered_only).collect()
}

fn broker_config(
    broker: &Broker,
    key: &BrokerKey,
    own: Option<&ConfigMap>,
    all: Option<&ConfigMap>,
    details: Details,
) -> DescribeConfigsResourceResult {
    let dynamic =
        |map: Option<&ConfigMap>| map.and_then(|m| m.get(key.name)).map(|value| value.to_string());
    let found = [
        (dynamic(own), ConfigSource::DynamicBroker),
        (dynamic(all), ConfigSource::DynamicDefaultBroker),
        (broker.config.explicit.get(key.name).cloned(), ConfigSource::StaticBroker),
        (key.default.map(str::to_owned), ConfigSource::Default),
    ];
    let synonym = |(value, source): (Option<String>, ConfigSource)| {
        Some(Synonym { name: key.name.to_owned(), value: value?, source })
    };
    let candidates: Vec<Synonym> = found.into_iter().filter_map(synonym).collect();
    let is_sensitive = key.kind == Kind::Password;
    let winner = candidates.first();
    DescribeConfigsResourceResult {
        name: Str::from(key.name),
        value: winner.filter(|_| !is_sensitive).map(|s| Str::from(&s.value)),
        read_only: dynamic_broker_config(key.name).is_none(),
        config_source: winner.map_or(ConfigSource::Default, |s| s.source).code(),
        is_sensitive,
        synonyms: match is_sensitive {
            true => Vec::new(),
            false => synonyms(candidates, details),
        },
        config_type: kind_code(key.kind),
        ..Default::default()
    }
}

fn dynamic_only(
    image: &Image,
    resource: &ConfigResource,
    source: i8,
) -> Vec<DescribeConfigsResourceResult> {
    let config = |(name, value): (&Arc<str>, &Arc<str>)| DescribeConfigsResourceResult {
        name: Str::from(name),
        value: Some(Str::from(value)),
        config_source: source,
        config_type: TYPE_STRING,
        ..Default::default()
    };
    image.config(resource).map(|m| m.iter().map(config).collect()).unwrap_or_default()
}

/// The number of a type in DescribeConfigs.
fn kind_code(kind: Kind) -> i8 {
    match kind {
        Kind::Bool => 1,
        Kind::Text | Kind::OneOf(_) => TYPE_STRING,
        Kind::Int(_) => 3,
        Kind::Long(_) => 5,
        Kind::Double => 6,
        Kind::List => 7,
        Kind::Password => TYPE_PASSWORD,
    }
}
