//! Quotas of clients, set and removed by kafka-configs: real producers and consumers are held to
//! them, connections are muted, changes of metadata and new connections refused.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base::ErrorCode;
use e2e::clients::{kcat, tool_ok};
use e2e::raw::{Raw, decode, encode};
use e2e::{Cluster, ClusterConfig, metrics, wait, with_cluster};
use record::{BatchBuilder, BatchOptions};
use wire::messages::create_topics_request::CreatableTopic;
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::{ApiVersionsRequest, CreateTopicsRequest, ProduceRequest};

const CONFIGS: &str = "org.apache.kafka.tools.ConfigCommand";
const PATIENCE: Duration = Duration::from_secs(60);
const TOPIC: &str = "held";
/// Of the client ids, per second.
const RATE: usize = 50_000;

#[test]
fn clients_are_held_to_their_quotas() {
    // Two samples: what may be used at once is a second's.
    let config =
        ClusterConfig::new(1).set("quota.window.num", 2).set("controller.quota.window.num", 2);
    with_cluster(config, |cluster| {
        cluster.admin()?.create_topic(TOPIC, 1, 1, &[])?;
        bytes(cluster)?;
        muting(cluster)?;
        changes(cluster)?;
        connections(cluster)
    });
}

fn configs(cluster: &Cluster, args: &[&str]) -> Result<String> {
    let bootstrap = cluster.bootstrap();
    tool_ok(CONFIGS, &[&["--bootstrap-server", &bootstrap], args].concat(), "")
}

fn alter(cluster: &Cluster, entity: &[&str], add: &str) -> Result<()> {
    configs(cluster, &[&["--alter", "--add-config", add], entity].concat()).map(drop)
}

fn remove(cluster: &Cluster, entity: &[&str], keys: &str) -> Result<()> {
    configs(cluster, &[&["--alter", "--delete-config", keys], entity].concat()).map(drop)
}

fn throttled(cluster: &Cluster, quota: &str) -> Result<f64> {
    let series = metrics::scrape(&cluster.http(1))?;
    Ok(series.value(&format!("quota_throttled_total{{quota=\"{quota}\"}}")).unwrap_or(0.0))
}

/// Writes so many records of a thousand bytes, and says how long that took.
fn write(cluster: &Cluster, client: &str, count: usize) -> Result<Duration> {
    let records = format!("{}\n", "x".repeat(999)).repeat(count);
    let client = format!("client.id={client}");
    let start = Instant::now();
    let to = ["-P", "-b", &cluster.bootstrap(), "-t", TOPIC, "-p", "0", "-X", &client];
    // Small batches, as one that is too large is over at once.
    kcat(&[&to[..], &["-X", "batch.size=20000", "-X", "max.in.flight=1"]].concat(), &records)?;
    Ok(start.elapsed())
}

fn read(cluster: &Cluster, client: &str, count: usize) -> Result<Duration> {
    let (client, count) = (format!("client.id={client}"), count.to_string());
    let start = Instant::now();
    let from = ["-C", "-b", &cluster.bootstrap(), "-t", TOPIC, "-p", "0", "-o", "beginning"];
    let how = ["-c", &count, "-q", "-X", &client, "-X", "fetch.message.max.bytes=20000"];
    kcat(&[&from[..], &how[..]].concat(), "")?;
    Ok(start.elapsed())
}

fn bytes(cluster: &Cluster) -> Result<()> {
    let slow: &[&str] = &["--entity-type", "clients", "--entity-name", "slow"];
    let rate = RATE.to_string();
    let both = format!("producer_byte_rate={rate},consumer_byte_rate={rate}");
    alter(cluster, slow, &both)?;
    let said = configs(cluster, &[&["--describe"], slow].concat())?;
    ensure!(
        said.contains("client-id 'slow'") && said.contains("producer_byte_rate=50000"),
        "{said}"
    );
    // Six seconds of the rate, of which the first may pass at once, and a batch more.
    let took = write(cluster, "slow", 6 * RATE / 1_000)?;
    ensure!(took >= Duration::from_secs(3), "the producer took {took:?}");
    let took = read(cluster, "slow", 6 * RATE / 1_000)?;
    ensure!(took >= Duration::from_secs(3), "the consumer took {took:?}");
    for quota in ["produce", "fetch"] {
        ensure!(throttled(cluster, quota)? > 0.0, "nobody was throttled by {quota}");
    }
    let before = throttled(cluster, "produce")?;
    write(cluster, "quick", 6 * RATE / 1_000)?;
    remove(cluster, slow, "producer_byte_rate,consumer_byte_rate")?;
    write(cluster, "slow", 6 * RATE / 1_000)?;
    read(cluster, "slow", 6 * RATE / 1_000)?;
    let after = throttled(cluster, "produce")?;
    ensure!(after == before, "throttled without a quota: {before}, {after}");
    let said = configs(cluster, &[&["--describe"], slow].concat())?;
    ensure!(!said.contains("byte_rate"), "{said}");
    Ok(())
}

/// Who does not pause as told is not read.
fn muting(cluster: &Cluster) -> Result<()> {
    let users: &[&str] = &["--entity-type", "users", "--entity-default"];
    alter(cluster, users, &format!("producer_byte_rate={RATE}"))?;
    let mut raw = Raw::connect(&cluster.address(1))?;
    let produced = raw.call(&produce(2 * RATE), 8, PATIENCE)?;
    let code = produced.responses.first().and_then(|t| t.partition_responses.first());
    ensure!(code.context("no partition")?.error_code == 0, "{produced:?}");
    let throttle_ms = produced.throttle_time_ms;
    ensure!((900..=3_000).contains(&throttle_ms), "throttled for {throttle_ms} ms");
    let start = Instant::now();
    raw.call(&ApiVersionsRequest::default(), 0, PATIENCE)?;
    let took = start.elapsed();
    let least = Duration::from_millis(throttle_ms.unsigned_abs().into()).mul_f64(0.8);
    ensure!(took >= least, "muted for {took:?} of {throttle_ms} ms");
    remove(cluster, users, "producer_byte_rate")
}

fn produce(bytes: usize) -> ProduceRequest {
    let mut batch = BatchBuilder::new(BatchOptions::default());
    batch.append(0, None, Some(&vec![b'x'; bytes]), &[]);
    let partition = PartitionProduceData { index: 0, records: Some(batch.finish().into()) };
    let topic = TopicProduceData {
        name: TOPIC.into(),
        partition_data: vec![partition],
        ..TopicProduceData::default()
    };
    ProduceRequest { acks: 1, timeout_ms: 5_000, topic_data: vec![topic], ..Default::default() }
}

fn changes(cluster: &Cluster) -> Result<()> {
    let users: &[&str] = &["--entity-type", "users", "--entity-name", "ANONYMOUS"];
    alter(cluster, users, "controller_mutation_rate=1")?;
    let create = |name: &str| CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: name.into(),
            num_partitions: 10,
            replication_factor: 1,
            ..CreatableTopic::default()
        }],
        timeout_ms: 10_000,
        validate_only: false,
    };
    let mut raw = Raw::connect(&cluster.address(1))?;
    let first = raw.call(&create("first"), 7, PATIENCE)?;
    ensure!(first.topics.iter().all(|t| t.error_code == 0), "{first:?}");
    let second = raw.call(&create("second"), 7, PATIENCE)?;
    let exceeded = ErrorCode::ThrottlingQuotaExceeded.code();
    ensure!(second.topics.iter().all(|t| t.error_code == exceeded), "{second:?}");
    ensure!((1..=8_000).contains(&second.throttle_time_ms), "{second:?}");
    // An older client is not refused, but told to pause.
    let mut older = Raw::connect(&cluster.address(1))?;
    let third = older.call(&create("third"), 5, PATIENCE)?;
    ensure!(third.topics.iter().all(|t| t.error_code == 0), "{third:?}");
    ensure!(third.throttle_time_ms > 8_000, "{third:?}");
    remove(cluster, users, "controller_mutation_rate")
}

fn connections(cluster: &Cluster) -> Result<()> {
    let ip: &[&str] = &["--entity-type", "ips", "--entity-name", "127.0.0.1"];
    alter(cluster, ip, "connection_creation_rate=2")?;
    let request = encode(&ApiVersionsRequest::default(), 0, 1)?;
    let serves = || -> Result<bool> {
        let mut raw = Raw::connect(&cluster.address(1))?;
        raw.send(&request);
        Ok(match raw.answer(PATIENCE)? {
            e2e::raw::Answer::Frame(frame) => decode::<ApiVersionsRequest>(frame, 0).is_ok(),
            _ => false,
        })
    };
    let served = (0..40).map(|_| serves()).collect::<Result<Vec<_>>>()?;
    let count = served.iter().filter(|served| **served).count();
    ensure!((1..40).contains(&count), "{count} of 40 connections were served");
    ensure!(throttled(cluster, "connection")? > 0.0, "no connection was counted");
    wait::until("the end of the quota", PATIENCE, || {
        remove(cluster, ip, "connection_creation_rate").map(Some)
    })
}
