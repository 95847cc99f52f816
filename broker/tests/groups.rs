//! Classic groups and offsets over the wire, against one broker in this process, and again after
//! it has been stopped and started: what was committed is served from the log.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::time::Duration;

use base::ErrorCode;
use broker::boot::{Running, start};
use bytes::Bytes;
use client::{Connection, Options};
use support::config_with;
use tokio::time::{sleep, timeout};
use wire::messages::create_topics_request::CreatableTopic;
use wire::messages::join_group_request::JoinGroupRequestProtocol;
use wire::messages::leave_group_request::MemberIdentity;
use wire::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use wire::messages::sync_group_request::SyncGroupRequestAssignment;
use wire::messages::*;

const TOPIC: &str = "orders";

const CONFIG: &[(&str, &str)] = &[
    ("node.id", "7"),
    ("process.roles", "broker,controller"),
    ("offsets.topic.num.partitions", "4"),
    ("offsets.topic.replication.factor", "1"),
    // Two members join within it, on a busy machine too.
    ("group.initial.rebalance.delay.ms", "1000"),
    ("group.min.session.timeout.ms", "500"),
];

async fn start_broker(dir: &Path) -> (Running, Connection) {
    let running = start(config_with(dir, CONFIG)).unwrap();
    let address = running.addresses[0].to_string();
    let connection = Connection::connect(&address, Options::default()).await.unwrap();
    (running, connection)
}

/// Asks until the coordinator is there.
async fn find_coordinator(connection: &Connection, group: &str) {
    let request =
        FindCoordinatorRequest { coordinator_keys: vec![group.into()], ..Default::default() };
    until(async || {
        let found = connection.call(&request, 6).await.unwrap();
        let coordinator = &found.coordinators[0];
        (coordinator.error_code == 0).then(|| assert_eq!(coordinator.node_id, 7))
    })
    .await;
    // The leader may still be loading what it leads.
    until(async || {
        let beat = HeartbeatRequest { group_id: group.into(), ..Default::default() };
        let error = connection.call(&beat, 4).await.unwrap().error_code;
        let not_yet = [ErrorCode::CoordinatorLoadInProgress, ErrorCode::NotCoordinator];
        (!not_yet.iter().any(|e| e.code() == error)).then_some(())
    })
    .await;
}

async fn until<T>(mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), wait).await.expect("in time")
}

async fn create_topic(connection: &Connection) {
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: TOPIC.into(),
            num_partitions: 2,
            replication_factor: 1,
            ..Default::default()
        }],
        timeout_ms: 5_000,
        ..Default::default()
    };
    until(async || {
        let created = connection.call(&request, 7).await.unwrap();
        let code = created.topics[0].error_code;
        (code == 0 || code == ErrorCode::TopicAlreadyExists.code()).then_some(())
    })
    .await;
}

fn join(group: &str, member_id: &str, instance: Option<&str>) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id: member_id.into(),
        group_instance_id: instance.map(Into::into),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: Bytes::from_static(b"\0\0\0\0\0\x01\0\x06orders\0\0\0\0"),
        }],
        ..Default::default()
    }
}

/// A dynamic member's joins: for its id, and with it until there are two members. On a machine that
/// stands still, the first may be alone for a generation.
async fn join_dynamic(connection: &Connection, group: &str) -> JoinGroupResponse {
    let given = connection.call(&join(group, "", None), 9).await.unwrap();
    assert_eq!(given.error_code, ErrorCode::MemberIdRequired.code());
    loop {
        let joined = connection.call(&join(group, &given.member_id, None), 9).await.unwrap();
        assert_eq!(joined.error_code, 0);
        if joined.leader != joined.member_id || joined.members.len() == 2 {
            return joined;
        }
    }
}

async fn sync(
    connection: &Connection,
    group: &str,
    joined: &JoinGroupResponse,
    assignments: &[(&str, &'static [u8])],
) -> SyncGroupResponse {
    let assignment = |(member, bytes): &(&str, &'static [u8])| SyncGroupRequestAssignment {
        member_id: (*member).into(),
        assignment: Bytes::from_static(bytes),
    };
    let request = SyncGroupRequest {
        group_id: group.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        protocol_type: joined.protocol_type.clone(),
        protocol_name: joined.protocol_name.clone(),
        assignments: assignments.iter().map(assignment).collect(),
        ..Default::default()
    };
    connection.call(&request, 5).await.unwrap()
}

async fn commit(connection: &Connection, joined: Option<&JoinGroupResponse>, offset: i64) -> i16 {
    let partition = OffsetCommitRequestPartition {
        partition_index: 1,
        committed_offset: offset,
        committed_metadata: Some("note".into()),
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: TOPIC.into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: joined.map_or(-1, |j| j.generation_id),
        member_id: joined.map(|j| j.member_id.clone()).unwrap_or_default(),
        topics: vec![topic],
        ..Default::default()
    };
    let response = connection.call(&request, 9).await.unwrap();
    response.topics[0].partitions[0].error_code
}

/// The committed offset as every shape of the request tells it.
async fn committed(connection: &Connection) -> i64 {
    let partition_indexes = vec![0, 1];
    let old = OffsetFetchRequest {
        group_id: "g".into(),
        topics: Some(vec![OffsetFetchRequestTopic { name: TOPIC.into(), partition_indexes }]),
        ..Default::default()
    };
    let fetched = connection.call(&old, 5).await.unwrap();
    assert_eq!((fetched.error_code, fetched.topics[0].partitions[0].committed_offset), (0, -1));
    let offset = fetched.topics[0].partitions[1].committed_offset;
    for (version, topics) in [
        (8, None),
        (8, Some(OffsetFetchRequestTopics { name: TOPIC.into(), ..Default::default() })),
        (10, None),
    ] {
        let topics =
            topics.map(|t| vec![OffsetFetchRequestTopics { partition_indexes: vec![1], ..t }]);
        let group = OffsetFetchRequestGroup { group_id: "g".into(), topics, ..Default::default() };
        let new = OffsetFetchRequest { groups: vec![group], ..Default::default() };
        let fetched = connection.call(&new, version).await.unwrap();
        let group = &fetched.groups[0];
        assert_eq!(group.error_code, 0);
        let partition = &group.topics[0].partitions[0];
        assert_eq!((partition.partition_index, partition.committed_offset), (1, offset));
        assert_eq!(partition.metadata.as_deref(), Some("note"));
        assert_eq!(group.topics[0].topic_id.is_zero(), version < 10);
    }
    offset
}

async fn state(connection: &Connection, group: &str) -> (String, usize) {
    let request = DescribeGroupsRequest { groups: vec![group.into()], ..Default::default() };
    let described = connection.call(&request, 6).await.unwrap();
    (described.groups[0].group_state.to_string(), described.groups[0].members.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_live_on_the_wire_and_outlive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (running, connection) = start_broker(dir.path()).await;
    create_topic(&connection).await;
    find_coordinator(&connection, "g").await;

    let (a, b) = tokio::join!(join_dynamic(&connection, "g"), join_dynamic(&connection, "g"));
    assert_eq!(a.generation_id, b.generation_id);
    let (leader, follower) = if a.leader == a.member_id { (&a, &b) } else { (&b, &a) };
    assert_eq!((leader.members.len(), follower.members.len()), (2, 0));
    let given: [(&str, &'static [u8]); 2] =
        [(&leader.member_id, b"leader's"), (&follower.member_id, b"follower's")];
    let (of_follower, of_leader) = tokio::join!(
        sync(&connection, "g", follower, &[]),
        sync(&connection, "g", leader, &given),
    );
    assert_eq!((&of_leader.assignment[..], of_leader.error_code), (&b"leader's"[..], 0));
    assert_eq!((&of_follower.assignment[..], of_follower.error_code), (&b"follower's"[..], 0));

    assert_eq!(commit(&connection, None, 1).await, ErrorCode::UnknownMemberId.code());
    assert_eq!(commit(&connection, Some(leader), 41).await, 0);
    assert_eq!(commit(&connection, Some(follower), 42).await, 0);
    assert_eq!(committed(&connection).await, 42);
    assert_eq!(state(&connection, "g").await, ("Stable".to_owned(), 2));
    assert_eq!(state(&connection, "none").await, ("Dead".to_owned(), 0));
    let listed = connection.call(&ListGroupsRequest::default(), 5).await.unwrap();
    assert_eq!((listed.groups.len(), &*listed.groups[0].group_type), (1, "classic"));
    let (positions, omitted) = running.broker.groups.positions(10).await;
    assert_eq!((positions.len(), positions[0].offset, omitted), (1, 42, 0));
    let none = running.broker.groups.positions(0).await;
    assert_eq!(none, (Vec::new(), 1), "there are more than may be told");

    running.stop().await.unwrap();
    let (running, connection) = start_broker(dir.path()).await;
    find_coordinator(&connection, "g").await;
    assert_eq!(state(&connection, "g").await, ("Stable".to_owned(), 2));
    assert_eq!(committed(&connection).await, 42);
    let again = sync(&connection, "g", follower, &[]).await;
    assert_eq!((&again.assignment[..], again.error_code), (&b"follower's"[..], 0));
    leave_and_delete(&connection, leader, follower).await;
    running.stop().await.unwrap();
}

async fn leave_and_delete(
    connection: &Connection,
    leader: &JoinGroupResponse,
    follower: &JoinGroupResponse,
) {
    let delete = DeleteGroupsRequest { groups_names: vec!["g".into()] };
    let result = connection.call(&delete, 2).await.unwrap();
    assert_eq!(result.results[0].error_code, ErrorCode::NonEmptyGroup.code());
    let member = |j: &JoinGroupResponse| MemberIdentity {
        member_id: j.member_id.clone(),
        ..Default::default()
    };
    let leave = LeaveGroupRequest {
        group_id: "g".into(),
        members: vec![member(leader), member(follower)],
        ..Default::default()
    };
    let left = connection.call(&leave, 5).await.unwrap();
    assert!(left.members.iter().all(|m| m.error_code == 0));
    assert_eq!(state(connection, "g").await, ("Empty".to_owned(), 0));
    assert_eq!(connection.call(&delete, 2).await.unwrap().results[0].error_code, 0);
    assert_eq!(state(connection, "g").await, ("Dead".to_owned(), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_member_is_out_after_its_session() {
    let dir = tempfile::tempdir().unwrap();
    let (running, connection) = start_broker(dir.path()).await;
    find_coordinator(&connection, "quick").await;
    // From the join to the sync a member says nothing, either.
    let short = JoinGroupRequest { session_timeout_ms: 2_000, ..join("quick", "", Some("static")) };
    let joined = connection.call(&short, 9).await.unwrap();
    assert_eq!(joined.error_code, 0);
    let synced = sync(&connection, "quick", &joined, &[(&joined.member_id, b"all")]).await;
    assert_eq!(&synced.assignment[..], b"all");
    until(async || (state(&connection, "quick").await == ("Empty".to_owned(), 0)).then_some(()))
        .await;
    running.stop().await.unwrap();
}
