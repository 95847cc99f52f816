//! Limits: of a fetch, of what a connection may hold, of what may be begun, of who owns a
//! directory.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use base::ErrorCode;
use broker::boot::start;
use client::{Connection, Options};
use record::{BatchBuilder, BatchOptions, Compression};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use wire::messages::join_group_request::JoinGroupRequestProtocol;
use wire::messages::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_keeps_its_limits_but_always_progresses() {
    let rig = Rig::start().await;
    for partition in 0..3 {
        for _ in 0..4 {
            assert_eq!(rig.produce(partition, batch(1, 30_000)).await.0, ErrorCode::None);
        }
    }
    // The first partition with data gives one whole batch, whatever the limits.
    let mut small = fetch(vec![want(0, 0), want(1, 0)]);
    small.max_bytes = 100;
    small.topics[0].partitions[0].partition_max_bytes = 100;
    let response = rig.fetch(small).await;
    let data = partitions(&response);
    assert!(record_bytes(data[0]) > 30_000 && record_bytes(data[0]) < 31_000);
    assert_eq!(record_bytes(data[1]), 0);
    // The limit of the response goes to the partitions in the order of the request.
    let mut limited = fetch(vec![want(2, 0), want(0, 0), want(1, 0)]);
    limited.max_bytes = 150_000;
    let response = rig.fetch(limited).await;
    let order: Vec<i32> = partitions(&response).iter().map(|p| p.partition_index).collect();
    assert_eq!(order, [2, 0, 1]);
    // 150,000 bytes are four batches of one partition and a piece of another's first: no client
    // could read that piece, and some take it for a batch that never fits.
    let found: Vec<usize> = partitions(&response).iter().map(|p| record_bytes(p)).collect();
    assert!(found[0] > 120_000 && found[0] < 121_000, "{found:?}");
    assert_eq!(found[1..], [0, 0]);
    // It is no reason to wait either: the answer is as full as it gets.
    let mut patient = fetch(vec![want(2, 0), want(0, 0)]);
    (patient.max_bytes, patient.min_bytes, patient.max_wait_ms) = (150_000, 150_000, 60_000);
    let response = timeout(Duration::from_secs(20), rig.fetch(patient)).await.expect("at once");
    assert_eq!(partitions(&response).iter().map(|p| record_bytes(p)).sum::<usize>(), found[0]);
    // The last batch of a partition may be cut, as in Kafka.
    let mut cut = fetch(vec![want(0, 0)]);
    cut.max_bytes = 50_000;
    assert_eq!(record_bytes(partitions(&rig.fetch(cut).await)[0]), 50_000);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_ends_with_enough_data_or_with_its_time() {
    let rig = Rig::start().await;
    let mut poll = fetch(vec![want(0, 0), want(1, 0)]);
    poll.max_wait_ms = 200;
    let started = Instant::now();
    let response = rig.fetch(poll.clone()).await;
    assert_eq!(partitions(&response).len(), 2);
    assert!(started.elapsed() >= Duration::from_millis(200));
    // New data ends it at once, but not before there is enough of it.
    poll.max_wait_ms = 20_000;
    poll.min_bytes = 3_000;
    let waiting = Connection::connect(&rig.address, Options::default()).await.unwrap();
    let waiting = tokio::spawn(async move { waiting.call(&poll, FETCH).await.unwrap() });
    for partition in [0, 1, 0] {
        assert!(!waiting.is_finished(), "1,000 bytes are not enough");
        assert_eq!(rig.produce(partition, batch(1, 1_000)).await.0, ErrorCode::None);
        sleep(Duration::from_millis(50)).await;
    }
    let response = timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
    let total: usize = partitions(&response).iter().map(|p| record_bytes(p)).sum();
    assert!(total >= 3_000, "{total}");
    rig.stop().await;
}

/// What waits behind a long poll is not taken in without end.
#[tokio::test(flavor = "multi_thread")]
async fn unanswered_requests_hold_a_bounded_amount_of_memory() {
    const MIB: usize = 1 << 20;
    let rig = Rig::start().await;
    let mut stream = TcpStream::connect(&rig.address).await.unwrap();
    let poll = FetchRequest { max_wait_ms: 60_000, ..fetch(vec![want(0, 0)]) };
    let before = rig.running.broker.metrics.bytes_in.get();
    stream.write_all(&frame(&poll, FETCH, 1)).await.unwrap();
    // The broker ignores what comes after the request in its frame.
    let mut padded = frame(&MetadataRequest::default(), 9, 2);
    padded.resize(MIB, 0);
    padded[..4].copy_from_slice(&(MIB as u32 - 4).to_be_bytes());
    let (mut read, mut write) = stream.into_split();
    let sending = tokio::spawn(async move {
        for _ in 0..60 {
            write.write_all(&padded).await.unwrap();
        }
        write
    });
    let taken = || (rig.running.broker.metrics.bytes_in.get() - before) as usize;
    let full = async {
        while taken() < 8 * MIB {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(20), full).await.unwrap();
    sleep(Duration::from_millis(300)).await;
    assert!(taken() < 10 * MIB, "{}", taken());
    // Nothing is lost by it.
    rig.produce(0, batch(1, 1)).await;
    for expected in std::iter::once(1).chain([2; 60]) {
        let length = timeout(Duration::from_secs(20), read.read_u32()).await.unwrap().unwrap();
        let mut body = vec![0; length as usize];
        read.read_exact(&mut body).await.unwrap();
        assert_eq!(correlation_id(&body), expected);
    }
    drop(sending.await.unwrap());
    rig.stop().await;
}

/// A batch of a transaction that nothing ends.
fn transactional_batch() -> Vec<u8> {
    let options = BatchOptions {
        producer_id: 7,
        producer_epoch: 0,
        base_sequence: 0,
        transactional: true,
        ..Default::default()
    };
    let mut builder = BatchBuilder::new(options);
    builder.append(process::clock::wall_ms(), None, Some(b"pending"), &[]);
    builder.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_nothing_can_end_is_not_begun() {
    let rig = Rig::start().await;
    let (code, _) = rig.produce(0, transactional_batch()).await;
    assert_eq!(code, ErrorCode::TransactionalIdAuthorizationFailed);
    let mut named = rig.produce_request(-1, 0, transactional_batch());
    named.transactional_id = Some("t".into());
    let response = rig.connection.call(&named, 9).await.unwrap();
    let code = response.responses[0].partition_responses[0].error_code;
    // Its coordinator cannot be asked; a producer of this version tries again after that.
    assert_eq!(code, ErrorCode::NotEnoughReplicas.code());
    assert_eq!(rig.produce(0, batch(1, 10)).await, (ErrorCode::None, 0));
    let mut committed = fetch(vec![want(0, 0)]);
    committed.isolation_level = 1;
    let response = rig.fetch(committed).await;
    assert_eq!(partitions(&response)[0].last_stable_offset, 1);
    rig.stop().await;
}

/// One thread, so that a fetch that never waits would keep it from everything else.
#[tokio::test]
async fn a_committed_read_below_an_open_transaction_waits_without_spinning() {
    let rig = Rig::start_with(&[("transaction.partition.verification.enable", "false")]).await;
    rig.produce(0, batch(1, 10)).await;
    let partition = rig.running.broker.storage.partitions.find(TOPIC, 0).unwrap();
    partition.append(&transactional_batch(), 1, None).unwrap();
    let poll = FetchRequest {
        max_wait_ms: 20_000,
        min_bytes: 1 << 20,
        isolation_level: 1,
        ..fetch(vec![want(0, 0)])
    };
    let waiting = Connection::connect(&rig.address, Options::default()).await.unwrap();
    let waiting = tokio::spawn(async move { waiting.call(&poll, FETCH).await });
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(1) {
        rig.connection.call(&MetadataRequest::default(), 9).await.unwrap();
        sleep(Duration::from_millis(20)).await;
    }
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert!(!waiting.is_finished(), "there is not enough to read");
    waiting.abort();
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_directory_has_one_broker_at_a_time() {
    let rig = Rig::start().await;
    let Err(error) = start(config(rig.dir.path())) else { panic!("two brokers on one directory") };
    let (error, dir) = (format!("{error:#}"), rig.dir.path().display().to_string());
    assert!(error.contains(&dir) && error.contains("another broker"), "{error}");
    assert_eq!(rig.produce(0, batch(1, 1)).await.0, ErrorCode::None, "the first is not disturbed");
    rig.stop().await;
}

/// A batch of so many MiB of zeros: a few KiB for each.
fn bomb(compression: Compression, mib: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions { compression, ..Default::default() });
    for _ in 0..mib {
        builder.append(process::clock::wall_ms(), None, Some(&vec![0; 1 << 20]), &[]);
    }
    builder.finish()
}

/// One thread serves all connections here: whatever stays on it keeps everybody waiting.
#[tokio::test]
async fn what_expands_is_unpacked_away_from_the_network_threads() {
    let rig = Rig::start().await;
    for codec in [Compression::Gzip, Compression::Zstd] {
        let small = bomb(codec, 64);
        assert!(small.len() < 256 << 10, "{codec:?}: {}", small.len());
        // On a busy machine some are unpacked before this thread has its turn again.
        let mut most = 0;
        for _ in 0..8 {
            let connection = Connection::connect(&rig.address, Options::default()).await.unwrap();
            let request = rig.produce_request(-1, 0, small.clone());
            let produced = tokio::spawn(async move { connection.call(&request, 9).await.unwrap() });
            let mut others = 0;
            while !produced.is_finished() {
                rig.connection.call(&MetadataRequest::default(), 9).await.unwrap();
                others += 1;
            }
            let response = produced.await.unwrap();
            let code = response.responses[0].partition_responses[0].error_code;
            // Gzip expands a thousandfold at most, zstd much further.
            let expected = ErrorCode::MessageTooLarge;
            assert_eq!(ErrorCode::from_i16(code), Some(expected), "{codec:?}");
            most = most.max(others);
        }
        assert!(most > 5, "{codec:?}: {most} requests of others were answered meanwhile");
    }
    // What is long and good is appended, in order with what came before and after it.
    let connection = Connection::connect(&rig.address, Options::default()).await.unwrap();
    let batches = [batch(1, 10), bomb(Compression::Lz4, 12), batch(1, 10)];
    let requests = batches.map(|batch| rig.produce_request(-1, 0, batch));
    let [one, two, three] = &requests;
    let all =
        tokio::join!(connection.call(one, 9), connection.call(two, 9), connection.call(three, 9));
    let offset = |response: ProduceResponse| {
        let partition = &response.responses[0].partition_responses[0];
        (partition.error_code, partition.base_offset)
    };
    let all = [all.0, all.1, all.2].map(|response| offset(response.unwrap()));
    assert_eq!(all, [(0, 0), (0, 1), (0, 13)]);
    rig.stop().await;
}

/// It holds answers, and descriptors of files that may be deleted by now.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_its_answers_is_closed() {
    let rig = Rig::start_with(&[("connections.max.idle.ms", "1000")]).await;
    for _ in 0..8 {
        assert_eq!(rig.produce(0, batch(1, 900_000)).await.0, ErrorCode::None);
    }
    let connections = || rig.running.broker.metrics.connections.get();
    let mut stream = TcpStream::connect(&rig.address).await.unwrap();
    let mut wide = fetch(vec![want(0, 0)]);
    wide.topics[0].partitions[0].partition_max_bytes = 50 << 20;
    for number in 0..8 {
        stream.write_all(&frame(&wide, FETCH, number)).await.unwrap();
    }
    // The one of the rig is closed as well, for it is idle.
    let closed = async {
        while connections() > 0 {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(60), closed).await.expect("a client that does not read stays");
    drop(stream);
    rig.stop().await;
}

/// Kafka's limit is the same for every API.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_request_of_any_api_is_answered() {
    let rig = Rig::start().await;
    let mut stream = TcpStream::connect(&rig.address).await.unwrap();
    let mut large = frame(&MetadataRequest::default(), 9, 7);
    large.resize(20 << 20, 0);
    let length = large.len() as u32 - 4;
    large[..4].copy_from_slice(&length.to_be_bytes());
    stream.write_all(&large).await.unwrap();
    let answer = timeout(Duration::from_secs(20), read_frame(&mut stream)).await.unwrap();
    assert_eq!(correlation_id(&answer.expect("it is closed")), 7);
    rig.stop().await;
}

/// Members are kept for as long as their sessions last: what they say of themselves is bounded.
#[tokio::test(flavor = "multi_thread")]
async fn members_have_a_bounded_memory() {
    let rig = Rig::start_with(&[
        ("barnabas.group.memory.bytes", "1048576"),
        ("offsets.topic.replication.factor", "1"),
        ("group.initial.rebalance.delay.ms", "0"),
    ])
    .await;
    let find = FindCoordinatorRequest { key: "g".into(), ..Default::default() };
    let join = |group: &str, size: usize| JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: vec![0; size].into(),
        }],
        ..Default::default()
    };
    let code = async |group: &str, size: usize| loop {
        rig.connection.call(&find, 3).await.unwrap();
        let joined = rig.connection.call(&join(group, size), 3).await.unwrap();
        let code = ErrorCode::from_i16(joined.error_code).unwrap();
        match code {
            ErrorCode::CoordinatorLoadInProgress | ErrorCode::NotCoordinator => {
                sleep(Duration::from_millis(50)).await;
            }
            code => return code,
        }
    };
    for number in 0..3 {
        assert_eq!(code(&format!("g{number}"), 300_000).await, ErrorCode::None);
    }
    assert_eq!(code("g4", 300_000).await, ErrorCode::GroupMaxSizeReached);
    assert_eq!(code("g5", 10).await, ErrorCode::None, "there is room for a small one");
    rig.stop().await;
}
