//! Who is no broker of the cluster and says to be one: at the port of the quorum, at the ports of
//! the clients, and as a second broker with the id of a living one.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base::ErrorCode;
use bytes::Bytes;
use e2e::process::{Process, tail};
use e2e::raw::Raw;
use e2e::{Cluster, ClusterConfig, ports, setup, wait, with_cluster};
use record::{BatchBuilder, BatchOptions};
use wire::messages::describe_quorum_request::{PartitionData, TopicData};
use wire::messages::fetch_request::{FetchPartition, FetchTopic};
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::{DescribeQuorumRequest, FetchRequest, ListOffsetsRequest, ProduceRequest};

const TOPIC: &str = "outsiders";
const LIMIT: Duration = Duration::from_secs(10);
const LATEST: i64 = -1;

/// Voters and the term, as the quorum tells them.
fn quorum(cluster: &Cluster) -> Result<(Vec<i32>, i32)> {
    let partitions = vec![PartitionData { partition_index: 0 }];
    let topic = TopicData { topic_name: "__cluster_metadata".into(), partitions };
    let response = cluster.admin()?.call(&DescribeQuorumRequest { topics: vec![topic] })?;
    let partition = response.topics.first().and_then(|topic| topic.partitions.first());
    let partition = partition.context("no answer")?;
    let mut voters: Vec<i32> = partition.current_voters.iter().map(|v| v.replica_id).collect();
    voters.sort_unstable();
    Ok((voters, partition.leader_epoch))
}

fn text(out: &mut Vec<u8>, text: &str) {
    // A MessagePack string of up to 255 bytes.
    out.extend([0xd9, text.len() as u8]);
    out.extend(text.as_bytes());
}

/// What a broker says first, without any proof.
fn hello(from: u8, to: u8, channel: &str, cluster_id: &str) -> Vec<u8> {
    let mut content = vec![0x85];
    for (name, id) in [("from", from), ("to", to), ("incarnation", 9)] {
        text(&mut content, name);
        content.push(id);
    }
    for (name, value) in [("channel", channel), ("cluster_id", cluster_id)] {
        text(&mut content, name);
        text(&mut content, value);
    }
    let length = (content.len() as u16).to_be_bytes();
    [&b"BNBQ\x01"[..], &length, &content].concat()
}

/// "My disk is empty: forget what I was."
fn rejoin(id: u8) -> Vec<u8> {
    let mut payload = vec![0x81];
    text(&mut payload, "id");
    payload.push(id);
    frame(8, &payload)
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32 + 9).to_be_bytes();
    [&length[..], &[kind], &7u64.to_be_bytes(), payload].concat()
}

#[test]
fn nobody_gets_past_the_quorums_door_without_the_secret() {
    with_cluster(ClusterConfig::new(3), |cluster| {
        let properties = fs::read_to_string(cluster.data_dir(1).join("meta.properties"))?;
        let id = properties.lines().find_map(|line| line.strip_prefix("cluster.id="));
        let id = id.context("no cluster id")?.to_owned();
        let before = quorum(cluster)?;
        for broker in 1..=3u8 {
            for channel in ["Raft", "Controller"] {
                let port = cluster.addresses(broker.into()).controller;
                let mut stream = TcpStream::connect(("127.0.0.1", port))?;
                stream.set_read_timeout(Some(LIMIT))?;
                let other = broker % 3 + 1;
                stream.write_all(&hello(other, broker, channel, &id))?;
                // What is sent behind it must not be read at all; the socket may be closed by then.
                for _ in 0..3 {
                    let _ = stream.write_all(&rejoin(other));
                    let _ = stream.write_all(&frame(16, b"request"));
                }
                let mut said = Vec::new();
                // The end is a reset where not everything was read.
                let _ = stream.read_to_end(&mut said);
                let said = String::from_utf8_lossy(&said);
                ensure!(said.contains("does not prove that it has the secret"), "{said:?}");
            }
        }
        // A leader that was asked to forget a voter would have done it by now.
        let after = quorum(cluster)?;
        ensure!(before == after, "{before:?} became {after:?}");
        cluster.admin()?.create_topic("still-in-order", 1, 3, &[])?;
        Ok(())
    });
}

fn produce(raw: &mut Raw, acks: i16) -> Result<()> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(1, None, Some(b"value"), &[]);
    let records = Some(Bytes::from(builder.finish()));
    let partition_data = vec![PartitionProduceData { index: 0, records }];
    let topic = TopicProduceData { name: TOPIC.into(), partition_data, ..Default::default() };
    let request =
        ProduceRequest { acks, timeout_ms: 5_000, topic_data: vec![topic], ..Default::default() };
    let response = raw.call(&request, 9, LIMIT)?;
    let code = response.responses[0].partition_responses[0].error_code;
    ensure!(code == 0, "produce: {code}");
    Ok(())
}

fn high_watermark(raw: &mut Raw) -> Result<i64> {
    let partition = ListOffsetsPartition { timestamp: LATEST, ..Default::default() };
    let topic = ListOffsetsTopic { name: TOPIC.into(), partitions: vec![partition] };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let response = raw.call(&request, 7, LIMIT)?;
    Ok(response.topics[0].partitions[0].offset)
}

/// As a follower that has everything up to this offset.
fn forge(raw: &mut Raw, replica_id: i32, fetch_offset: i64) -> Result<i16> {
    let partition = FetchPartition {
        partition: 0,
        fetch_offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic =
        FetchTopic { topic: TOPIC.into(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest {
        replica_id,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    let response = raw.call(&request, 12, LIMIT)?;
    let partition = response.responses.first().and_then(|topic| topic.partitions.first());
    Ok(partition.context("no answer")?.error_code)
}

#[test]
fn a_forged_follower_acknowledges_nothing() {
    // A follower that stands still stays in the ISR: only its own fetches can move the mark.
    let config = ClusterConfig::new(3)
        .set("broker.session.timeout.ms", 60_000)
        .set("replica.lag.time.max.ms", 60_000);
    with_cluster(config, |cluster| {
        let admin = cluster.admin()?;
        admin.create_topic(TOPIC, 1, 2, &[])?;
        let partitions = admin.wait_in_sync(&[TOPIC], LIMIT)?;
        let partition = partitions.values().next().context("no partition")?;
        let leader = usize::try_from(partition.leader)?;
        let follower = partition.isr.iter().copied().find(|id| *id != partition.leader);
        let follower = usize::try_from(follower.context("no follower")?)?;
        let mut client = Raw::connect(&cluster.address(leader))?;
        produce(&mut client, -1)?;
        ensure!(high_watermark(&mut client)? == 1, "the first record is committed");
        cluster.pause(follower)?;
        produce(&mut client, 1)?;
        let replication = format!("127.0.0.1:{}", cluster.addresses(leader).replication);
        for address in [cluster.address(leader), replication] {
            let mut forger = Raw::connect(&address)?;
            for offset in [2, 1, 2] {
                let code = forge(&mut forger, i32::try_from(follower)?, offset)?;
                let refused = ErrorCode::TopicAuthorizationFailed.code();
                ensure!(code == refused, "{address}: {code}");
            }
        }
        ensure!(high_watermark(&mut client)? == 1, "nobody has the second record");
        cluster.resume(follower)?;
        wait::until("the real follower to have it", LIMIT, || {
            Ok((high_watermark(&mut client)? == 2).then_some(()))
        })
    });
}

#[test]
fn a_second_broker_with_the_id_of_a_living_one_stays_out() {
    with_cluster(ClusterConfig::new(3), |cluster| {
        let before = quorum(cluster)?;
        let leader = usize::try_from(cluster.admin()?.controller()?)?;
        for id in [leader, leader % 3 + 1] {
            let mut double = Double::start(cluster, id)?;
            let log = double.process.log().to_owned();
            wait::until("the double to say what to do", LIMIT * 3, || {
                ensure!(double.process.alive(), "{}", tail(&log, 20));
                let said = fs::read_to_string(&log)?;
                Ok(said.contains("give it another node.id").then_some(()))
            })?;
            // It goes on asking, and the others go on as before.
            let until = Instant::now() + Duration::from_secs(3);
            while Instant::now() < until {
                ensure!(quorum(cluster)? == before, "the quorum changed");
                ensure!(cluster.admin()?.brokers_agreed()?.len() == 3, "a broker is missing");
                std::thread::sleep(Duration::from_millis(100));
            }
            let topic = format!("beside-{id}");
            cluster.admin()?.create_topic(&topic, 3, 3, &[])?;
            cluster.wait_in_sync()?;
        }
        Ok(())
    });
}

/// A broker as one gets it by copying another one's file and forgetting the id.
struct Double {
    process: Process,
    _dir: tempfile::TempDir,
}

impl Double {
    fn start(cluster: &Cluster, id: usize) -> Result<Double> {
        let dir = tempfile::tempdir()?;
        let own = [("PLAINTEXT", ports::free()?), ("REPLICATION", ports::free()?)];
        let of = |(name, port): &(&str, u16)| format!("{name}://127.0.0.1:{port}");
        let clients: Vec<String> = own.iter().map(of).collect();
        let clients = clients.join(",");
        let controller = ports::free()?;
        let overrides = [
            format!("listeners={clients},CONTROLLER://127.0.0.1:{controller}"),
            format!("advertised.listeners={clients}"),
            format!("log.dirs={}", dir.path().join("data").display()),
            "barnabas.http.listener=".to_owned(),
        ];
        let mut command = Command::new(setup::broker()?);
        command.args(["run", "--config"]).arg(cluster.properties_file(id));
        for setting in overrides {
            command.args(["--override", &setting]);
        }
        let process = Process::spawn(&mut command, &dir.path().join("double.log"))?;
        Ok(Double { process, _dir: dir })
    }
}
