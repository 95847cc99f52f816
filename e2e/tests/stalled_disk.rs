//! The writes of one broker's disk stall for seconds, while clients write to it from more
//! connections than it has threads. What others take for signs of life goes on: the broker is not
//! fenced, no leadership moves, and no probe fails.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use e2e::disk::Disk;
use e2e::raw::{Answer, Raw, decode, encode};
use e2e::{Cluster, ClusterConfig, http, with_cluster};
use record::{BatchBuilder, BatchOptions};
use wire::messages::ProduceRequest;
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};

const TOPIC: &str = "stalled";
const PARTITIONS: i32 = 12;
const STALL: Duration = Duration::from_secs(5);
/// Kubernetes waits a second for a probe unless it is told otherwise.
const PROBE_MAX: Duration = Duration::from_secs(1);
const PRODUCE: i16 = 9;
/// Kept well above the broker's network threads.
const WRITERS: usize = 32;

#[test]
fn a_disk_that_stalls_fences_nobody_and_fails_no_probe() {
    with_cluster(ClusterConfig::new(3), |cluster| {
        cluster.stop(1)?;
        let disk = Disk::under(&cluster.data_dir(1), 512)?;
        cluster.start_broker(1)?;
        cluster.wait_broker(1)?;
        let admin = cluster.admin()?;
        admin.create_topic(TOPIC, PARTITIONS, 3, &[("min.insync.replicas", "2")])?;
        cluster.wait_in_sync()?;
        probes_answer(cluster)?;
        let before = epochs(cluster)?;
        let mut writers = Writers::connect(cluster)?;
        ensure!(writers.write()?.iter().all(|code| *code == 0), "the topic takes records");
        // The controller sits elsewhere, or here: its own Raft log is on the stalled disk then.
        println!("the active controller is {}", admin.controller_agreed()?);
        disk.freeze()?;
        let frozen = Instant::now();
        writers.send()?;
        let (mut rounds, mut slowest) = (0, Duration::ZERO);
        while frozen.elapsed() < STALL {
            slowest = slowest.max(probes_answer(cluster)?);
            rounds += 1;
        }
        let held = writers.waiting()?;
        disk.thaw()?;
        println!("{rounds} rounds of probes, the slowest answer after {slowest:?}");
        ensure!(held > 0, "nothing waited for the disk: the test shows nothing");
        ensure!(writers.answers()?.iter().all(|code| *code == 0), "written after the stall");
        probes_answer(cluster)?;
        let after = epochs(cluster)?;
        ensure!(before == after, "leaders moved:\n{before:?}\n{after:?}");
        drop(writers);
        cluster.stop(1)?;
        Ok(())
    });
}

/// Every probe of every broker answers in time that all is well. Returns the longest time.
fn probes_answer(cluster: &Cluster) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    for id in cluster.ids() {
        for path in ["/healthz", "/readyz", "/caught-up?broker=1", "/restart-risk"] {
            let began = Instant::now();
            let (status, body) = http::get(&cluster.http(id), path)?;
            let took = began.elapsed();
            ensure!(status == 200, "{path} of broker {id} after {took:?}: {status} {body}");
            ensure!(took < PROBE_MAX, "{path} of broker {id} took {took:?}");
            slowest = slowest.max(took);
        }
    }
    Ok(slowest)
}

/// Leader and leader epoch of each partition, as a broker with a healthy disk tells.
fn epochs(cluster: &Cluster) -> Result<BTreeMap<i32, (i32, i32)>> {
    let metadata = cluster.admin_without(1)?.metadata(&[TOPIC])?;
    let topic = metadata.topics.first().context("the topic")?;
    ensure!(metadata.brokers.len() == 3, "a broker is missing: {:?}", metadata.brokers);
    let entry = |p: &wire::messages::metadata_response::MetadataResponsePartition| {
        (p.partition_index, (p.leader_id, p.leader_epoch))
    };
    Ok(topic.partitions.iter().map(entry).collect())
}

/// Connections that write to the partitions that broker 1 leads.
struct Writers {
    connections: Vec<(Raw, i32)>,
}

impl Writers {
    fn connect(cluster: &Cluster) -> Result<Writers> {
        let led = epochs(cluster)?.into_iter().filter(|(_, (leader, _))| *leader == 1);
        let led: Vec<i32> = led.map(|(partition, _)| partition).collect();
        ensure!(!led.is_empty(), "broker 1 leads nothing");
        let partitions = led.iter().cycle().take(WRITERS);
        let connect = |p: &i32| Ok((Raw::connect(&cluster.address(1))?, *p));
        Ok(Writers { connections: partitions.map(connect).collect::<Result<_>>()? })
    }

    fn send(&mut self) -> Result<()> {
        for (connection, index) in &mut self.connections {
            let mut builder = BatchBuilder::new(BatchOptions::default());
            builder.append(wall_ms()?, None, Some(b"value"), &[]);
            let records = Some(Bytes::from(builder.finish()));
            let partition_data = vec![PartitionProduceData { index: *index, records }];
            let topic =
                TopicProduceData { name: TOPIC.into(), partition_data, ..Default::default() };
            let request = ProduceRequest {
                acks: -1,
                timeout_ms: 30_000,
                topic_data: vec![topic],
                ..Default::default()
            };
            connection.send(&encode(&request, PRODUCE, 1)?);
        }
        Ok(())
    }

    /// The error code of each.
    fn answers(&mut self) -> Result<Vec<i16>> {
        let answer = |(connection, _): &mut (Raw, i32)| {
            let Answer::Frame(frame) = connection.answer(Duration::from_secs(30))? else {
                anyhow::bail!("no answer to a produce");
            };
            let response = decode::<ProduceRequest>(frame, PRODUCE)?;
            let partition = response.responses.first().and_then(|t| t.partition_responses.first());
            Ok(partition.context("an answer without its partition")?.error_code)
        };
        self.connections.iter_mut().map(answer).collect()
    }

    fn write(&mut self) -> Result<Vec<i16>> {
        self.send()?;
        self.answers()
    }

    /// How many have no answer yet.
    fn waiting(&mut self) -> Result<usize> {
        let is_waiting = |(connection, _): &(Raw, i32)| connection.unread().map(|n| n == 0);
        let waiting = self.connections.iter().map(is_waiting).collect::<Result<Vec<bool>>>()?;
        Ok(waiting.into_iter().filter(|waits| *waits).count())
    }
}

fn wall_ms() -> Result<i64> {
    Ok(i64::try_from(e2e::load::now_ns()? / 1_000_000)?)
}
