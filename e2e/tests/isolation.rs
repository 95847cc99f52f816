//! A leader that is cut off from the other brokers, but not from its clients, acknowledges nothing;
//! the others go on, and when the link heals it follows them.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base::ErrorCode;
use bytes::Bytes;
use e2e::admin::Admin;
use e2e::raw::Raw;
use e2e::{Cluster, ClusterConfig, wait, with_cluster};
use record::{BatchBuilder, BatchOptions};
use wire::Records;
use wire::messages::fetch_request::{FetchPartition, FetchTopic};
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::{FetchRequest, ProduceRequest};

const TOPIC: &str = "isolation";
/// The newest versions that name topics instead of giving their ids.
const PRODUCE_VERSION: i16 = 12;
const FETCH_VERSION: i16 = 12;

#[test]
fn a_partitioned_leader_acknowledges_nothing() {
    let mut config = ClusterConfig::new(3);
    config.links = true;
    with_cluster(config, isolate_the_leader);
}

fn isolate_the_leader(cluster: &mut Cluster) -> Result<()> {
    let admin = cluster.admin()?;
    admin.create_topic(TOPIC, 3, 3, &[("min.insync.replicas", "2")])?;
    let mut acknowledged = Vec::new();
    // First a leader that is only that, then one that is the active controller as well.
    for (round, controller_too) in [false, true].into_iter().enumerate() {
        let (partition, leader) = choose(&admin, controller_too)?;
        println!("partition {partition} of broker {leader}, controller too: {controller_too}");
        acknowledged.extend(one_isolation(cluster, round, partition, leader)?);
    }
    ensure!(acknowledged.len() == 4, "{acknowledged:?}");
    // Leaders may still move, and a new leader learns what is committed from its followers.
    let mut seen = Vec::new();
    let kept = wait::until("the acknowledged records", Duration::from_secs(20), || {
        seen = values(cluster, &admin)?;
        Ok(acknowledged.iter().all(|value| seen.contains(value)).then_some(()))
    });
    kept.with_context(|| format!("of {acknowledged:?} there are {seen:?}"))?;
    let alien: Vec<_> = seen.iter().filter(|value| !value.starts_with("kept")).collect();
    ensure!(alien.is_empty(), "records of the isolated leader survived: {alien:?}");
    // An attempt that was not acknowledged in time may be there; none may be there twice.
    let different: BTreeSet<_> = seen.iter().collect();
    ensure!(different.len() == seen.len(), "a record is there twice: {seen:?}");
    Ok(())
}

/// The values that the leaders of all partitions serve now.
fn values(cluster: &Cluster, admin: &Admin) -> Result<Vec<String>> {
    let mut values = Vec::new();
    for ((_, partition), state) in admin.partitions(&[TOPIC])? {
        values.extend(read_all(&cluster.address(usize::try_from(state.leader)?), partition)?);
    }
    Ok(values)
}

/// A partition whose leader is (or is not) the active controller.
fn choose(admin: &Admin, controller_too: bool) -> Result<(i32, usize)> {
    admin.wait_in_sync(&[TOPIC], Duration::from_secs(40))?;
    wait::until("leaders of both kinds", Duration::from_secs(20), || {
        let controller = admin.controller_agreed()?;
        let partitions = admin.partitions_agreed(&[TOPIC])?;
        let fits = partitions.iter().find(|(_, p)| (p.leader == controller) == controller_too);
        let Some(((_, partition), state)) = fits else {
            admin.elect_preferred()?;
            return Ok(None);
        };
        Ok(Some((*partition, usize::try_from(state.leader)?)))
    })
}

/// Returns the two values that were acknowledged, before and during the isolation.
fn one_isolation(
    cluster: &mut Cluster,
    round: usize,
    partition: i32,
    old: usize,
) -> Result<[String; 2]> {
    let old_address = cluster.address(old);
    let before = format!("kept before {round}");
    produce(&old_address, partition, &before, Duration::from_secs(10))?
        .context("the healthy leader does not acknowledge")?;
    cluster.isolate(old)?;
    // Sent at once, while the old leader still believes in itself, and until long after.
    for attempt in 0..3 {
        let value = format!("isolated {round}, attempt {attempt}");
        let outcome = produce(&old_address, partition, &value, Duration::from_secs(3))?;
        ensure!(outcome.is_none(), "the isolated leader acknowledged offset {outcome:?}");
    }
    let others = cluster.admin_without(old)?;
    let id = i32::try_from(old)?;
    let new = wait::until("a leader among the others", Duration::from_secs(30), || {
        let partitions = others.partitions(&[TOPIC])?;
        let leader = partitions.get(&(TOPIC.to_owned(), partition)).map(|p| p.leader);
        Ok(leader.filter(|leader| *leader >= 0 && *leader != id))
    })?;
    let new_address = cluster.address(usize::try_from(new)?);
    let mut attempts = 0;
    let during = wait::until("the new leader's acknowledgement", Duration::from_secs(30), || {
        // These writes are not idempotent: a retry must not look like its predecessor.
        attempts += 1;
        let value = format!("kept during {round}, attempt {attempts}");
        let acknowledged = produce(&new_address, partition, &value, Duration::from_secs(5))?;
        Ok(acknowledged.map(|_| value))
    })?;
    cluster.heal()?;
    cluster.wait_in_sync()?;
    cluster.check_alive()?;
    Ok([before, during])
}

/// The offset under which a record was acknowledged by all in-sync replicas; nothing for every
/// refusal and for silence.
fn produce(addr: &str, index: i32, value: &str, limit: Duration) -> Result<Option<i64>> {
    let mut batch = BatchBuilder::new(BatchOptions::default());
    batch.append(1, None, Some(value.as_bytes()), &[]);
    let partition = PartitionProduceData { index, records: Some(Bytes::from(batch.finish())) };
    let topic = TopicProduceData {
        name: TOPIC.into(),
        partition_data: vec![partition],
        ..TopicProduceData::default()
    };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: i32::try_from(limit.as_millis())?,
        topic_data: vec![topic],
        ..ProduceRequest::default()
    };
    let patience = limit + Duration::from_secs(2);
    let answer = Raw::connect(addr)?.call(&request, PRODUCE_VERSION, patience);
    let Ok(response) = answer else { return Ok(None) };
    let topic = response.responses.first().context("no topic in the answer")?;
    let partition = topic.partition_responses.first().context("no partition in the answer")?;
    let acknowledged = partition.error_code == ErrorCode::None.code();
    Ok(acknowledged.then_some(partition.base_offset))
}

/// The values of all records, read in one fetch.
fn read_all(addr: &str, partition: i32) -> Result<Vec<String>> {
    let wanted = FetchPartition {
        partition,
        current_leader_epoch: -1,
        fetch_offset: 0,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let topic =
        FetchTopic { topic: TOPIC.into(), partitions: vec![wanted], ..FetchTopic::default() };
    let request = FetchRequest {
        max_wait_ms: 1000,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..FetchRequest::default()
    };
    let response = Raw::connect(addr)?.call(&request, FETCH_VERSION, Duration::from_secs(10))?;
    let topic = response.responses.into_iter().next().context("no topic in the answer")?;
    let partition = topic.partitions.into_iter().next().context("no partition")?;
    ensure!(partition.error_code == 0, "fetch: error {}", partition.error_code);
    let Records::Bytes(bytes) = partition.records else { return Ok(Vec::new()) };
    let mut values = Vec::new();
    for batch in record::batches(&bytes) {
        for record in record::records(&batch?, 1 << 20)?.iter() {
            values.push(String::from_utf8_lossy(record?.value.unwrap_or_default()).into_owned());
        }
    }
    Ok(values)
}
