//! What a client cannot do by saying that it is a broker, on the listener that brokers share with
//! clients; and that a broker which proves itself can.
#![allow(clippy::unwrap_used)]

mod support;

use base::ErrorCode;
use bytes::Bytes;
use client::{Connection, Options};
use server::peer::proof::{AUTHENTICATE_VERSION, HANDSHAKE_VERSION, MECHANISM};
use support::*;
use wire::Str;
use wire::messages::fetch_request::ReplicaState;
use wire::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use wire::messages::*;

const SELF: i32 = 1;
const OFFSETS: &str = "__consumer_offsets";

/// A fetch that says to come from the replica on this broker, in the fields of every version.
fn as_replica(rig: &Rig, id: i32) -> FetchRequest {
    let mut request = fetch(vec![want(0, 0)]);
    request.replica_id = id;
    request.topics[0].topic_id = rig.topic_id;
    request
}

fn code_of(response: &FetchResponse) -> ErrorCode {
    assert_eq!(response.error_code, 0);
    ErrorCode::from_i16(partitions(response)[0].error_code).unwrap()
}

async fn fetch_as(connection: &Connection, rig: &Rig, id: i32, version: i16) -> ErrorCode {
    let mut request = as_replica(rig, id);
    if version >= 15 {
        request.replica_id = -1;
        request.replica_state = ReplicaState { replica_id: id, replica_epoch: -1 };
    }
    code_of(&connection.call(&request, version).await.unwrap())
}

async fn epoch_as(connection: &Connection, replica_id: i32) -> ErrorCode {
    let asked =
        OffsetForLeaderPartition { partition: 0, current_leader_epoch: -1, ..Default::default() };
    let topic = OffsetForLeaderTopic { topic: TOPIC.into(), partitions: vec![asked] };
    let request = OffsetForLeaderEpochRequest { replica_id, topics: vec![topic] };
    let response = connection.call(&request, 4).await.unwrap();
    ErrorCode::from_i16(response.topics[0].partitions[0].error_code).unwrap()
}

/// Into the topic that belongs to the group coordinator.
async fn produce_offsets(rig: &Rig, connection: &Connection) -> ErrorCode {
    let find = FindCoordinatorRequest { key: "group".into(), ..Default::default() };
    loop {
        let found = rig.connection.call(&find, 3).await.unwrap();
        if found.error_code == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let records = Some(Bytes::from(batch(1, 10)));
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 5_000,
        topic_data: vec![TopicProduceData {
            name: OFFSETS.into(),
            partition_data: vec![PartitionProduceData { index: 0, records }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = connection.call(&request, 9).await.unwrap();
    ErrorCode::from_i16(response.responses[0].partition_responses[0].error_code).unwrap()
}

async fn connect(rig: &Rig, client_id: &str) -> Connection {
    let options = Options { client_id: client_id.into(), ..Options::default() };
    Connection::connect(&rig.address, options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_no_replica_whatever_it_says() {
    let rig = Rig::start().await;
    rig.produce(0, batch(3, 10)).await;
    for version in FetchRequest::VERSIONS {
        let code = fetch_as(&rig.connection, &rig, SELF, version).await;
        assert_eq!(code, ErrorCode::TopicAuthorizationFailed, "version {version}");
        assert_eq!(fetch_as(&rig.connection, &rig, -1, version).await, ErrorCode::None);
    }
    assert_eq!(epoch_as(&rig.connection, SELF).await, ErrorCode::TopicAuthorizationFailed);
    assert_eq!(epoch_as(&rig.connection, -1).await, ErrorCode::None);
    assert_eq!(epoch_as(&rig.connection, -2).await, ErrorCode::None, "a debugging consumer");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_proves_itself_is_who_it_proved_to_be() {
    let rig = Rig::start().await;
    rig.produce(0, batch(3, 10)).await;
    let connection = connect(&rig, "broker-1-fetcher").await;
    rig.prove(&connection).await;
    for version in FetchRequest::VERSIONS {
        // A leader takes no fetch from itself, which is an answer to a replica.
        let code = fetch_as(&connection, &rig, SELF, version).await;
        assert_ne!(code, ErrorCode::TopicAuthorizationFailed, "version {version}");
        let code = fetch_as(&connection, &rig, SELF + 1, version).await;
        assert_eq!(code, ErrorCode::TopicAuthorizationFailed, "version {version}");
    }
    assert_eq!(epoch_as(&connection, SELF).await, ErrorCode::None);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_internal_topic_is_written_by_brokers_only() {
    let rig = Rig::start_with(&[("offsets.topic.replication.factor", "1")]).await;
    let admin = connect(&rig, "__admin_client").await;
    assert_eq!(produce_offsets(&rig, &rig.connection).await, ErrorCode::InvalidTopicException);
    assert_eq!(produce_offsets(&rig, &admin).await, ErrorCode::InvalidTopicException);
    rig.prove(&admin).await;
    assert_eq!(produce_offsets(&rig, &admin).await, ErrorCode::None);
    rig.stop().await;
}

/// A marker for a producer that was never here.
async fn marker_as(connection: &Connection) -> ErrorCode {
    let topic = WritableTxnMarkerTopic { name: TOPIC.into(), partition_indexes: vec![0] };
    let marker = WritableTxnMarker { producer_id: 7, topics: vec![topic], ..Default::default() };
    let request = WriteTxnMarkersRequest { markers: vec![marker] };
    let response = connection.call(&request, 1).await.unwrap();
    ErrorCode::from_i16(response.markers[0].topics[0].partitions[0].error_code).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_ended_by_brokers_only() {
    let rig = Rig::start().await;
    let refused = marker_as(&rig.connection).await;
    assert_eq!(refused, ErrorCode::ClusterAuthorizationFailed);
    let broker = connect(&rig, "broker-1-txn").await;
    rig.prove(&broker).await;
    assert_eq!(marker_as(&broker).await, ErrorCode::None);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_proof_is_refused_and_makes_nobody_a_broker() {
    let rig = Rig::start().await;
    let handshake = |mechanism: &str| SaslHandshakeRequest { mechanism: Str::from(mechanism) };
    let refused = rig.connection.call(&handshake("PLAIN"), HANDSHAKE_VERSION).await.unwrap();
    assert_eq!(refused.error_code, ErrorCode::UnsupportedSaslMechanism.code());
    let taken = rig.connection.call(&handshake(MECHANISM), HANDSHAKE_VERSION).await.unwrap();
    assert_eq!(taken.error_code, 0);
    let garbage = SaslAuthenticateRequest { auth_bytes: Bytes::from_static(b"let me in") };
    for code in [ErrorCode::SaslAuthenticationFailed, ErrorCode::IllegalSaslState] {
        let answer = rig.connection.call(&garbage, AUTHENTICATE_VERSION).await.unwrap();
        assert_eq!(answer.error_code, code.code());
    }
    let code = fetch_as(&rig.connection, &rig, SELF, 12).await;
    assert_eq!(code, ErrorCode::TopicAuthorizationFailed);
    rig.stop().await;
}
