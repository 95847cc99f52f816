//! DescribeConfigs (key 32): every config of topics and brokers with its value, source and
//! synonyms.

mod others;

use std::collections::BTreeMap;
use std::sync::Arc;

use authorizer::Operation;
use base::{BrokerId, ErrorCode, topic_name};
use metadata::config::{
    BrokerKey, ConfigLayers, ConfigSource, Kind, Synonym, TopicConfigDef, broker_key,
    broker_key_doc, broker_keys, dynamic_broker_config, internal_topic_configs,
    is_internal_broker_key, resolve, scoped, topic_configs,
};
use metadata::{ConfigMap, ConfigResource, ControllerError, Image};
use wire::Str;
use wire::messages::describe_configs_request::DescribeConfigsResource;
use wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use wire::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::configs::{BROKER_LOGGER, check, resource_from_wire};
use crate::{Broker, RequestContext};

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
    cx: &RequestContext,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let details = Details {
        synonyms: request.include_synonyms,
        documentation: request.include_documentation,
    };
    let (image, permit) = (broker.image(), broker.permit(cx));
    let results = request
        .resources
        .into_iter()
        .map(|resource| {
            let (resource_type, resource_name) =
                (resource.resource_type, resource.resource_name.clone());
            let operation = Operation::DescribeConfigs;
            let allowed = check(&permit, operation, resource_type, &resource_name);
            match allowed.and_then(|()| describe(broker, &image, resource, details)) {
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
    let name = &resource.resource_name;
    let mut configs = match resource.resource_type {
        BROKER_LOGGER => others::loggers(broker, name)?,
        kind => described(broker, image, &resource_from_wire(kind, name)?, details)?,
    };
    // None named means all, as a list that is absent.
    if let Some(wanted) = resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty()) {
        configs.retain(|config| wanted.contains(&config.name));
    }
    Ok(configs)
}

fn described(
    broker: &Broker,
    image: &Image,
    target: &ConfigResource,
    details: Details,
) -> Result<Vec<DescribeConfigsResourceResult>, ControllerError> {
    match target {
        ConfigResource::Topic(name) => topic(broker, image, name, details),
        ConfigResource::BrokerDefault => Ok(broker_default(image, details)),
        ConfigResource::Broker(id) if *id == broker.id => {
            Ok(broker_configs(broker, image, details))
        }
        ConfigResource::Broker(id) => Err(wrong_broker(broker, *id)),
        ConfigResource::Group(name) => others::group(broker, image, name, details),
        ConfigResource::ClientMetrics(name) => others::client_metrics(image, name, details),
    }
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
    if topic_name::check(name).is_err() {
        return Err(ErrorCode::InvalidTopicException.into());
    }
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
    let set = layers.topic;
    let is_set = |def: &&TopicConfigDef| set.is_some_and(|map| map.contains_key(def.name));
    let internal = internal_topic_configs().iter().filter(is_set);
    Ok(topic_configs().iter().chain(internal).map(config).collect())
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
    let known = dynamic_broker_config(name);
    // What an unknown key holds may be a secret, as Kafka sees it.
    let is_sensitive = known.is_none();
    DescribeConfigsResourceResult {
        name: Str::from(name),
        value: (!is_sensitive).then(|| Str::from(value)),
        config_source: source.code(),
        is_sensitive,
        synonyms: if is_sensitive { Vec::new() } else { synonyms(vec![synonym], details) },
        config_type: known.map_or(TYPE_STRING, |d| d.kind.code()),
        documentation: details.documentation.then(|| Str::from(broker_key_doc(name))),
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
    let explicit = &broker.config.explicit;
    let is_shown =
        |key: &&BrokerKey| !is_internal_broker_key(key.name) || explicit.contains_key(key.name);
    let known = broker_keys().filter(is_shown);
    let known = known.map(|key| broker_config(broker, key, own, all, details));
    // Some can be altered only (throttles, keys of plug-ins): they are shown where they are set.
    let layers = [(all, ConfigSource::DynamicDefaultBroker), (own, ConfigSource::DynamicBroker)];
    let mut altered_only = BTreeMap::new();
    for (map, source) in layers {
        let unknown = map.into_iter().flat_map(|map| map.iter());
        let unknown = unknown.filter(|(name, _)| broker_key(name).is_none());
        altered_only.extend(unknown.map(|(name, value)| (name, (value, source))));
    }
    let altered_only = altered_only.into_iter();
    let altered_only =
        altered_only.map(|(name, (value, source))| altered(name, value, source, details));
    let of_listeners = explicit.iter();
    let of_listeners = of_listeners.filter_map(|(name, value)| of_listener(name, value, details));
    known.chain(altered_only).chain(of_listeners).collect()
}

/// A key that the file has for one listener. Passwords are told to nobody.
fn of_listener(name: &str, value: &str, details: Details) -> Option<DescribeConfigsResourceResult> {
    scoped(name)?;
    let key = broker_key(name)?;
    let is_sensitive = key.kind == Kind::Password;
    let source = ConfigSource::StaticBroker;
    let synonym = Synonym { name: name.to_owned(), value: value.to_owned(), source };
    Some(DescribeConfigsResourceResult {
        name: Str::from(name),
        value: (!is_sensitive).then(|| Str::from(value)),
        read_only: true,
        config_source: source.code(),
        is_sensitive,
        synonyms: if is_sensitive { Vec::new() } else { synonyms(vec![synonym], details) },
        config_type: kind_code(key.kind),
        documentation: details.documentation.then(|| Str::from(broker_key_doc(key.name))),
    })
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
        (in_file(broker, key.name), ConfigSource::StaticBroker),
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
        documentation: details.documentation.then(|| Str::from(broker_key_doc(key.name))),
    }
}

/// What the file says of a key. The id goes by two names, of which a file has one as a rule.
fn in_file(broker: &Broker, name: &str) -> Option<String> {
    match name {
        "node.id" | "broker.id" => Some(broker.id.to_string()),
        name => broker.config.explicit.get(name).cloned(),
    }
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
