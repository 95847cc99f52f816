//! What rules of access let a client do, resource by resource, over real connections: the codes and
//! the visible names are those of Kafka's authorizer.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use authorizer::{AclFilter, Operation, Permission, ResourceType};
use base::ErrorCode;
use client::{Connection, Options};
use support::*;
use wire::messages::create_topics_request::CreatableTopic;
use wire::messages::delete_topics_request::DeleteTopicState;
use wire::messages::metadata_request::MetadataRequestTopic;
use wire::messages::metadata_response::MetadataResponseTopic;
use wire::messages::*;

use ResourceType::{Cluster, Group, Topic};

const HIDDEN: &str = "hidden";
const GROUP: &str = "readers";
const DENIED: ErrorCode = ErrorCode::TopicAuthorizationFailed;

fn code(code: i16) -> ErrorCode {
    ErrorCode::from_i16(code).unwrap()
}

fn topic(name: &str) -> CreatableTopic {
    CreatableTopic {
        name: name.into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    }
}

async fn create(rig: &Rig, name: &str) -> create_topics_response::CreatableTopicResult {
    let topics = vec![topic(name)];
    let request = CreateTopicsRequest { topics, timeout_ms: 5_000, ..Default::default() };
    rig.connection.call(&request, 7).await.unwrap().topics.remove(0)
}

/// A broker where nobody may do anything, with two topics.
async fn closed() -> Rig {
    let rig = Rig::start_with(&[
        ("authorizer.class.name", AUTHORIZER),
        ("allow.everyone.if.no.acl.found", "true"),
        ("offsets.topic.num.partitions", "1"),
        ("offsets.topic.replication.factor", "1"),
    ])
    .await;
    assert_eq!(create(&rig, HIDDEN).await.error_code, 0);
    let find = FindCoordinatorRequest { key: GROUP.into(), ..Default::default() };
    while rig.connection.call(&find, 3).await.unwrap().error_code != 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    close(&rig.running).await;
    rig
}

async fn metadata(rig: &Rig, topics: Option<&[&str]>) -> Vec<MetadataResponseTopic> {
    let named =
        |name: &&str| MetadataRequestTopic { name: Some((*name).into()), ..Default::default() };
    let topics = topics.map(|names| names.iter().map(named).collect());
    let request = MetadataRequest {
        topics,
        allow_auto_topic_creation: true,
        include_topic_authorized_operations: true,
        ..Default::default()
    };
    rig.connection.call(&request, 12).await.unwrap().topics
}

/// Codes by names.
async fn seen(rig: &Rig, topics: Option<&[&str]>) -> BTreeMap<String, ErrorCode> {
    let topics = metadata(rig, topics).await.into_iter();
    topics.map(|t| (t.name.unwrap().to_string(), code(t.error_code))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_told_to_those_who_may_describe_them() {
    let rig = closed().await;
    let asked = Some(&[TOPIC, HIDDEN, "missing"][..]);
    assert_eq!(seen(&rig, None).await.len(), 0);
    // A topic that exists looks like one that does not.
    assert!(seen(&rig, asked).await.values().all(|code| *code == DENIED));
    add_rules(&rig.running, vec![allow(Topic, TOPIC, Operation::Write)]).await;
    let told = metadata(&rig, None).await;
    assert_eq!(told.len(), 1, "to write implies to describe");
    let bits = 1 << Operation::Write.code() | 1 << Operation::Describe.code();
    assert_eq!(told[0].topic_authorized_operations, bits);
    let told = seen(&rig, asked).await;
    assert_eq!((told[TOPIC], told[HIDDEN]), (ErrorCode::None, DENIED));
    let mut by_id = MetadataRequestTopic { name: None, ..Default::default() };
    by_id.topic_id = rig.running.broker.image().topic(HIDDEN).unwrap().id;
    let request = MetadataRequest { topics: Some(vec![by_id]), ..Default::default() };
    let told = rig.connection.call(&request, 12).await.unwrap().topics;
    assert_eq!((code(told[0].error_code), told[0].name.as_deref()), (DENIED, None));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn naming_a_topic_creates_it_for_those_who_may() {
    let rig = closed().await;
    add_rules(&rig.running, vec![allow(Topic, "wanted", Operation::Describe)]).await;
    assert_eq!(seen(&rig, Some(&["wanted"])).await["wanted"], DENIED);
    assert!(rig.running.broker.image().topic("wanted").is_none());
    // An id beside the name asks for the id: the name is then no way around the rule.
    let both = MetadataRequestTopic { name: Some("wanted".into()), topic_id: rig.topic_id };
    let request = MetadataRequest {
        topics: Some(vec![both]),
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    rig.connection.call(&request, 12).await.unwrap();
    assert!(rig.running.broker.image().topic("wanted").is_none());
    add_rules(&rig.running, vec![allow(Topic, "wanted", Operation::Create)]).await;
    assert_ne!(seen(&rig, Some(&["wanted"])).await["wanted"], DENIED);
    assert!(rig.running.broker.image().topic("wanted").is_some());
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_written_and_read_by_those_who_may() {
    let rig = closed().await;
    assert_eq!(rig.produce(0, batch(3, 10)).await.0, DENIED);
    add_rules(&rig.running, vec![allow(Topic, TOPIC, Operation::Write)]).await;
    assert_eq!(rig.produce(0, batch(3, 10)).await, (ErrorCode::None, 0));
    let read = |response: &FetchResponse| {
        let data = partitions(response)[0];
        (code(data.error_code), record_bytes(data) > 0)
    };
    let fetch = fetch(vec![want(0, 0)]);
    assert_eq!(read(&rig.fetch(fetch.clone()).await), (DENIED, false));
    add_rules(&rig.running, vec![allow(Topic, TOPIC, Operation::Read)]).await;
    assert_eq!(read(&rig.fetch(fetch.clone()).await), (ErrorCode::None, true));

    // A session that was let in is stopped by a rule that denies, which wins over all others.
    let opening = FetchRequest { session_epoch: 0, ..fetch.clone() };
    let session_id = rig.fetch(opening).await.session_id;
    let denies = rule(Topic, TOPIC, Operation::All, Permission::Deny);
    add_rules(&rig.running, vec![denies]).await;
    let next = FetchRequest { session_id, session_epoch: 1, topics: Vec::new(), ..fetch };
    assert_eq!(read(&rig.fetch(next).await), (DENIED, false));
    assert_eq!(rig.produce(0, batch(3, 10)).await.0, DENIED);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_records_is_sent_none_once_a_rule_is_gone() {
    let rig = closed().await;
    add_rules(&rig.running, vec![allow(Topic, TOPIC, Operation::Read)]).await;
    let poll = FetchRequest { max_wait_ms: 60_000, ..fetch(vec![want(0, 0)]) };
    let waiting = Connection::connect(&rig.address, Options::default()).await.unwrap();
    let before = rig.running.broker.metrics.bytes_in.get();
    let waiting = tokio::spawn(async move { waiting.call(&poll, FETCH).await.unwrap() });
    while rig.running.broker.metrics.bytes_in.get() == before {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let about_topic = AclFilter { resource_name: Some(TOPIC.into()), ..AclFilter::default() };
    remove_rules(&rig.running, about_topic).await;
    assert!(!waiting.is_finished(), "nothing has come yet");
    let partition = rig.running.broker.storage.partitions.find(TOPIC, 0).unwrap();
    partition.append(&batch(1, 10), 1, None).unwrap();
    let response = waiting.await.unwrap();
    let data = partitions(&response)[0];
    assert_eq!((code(data.error_code), record_bytes(data)), (DENIED, 0));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_proved_itself_asks_nobody() {
    let rig = closed().await;
    let connection = Connection::connect(&rig.address, Options::default()).await.unwrap();
    rig.prove(&connection).await;
    let all = MetadataRequest { topics: None, ..Default::default() };
    assert!(connection.call(&all, 12).await.unwrap().topics.len() >= 2);
    assert_eq!(rig.connection.call(&all, 12).await.unwrap().topics.len(), 0);
    drop(connection);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_and_deleted_by_those_who_may() {
    let rig = closed().await;
    assert_eq!(code(create(&rig, "new").await.error_code), DENIED);
    add_rules(&rig.running, vec![allow(Topic, "new", Operation::Create)]).await;
    let created = create(&rig, "new").await;
    assert_eq!(created.error_code, 0);
    assert_eq!(code(created.topic_config_error_code), DENIED, "its configs are not told");
    assert_eq!((created.num_partitions, created.replication_factor), (-1, -1));

    let id = rig.running.broker.image().topic("new").unwrap().id;
    let by_name = DeleteTopicState { name: Some("new".into()), ..Default::default() };
    let by_id = DeleteTopicState { name: None, topic_id: id };
    let delete = async |topic: &DeleteTopicState| {
        let topics = vec![topic.clone()];
        let request = DeleteTopicsRequest { topics, timeout_ms: 5_000, ..Default::default() };
        let told = rig.connection.call(&request, 6).await.unwrap().responses.remove(0);
        (code(told.error_code), told.name.map(|name| name.to_string()))
    };
    let name = Some("new".to_owned());
    assert_eq!(delete(&by_name).await, (DENIED, name.clone()));
    assert_eq!(delete(&by_id).await, (DENIED, None), "the name of the id is not told");
    add_rules(&rig.running, vec![allow(Topic, "new", Operation::Describe)]).await;
    assert_eq!(delete(&by_id).await, (DENIED, name.clone()));
    add_rules(&rig.running, vec![allow(Topic, "new", Operation::Delete)]).await;
    assert_eq!(delete(&by_id).await, (ErrorCode::None, name));

    let everything = allow(Cluster, "kafka-cluster", Operation::Create);
    add_rules(&rig.running, vec![everything]).await;
    assert_eq!(create(&rig, "another").await.error_code, 0);
    rig.stop().await;
}

async fn fetch_offsets(
    rig: &Rig,
    topics: Option<&[&str]>,
) -> (ErrorCode, Vec<(String, ErrorCode)>) {
    use wire::messages::offset_fetch_request as f;
    let topic = |name: &&str| f::OffsetFetchRequestTopics {
        name: (*name).into(),
        partition_indexes: vec![0],
        ..Default::default()
    };
    let topics = topics.map(|names| names.iter().map(topic).collect());
    let group = f::OffsetFetchRequestGroup { group_id: GROUP.into(), topics, ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    let group = rig.connection.call(&request, 9).await.unwrap().groups.remove(0);
    let told = |t: &offset_fetch_response::OffsetFetchResponseTopics| {
        (t.name.to_string(), code(t.partitions[0].error_code))
    };
    (code(group.error_code), group.topics.iter().map(told).collect())
}

async fn commit_offsets(rig: &Rig) -> Vec<ErrorCode> {
    use wire::messages::offset_commit_request as c;
    let topic = |name: &str| c::OffsetCommitRequestTopic {
        name: name.into(),
        partitions: vec![c::OffsetCommitRequestPartition::default()],
        ..Default::default()
    };
    let topics = vec![topic(TOPIC), topic(HIDDEN)];
    let request = OffsetCommitRequest { group_id: GROUP.into(), topics, ..Default::default() };
    let told = rig.connection.call(&request, 9).await.unwrap().topics;
    told.iter().map(|topic| code(topic.partitions[0].error_code)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_and_their_offsets_are_for_those_who_may() {
    let rig = closed().await;
    let group = ErrorCode::GroupAuthorizationFailed;
    assert_eq!(commit_offsets(&rig).await, [group; 2]);
    assert_eq!(fetch_offsets(&rig, None).await, (group, vec![]));
    let find = FindCoordinatorRequest { key: GROUP.into(), ..Default::default() };
    assert_eq!(code(rig.connection.call(&find, 3).await.unwrap().error_code), group);
    let list = ListGroupsRequest::default();

    add_rules(&rig.running, vec![allow(Group, GROUP, Operation::Read)]).await;
    assert_eq!(rig.connection.call(&find, 3).await.unwrap().error_code, 0);
    assert_eq!(commit_offsets(&rig).await, [DENIED; 2]);
    add_rules(&rig.running, vec![allow(Topic, TOPIC, Operation::Read)]).await;
    assert_eq!(commit_offsets(&rig).await, [ErrorCode::None, DENIED]);
    let asked = Some(&[TOPIC, HIDDEN][..]);
    let told = vec![(TOPIC.to_owned(), ErrorCode::None), (HIDDEN.to_owned(), DENIED)];
    assert_eq!(fetch_offsets(&rig, asked).await, (ErrorCode::None, told));
    assert_eq!(rig.connection.call(&list, 4).await.unwrap().groups.len(), 1);

    // Offsets of topics that are not seen are left out where all are asked for.
    let about_topic = AclFilter { resource_name: Some(TOPIC.into()), ..AclFilter::default() };
    remove_rules(&rig.running, about_topic).await;
    assert_eq!(fetch_offsets(&rig, None).await, (ErrorCode::None, vec![]));
    let about_group = AclFilter { resource_name: Some(GROUP.into()), ..AclFilter::default() };
    remove_rules(&rig.running, about_group).await;
    assert_eq!(rig.connection.call(&list, 4).await.unwrap().groups.len(), 0);
    add_rules(&rig.running, vec![allow(Cluster, "kafka-cluster", Operation::Describe)]).await;
    assert_eq!(rig.connection.call(&list, 4).await.unwrap().groups.len(), 1);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_write_somewhere_may_be_idempotent() {
    let rig = closed().await;
    let init = InitProducerIdRequest { transactional_id: None, ..Default::default() };
    let ask = async || {
        loop {
            let told = code(rig.connection.call(&init, 4).await.unwrap().error_code);
            // The first block of ids is on its way.
            if told != ErrorCode::CoordinatorLoadInProgress {
                return told;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    assert_eq!(ask().await, ErrorCode::ClusterAuthorizationFailed);
    add_rules(&rig.running, vec![allow(Topic, "anything", Operation::Write)]).await;
    assert_eq!(ask().await, ErrorCode::None);
    let denies = rule(Topic, "*", Operation::Write, Permission::Deny);
    add_rules(&rig.running, vec![denies]).await;
    assert_eq!(ask().await, ErrorCode::ClusterAuthorizationFailed);
    add_rules(&rig.running, vec![allow(Cluster, "kafka-cluster", Operation::IdempotentWrite)])
        .await;
    assert_eq!(ask().await, ErrorCode::None);
    rig.stop().await;
}

fn creation(name: &str, principal: &str) -> create_acls_request::AclCreation {
    create_acls_request::AclCreation {
        resource_type: Topic.code(),
        resource_name: name.into(),
        principal: principal.into(),
        host: "*".into(),
        operation: Operation::Read.code(),
        permission_type: Permission::Allow.code(),
        ..Default::default()
    }
}

fn describe_all() -> DescribeAclsRequest {
    DescribeAclsRequest {
        resource_type_filter: 1,
        resource_name_filter: None,
        pattern_type_filter: 1,
        principal_filter: None,
        host_filter: None,
        operation: 1,
        permission_type: 1,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_told_and_changed_by_those_who_may() {
    let rig = closed().await;
    let refused = ErrorCode::ClusterAuthorizationFailed;
    let describe = describe_all();
    assert_eq!(code(rig.connection.call(&describe, 3).await.unwrap().error_code), refused);
    let creations = vec![creation("a", "User:x"), creation("a", "nobody"), creation("b", "User:x")];
    let create = CreateAclsRequest { creations };
    let created = rig.connection.call(&create, 3).await.unwrap().results;
    assert!(created.iter().all(|result| code(result.error_code) == refused));

    add_rules(&rig.running, vec![allow(Cluster, "kafka-cluster", Operation::Alter)]).await;
    let created = rig.connection.call(&create, 3).await.unwrap().results;
    let codes: Vec<_> = created.iter().map(|result| code(result.error_code)).collect();
    assert_eq!(codes, [ErrorCode::None, ErrorCode::InvalidRequest, ErrorCode::None]);
    let told = rig.connection.call(&describe, 3).await.unwrap();
    assert_eq!(told.error_code, 0, "to alter implies to describe");
    let mut names: Vec<_> = told.resources.iter().map(|r| r.resource_name.as_str()).collect();
    names.dedup();
    assert!(names.contains(&"a") && names.contains(&"b"), "{names:?}");
    let filter = delete_acls_request::DeleteAclsFilter {
        resource_type_filter: Topic.code(),
        resource_name_filter: Some("a".into()),
        pattern_type_filter: 1,
        principal_filter: None,
        host_filter: None,
        operation: 1,
        permission_type: 1,
    };
    let unknown = delete_acls_request::DeleteAclsFilter { operation: 0, ..filter.clone() };
    let delete = DeleteAclsRequest { filters: vec![unknown, filter] };
    let deleted = rig.connection.call(&delete, 3).await.unwrap().filter_results;
    assert_eq!(code(deleted[0].error_code), ErrorCode::InvalidRequest);
    let gone = &deleted[1].matching_acls;
    assert_eq!((gone.len(), gone[0].principal.as_str()), (1, "User:x"));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_authorizer_there_are_no_rules() {
    let rig = Rig::start().await;
    let disabled = ErrorCode::SecurityDisabled;
    let told = rig.connection.call(&describe_all(), 3).await.unwrap();
    assert_eq!(code(told.error_code), disabled);
    let create = CreateAclsRequest { creations: vec![creation("a", "User:x")] };
    let created = rig.connection.call(&create, 3).await.unwrap().results;
    assert_eq!(code(created[0].error_code), disabled);
    rig.stop().await;
}
