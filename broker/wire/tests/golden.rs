//! Messages as Apache Kafka 4.3.1's own classes write them (the hex was printed by them), and the
//! rules of encoding that no byte comparison shows.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use base::TopicId;
use bytes::Bytes;
use wire::header::{RequestHeader, ResponseHeader};
use wire::messages::*;
use wire::{
    AnyRequest, AnyResponse, ApiKey, DecodeError, EncodeError, FileRange, Message, Part, Reader,
    Records, Writer, encode_request, encode_response,
};

const ID: TopicId = TopicId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
const RECORDS: Bytes = Bytes::from_static(&[1, 2, 3]);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn encoded<M: Message>(message: &M, version: i16) -> Bytes {
    let mut w = Writer::new();
    message.encode(&mut w, version).unwrap();
    w.into_bytes().unwrap()
}

/// Encodes to Kafka's bytes, and decodes from them to a message that encodes to them again.
#[track_caller]
fn check<M: Message>(message: &M, version: i16, kafka: &str) {
    let bytes = encoded(message, version);
    assert_eq!(hex(&bytes), kafka, "{} v{version}", M::NAME);
    let decoded = M::decode(&mut Reader::new(bytes), version).unwrap();
    assert_eq!(hex(&encoded(&decoded, version)), kafka, "{} v{version}, decoded", M::NAME);
}

#[test]
fn headers() {
    let mut header = RequestHeader {
        api_key: ApiKey::Fetch,
        api_version: 16,
        correlation_id: 7,
        client_id: Some("me".into()),
    };
    for (version, client_id, kafka) in
        [(16, Some("me".into()), "000100100000000700026d6500"), (11, None, "0001000b00000007ffff")]
    {
        header.api_version = version;
        header.client_id = client_id;
        let mut w = Writer::new();
        header.encode(&mut w).unwrap();
        let bytes = w.into_bytes().unwrap();
        assert_eq!(hex(&bytes), kafka);
        assert_eq!(RequestHeader::decode(&mut Reader::new(bytes)).as_ref(), Ok(&header));
    }
}

#[test]
fn header_versions() {
    for (key, version, request, response) in [
        (ApiKey::Produce, 8, 1, 0),
        (ApiKey::Produce, 9, 2, 1),
        (ApiKey::ApiVersions, 2, 1, 0),
        (ApiKey::ApiVersions, 3, 2, 0),
        (ApiKey::ApiVersions, 99, 2, 0),
        (ApiKey::SaslHandshake, 1, 1, 0),
        (ApiKey::OffsetDelete, 0, 1, 0),
        (ApiKey::DescribeCluster, 0, 2, 1),
    ] {
        assert_eq!(key.request_header_version(version), request, "{key} v{version}");
        assert_eq!(key.response_header_version(version), response, "{key} v{version}");
    }
    for (header_version, bytes) in [(0, &[0, 0, 0, 9][..]), (1, &[0, 0, 0, 9, 0][..])] {
        let mut w = Writer::new();
        ResponseHeader { correlation_id: 9 }.encode(&mut w, header_version);
        assert_eq!(w.into_bytes().unwrap(), bytes);
        let mut r = Reader::new(bytes.to_vec());
        let decoded = ResponseHeader::decode(&mut r, header_version).unwrap();
        assert_eq!((decoded.correlation_id, r.remaining()), (9, 0));
    }
    let unknown = RequestHeader::decode(&mut Reader::new(vec![0, 4, 0, 0, 0, 0, 0, 1, 0, 0]));
    assert_eq!(unknown, Err(DecodeError::UnknownApiKey { key: 4 }));
}

#[test]
fn version_ranges() {
    for (key, versions) in [
        (ApiKey::Produce, 3..=13),
        (ApiKey::Fetch, 4..=18),
        (ApiKey::ListOffsets, 1..=11),
        (ApiKey::Metadata, 0..=13),
        (ApiKey::OffsetCommit, 2..=10),
        (ApiKey::JoinGroup, 0..=9),
        (ApiKey::ApiVersions, 0..=5),
        // Version 6 exists, but is unstable.
        (ApiKey::InitProducerId, 0..=5),
        (ApiKey::EndTxn, 0..=5),
    ] {
        assert_eq!(key.versions(), versions, "{key}");
    }
    assert_eq!(ApiKey::Produce.advertised_versions(), 0..=13);
    assert_eq!(ApiKey::Fetch.advertised_versions(), 4..=18);
    for key in ApiKey::all() {
        assert_eq!(ApiKey::from_i16(key.code()), Some(key));
    }
    // Retired, and KRaft's own.
    for key in [-1, 4, 5, 6, 7, 52, 56, 58, 62, 83, 95] {
        assert_eq!(ApiKey::from_i16(key), None, "{key}");
    }
}

#[test]
fn produce() {
    for (version, kafka) in [
        (3, "ffffffff000005dc00000001000174000000010000000400000003010203"),
        (12, "00ffff000005dc020274020000000404010203000000"),
        (13, "00ffff000005dc020102030405060708090a0b0c0d0e0f10020000000404010203000000"),
    ] {
        let partition = produce_request::PartitionProduceData { index: 4, records: Some(RECORDS) };
        let topic = produce_request::TopicProduceData {
            name: "t".into(),
            topic_id: ID,
            partition_data: vec![partition],
        };
        let topic_data = vec![topic];
        let request =
            ProduceRequest { acks: -1, timeout_ms: 1500, topic_data, transactional_id: None };
        check(&request, version, kafka);
    }
}

fn fetch_response(version: i16, records: Records) -> FetchResponse {
    use wire::messages::fetch_response::*;
    let mut partition = PartitionData {
        partition_index: 2,
        high_watermark: 10,
        last_stable_offset: 9,
        log_start_offset: 1,
        aborted_transactions: None,
        records,
        ..Default::default()
    };
    if version > 4 {
        let aborted = AbortedTransaction { producer_id: 5, first_offset: 6 };
        partition.aborted_transactions = Some(vec![aborted]);
    }
    let mut response = FetchResponse { throttle_time_ms: 1, ..Default::default() };
    if version >= 7 {
        response.session_id = 77;
    }
    if version >= 12 {
        partition.diverging_epoch = EpochEndOffset { epoch: 3, end_offset: 8 };
        partition.current_leader = LeaderIdAndEpoch { leader_id: 1, leader_epoch: 3 };
        let node = NodeEndpoint { node_id: 1, host: "h".into(), port: 9092, rack: None };
        response.node_endpoints = vec![node];
    }
    let partitions = vec![partition];
    response.responses =
        vec![FetchableTopicResponse { topic: "t".into(), topic_id: ID, partitions }];
    response
}

#[test]
fn fetch() {
    for (version, kafka) in [
        (
            4,
            "000000010000000100017400000001000000020000000000000000000a0000000000000009ffffffff\
             00000003010203",
        ),
        (
            11,
            "0000000100000000004d0000000100017400000001000000020000000000000000000a000000000000\
             000900000000000000010000000100000000000000050000000000000006ffffffff00000003010203",
        ),
        (
            16,
            "0000000100000000004d020102030405060708090a0b0c0d0e0f100200000002000000000000000000\
             0a00000000000000090000000000000001020000000000000005000000000000000600ffffffff0401\
             020302000d0000000300000000000000080001090000000100000003000001000d0200000001026800\
             0023840000",
        ),
    ] {
        check(&fetch_response(version, Records::Bytes(RECORDS)), version, kafka);
    }
}

#[test]
fn api_versions() {
    let key = api_versions_response::ApiVersion { api_key: 18, min_version: 0, max_version: 4 };
    let mut response =
        ApiVersionsResponse { error_code: 35, api_keys: vec![key], ..Default::default() };
    check(&response, 0, "002300000001001200000004");
    response.finalized_features_epoch = 12;
    response.finalized_features = vec![api_versions_response::FinalizedFeatureKey {
        name: "group.version".into(),
        max_version_level: 1,
        min_version_level: 1,
    }];
    let kafka = "0023020012000000040000000000020108000000000000000c0214020e67726f75702e76657273\
                 696f6e0001000100";
    check(&response, 3, kafka);
    // The features are ignorable: an old client gets the response without them.
    assert_eq!(hex(&encoded(&response, 0)), "002300000001001200000004");
}

#[test]
fn stored_records() {
    let key = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 3 };
    check(&key, 0, "00016700017400000003");
    assert_eq!(OffsetCommitKey::RECORD_TYPE, 1);
    let value = OffsetCommitValue {
        offset: 42,
        leader_epoch: 2,
        metadata: "m".into(),
        commit_timestamp: 1000,
        topic_id: ID,
        ..Default::default()
    };
    check(&value, 3, "000000000000002a0000000200016d00000000000003e8");
    let kafka = "000000000000002a00000002026d00000000000003e80100100102030405060708090a0b0c0d0e\
                 0f10";
    check(&value, 4, kafka);
    // A nullable struct in a tag is marked in another way than outside of one.
    let member = ConsumerGroupMemberMetadataValue {
        instance_id: None,
        rack_id: None,
        client_id: "c".into(),
        client_host: "/h".into(),
        subscribed_topic_names: vec!["t".into()],
        subscribed_topic_regex: None,
        server_assignor: None,
        classic_member_metadata: None,
        ..Default::default()
    };
    check(&member, 0, "00000263032f6802027400ffffffff0001000100");
}

#[test]
fn a_field_that_matters_is_not_dropped() {
    let mut w = Writer::new();
    let response = fetch_response(11, Records::empty());
    let error = EncodeError::UnsupportedField { field: "FetchResponse.session_id", version: 6 };
    assert_eq!(response.encode(&mut w, 6), Err(error));
    let request = JoinGroupRequest { group_instance_id: Some("i".into()), ..Default::default() };
    let field = "JoinGroupRequest.group_instance_id";
    let error = EncodeError::UnsupportedField { field, version: 4 };
    assert_eq!(request.encode(&mut Writer::new(), 4), Err(error));
    assert_eq!(request.encode(&mut Writer::new(), 5), Ok(()));
    let request = MetadataRequest { topics: None, ..Default::default() };
    let error = EncodeError::UnexpectedNull { field: "MetadataRequest.topics", version: 0 };
    assert_eq!(request.encode(&mut Writer::new(), 0), Err(error));
    let error = EncodeError::UnsupportedVersion { message: "MetadataRequest", version: 14 };
    assert_eq!(request.encode(&mut Writer::new(), 14), Err(error));
    let error = DecodeError::UnsupportedVersion { message: "ProduceRequest", version: 2 };
    assert_eq!(ProduceRequest::decode(&mut Reader::new(Bytes::new()), 2), Err(error));
    let long = HeartbeatRequest { group_id: "x".repeat(0x8000).into(), ..Default::default() };
    let error = EncodeError::StringTooLong { length: 0x8000 };
    assert_eq!(long.encode(&mut Writer::new(), 4), Err(error));
}

#[test]
fn bytes_after_a_message_are_ignored() {
    let mut r = Reader::new([&encoded(&HeartbeatRequest::default(), 4)[..], &[1, 2]].concat());
    assert_eq!(HeartbeatRequest::decode(&mut r, 4), Ok(HeartbeatRequest::default()));
    assert_eq!(r.remaining(), 2);
}

#[test]
fn decoded_bytes_are_slices_of_the_frame() {
    let records = Bytes::from(vec![5; 5000]);
    let frame = encoded(&fetch_response(16, Records::Bytes(records)), 16);
    let range = frame.as_ptr_range();
    let mut decoded = FetchResponse::decode(&mut Reader::new(frame), 16).unwrap();
    let records = decoded.responses.remove(0).partitions.remove(0).records.into_bytes().unwrap();
    assert_eq!(records.len(), 5000);
    assert!(range.contains(&records.as_ptr()));
}

#[test]
fn records_of_a_response_come_out_as_parts() {
    let file: Arc<dyn std::any::Any + Send + Sync> = Arc::new("segment");
    let range = |position, len| FileRange { file: file.clone(), position, len };
    let large = Bytes::from(vec![7; 10_000]);
    let records = Records::Many(vec![
        Part::File(range(100, 50_000)),
        Part::Bytes(large.clone()),
        Part::File(range(0, 300)),
    ]);
    let response = AnyResponse::from(fetch_response(16, records));
    let parts = encode_response(&response, 16, 3).unwrap();
    let [Part::Bytes(head), Part::File(first), Part::Bytes(middle), Part::File(last), tail] =
        &parts[..]
    else {
        panic!("{parts:?}");
    };
    assert_eq!((first, last), (&range(100, 50_000), &range(0, 300)));
    assert_eq!(middle.as_ptr(), large.as_ptr(), "large bytes are not copied");
    let sum: usize = parts.iter().map(Part::len).sum();
    assert_eq!(head[..4], (sum as i32 - 4).to_be_bytes());
    // What follows the records is whole: with the ranges filled in, it decodes.
    let mut bytes = head[4..].to_vec();
    bytes.resize(bytes.len() + 50_000, 1);
    bytes.extend_from_slice(middle);
    bytes.resize(bytes.len() + 300, 2);
    let Part::Bytes(tail) = tail else { panic!("{tail:?}") };
    bytes.extend_from_slice(tail);
    let mut r = Reader::new(bytes);
    assert_eq!(ResponseHeader::decode(&mut r, 1).unwrap().correlation_id, 3);
    let mut decoded = FetchResponse::decode(&mut r, 16).unwrap();
    let partition = decoded.responses.remove(0).partitions.remove(0);
    assert_eq!(partition.records.len(), 60_300);
    assert_eq!(partition.current_leader.leader_epoch, 3);
    assert_eq!(decoded.node_endpoints.len(), 1);
}

#[test]
fn a_large_tagged_field_is_sized_with_its_parts() {
    // Two bytes of size, and one part that is kept apart inside the tagged field.
    let large = Bytes::from(vec![9; 5000]);
    let mut w = Writer::new();
    let mark = w.begin_tag(3);
    w.bytes(true, &large).unwrap();
    w.end_tag(mark).unwrap();
    w.i8(4);
    let mut r = Reader::new([&[1][..], &w.into_bytes().unwrap()].concat());
    let mut seen = None;
    r.tags(|r, tag| {
        seen = Some((tag, r.bytes(true, "test")?));
        Ok(true)
    })
    .unwrap();
    assert_eq!(seen, Some((3, large)));
    assert_eq!(r.i8(), Ok(4));
}

#[test]
fn whole_frames() {
    let request = HeartbeatRequest { group_id: "g".into(), ..Default::default() };
    let parts = encode_request(&request, 4, 11, Some("me".into())).unwrap();
    let [Part::Bytes(frame)] = &parts[..] else { panic!("{parts:?}") };
    assert_eq!(frame[..4], (frame.len() as i32 - 4).to_be_bytes());
    let mut r = Reader::new(frame.slice(4..));
    let header = RequestHeader::decode(&mut r).unwrap();
    assert_eq!((header.api_key, header.api_version), (ApiKey::Heartbeat, 4));
    let body = AnyRequest::decode(header.api_key, header.api_version, &mut r).unwrap();
    assert_eq!(body, AnyRequest::Heartbeat(request));
}
