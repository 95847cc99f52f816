//! DescribeConfigs of what is neither topic nor broker: loggers, groups, client metrics.

use base::{BrokerId, ErrorCode};
use metadata::config::{
    CLIENT_METRICS_CONFIGS, ConfigSource, GROUP_CONFIGS, ResourceConfigDef, Synonym,
};
use metadata::{ConfigResource, ControllerError, Image};
use wire::Str;
use wire::messages::describe_configs_response::DescribeConfigsResourceResult;

use super::{Details, TYPE_STRING, synonyms, wrong_broker};
use crate::Broker;
use process::logging;

/// Number of the source "dynamic config of a broker's logger".
const SOURCE_BROKER_LOGGER: i8 = 6;

/// The log levels of this broker, which the environment of its process has set.
pub(super) fn loggers(
    broker: &Broker,
    name: &str,
) -> Result<Vec<DescribeConfigsResourceResult>, ControllerError> {
    let id = name.parse().map(BrokerId).map_err(|_| {
        let message = format!("Broker id must be an integer, but it is: {name}");
        ControllerError::new(ErrorCode::InvalidRequest, message)
    })?;
    if id != broker.id {
        return Err(wrong_broker(broker, id));
    }
    let logger = |(name, level): (String, String)| DescribeConfigsResourceResult {
        name: Str::from(name),
        value: Some(Str::from(level)),
        read_only: true,
        config_source: SOURCE_BROKER_LOGGER,
        config_type: TYPE_STRING,
        ..Default::default()
    };
    Ok(logging::levels().into_iter().map(logger).collect())
}

/// All configs of a group: its own, then what this broker's file says of groups, then defaults.
pub(super) fn group(
    broker: &Broker,
    image: &Image,
    name: &str,
    details: Details,
) -> Result<Vec<DescribeConfigsResourceResult>, ControllerError> {
    check_named(name, "Group name must not be empty")?;
    let own = image.config(&ConfigResource::Group(name.into()));
    let config = |def: &ResourceConfigDef| {
        let key = format!("group.{}", def.name);
        let file = broker.config.explicit.get(&key);
        let layers = [
            (own.and_then(|map| map.get(def.name)).map(|v| &**v), def.name, ConfigSource::Group),
            (file.map(String::as_str), &*key, ConfigSource::StaticBroker),
            (def.default, def.name, ConfigSource::Default),
        ];
        described(def, &layers, details)
    };
    Ok(GROUP_CONFIGS.iter().map(config).collect())
}

/// All configs of a client metrics subscription: its own, then defaults.
pub(super) fn client_metrics(
    image: &Image,
    name: &str,
    details: Details,
) -> Result<Vec<DescribeConfigsResourceResult>, ControllerError> {
    check_named(name, "Client metrics subscription name must not be empty")?;
    let own = image.config(&ConfigResource::ClientMetrics(name.into()));
    let config = |def: &ResourceConfigDef| {
        let value = own.and_then(|map| map.get(def.name)).map(|v| &**v);
        let layers = [
            (value, def.name, ConfigSource::ClientMetrics),
            (def.default, def.name, ConfigSource::Default),
        ];
        described(def, &layers, details)
    };
    Ok(CLIENT_METRICS_CONFIGS.iter().map(config).collect())
}

fn check_named(name: &str, message: &str) -> Result<(), ControllerError> {
    match name.is_empty() {
        true => Err(ControllerError::new(ErrorCode::InvalidRequest, message)),
        false => Ok(()),
    }
}

/// A config by its layers, the strongest first.
fn described(
    def: &ResourceConfigDef,
    layers: &[(Option<&str>, &str, ConfigSource)],
    details: Details,
) -> DescribeConfigsResourceResult {
    let synonym = |&(value, name, source): &(Option<&str>, &str, ConfigSource)| {
        Some(Synonym { name: name.to_owned(), value: value?.to_owned(), source })
    };
    let found: Vec<Synonym> = layers.iter().filter_map(synonym).collect();
    let winner = found.first();
    DescribeConfigsResourceResult {
        name: Str::from(def.name),
        value: winner.map(|s| Str::from(&s.value)),
        config_source: winner.map_or(ConfigSource::Default, |s| s.source).code(),
        synonyms: synonyms(found, details),
        config_type: def.kind.code(),
        documentation: details.documentation.then(|| Str::from(def.doc())),
        ..Default::default()
    }
}
