//! Every API at every version that is advertised, with requests that succeed and requests that are
//! refused: whatever is wrong, the client gets an answer that it can read, never a closed
//! connection. Fields that an old version has no place for are the usual reason for one. The same
//! where rules of access let the client do nothing: then every API that needs something says so.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use base::ErrorCode;
use broker::boot::{Running, start};
use bytes::Bytes;
use client::{ClientError, Connection, Options};
use record::{BatchBuilder, BatchOptions};
use support::{TOPIC, config_with};
use tokio::time::{sleep, timeout};
use wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use wire::messages::*;
use wire::{ApiKey, Request};

const GROUP: &str = "readers";
const UNKNOWN: &str = "unknown";
const RESOURCE_TOPIC: i8 = 2;
const RESOURCE_BROKER: i8 = 4;

fn topic_to_create(name: &str, replication_factor: i16) -> CreatableTopic {
    let config = CreatableTopicConfig { name: "retention.ms".into(), value: Some("100000".into()) };
    CreatableTopic {
        name: name.into(),
        num_partitions: 2,
        replication_factor,
        configs: vec![config],
        ..Default::default()
    }
}

struct Sweep {
    running: Running,
    connection: Connection,
    swept: BTreeSet<ApiKey>,
    /// Those that told of a lack of rights.
    denied: BTreeSet<ApiKey>,
    _dir: tempfile::TempDir,
}

impl Sweep {
    async fn start() -> Sweep {
        let dir = tempfile::tempdir().unwrap();
        let more = [
            ("offsets.topic.num.partitions", "1"),
            ("offsets.topic.replication.factor", "1"),
            ("transaction.state.log.num.partitions", "1"),
            ("transaction.state.log.replication.factor", "1"),
            ("transaction.state.log.min.isr", "1"),
            ("group.initial.rebalance.delay.ms", "0"),
            ("group.min.session.timeout.ms", "100"),
            ("authorizer.class.name", support::AUTHORIZER),
            ("allow.everyone.if.no.acl.found", "true"),
        ];
        let running = start(config_with(dir.path(), &more)).unwrap();
        let address = running.addresses[0].to_string();
        let connection = Connection::connect(&address, Options::default()).await.unwrap();
        let topics = vec![topic_to_create(TOPIC, 1)];
        let create = CreateTopicsRequest { topics, timeout_ms: 5_000, ..Default::default() };
        let find = FindCoordinatorRequest { key: GROUP.into(), ..Default::default() };
        let ready = async {
            while connection.call(&create, 7).await.unwrap().topics[0].error_code
                != ErrorCode::TopicAlreadyExists.code()
                || connection.call(&find, 3).await.unwrap().error_code != 0
            {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(20), ready).await.unwrap();
        Sweep { running, connection, swept: BTreeSet::new(), denied: BTreeSet::new(), _dir: dir }
    }

    /// Sends each request at every version that can say it.
    async fn sweep<R>(&mut self, requests: &[R])
    where
        R: Request + std::fmt::Debug,
        R::Response: std::fmt::Debug,
    {
        let mut said = BTreeSet::new();
        for request in requests {
            for version in R::KEY.versions() {
                match self.connection.call(request, version).await {
                    Ok(response) => {
                        said.insert(version);
                        let text = format!("{response:?}");
                        let tells = |code: &ErrorCode| {
                            text.contains(&format!("error_code: {},", code.code()))
                                || text.contains(&format!("error_code: {} ", code.code()))
                        };
                        if DENIALS.iter().any(tells) {
                            self.denied.insert(R::KEY);
                        }
                    }
                    Err(ClientError::Encode(_)) => {}
                    Err(error) => panic!("{} v{version}: {error}\n{request:?}", R::KEY),
                }
            }
        }
        assert!(said.iter().copied().eq(R::KEY.versions()), "{}: only {said:?}", R::KEY);
        self.swept.insert(R::KEY);
    }
}

const DENIALS: [ErrorCode; 4] = [
    ErrorCode::TopicAuthorizationFailed,
    ErrorCode::GroupAuthorizationFailed,
    ErrorCode::ClusterAuthorizationFailed,
    ErrorCode::TransactionalIdAuthorizationFailed,
];

/// What is left out of an answer, or refused to everybody that is no broker.
const SILENT: [ApiKey; 3] = [ApiKey::ListGroups, ApiKey::ListTransactions, ApiKey::DescribeCluster];

#[tokio::test(flavor = "multi_thread")]
async fn every_api_answers_at_every_version() {
    let sweep = Sweep::start().await;
    sweep_all(sweep).await;
}

/// By the table of needs: an API whose handler asks nothing is found here.
#[tokio::test(flavor = "multi_thread")]
async fn every_api_that_needs_something_refuses_it_at_every_version() {
    let sweep = Sweep::start().await;
    support::close(&sweep.running).await;
    let denied = sweep_all(sweep).await;
    for (api, _) in server::dispatch::served() {
        let row = server::access::row(api);
        let needs = !row.head.is_empty() || !row.each.is_empty();
        let is_told = needs && !SILENT.contains(&api);
        assert_eq!(denied.contains(&api), is_told, "{api}");
    }
}

/// A default and one that names a partition that exists and one that does not.
async fn sweep_all(mut sweep: Sweep) -> BTreeSet<ApiKey> {
    let id = sweep.running.broker.image().topic(TOPIC).unwrap().id;
    sweep.sweep(&[ApiVersionsRequest::default(), versions_request()]).await;
    sweep.sweep(&["PLAIN", "BARNABAS-BROKER"].map(handshake_request)).await;
    sweep.sweep(&[SaslAuthenticateRequest::default()]).await;
    records(&mut sweep, id).await;
    metadata(&mut sweep).await;
    groups(&mut sweep, id).await;
    configs(&mut sweep).await;
    quorum(&mut sweep).await;
    absent(&mut sweep).await;
    topics(&mut sweep).await;
    let served: BTreeSet<ApiKey> = server::dispatch::served().map(|(api, _)| api).collect();
    assert_eq!(sweep.swept, served, "every served API is swept, and no other");
    let Sweep { running, connection, denied, .. } = sweep;
    drop(connection);
    running.stop().await.unwrap();
    denied
}

fn handshake_request(mechanism: &str) -> SaslHandshakeRequest {
    SaslHandshakeRequest { mechanism: mechanism.into() }
}

fn versions_request() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "a".into(),
        client_software_version: "1".into(),
        ..Default::default()
    }
}

async fn records(sweep: &mut Sweep, id: base::TopicId) {
    use wire::messages::{fetch_request as f, list_offsets_request as l};
    use wire::messages::{offset_for_leader_epoch_request as e, produce_request as p};
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(process::clock::wall_ms(), None, Some(b"value"), &[]);
    let batch = Bytes::from(builder.finish());
    let data = |index, records| p::PartitionProduceData { index, records };
    let produce = |name: &str, topic_id| ProduceRequest {
        acks: -1,
        timeout_ms: 1_000,
        topic_data: vec![p::TopicProduceData {
            name: name.into(),
            topic_id,
            partition_data: vec![data(0, Some(batch.clone())), data(0, None), data(9, None)],
        }],
        ..Default::default()
    };
    let refused = ProduceRequest { acks: 7, ..produce(TOPIC, id) };
    let unknown = base::TopicId::from_random(7);
    sweep.sweep(&[produce(TOPIC, id), produce(UNKNOWN, unknown), refused]).await;
    let fetch = |name: &str, topic_id| FetchRequest {
        topics: vec![f::FetchTopic {
            topic: name.into(),
            topic_id,
            partitions: [(0, 0), (0, 1 << 40), (9, 0)]
                .map(|(partition, fetch_offset)| f::FetchPartition {
                    partition,
                    fetch_offset,
                    partition_max_bytes: 1_000,
                    ..Default::default()
                })
                .into(),
        }],
        max_bytes: 1_000,
        ..Default::default()
    };
    let in_session = FetchRequest { session_id: 9, session_epoch: 4, ..fetch(TOPIC, id) };
    let opening = FetchRequest { session_epoch: 0, ..fetch(TOPIC, id) };
    sweep.sweep(&[fetch(TOPIC, id), fetch(UNKNOWN, unknown), opening, in_session]).await;
    let asked = |partition_index, timestamp| l::ListOffsetsPartition {
        partition_index,
        timestamp,
        ..Default::default()
    };
    let partitions = [-1, -2, -3, -4, -5, -6, -7, 0].map(|kind| asked(0, kind));
    let partitions = [&partitions[..], &[asked(9, -1)]].concat();
    let topics = vec![l::ListOffsetsTopic { name: TOPIC.into(), partitions }];
    sweep.sweep(&[ListOffsetsRequest { topics, ..Default::default() }]).await;
    let asked = |partition| e::OffsetForLeaderPartition { partition, ..Default::default() };
    let topic =
        e::OffsetForLeaderTopic { topic: TOPIC.into(), partitions: vec![asked(0), asked(9)] };
    sweep.sweep(&[OffsetForLeaderEpochRequest { topics: vec![topic], ..Default::default() }]).await;
    transactions(sweep).await;
}

async fn transactions(sweep: &mut Sweep) {
    use wire::messages::add_partitions_to_txn_request as a;
    use wire::messages::{txn_offset_commit_request as o, write_txn_markers_request as w};
    let transactional =
        InitProducerIdRequest { transactional_id: Some("t".into()), ..Default::default() };
    let plain = InitProducerIdRequest { transactional_id: None, ..Default::default() };
    sweep.sweep(&[plain, transactional]).await;
    let topic = |name: &str| a::AddPartitionsToTxnTopic { name: name.into(), partitions: vec![0] };
    let topics = || vec![topic(TOPIC), topic(UNKNOWN)];
    let one = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: "t".into(),
        v3_and_below_topics: topics(),
        ..Default::default()
    };
    let transaction = |verify_only| a::AddPartitionsToTxnTransaction {
        transactional_id: "t".into(),
        verify_only,
        topics: topics(),
        ..Default::default()
    };
    let transactions = vec![transaction(true), transaction(false)];
    let some = AddPartitionsToTxnRequest { transactions, ..Default::default() };
    sweep.sweep(&[one, some]).await;
    let group_id = GROUP.into();
    let offsets =
        AddOffsetsToTxnRequest { transactional_id: "t".into(), group_id, ..Default::default() };
    sweep.sweep(&[AddOffsetsToTxnRequest::default(), offsets]).await;
    let end = EndTxnRequest { transactional_id: "t".into(), ..Default::default() };
    sweep.sweep(&[EndTxnRequest::default(), end]).await;
    let partition = o::TxnOffsetCommitRequestPartition::default();
    let topic =
        o::TxnOffsetCommitRequestTopic { partitions: vec![partition], ..Default::default() };
    let commit = TxnOffsetCommitRequest { topics: vec![topic], ..Default::default() };
    sweep.sweep(&[TxnOffsetCommitRequest::default(), commit]).await;
    let topic = w::WritableTxnMarkerTopic { name: UNKNOWN.into(), partition_indexes: vec![0] };
    let marker = w::WritableTxnMarker { topics: vec![topic], ..Default::default() };
    let markers = WriteTxnMarkersRequest { markers: vec![marker] };
    sweep.sweep(&[WriteTxnMarkersRequest::default(), markers]).await;
}

async fn metadata(sweep: &mut Sweep) {
    use wire::messages::{describe_log_dirs_request as d, describe_topic_partitions_request as p};
    use wire::messages::{list_partition_reassignments_request as l, metadata_request as m};
    let named =
        |name: &str| m::MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
    let topics = Some(vec![named(TOPIC), named(UNKNOWN), named("not a name!")]);
    let some = MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
    let operations = MetadataRequest { include_topic_authorized_operations: true, ..some.clone() };
    let all = MetadataRequest { topics: None, ..Default::default() };
    sweep.sweep(&[MetadataRequest::default(), some, operations, all]).await;
    let fenced = DescribeClusterRequest { include_fenced_brokers: true, ..Default::default() };
    let controllers = DescribeClusterRequest { endpoint_type: 2, ..Default::default() };
    sweep.sweep(&[DescribeClusterRequest::default(), fenced, controllers]).await;
    let topics = [TOPIC, UNKNOWN].map(|name| p::TopicRequest { name: name.into() }).into();
    let named = DescribeTopicPartitionsRequest { topics, ..Default::default() };
    sweep.sweep(&[DescribeTopicPartitionsRequest::default(), named]).await;
    let dir = d::DescribableLogDirTopic { topic: TOPIC.into(), partitions: vec![0, 9] };
    let some = DescribeLogDirsRequest { topics: Some(vec![dir]) };
    sweep.sweep(&[DescribeLogDirsRequest { topics: None }, some]).await;
    let moving =
        l::ListPartitionReassignmentsTopics { name: TOPIC.into(), partition_indexes: vec![0, 9] };
    let some =
        ListPartitionReassignmentsRequest { topics: Some(vec![moving]), ..Default::default() };
    sweep.sweep(&[ListPartitionReassignmentsRequest::default(), some]).await;
}

async fn groups(sweep: &mut Sweep, topic_id: base::TopicId) {
    use wire::messages::{join_group_request as j, leave_group_request as l};
    use wire::messages::{offset_delete_request as d, sync_group_request as s};
    let find = FindCoordinatorRequest { key: GROUP.into(), ..Default::default() };
    let keys = vec![GROUP.into(), "".into()];
    let find_all = FindCoordinatorRequest { coordinator_keys: keys, ..Default::default() };
    let find_txn = FindCoordinatorRequest { key_type: 1, ..find.clone() };
    let find_wrong = FindCoordinatorRequest { key_type: 9, ..find_all.clone() };
    sweep.sweep(&[find, find_all, find_txn, find_wrong]).await;
    let protocol =
        j::JoinGroupRequestProtocol { name: "range".into(), metadata: Bytes::from_static(b"m") };
    let join = JoinGroupRequest {
        group_id: GROUP.into(),
        session_timeout_ms: 100,
        rebalance_timeout_ms: 100,
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..Default::default()
    };
    let stranger = JoinGroupRequest { member_id: "stranger".into(), ..join.clone() };
    sweep.sweep(&[JoinGroupRequest::default(), join, stranger]).await;
    let group_id = wire::Str::from(GROUP);
    let named = SyncGroupRequest { group_id: group_id.clone(), ..Default::default() };
    let assignment = s::SyncGroupRequestAssignment::default();
    let sync = SyncGroupRequest { assignments: vec![assignment], ..named };
    sweep.sweep(&[SyncGroupRequest::default(), sync]).await;
    let beat = HeartbeatRequest { group_id: group_id.clone(), ..Default::default() };
    sweep.sweep(&[HeartbeatRequest::default(), beat]).await;
    let leave = LeaveGroupRequest { group_id: group_id.clone(), ..Default::default() };
    let member = l::MemberIdentity { member_id: "stranger".into(), ..Default::default() };
    let leave_all = LeaveGroupRequest { members: vec![member], ..leave.clone() };
    let leave_one = LeaveGroupRequest { member_id: "stranger".into(), ..leave };
    sweep.sweep(&[LeaveGroupRequest::default(), leave_one, leave_all]).await;
    let groups = vec![GROUP.into(), UNKNOWN.into(), "".into()];
    let describe = DescribeGroupsRequest { groups: groups.clone(), ..Default::default() };
    let operations =
        DescribeGroupsRequest { include_authorized_operations: true, ..describe.clone() };
    sweep.sweep(&[DescribeGroupsRequest::default(), describe, operations]).await;
    let filtered = ListGroupsRequest { states_filter: vec!["Empty".into()], ..Default::default() };
    sweep.sweep(&[ListGroupsRequest::default(), filtered]).await;
    offsets(sweep, topic_id).await;
    let partitions = vec![d::OffsetDeleteRequestPartition { partition_index: 0 }];
    let topic = d::OffsetDeleteRequestTopic { name: TOPIC.into(), partitions };
    let delete = OffsetDeleteRequest { group_id, topics: vec![topic] };
    sweep.sweep(&[OffsetDeleteRequest::default(), delete]).await;
    let delete = DeleteGroupsRequest { groups_names: groups };
    sweep.sweep(&[DeleteGroupsRequest::default(), delete]).await;
}

async fn offsets(sweep: &mut Sweep, topic_id: base::TopicId) {
    use wire::messages::{offset_commit_request as c, offset_fetch_request as f};
    let partition = |partition_index| c::OffsetCommitRequestPartition {
        partition_index,
        committed_offset: 1,
        committed_metadata: Some("m".into()),
        ..Default::default()
    };
    let topic = |name: &str| c::OffsetCommitRequestTopic {
        name: name.into(),
        topic_id,
        partitions: vec![partition(0), partition(9)],
    };
    let commit = OffsetCommitRequest {
        group_id: GROUP.into(),
        topics: vec![topic(TOPIC), topic(UNKNOWN)],
        ..Default::default()
    };
    let member = OffsetCommitRequest { member_id: "stranger".into(), ..commit.clone() };
    sweep.sweep(&[OffsetCommitRequest::default(), commit, member]).await;
    let topics = Some(vec![f::OffsetFetchRequestTopic {
        name: TOPIC.into(),
        partition_indexes: vec![0, 9],
    }]);
    let one = OffsetFetchRequest { group_id: GROUP.into(), topics, ..Default::default() };
    let all = OffsetFetchRequest { topics: None, ..one.clone() };
    let group = |group: &str| f::OffsetFetchRequestGroup {
        group_id: group.into(),
        topics: Some(vec![f::OffsetFetchRequestTopics {
            name: TOPIC.into(),
            topic_id,
            partition_indexes: vec![0, 9],
        }]),
        ..Default::default()
    };
    let groups = vec![group(GROUP), group("")];
    let many = OffsetFetchRequest { groups, topics: Some(Vec::new()), ..Default::default() };
    let member = f::OffsetFetchRequestGroup { member_epoch: 3, topics: None, ..group(GROUP) };
    let stranger = OffsetFetchRequest { groups: vec![member], ..many.clone() };
    sweep.sweep(&[OffsetFetchRequest::default(), one, all, many, stranger]).await;
}

async fn configs(sweep: &mut Sweep) {
    use wire::messages::incremental_alter_configs_request as i;
    use wire::messages::{alter_configs_request as a, describe_configs_request as d};
    let kinds = [
        (RESOURCE_TOPIC, TOPIC),
        (RESOURCE_TOPIC, UNKNOWN),
        (RESOURCE_BROKER, "1"),
        (77, ""),
        (8, "1"),
        (8, "9"),
        (16, "subscription"),
        (16, ""),
        (32, GROUP),
        (32, ""),
    ];
    let asked = kinds.map(|(resource_type, name)| d::DescribeConfigsResource {
        resource_type,
        resource_name: name.into(),
        configuration_keys: None,
    });
    let describe = DescribeConfigsRequest {
        resources: asked.into(),
        include_synonyms: true,
        ..Default::default()
    };
    let documented = DescribeConfigsRequest { include_documentation: true, ..describe.clone() };
    sweep.sweep(&[DescribeConfigsRequest::default(), describe, documented]).await;
    let values = [("retention.ms", "5"), ("retention.ms", "x"), ("unknown", "1")];
    let resources = values.map(|(name, value)| i::AlterConfigsResource {
        resource_type: RESOURCE_TOPIC,
        resource_name: TOPIC.into(),
        configs: vec![i::AlterableConfig {
            name: name.into(),
            config_operation: 0,
            value: Some(value.into()),
        }],
    });
    let all = resources.map(|resource| IncrementalAlterConfigsRequest {
        resources: vec![resource],
        ..Default::default()
    });
    sweep.sweep(&all).await;
    let resources = values.map(|(name, value)| a::AlterConfigsResource {
        resource_type: RESOURCE_TOPIC,
        resource_name: TOPIC.into(),
        configs: vec![a::AlterableConfig { name: name.into(), value: Some(value.into()) }],
    });
    let all = resources
        .map(|resource| AlterConfigsRequest { resources: vec![resource], ..Default::default() });
    sweep.sweep(&all).await;
}

async fn quorum(sweep: &mut Sweep) {
    use wire::messages::describe_quorum_request as d;
    let topic = |name: &str| d::TopicData {
        topic_name: name.into(),
        partitions: vec![d::PartitionData { partition_index: 0 }],
    };
    let asked = ["__cluster_metadata", UNKNOWN]
        .map(|name| DescribeQuorumRequest { topics: vec![topic(name)] });
    let [known, unknown] = asked;
    sweep.sweep(&[DescribeQuorumRequest::default(), known, unknown]).await;
    let voter = AddRaftVoterRequest {
        cluster_id: Some("other".into()),
        timeout_ms: 100,
        voter_id: 9,
        ..Default::default()
    };
    sweep.sweep(&[voter]).await;
    let voter = RemoveRaftVoterRequest {
        cluster_id: Some("other".into()),
        voter_id: 9,
        ..Default::default()
    };
    sweep.sweep(&[voter]).await;
    sweep.sweep(&[UnregisterBrokerRequest { broker_id: 9 }]).await;
    let update = wire::messages::update_features_request::FeatureUpdateKey {
        feature: UNKNOWN.into(),
        max_version_level: 1,
        ..Default::default()
    };
    let update = UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() };
    sweep.sweep(&[UpdateFeaturesRequest::default(), update]).await;
}

/// What there is to ask of features that are not there.
async fn absent(sweep: &mut Sweep) {
    use wire::messages::alter_client_quotas_request as q;
    use wire::messages::{
        alter_user_scram_credentials_request as a, describe_producers_request as p,
        describe_user_scram_credentials_request as u,
    };
    use wire::messages::{create_acls_request as c, delete_acls_request as d};
    sweep.sweep(&[DescribeAclsRequest::default()]).await;
    let creations = vec![c::AclCreation::default()];
    sweep.sweep(&[CreateAclsRequest::default(), CreateAclsRequest { creations }]).await;
    let filters = vec![d::DeleteAclsFilter::default()];
    sweep.sweep(&[DeleteAclsRequest::default(), DeleteAclsRequest { filters }]).await;
    sweep.sweep(&[DescribeClientQuotasRequest::default()]).await;
    let entity = vec![q::EntityData { entity_type: "client-id".into(), entity_name: None }];
    let op = q::OpData { key: "producer_byte_rate".into(), value: 1e12, remove: false };
    let entries = vec![q::EntryData { entity, ops: vec![op] }];
    let altered = AlterClientQuotasRequest { entries, validate_only: false };
    sweep.sweep(&[AlterClientQuotasRequest::default(), altered]).await;
    let users = Some(vec![u::UserName { name: "somebody".into() }]);
    let named = DescribeUserScramCredentialsRequest { users };
    sweep.sweep(&[DescribeUserScramCredentialsRequest::default(), named]).await;
    let upsertion =
        a::ScramCredentialUpsertion { name: "somebody".into(), mechanism: 1, ..Default::default() };
    let deletion = a::ScramCredentialDeletion { name: "nobody".into(), mechanism: 9 };
    let altered =
        AlterUserScramCredentialsRequest { deletions: vec![deletion], upsertions: vec![upsertion] };
    sweep.sweep(&[AlterUserScramCredentialsRequest::default(), altered]).await;
    sweep.sweep(&[CreateDelegationTokenRequest::default()]).await;
    sweep.sweep(&[RenewDelegationTokenRequest::default()]).await;
    sweep.sweep(&[ExpireDelegationTokenRequest::default()]).await;
    sweep.sweep(&[DescribeDelegationTokenRequest::default()]).await;
    let topic = |name: &str| p::TopicRequest { name: name.into(), partition_indexes: vec![0, 9] };
    let topics = vec![topic(TOPIC), topic(UNKNOWN), topic("b@d")];
    sweep.sweep(&[DescribeProducersRequest::default(), DescribeProducersRequest { topics }]).await;
    let states = vec!["Ongoing".into(), "Asleep".into()];
    let filtered = ListTransactionsRequest { state_filters: states, ..Default::default() };
    sweep.sweep(&[ListTransactionsRequest::default(), filtered]).await;
    let transactional_ids = vec!["t".into()];
    sweep.sweep(&[DescribeTransactionsRequest { transactional_ids }]).await;
    let kinds = ListConfigResourcesRequest { resource_types: vec![2, 4, 8, 16, 32, 77] };
    sweep.sweep(&[ListConfigResourcesRequest::default(), kinds]).await;
    sweep.sweep(&[ConsumerGroupHeartbeatRequest::default()]).await;
    let group_ids = vec!["g".into(), UNKNOWN.into()];
    let described = ConsumerGroupDescribeRequest { group_ids, ..Default::default() };
    sweep.sweep(&[ConsumerGroupDescribeRequest::default(), described]).await;
}

async fn topics(sweep: &mut Sweep) {
    use wire::messages::{
        alter_partition_reassignments_request as a, create_partitions_request as p,
    };
    use wire::messages::{delete_records_request as r, elect_leaders_request as e};
    let topics = vec![topic_to_create("new", 1), topic_to_create("many", 9)];
    let topics = [topics, vec![topic_to_create(TOPIC, 1), topic_to_create("b@d", 1)]].concat();
    let create = CreateTopicsRequest { topics, timeout_ms: 1_000, ..Default::default() };
    let validate = CreateTopicsRequest { validate_only: true, ..create.clone() };
    sweep.sweep(&[CreateTopicsRequest::default(), validate, create]).await;
    let grow = |name: &str, count| p::CreatePartitionsTopic {
        name: name.into(),
        count,
        assignments: None,
    };
    let topics = vec![grow(TOPIC, 3), grow(UNKNOWN, 3), grow("new", 1)];
    let grow = CreatePartitionsRequest { topics, timeout_ms: 1_000, ..Default::default() };
    sweep.sweep(&[CreatePartitionsRequest::default(), grow]).await;
    let partition = |partition_index| r::DeleteRecordsPartition { partition_index, offset: 1 };
    let topic =
        r::DeleteRecordsTopic { name: TOPIC.into(), partitions: vec![partition(0), partition(9)] };
    let delete = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 1_000 };
    sweep.sweep(&[DeleteRecordsRequest::default(), delete]).await;
    let elect = |election_type, name: &str| ElectLeadersRequest {
        election_type,
        topic_partitions: Some(vec![e::TopicPartitions {
            topic: name.into(),
            partitions: vec![0, 9],
        }]),
        ..Default::default()
    };
    sweep.sweep(&[elect(0, TOPIC), elect(0, UNKNOWN), elect(1, TOPIC), elect(7, TOPIC)]).await;
    let moved = |partition_index, replicas| a::ReassignablePartition { partition_index, replicas };
    let topic = a::ReassignableTopic {
        name: TOPIC.into(),
        partitions: vec![moved(0, Some(vec![9])), moved(0, None), moved(9, None)],
    };
    let moves = AlterPartitionReassignmentsRequest { topics: vec![topic], ..Default::default() };
    sweep.sweep(&[AlterPartitionReassignmentsRequest::default(), moves]).await;
    let names = vec!["new".into(), UNKNOWN.into()];
    let delete =
        DeleteTopicsRequest { topic_names: names, timeout_ms: 1_000, ..Default::default() };
    sweep.sweep(&[DeleteTopicsRequest::default(), delete]).await;
}
