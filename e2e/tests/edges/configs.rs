//! What is told of configs, and which may be altered.

use anyhow::{Context, Result, ensure};
use base::ErrorCode;
use e2e::wait;
use wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use wire::messages::describe_configs_request::DescribeConfigsResource;
use wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use wire::messages::*;

use crate::records::batch;
use crate::{Edge, SOON, TOPIC, compare, now_ms, produce};

const TYPE_TOPIC: i8 = 2;
const TYPE_BROKER: i8 = 4;
const TYPE_LOGGER: i8 = 8;
const TYPE_CLIENT_METRICS: i8 = 16;
const TYPE_GROUP: i8 = 32;

fn alter(edge: &mut Edge, kind: i8, name: &str, key: &str) -> Result<(i16, String)> {
    let config =
        AlterableConfig { name: key.into(), config_operation: 0, value: Some("100000000".into()) };
    let resource = AlterConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configs: vec![config],
    };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let answer = edge.call(&request, 1)?;
    let answer = answer.responses.first().context("no resource in the answer")?;
    let message = answer.error_message.as_deref().unwrap_or_default();
    Ok((answer.error_code, message.to_owned()))
}

type Described = describe_configs_response::DescribeConfigsResult;

fn describe(edge: &mut Edge, kind: i8, name: &str) -> Result<Described> {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: true,
    };
    let answer = edge.call(&request, 4)?;
    answer.results.into_iter().next().context("no resource in the answer")
}

pub(crate) fn impossible_names(edge: &mut Edge) -> Result<()> {
    const BAD: i16 = ErrorCode::InvalidTopicException as i16;
    const UNKNOWN: i16 = ErrorCode::UnknownTopicOrPartition as i16;
    let key = "retention.ms";
    let rows = [
        ("altered", alter(edge, TYPE_TOPIC, "a b", key)?.0, BAD),
        ("described", describe(edge, TYPE_TOPIC, "a b")?.error_code, BAD),
        ("altered, unknown", alter(edge, TYPE_TOPIC, "none", key)?.0, UNKNOWN),
        ("described, unknown", describe(edge, TYPE_TOPIC, "none")?.error_code, UNKNOWN),
    ];
    compare(&rows)
}

pub(crate) fn broker_configs(edge: &mut Edge) -> Result<()> {
    const INVALID: i16 = ErrorCode::InvalidRequest as i16;
    let fixed = alter(edge, TYPE_BROKER, "1", "log.dirs")?;
    let rows = [
        ("a key that is read at the start", fixed.0, INVALID),
        ("a key of a plug-in", alter(edge, TYPE_BROKER, "1", "plug.in.key")?.0, 0),
        ("a dynamic key", alter(edge, TYPE_BROKER, "1", "log.retention.ms")?.0, 0),
    ];
    compare(&rows)?;
    ensure!(fixed.1 == "Cannot update these configs dynamically: [log.dirs]", "{}", fixed.1);
    wait::until("both to show", SOON, || {
        let described = describe(edge, TYPE_BROKER, "1")?;
        let of = |name: &str| described.configs.iter().find(|config| config.name == *name);
        // Nobody knows what a plug-in keeps there.
        let hidden = of("plug.in.key").is_some_and(|c| c.is_sensitive && c.value.is_none());
        let shown = of("log.retention.ms").and_then(|c| c.value.clone());
        Ok((hidden && shown.as_deref() == Some("100000000")).then_some(()))
    })
}

pub(crate) fn documented_configs(edge: &mut Edge) -> Result<()> {
    for (kind, name, least) in [(TYPE_TOPIC, TOPIC, 35), (TYPE_BROKER, "1", 300)] {
        let described = describe(edge, kind, name)?;
        ensure!(described.error_code == 0, "{name}: error {}", described.error_code);
        ensure!(described.configs.len() >= least, "{name}: {}", described.configs.len());
        // A plug-in's key has neither.
        for config in described.configs.iter().filter(|config| config.name != "plug.in.key") {
            let text = config.documentation.as_deref().unwrap_or_default();
            ensure!(!text.is_empty(), "{} has no documentation", config.name);
            ensure!(config.config_type != 0, "{} has no type", config.name);
        }
        if kind == TYPE_BROKER {
            for id in ["broker.id", "node.id"] {
                let config = described.configs.iter().find(|config| config.name == *id);
                let value = config.and_then(|config| config.value.as_deref());
                ensure!(value == Some("1"), "{id} is {value:?}");
            }
        }
    }
    Ok(())
}

/// Kafka's own tests, and those of Streams, make topics with segments below the minimum.
pub(crate) fn internal_key(edge: &mut Edge) -> Result<()> {
    let name = "edges-small-segments";
    let config =
        CreatableTopicConfig { name: "internal.segment.bytes".into(), value: Some("600".into()) };
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: 1,
        replication_factor: 1,
        configs: vec![config],
        ..Default::default()
    };
    let create =
        CreateTopicsRequest { topics: vec![topic], timeout_ms: 5000, ..Default::default() };
    let created = edge.call(&create, 7)?;
    let code = created.topics.first().context("no topic in the answer")?.error_code;
    ensure!(code == 0, "error {code}");
    for _ in 0..20 {
        wait::until("a record to be taken", SOON, || {
            let code = produce(edge, name, 0, batch(now_ms()))?;
            Ok((code == 0).then_some(()))
        })?;
    }
    Ok(())
}

pub(crate) fn other_configs(edge: &mut Edge) -> Result<()> {
    for (kind, name, key) in [
        (TYPE_LOGGER, "1", "root"),
        (TYPE_GROUP, "any", "consumer.session.timeout.ms"),
        (TYPE_CLIENT_METRICS, "any", "interval.ms"),
    ] {
        let described = describe(edge, kind, name)?;
        ensure!(described.error_code == 0, "{name}: error {}", described.error_code);
        let found = described.configs.iter().any(|config| config.name == *key);
        ensure!(found, "{key} is not among {:?}", described.configs);
    }
    const INVALID: i16 = ErrorCode::InvalidRequest as i16;
    let rows = [
        ("another broker's loggers", describe(edge, TYPE_LOGGER, "9")?.error_code, INVALID),
        ("no group", describe(edge, TYPE_GROUP, "")?.error_code, INVALID),
        ("no subscription", describe(edge, TYPE_CLIENT_METRICS, "")?.error_code, INVALID),
    ];
    compare(&rows)?;
    let listed = edge.call(&ListConfigResourcesRequest::default(), 1)?;
    for (kind, name) in [(TYPE_TOPIC, TOPIC), (TYPE_BROKER, "1"), (TYPE_LOGGER, "1")] {
        let resources = &listed.config_resources;
        let found = resources.iter().any(|r| r.resource_type == kind && r.resource_name == *name);
        ensure!(found, "{name} ({kind}) is not listed: {resources:?}");
    }
    Ok(())
}
