//! The generated codec against an interpreter of the notation and against the kafka-protocol crate:
//! random and default messages of every API and version must be the same bytes to all of them.

#![allow(clippy::unwrap_used)]

mod support;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey as PeerKey, RequestKind, ResponseKind};
use support::notation::{Kind, Message};
use support::{Interpreter, Random, schema};
use wire::{AnyRequest, AnyResponse, ApiKey, Reader, Writer};

const SEEDS: u64 = 24;

fn ours(message: &Message, version: i16, bytes: &Bytes) -> Bytes {
    let key = ApiKey::from_i16(message.key.unwrap()).unwrap();
    let mut r = Reader::new(bytes.clone());
    let mut w = Writer::new();
    if message.kind == Kind::Request {
        let decoded = AnyRequest::decode(key, version, &mut r).unwrap();
        assert_eq!(decoded.api_key(), key);
        decoded.encode(&mut w, version).unwrap();
    } else {
        let decoded = AnyResponse::decode(key, version, &mut r).unwrap();
        assert_eq!(decoded.api_key(), key);
        decoded.encode(&mut w, version).unwrap();
    }
    assert!(r.is_empty(), "bytes left over");
    assert_eq!(w.len(), bytes.len(), "announced length");
    w.into_bytes().unwrap()
}

/// `None` where the peer does not know the version.
fn peers(message: &Message, version: i16, bytes: &Bytes) -> Option<BytesMut> {
    let key = PeerKey::try_from(message.key.unwrap()).ok()?;
    let known = key.valid_versions();
    // It announces these two, but has no codec for them.
    let claimed = matches!(key, PeerKey::OffsetCommit | PeerKey::OffsetFetch) && version == 10;
    if claimed || !(known.min..=known.max).contains(&version) {
        return None;
    }
    let mut input = bytes.clone();
    let mut output = BytesMut::new();
    if message.kind == Kind::Request {
        RequestKind::decode(key, &mut input, version)
            .unwrap()
            .encode(&mut output, version)
            .unwrap();
    } else {
        ResponseKind::decode(key, &mut input, version)
            .unwrap()
            .encode(&mut output, version)
            .unwrap();
    }
    assert!(input.is_empty(), "the peer left bytes over");
    Some(output)
}

#[test]
fn every_version_of_every_api_agrees_with_interpreter_and_peer() {
    let schema = schema();
    let mut versions_with_peer = 0;
    let mut versions = 0;
    for message in schema.iter().filter(|m| matches!(m.kind, Kind::Request | Kind::Response)) {
        for version in message.versions.first..=message.versions.last {
            versions += 1;
            let mut has_peer = false;
            for seed in 0..=SEEDS {
                // The last is the message with Kafka's defaults.
                let random = (seed < SEEDS).then(|| Random::new(seed * 1000 + version as u64));
                let bytes = Interpreter { message, version, random }.bytes();
                let bytes = Bytes::from(bytes);
                let context = || format!("{} v{version} seed {seed}: {bytes:02x?}", message.name);
                assert_eq!(ours(message, version, &bytes), bytes, "{}", context());
                if let Some(peer) = peers(message, version, &bytes) {
                    has_peer = true;
                    assert_eq!(peer, bytes, "peer: {}", context());
                }
            }
            versions_with_peer += usize::from(has_peer);
        }
    }
    assert!(versions > 400, "{versions} versions");
    assert!(versions_with_peer * 10 > versions * 9, "{versions_with_peer} of {versions}");
}

/// Default values of ours and the peer's are the same bytes, in every version both know.
macro_rules! defaults_agree {
    ($($name:ident)*) => {
        #[test]
        fn defaults_are_the_peers() {
            $({
                use kafka_protocol::protocol::{Encodable, Message};
                let known = kafka_protocol::messages::$name::VERSIONS;
                let key = ApiKey::from_i16(wire::messages::$name::API_KEY).unwrap();
                for version in key.versions() {
                    if !(known.min..=known.max).contains(&version) {
                        continue;
                    }
                    let mut w = Writer::new();
                    wire::messages::$name::default().encode(&mut w, version).unwrap();
                    let mut peer = BytesMut::new();
                    let default = kafka_protocol::messages::$name::default();
                    default.encode(&mut peer, version).unwrap();
                    assert_eq!(w.into_bytes().unwrap(), peer, "{} v{version}", stringify!($name));
                }
            })*
        }
    };
}

defaults_agree! {
    ProduceRequest ProduceResponse FetchRequest FetchResponse ListOffsetsRequest
    ListOffsetsResponse MetadataRequest MetadataResponse OffsetCommitRequest OffsetCommitResponse
    OffsetFetchRequest OffsetFetchResponse FindCoordinatorRequest FindCoordinatorResponse
    JoinGroupRequest JoinGroupResponse HeartbeatRequest HeartbeatResponse LeaveGroupRequest
    LeaveGroupResponse SyncGroupRequest SyncGroupResponse DescribeGroupsRequest
    DescribeGroupsResponse ListGroupsRequest ListGroupsResponse ApiVersionsRequest
    ApiVersionsResponse CreateTopicsRequest CreateTopicsResponse DeleteTopicsRequest
    DeleteTopicsResponse DeleteRecordsRequest DeleteRecordsResponse InitProducerIdRequest
    InitProducerIdResponse OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse
    AddPartitionsToTxnRequest AddPartitionsToTxnResponse EndTxnRequest EndTxnResponse
    WriteTxnMarkersRequest WriteTxnMarkersResponse TxnOffsetCommitRequest
    TxnOffsetCommitResponse DescribeConfigsRequest DescribeConfigsResponse AlterConfigsRequest
    AlterConfigsResponse IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse
    CreatePartitionsRequest CreatePartitionsResponse DeleteGroupsRequest DeleteGroupsResponse
    ElectLeadersRequest ElectLeadersResponse AlterPartitionReassignmentsRequest
    AlterPartitionReassignmentsResponse ListPartitionReassignmentsRequest
    ListPartitionReassignmentsResponse DescribeClusterRequest DescribeClusterResponse
    DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse ConsumerGroupHeartbeatRequest
    ConsumerGroupHeartbeatResponse
}

#[test]
fn header_versions_agree_with_the_peer() {
    for key in ApiKey::all() {
        let Ok(peer) = PeerKey::try_from(key.code()) else { continue };
        let known = peer.valid_versions();
        for version in key.versions().filter(|v| (known.min..=known.max).contains(v)) {
            assert_eq!(key.request_header_version(version), peer.request_header_version(version));
            assert_eq!(key.response_header_version(version), peer.response_header_version(version));
        }
    }
}

/// The stored records and embedded messages, against the interpreter alone.
macro_rules! stored_agree {
    ($($name:ident)*) => {
        #[test]
        fn stored_messages_agree_with_the_interpreter() {
            let schema = schema();
            let mut stored: Vec<&Message> = schema.iter().collect();
            stored.retain(|m| matches!(m.kind, Kind::Record | Kind::Data));
            assert_eq!(stored.len(), [$(stringify!($name)),*].len(), "one of them is not tested");
            $({
                let message = stored.iter().find(|m| m.name == stringify!($name)).unwrap();
                for version in wire::messages::$name::VERSIONS {
                    for seed in 0..=SEEDS {
                        let random = (seed < SEEDS).then(|| Random::new(seed * 7 + 1));
                        let bytes = Interpreter { message, version, random }.bytes();
                        let mut r = Reader::new(bytes.clone());
                        let decoded = wire::messages::$name::decode(&mut r, version).unwrap();
                        let mut w = Writer::new();
                        decoded.encode(&mut w, version).unwrap();
                        assert_eq!(w.into_bytes().unwrap(), bytes, "{} v{version}", message.name);
                        if seed == SEEDS {
                            assert_eq!(decoded, Default::default(), "{}", message.name);
                        }
                    }
                }
            })*
        }
    };
}

stored_agree! {
    OffsetCommitKey OffsetCommitValue LegacyOffsetCommitKey LegacyOffsetCommitValue
    GroupMetadataKey GroupMetadataValue ConsumerGroupMetadataKey ConsumerGroupMetadataValue
    ConsumerGroupPartitionMetadataKey ConsumerGroupPartitionMetadataValue
    ConsumerGroupMemberMetadataKey ConsumerGroupMemberMetadataValue
    ConsumerGroupTargetAssignmentMetadataKey ConsumerGroupTargetAssignmentMetadataValue
    ConsumerGroupTargetAssignmentMemberKey ConsumerGroupTargetAssignmentMemberValue
    ConsumerGroupCurrentMemberAssignmentKey ConsumerGroupCurrentMemberAssignmentValue
    ConsumerGroupRegularExpressionKey ConsumerGroupRegularExpressionValue
    TransactionLogKey TransactionLogValue ConsumerProtocolAssignment ConsumerProtocolSubscription
    EndTxnMarker
}
