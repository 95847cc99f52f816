//! Produce, fetch and the order of answers, over the wire against one broker in this process.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use base::ErrorCode;
use broker::boot::start;
use client::{Connection, Options};
use support::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use wire::ApiKey;
use wire::messages::fetch_request::{FetchPartition, ForgottenTopic};
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use wire::messages::*;

#[tokio::test(flavor = "multi_thread")]
async fn every_version_produces_and_fetches() {
    let rig = Rig::start().await;
    let mut offset = 0;
    for version in 3..=13 {
        for acks in [-1, 1] {
            let mut request = rig.produce_request(acks, 0, batch(2, 10));
            if version >= 13 {
                request.topic_data[0].topic_id = rig.topic_id;
                request.topic_data[0].name = "".into();
            }
            let response = rig.connection.call(&request, version).await.unwrap();
            let partition = &response.responses[0].partition_responses[0];
            assert_eq!((partition.error_code, partition.base_offset), (0, offset), "v{version}");
            offset += 2;
        }
    }
    for version in 4..=18 {
        let mut request = fetch(vec![want(0, 3)]);
        if version >= 13 {
            request.topics[0].topic_id = rig.topic_id;
            request.topics[0].topic = "".into();
        }
        let response = rig.connection.call(&request, version).await.unwrap();
        let data = partitions(&response)[0];
        assert_eq!((data.error_code, data.high_watermark), (0, offset), "v{version}");
        let records = data.records.clone().into_bytes().unwrap();
        // Offset 3 lies in the middle of a batch: the whole batch comes.
        assert_eq!(records[..8], 2i64.to_be_bytes(), "v{version}");
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_told_per_partition() {
    let rig = Rig::start().await;
    assert_eq!(rig.produce(9, batch(1, 1)).await.0, ErrorCode::UnknownTopicOrPartition);
    let mut corrupt = batch(1, 100);
    *corrupt.last_mut().unwrap() ^= 1;
    assert_eq!(rig.produce(0, corrupt).await.0, ErrorCode::CorruptMessage);
    assert_eq!(rig.produce(0, batch(1, 2 << 20)).await.0, ErrorCode::MessageTooLarge);
    assert_eq!(rig.produce(0, Vec::new()).await.0, ErrorCode::InvalidRecord);
    let request = rig.produce_request(5, 0, batch(1, 1));
    let response = rig.connection.call(&request, 9).await.unwrap();
    let code = response.responses[0].partition_responses[0].error_code;
    assert_eq!(code, ErrorCode::InvalidRequiredAcks.code());
    let response = rig.fetch(fetch(vec![want(0, 77), want(9, 0)])).await;
    let codes: Vec<i16> = partitions(&response).iter().map(|p| p.error_code).collect();
    let expected = [ErrorCode::OffsetOutOfRange, ErrorCode::UnknownTopicOrPartition];
    assert_eq!(codes, expected.map(ErrorCode::code));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_in_the_place_of_a_forgotten_one_is_answered_once() {
    let rig = Rig::start().await;
    for partition in [0, 1] {
        rig.produce(partition, batch(1, 10)).await;
    }
    let opened = rig.fetch(FetchRequest { session_epoch: 0, ..fetch(vec![want(0, 0)]) }).await;
    let forgotten =
        ForgottenTopic { topic: TOPIC.into(), partitions: vec![0], ..Default::default() };
    let replaced = FetchRequest {
        session_id: opened.session_id,
        session_epoch: 1,
        forgotten_topics_data: vec![forgotten],
        ..fetch(vec![want(1, 0)])
    };
    let response = rig.fetch(replaced).await;
    let told: Vec<i32> = partitions(&response).iter().map(|p| p.partition_index).collect();
    assert_eq!(told, [1]);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_tells_only_news() {
    let rig = Rig::start().await;
    let session = |id: i32, epoch: i32, wanted: Vec<FetchPartition>| FetchRequest {
        session_id: id,
        session_epoch: epoch,
        ..fetch(wanted)
    };
    let full = rig.fetch(session(0, 0, vec![want(0, 0), want(1, 0), want(2, 0)])).await;
    let id = full.session_id;
    assert!(id > 0);
    assert_eq!(partitions(&full).len(), 3, "a full fetch names everything");
    let nothing = rig.fetch(session(id, 1, Vec::new())).await;
    assert_eq!((nothing.session_id, partitions(&nothing).len()), (id, 0));
    rig.produce(1, batch(1, 10)).await;
    let news = rig.fetch(session(id, 2, Vec::new())).await;
    assert_eq!(partitions(&news)[0].partition_index, 1);
    let again = rig.fetch(session(id, 3, Vec::new())).await;
    assert_eq!(partitions(&again).len(), 1, "the position did not move, so it is still unread");
    let read = rig.fetch(session(id, 4, vec![want(1, 1)])).await;
    assert_eq!(partitions(&read).len(), 0);
    let mut forget = session(id, 5, Vec::new());
    forget.forgotten_topics_data =
        vec![ForgottenTopic { topic: TOPIC.into(), partitions: vec![1], ..Default::default() }];
    rig.fetch(forget).await;
    rig.produce(1, batch(1, 10)).await;
    assert_eq!(partitions(&rig.fetch(session(id, 6, Vec::new())).await).len(), 0);
    let wrong = rig.fetch(session(id, 9, Vec::new())).await;
    assert_eq!(wrong.error_code, ErrorCode::InvalidFetchSessionEpoch.code());
    let unknown = rig.fetch(session(id ^ 1, 1, Vec::new())).await;
    assert_eq!(unknown.error_code, ErrorCode::FetchSessionIdNotFound.code());
    let closing = rig.fetch(session(id, -1, vec![want(0, 0)])).await;
    assert_eq!((closing.session_id, partitions(&closing).len()), (0, 1));
    let closed = rig.fetch(session(id, 7, Vec::new())).await;
    assert_eq!(closed.error_code, ErrorCode::FetchSessionIdNotFound.code());
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_keep_the_order_of_the_requests() {
    let rig = Rig::start().await;
    let mut stream = TcpStream::connect(&rig.address).await.unwrap();
    let mut poll = fetch(vec![want(0, 0)]);
    poll.max_wait_ms = 300;
    let mut sent = frame(&poll, FETCH, 1);
    sent.extend(frame(&MetadataRequest::default(), 9, 2));
    sent.extend(frame(&rig.produce_request(0, 1, batch(1, 1)), 9, 3));
    sent.extend(frame(&ApiVersionsRequest::default(), 0, 4));
    // Byte by byte at first: frames do not come in whole.
    for byte in sent.drain(..20) {
        stream.write_all(&[byte]).await.unwrap();
    }
    stream.write_all(&sent).await.unwrap();
    let mut order = Vec::new();
    for _ in 0..3 {
        order.push(correlation_id(&read_frame(&mut stream).await.unwrap()));
    }
    assert_eq!(order, [1, 2, 4], "and none for the produce with acks=0");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_wakes_a_fetch_that_is_ahead_of_it_on_the_connection() {
    let rig = Rig::start().await;
    let mut stream = TcpStream::connect(&rig.address).await.unwrap();
    let mut poll = fetch(vec![want(0, 0)]);
    poll.max_wait_ms = 20_000;
    let mut sent = frame(&poll, FETCH, 1);
    sent.extend(frame(&rig.produce_request(-1, 0, batch(1, 1)), 9, 2));
    stream.write_all(&sent).await.unwrap();
    for expected in [1, 2] {
        let answer = timeout(Duration::from_secs(5), read_frame(&mut stream)).await.unwrap();
        assert_eq!(correlation_id(&answer.unwrap()), expected);
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_served_ends_the_connection_or_says_what_can() {
    let rig = Rig::start().await;
    let header = |key: i16, version: i16| {
        let mut bytes = vec![0, 0, 0, 11];
        bytes.extend(key.to_be_bytes());
        bytes.extend(version.to_be_bytes());
        bytes.extend(7i32.to_be_bytes());
        bytes.extend((-1i16).to_be_bytes());
        // No tagged fields, in flexible versions; otherwise a byte of the body.
        bytes.push(0);
        bytes
    };
    let mut stream = TcpStream::connect(&rig.address).await.unwrap();
    stream.write_all(&header(ApiKey::ApiVersions.code(), 99)).await.unwrap();
    let answer = read_frame(&mut stream).await.unwrap();
    assert_eq!(answer[4..6], ErrorCode::UnsupportedVersion.code().to_be_bytes());
    let produce = [&0i16.to_be_bytes()[..], &0i16.to_be_bytes(), &13i16.to_be_bytes()].concat();
    assert!(answer.windows(6).any(|w| w == produce), "Produce is advertised from 0");
    let cases: [(&str, Vec<u8>); 5] = [
        ("unknown API", header(1234, 0)),
        ("unsupported version", header(ApiKey::Fetch.code(), 99)),
        ("truncated body", header(ApiKey::Fetch.code(), 4)),
        ("negative length", vec![0xff; 4]),
        ("too long", vec![0x7f; 4]),
    ];
    for (case, bytes) in cases {
        let mut stream = TcpStream::connect(&rig.address).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let end = timeout(Duration::from_secs(5), read_frame(&mut stream)).await;
        assert!(end.expect(case).is_none(), "{case}: the connection must end");
    }
    assert_eq!(rig.produce(0, batch(1, 1)).await.0, ErrorCode::None, "others are not disturbed");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_by_kind_and_by_timestamp() {
    let rig = Rig::start().await;
    let before = process::clock::wall_ms();
    for _ in 0..5 {
        rig.produce(0, batch(10, 10)).await;
    }
    let asked = async |timestamp: i64, versions: &[i16]| {
        let request = ListOffsetsRequest {
            topics: vec![ListOffsetsTopic {
                name: TOPIC.into(),
                partitions: vec![ListOffsetsPartition { timestamp, ..Default::default() }],
            }],
            ..Default::default()
        };
        let mut offsets = Vec::new();
        for &version in versions {
            let response = rig.connection.call(&request, version).await.unwrap();
            let partition = &response.topics[0].partitions[0];
            assert_eq!(partition.error_code, 0, "{timestamp} v{version}");
            offsets.push(partition.offset);
        }
        offsets.dedup();
        offsets
    };
    const ALL: &[i16] = &[1, 2, 5, 10, 11];
    assert_eq!(asked(-1, ALL).await, [50]);
    assert_eq!(asked(-2, ALL).await, [0]);
    // Versions that do not have them answer UNSUPPORTED_VERSION.
    assert_eq!(asked(-4, &[8, 11]).await, [0]);
    assert_eq!(asked(-5, &[9, 11]).await, [-1]);
    assert_eq!(asked(before, ALL).await, [0]);
    assert_eq!(asked(before + 3_600_000, ALL).await, [-1]);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_data_and_positions() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start().await;
    for _ in 0..20 {
        rig.produce(0, batch(5, 2_000)).await;
    }
    let Rig { running, connection, dir: data, .. } = rig;
    drop((connection, dir));
    running.stop().await.unwrap();
    assert!(data.path().join(".kafka_cleanshutdown").exists());
    let running = start(config(data.path())).unwrap();
    let address = running.addresses[0].to_string();
    let connection = Connection::connect(&address, Options::default()).await.unwrap();
    let read = async {
        loop {
            let response = connection.call(&fetch(vec![want(0, 0)]), FETCH).await.unwrap();
            let data = partitions(&response)[0].clone();
            if data.error_code == 0 && data.high_watermark == 100 {
                return record_bytes(&data);
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let bytes = timeout(Duration::from_secs(20), read).await.expect("leads again");
    assert!(bytes > 20 * 5 * 2_000);
    drop(connection);
    running.stop().await.unwrap();
}
