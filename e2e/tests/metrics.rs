//! `/metrics` of a broker that was used: latencies by API and phase, bytes, partitions, and how far
//! a group is behind; and of brokers that miss one of them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use e2e::admin::Admin;
use e2e::metrics::{scrape, sum};
use e2e::raw::Raw;
use e2e::{Cluster, ClusterConfig, wait, with_cluster};
use record::{BatchBuilder, BatchOptions};
use wire::messages::fetch_request::{FetchPartition, FetchTopic};
use wire::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::{FetchRequest, FindCoordinatorRequest, OffsetCommitRequest, ProduceRequest};

const TOPIC: &str = "measured";
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn metrics_tell_what_a_broker_does() {
    with_cluster(ClusterConfig::new(1), use_and_look);
}

fn use_and_look(cluster: &mut Cluster) -> Result<()> {
    cluster.admin()?.create_topic(TOPIC, 4, 1, &[])?;
    let mut raw = Raw::connect(&cluster.address(1))?;
    for _ in 0..5 {
        produce(&mut raw, 0, -1)?;
    }
    let fetch = raw.call(&fetch(0), 12, PATIENCE)?;
    ensure!(fetch.error_code == 0, "{fetch:?}");
    // At the end of the log: waits for more, in vain.
    raw.call(&self::fetch(5), 12, PATIENCE)?;
    wait::until("the group's coordinator", PATIENCE, || commit(&mut raw, 2))?;

    let series = |name: &str| scrape(&cluster.http(1))?.value(name);
    for phase in ["local", "wait", "send"] {
        let name = format!("request_seconds_count{{api=\"Produce\",phase=\"{phase}\"}}");
        ensure!(series(&name)? == 5.0, "{name}: {}", series(&name)?);
    }
    let waited = series("request_seconds_sum{api=\"Fetch\",phase=\"wait\"}")?;
    ensure!((0.2..5.0).contains(&waited), "a long poll of 300 ms was counted as {waited} s");
    let text = scrape(&cluster.http(1))?;
    ensure!(!text.text().contains("api=\"AlterConfigs\""), "an API that nobody called");
    ensure!(series("produced_records_total")? == 5.0, "records");
    ensure!(series("bytes_in_total")? > 500.0 && series("bytes_out_total")? > 500.0, "bytes");
    wait::until(
        "the gauges",
        PATIENCE,
        || Ok((series("leader_partitions")? >= 4.0).then_some(())),
    )?;
    for gauge in ["under_replicated_partitions", "under_min_isr_partitions", "offline_partitions"] {
        ensure!(series(gauge)? == 0.0, "{gauge}");
    }
    ensure!(series("isr_shrinks_total")? == 0.0, "ISR changes");
    let lag = format!("consumer_lag{{group=\"behind\",partition=\"0\",topic=\"{TOPIC}\"}}");
    wait::until("the group's lag", PATIENCE, || Ok((series(&lag)? == 3.0).then_some(())))
}

/// A follower that stops fetching leaves the ISR by its leader's word while its session lives on.
/// (One that dies is taken out by the controller, which no leader counts.)
#[test]
fn metrics_tell_of_a_follower_that_falls_behind() {
    let config = ClusterConfig::new(3)
        .set("barnabas.session.silence.ms", 60_000)
        .set("replica.lag.time.max.ms", 1000);
    with_cluster(config, |cluster| {
        let admin = cluster.admin()?;
        admin.create_topic(TOPIC, 6, 3, &[("min.insync.replicas", "3")])?;
        // A controller that falls silent is followed by one that would fence it.
        let controller = admin.controller_agreed()?;
        let victim = cluster.ids().find(|id| i32::try_from(*id) != Ok(controller));
        let victim = victim.context("another broker than the controller")?;
        let others: Vec<usize> = cluster.ids().filter(|id| *id != victim).collect();
        let of_others = |name: &str| sum(others.iter().map(|id| cluster.http(*id)), name);
        let wait_for = |name: &str, holds: fn(f64) -> bool| {
            wait::until(format!("a change of {name}"), PATIENCE, || {
                let value = of_others(name)?;
                ensure!(holds(value), "{value}");
                Ok(Some(()))
            })
        };
        wait_for("under_replicated_partitions", |n| n == 0.0)?;
        cluster.pause(victim)?;
        for ((_, index), partition) in admin_of(cluster, &others)?.partitions(&[TOPIC])? {
            let leader = usize::try_from(partition.leader)?;
            if leader != victim {
                produce(&mut Raw::connect(&cluster.address(leader))?, index, 1)?;
            }
        }
        for name in ["under_replicated_partitions", "under_min_isr_partitions", "isr_shrinks_total"]
        {
            wait_for(name, |n| n > 0.0)?;
        }
        cluster.resume(victim)?;
        wait_for("isr_expands_total", |n| n > 0.0)?;
        wait_for("under_replicated_partitions", |n| n == 0.0)?;
        wait_for("under_min_isr_partitions", |n| n == 0.0)
    });
}

fn admin_of(cluster: &Cluster, brokers: &[usize]) -> Result<Admin> {
    Admin::new(brokers.iter().map(|id| cluster.address(*id)).collect())
}

fn produce(raw: &mut Raw, index: i32, acks: i16) -> Result<()> {
    let mut batch = BatchBuilder::new(BatchOptions::default());
    batch.append(1, None, Some(&[0; 100]), &[]);
    let partition = PartitionProduceData { index, records: Some(Bytes::from(batch.finish())) };
    let topic = TopicProduceData {
        name: TOPIC.into(),
        partition_data: vec![partition],
        ..TopicProduceData::default()
    };
    let request = ProduceRequest {
        acks,
        timeout_ms: 10_000,
        topic_data: vec![topic],
        ..ProduceRequest::default()
    };
    let response = raw.call(&request, 12, PATIENCE)?;
    let topic = response.responses.first().context("no topic in the answer")?;
    ensure!(topic.partition_responses.iter().all(|p| p.error_code == 0), "{topic:?}");
    Ok(())
}

fn fetch(fetch_offset: i64) -> FetchRequest {
    let partition = FetchPartition {
        current_leader_epoch: -1,
        fetch_offset,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let topic =
        FetchTopic { topic: TOPIC.into(), partitions: vec![partition], ..FetchTopic::default() };
    FetchRequest {
        max_wait_ms: 300,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..FetchRequest::default()
    }
}

/// Commits an offset as a group without members. `None` while there is no coordinator.
fn commit(raw: &mut Raw, committed_offset: i64) -> Result<Option<()>> {
    // The first to look for a coordinator has the topic of the offsets created.
    let find = FindCoordinatorRequest { key: "behind".into(), ..FindCoordinatorRequest::default() };
    raw.call(&find, 3, PATIENCE)?;
    let partition = OffsetCommitRequestPartition {
        committed_offset,
        ..OffsetCommitRequestPartition::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: TOPIC.into(),
        partitions: vec![partition],
        ..OffsetCommitRequestTopic::default()
    };
    let request = OffsetCommitRequest {
        group_id: "behind".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    };
    let response = raw.call(&request, 8, PATIENCE)?;
    let topic = response.topics.first().context("no topic in the answer")?;
    Ok(topic.partitions.iter().all(|p| p.error_code == 0).then_some(()))
}
