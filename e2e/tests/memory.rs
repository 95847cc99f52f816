//! A broker's memory is bounded by its own number, whatever clients send: a thousand connections
//! with large requests that nobody ends, and everybody else is served.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::raw::{Raw, encode};
use e2e::{Cluster, ClusterConfig, with_cluster};
use record::{BatchBuilder, BatchOptions};
use wire::messages::join_group_request::JoinGroupRequestProtocol;
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::{JoinGroupRequest, MetadataRequest, ProduceRequest};

const SOON: Duration = Duration::from_secs(20);
const CONNECTIONS: usize = 1000;
/// With its header, what was the limit of a frame once.
const REQUEST_BYTES: usize = (8 << 20) - 4096;
/// How long they push.
const PRESSURE: Duration = Duration::from_secs(25);
const MIB: u64 = 1 << 20;
/// The default of `barnabas.request.memory.bytes`, that of `barnabas.group.memory.bytes`, a read
/// buffer for each connection, and what a broker and its allocator need anyway.
const RESIDENT_MIB_MAX: u64 = 256 + 64 + 64 + 160;

/// An idle broker was seen to occupy 48 MiB where transparent huge pages are to be had.
const IDLE_MIB_MAX: u64 = 24;

#[test]
fn a_broker_that_has_served_a_little_occupies_little() {
    with_cluster(ClusterConfig::new(1), |cluster| {
        cluster.admin()?.create_topic("t", 1, 1, &[])?;
        served(cluster)?;
        let resident = resident_mib(cluster.process(1)?.id())?;
        println!("{resident} MiB");
        ensure!(resident < IDLE_MIB_MAX, "{resident} MiB resident");
        Ok(())
    });
}

#[test]
fn a_thousand_large_joins_stay_within_the_budget() {
    with_cluster(ClusterConfig::new(1), |cluster| {
        cluster.admin()?.create_topic("t", 1, 1, &[])?;
        let frame = join(REQUEST_BYTES)?;
        let mut joining = Vec::new();
        for _ in 0..CONNECTIONS {
            let stream = TcpStream::connect(cluster.address(1)).context("connect")?;
            stream.set_nonblocking(true)?;
            joining.push((stream, 0));
        }
        let pid = cluster.process(1)?.id();
        let (mut most, begun) = (0, Instant::now());
        while begun.elapsed() < PRESSURE {
            for (stream, sent) in &mut joining {
                push(stream, &frame, sent);
            }
            most = most.max(resident_mib(pid)?);
            served(cluster)?;
            std::thread::sleep(Duration::from_millis(20));
        }
        let complete = joining.iter().filter(|(_, sent)| *sent == frame.len()).count();
        println!("{most} MiB at most, {complete} requests came through");
        ensure!(most < RESIDENT_MIB_MAX, "{most} MiB resident");
        cluster.check_alive()
    });
}

/// A join with so much metadata.
fn join(size: usize) -> Result<Vec<u8>> {
    let metadata = vec![7; size].into();
    let request = JoinGroupRequest {
        group_id: "large".into(),
        session_timeout_ms: 1_800_000,
        rebalance_timeout_ms: 1_800_000,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".into(), metadata }],
        ..JoinGroupRequest::default()
    };
    encode(&request, 3, 1)
}

/// Sends what the socket takes. A broker may close such a connection.
fn push(stream: &mut TcpStream, frame: &[u8], sent: &mut usize) {
    while *sent < frame.len() {
        match stream.write(&frame[*sent..]) {
            Ok(written) => *sent += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => return,
        }
    }
}

/// Somebody else asks, and produces more than fits into a connection's own buffer.
fn served(cluster: &Cluster) -> Result<()> {
    let mut raw = Raw::connect(&cluster.address(1))?;
    raw.call(&MetadataRequest::default(), 9, SOON).context("the metadata")?;
    let mut batch = BatchBuilder::new(BatchOptions::default());
    batch.append(1, None, Some(&[7; 500_000]), &[]);
    let data = PartitionProduceData { index: 0, records: Some(batch.finish().into()) };
    let topic =
        TopicProduceData { name: "t".into(), partition_data: vec![data], ..Default::default() };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 3000,
        topic_data: vec![topic],
        ..ProduceRequest::default()
    };
    let response = raw.call(&request, 12, SOON).context("a produce request")?;
    let code = response.responses[0].partition_responses[0].error_code;
    ensure!(code == 0, "error {code}");
    Ok(())
}

fn resident_mib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib * 1024 / MIB)
}
