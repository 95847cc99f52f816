//! No disk read on a network thread: a consumer that reads old records out of cold files makes the
//! threads of the read-ahead pool read from the disk, and no other thread of the broker.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base::ErrorCode;
use bytes::Bytes;
use e2e::raw::{Answer, Raw, encode};
use e2e::{Cluster, ClusterConfig, dump, with_cluster};
use record::{BatchBuilder, BatchOptions};
use rustix::fs::Advice;
use rustix::io::Errno;
use wire::Records;
use wire::messages::fetch_request::{FetchPartition, FetchTopic};
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::{FetchRequest, ListOffsetsRequest, ProduceRequest};

const TOPIC: &str = "cold";
const PRODUCE_VERSION: i16 = 12;
const FETCH_VERSION: i16 = 12;
const LIST_OFFSETS_VERSION: i16 = 7;
const PATIENCE: Duration = Duration::from_secs(20);
/// Records of half a mebibyte, stamped one second apart, over several segments.
const RECORDS: i64 = 128;
const RECORD_BYTES: usize = 512 * 1024;
/// Threads that may wait for the disk: those that read for consumers, and those that look up.
const POOLS: [&str; 2] = ["read-ahead", "lookups"];

#[test]
fn network_threads_read_no_disk() {
    let config = ClusterConfig::new(1)
        .set("log.segment.bytes", 16 << 20)
        // The records are stamped with the first minutes of 1970.
        .set("log.retention.ms", -1);
    with_cluster(config, read_cold_files);
}

fn read_cold_files(cluster: &mut Cluster) -> Result<()> {
    cluster.admin()?.create_topic(TOPIC, 1, 1, &[])?;
    let mut raw = Raw::connect(&cluster.address(1))?;
    for index in 0..RECORDS {
        produce(&mut raw, index)?;
    }
    chill(&cluster.data_dir(1))?;
    let pid = cluster.process(1)?.id();
    let before = disk_reads(pid)?;

    // Sealed segments and the active one, by timestamp and by offset; the files turn cold again
    // while most of an answer is still to be sent.
    for second in [3, RECORDS / 2, RECORDS - 2] {
        ensure!(offset_of(&mut raw, second * 1000)? == second, "the offset of second {second}");
    }
    let mut offset = 0;
    while offset < RECORDS {
        chill(&cluster.data_dir(1))?;
        raw.send(&encode(&fetch(offset), FETCH_VERSION, 7)?);
        raw.wait_full()?;
        chill(&cluster.data_dir(1))?;
        let Answer::Frame(frame) = raw.answer(PATIENCE)? else { bail!("no answer to a fetch") };
        offset = next_offset(frame)?;
    }

    let (mut pool, mut others) = (0, 0);
    for ((thread, name), bytes) in disk_reads(pid)? {
        let read = bytes - before.get(&(thread, name.clone())).copied().unwrap_or(0);
        *if POOLS.iter().any(|pool| name.starts_with(pool)) { &mut pool } else { &mut others } +=
            read;
    }
    println!("read from the disk by the pool: {pool} bytes; by all others: {others}");
    let expected = RECORDS as u64 * RECORD_BYTES as u64;
    ensure!(pool >= expected, "the files were not cold: {pool} bytes were read");
    // To look whether a page is in the cache, without waiting, makes the kernel order the page.
    ensure!(others <= pool / 100, "other threads read {others} bytes from the disk");
    Ok(())
}

fn produce(raw: &mut Raw, index: i64) -> Result<()> {
    let value: Vec<u8> = (0..RECORD_BYTES).map(|at| (at as i64 * 31 + index) as u8).collect();
    let mut batch = BatchBuilder::new(BatchOptions::default());
    batch.append(index * 1000, None, Some(&value), &[]);
    let partition = PartitionProduceData { index: 0, records: Some(Bytes::from(batch.finish())) };
    let topic = TopicProduceData {
        name: TOPIC.into(),
        partition_data: vec![partition],
        ..TopicProduceData::default()
    };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![topic],
        ..ProduceRequest::default()
    };
    let response = raw.call(&request, PRODUCE_VERSION, PATIENCE)?;
    let topic = response.responses.first().context("no topic in the answer")?;
    let partition = topic.partition_responses.first().context("no partition in the answer")?;
    ensure!(partition.error_code == ErrorCode::None.code(), "{partition:?}");
    Ok(())
}

fn fetch(fetch_offset: i64) -> FetchRequest {
    let partition = FetchPartition {
        partition: 0,
        current_leader_epoch: -1,
        fetch_offset,
        partition_max_bytes: 8 << 20,
        ..FetchPartition::default()
    };
    let topic =
        FetchTopic { topic: TOPIC.into(), partitions: vec![partition], ..FetchTopic::default() };
    FetchRequest {
        max_wait_ms: 1000,
        min_bytes: 1,
        max_bytes: 8 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..FetchRequest::default()
    }
}

fn next_offset(frame: Vec<u8>) -> Result<i64> {
    let response = e2e::raw::decode::<FetchRequest>(frame, FETCH_VERSION)?;
    let topic = response.responses.into_iter().next().context("no topic in the answer")?;
    let partition = topic.partitions.into_iter().next().context("no partition")?;
    ensure!(partition.error_code == 0, "fetch: error {}", partition.error_code);
    let Records::Bytes(bytes) = partition.records else { bail!("no records") };
    // The last batch of an answer may be cut off.
    let whole = record::batches(&bytes).map_while(Result::ok);
    let last = whole.last().context("not one whole batch")?;
    Ok(last.header.last_offset() + 1)
}

fn offset_of(raw: &mut Raw, timestamp: i64) -> Result<i64> {
    let partition =
        ListOffsetsPartition { partition_index: 0, current_leader_epoch: -1, timestamp };
    let topic = ListOffsetsTopic { name: TOPIC.into(), partitions: vec![partition] };
    let request =
        ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..ListOffsetsRequest::default() };
    let response = raw.call(&request, LIST_OFFSETS_VERSION, PATIENCE)?;
    let topic = response.topics.first().context("no topic in the answer")?;
    Ok(topic.partitions.first().context("no partition")?.offset)
}

/// Writes every file of the log to the disk and drops its pages from the cache.
fn chill(data: &Path) -> Result<()> {
    for path in dump::files(data)? {
        let file = File::open(&path)?;
        file.sync_data()?;
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

/// Bytes that each thread made the kernel read from the disk so far, by thread id and name.
fn disk_reads(pid: u32) -> Result<BTreeMap<(String, String), u64>> {
    let mut reads = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?;
        let read = |file| fs::read_to_string(task.path().join(file));
        let (name, io) = match read("comm").and_then(|name| Ok((name, read("io")?))) {
            Err(error) if gone(&error) => continue,
            read => read?,
        };
        let line = io.lines().find_map(|line| line.strip_prefix("read_bytes: "));
        let bytes = line.context("read_bytes")?.parse()?;
        let thread = task.file_name().to_string_lossy().into_owned();
        reads.insert((thread, name.trim().to_owned()), bytes);
    }
    Ok(reads)
}

/// The thread ended between the look at the list and the look at it.
fn gone(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::NOENT | Errno::SRCH))
}
