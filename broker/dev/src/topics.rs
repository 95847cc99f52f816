//! Brings the cluster's topics to what the YAML says, as a client: creates what is missing, adds
//! partitions, sets configs. What cannot be done (fewer partitions, another replication factor) is
//! told, never forced.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use base::ErrorCode;
use client::{Connection, Options};
use tokio::time::{Instant, sleep};
use wire::Str;
use wire::messages::create_partitions_request::CreatePartitionsTopic;
use wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use wire::messages::metadata_request::MetadataRequestTopic;
use wire::messages::metadata_response::MetadataResponseTopic;
use wire::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, IncrementalAlterConfigsRequest, MetadataRequest,
};

use super::plan::ClusterPlan;
use super::resources::{Scalar, Topic};

const TIMEOUT_MS: i32 = 10_000;
/// The brokers are on this machine: one that takes longer is stuck.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
const RETRY_EVERY: Duration = Duration::from_millis(200);
const RETRY_FOR: Duration = Duration::from_secs(30);
const RESOURCE_TOPIC: i8 = 2;
const OPERATION_SET: i8 = 0;

/// Returns one line per topic for the user. An error means that no broker answered.
pub async fn apply(plan: &ClusterPlan) -> Result<Vec<String>> {
    let connection = connect(&plan.bootstrap()).await?;
    let mut lines = Vec::with_capacity(plan.topics.len());
    for topic in &plan.topics {
        let outcome = apply_one(&connection, topic).await;
        let name = topic.topic_name();
        lines.push(match outcome {
            Ok(what) => format!("topic {name}: {what}"),
            Err(error) => format!("topic {name}: {error:#}"),
        });
    }
    Ok(lines)
}

/// Connects to the first of the addresses that answers.
pub async fn connect(bootstrap: &str) -> Result<Connection> {
    let mut problems = Vec::new();
    for address in bootstrap.split(',') {
        let options = Options {
            connect_timeout: CONNECT_TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
            ..Options::default()
        };
        match Connection::open(address, options).await {
            Ok(connection) => return Ok(connection),
            Err(error) => problems.push(format!("{address}: {error}")),
        }
    }
    Err(anyhow!("no broker answers ({})", problems.join("; ")))
}

async fn apply_one(connection: &Connection, topic: &Topic) -> Result<String> {
    match describe(connection, topic.topic_name()).await? {
        None => create(connection, topic).await,
        Some(existing) => change(connection, topic, &existing).await,
    }
}

async fn describe(connection: &Connection, name: &str) -> Result<Option<MetadataResponseTopic>> {
    let topic = MetadataRequestTopic { name: Some(Str::from(name)), ..Default::default() };
    let request = MetadataRequest {
        topics: Some(vec![topic]),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    let response = connection.call_newest(&request).await?;
    let topic = response.topics.into_iter().next().context("the answer has no topic")?;
    match ErrorCode::from_i16(topic.error_code) {
        Some(ErrorCode::UnknownTopicOrPartition) => Ok(None),
        Some(ErrorCode::None) => Ok(Some(topic)),
        _ => Err(failure(topic.error_code, None)),
    }
}

/// A cluster that is still starting may have too few brokers for the replication factor, so that
/// error is tried again for a while.
async fn create(connection: &Connection, topic: &Topic) -> Result<String> {
    let spec = &topic.spec;
    let config = |(name, value): (&String, &Scalar)| CreatableTopicConfig {
        name: Str::from(name),
        value: Some(Str::from(value.to_string())),
    };
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: Str::from(topic.topic_name()),
            num_partitions: spec.partitions,
            replication_factor: spec.replication_factor.map_or(-1, |n| n.min(32_767) as i16),
            configs: spec.config.iter().map(config).collect(),
            ..Default::default()
        }],
        timeout_ms: TIMEOUT_MS,
        ..Default::default()
    };
    let deadline = Instant::now() + RETRY_FOR;
    loop {
        let response = connection.call_newest(&request).await?;
        let result = response.topics.into_iter().next().context("the answer has no topic")?;
        match ErrorCode::from_i16(result.error_code) {
            Some(ErrorCode::None) => {
                return Ok(format!(
                    "created with {} partitions, replication factor {}",
                    result.num_partitions, result.replication_factor
                ));
            }
            Some(ErrorCode::InvalidReplicationFactor | ErrorCode::NotController)
                if Instant::now() < deadline =>
            {
                sleep(RETRY_EVERY).await;
            }
            _ => return Err(failure(result.error_code, result.error_message.as_deref())),
        }
    }
}

async fn change(
    connection: &Connection,
    topic: &Topic,
    existing: &MetadataResponseTopic,
) -> Result<String> {
    let have = existing.partitions.len() as i32;
    let mut notes = vec![format!("exists with {have} partitions")];
    if topic.spec.partitions > have {
        grow(connection, topic).await?;
        notes.push(format!("now {}", topic.spec.partitions));
    } else if topic.spec.partitions < have {
        notes.push(format!(
            "{} are asked for, but partitions are never removed",
            topic.spec.partitions
        ));
    }
    let factor = existing.partitions.first().map_or(0, |p| p.replica_nodes.len() as i32);
    if topic.spec.replication_factor.is_some_and(|wanted| wanted != factor) {
        notes.push(format!("its replication factor stays {factor}"));
    }
    if !topic.spec.config.is_empty() {
        configure(connection, topic).await?;
    }
    Ok(notes.join(", "))
}

async fn grow(connection: &Connection, topic: &Topic) -> Result<()> {
    let request = CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic {
            name: Str::from(topic.topic_name()),
            count: topic.spec.partitions,
            assignments: None,
        }],
        timeout_ms: TIMEOUT_MS,
        ..Default::default()
    };
    let response = connection.call_newest(&request).await?;
    let result = response.results.first().context("the answer has no topic")?;
    check(result.error_code, result.error_message.as_deref()).context("add partitions")
}

async fn configure(connection: &Connection, topic: &Topic) -> Result<()> {
    let config = |(name, value): (&String, &Scalar)| AlterableConfig {
        name: Str::from(name),
        config_operation: OPERATION_SET,
        value: Some(Str::from(value.to_string())),
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: RESOURCE_TOPIC,
            resource_name: Str::from(topic.topic_name()),
            configs: topic.spec.config.iter().map(config).collect(),
        }],
        ..Default::default()
    };
    let response = connection.call_newest(&request).await?;
    let result = response.responses.first().context("the answer has no topic")?;
    check(result.error_code, result.error_message.as_deref()).context("set configs")
}

pub fn check(code: i16, message: Option<&str>) -> Result<()> {
    if code == ErrorCode::None.code() { Ok(()) } else { Err(failure(code, message)) }
}

fn failure(code: i16, message: Option<&str>) -> anyhow::Error {
    let name = ErrorCode::from_i16(code).map_or_else(|| code.to_string(), |c| format!("{c:?}"));
    match message {
        Some(message) => anyhow!("{name}: {message}"),
        None => anyhow!("{name}"),
    }
}
