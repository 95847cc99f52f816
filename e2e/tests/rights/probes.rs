//! One request per API that needs something, without lasting effects: of topics `t` and `hidden`,
//! which exist, and `tx`, which does not; of the group `g`, and of the transactional id `x`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use base::TopicId;
use bytes::Bytes;
use e2e::raw::Raw;
use record::{BatchBuilder, BatchOptions};
use wire::Request;
use wire::messages::*;

use super::shape;

const SOON: Duration = Duration::from_secs(20);
const NAMES: [&str; 3] = ["t", "tx", "hidden"];

/// A connection, and what its cluster calls the topics.
pub struct Asker {
    pub raw: Raw,
    pub address: String,
    /// Of `t` and of `hidden`.
    pub ids: [TopicId; 2],
}

impl Asker {
    fn ask<R: Request>(&mut self, request: &R, version: i16) -> Result<String>
    where
        R::Response: std::fmt::Debug,
    {
        Ok(shape::of(&self.raw.call(request, version, SOON)?))
    }
}

pub type Probe = fn(&mut Asker) -> Result<String>;

pub const PROBES: &[(&str, Probe)] = &[
    ("Metadata of all", |a| a.ask(&MetadataRequest { topics: None, ..metadata() }, 12)),
    ("Metadata by name", |a| a.ask(&MetadataRequest { topics: Some(named()), ..metadata() }, 12)),
    ("Metadata by id", by_id),
    ("Metadata with creation", |a| {
        let topics = Some(vec![topic("none"), topic("hidden2")]);
        let request = MetadataRequest { topics, allow_auto_topic_creation: true, ..metadata() };
        a.ask(&request, 12)
    }),
    ("DescribeTopicPartitions", describe_topic_partitions),
    ("DescribeCluster", |a| {
        let include_cluster_authorized_operations = true;
        let request =
            DescribeClusterRequest { include_cluster_authorized_operations, ..Default::default() };
        a.ask(&request, 1)
    }),
    ("Produce", produce),
    ("Produce in a transaction", produce_transactional),
    ("Fetch by name", |a| fetch(a, 12)),
    ("Fetch by id", |a| fetch(a, 13)),
    ("ListOffsets", list_offsets),
    ("OffsetForLeaderEpoch", offset_for_leader_epoch),
    ("DescribeProducers", |a| {
        use describe_producers_request as d;
        let topic = |name: &str| d::TopicRequest { name: name.into(), partition_indexes: vec![0] };
        a.ask(&DescribeProducersRequest { topics: NAMES.map(topic).into() }, 0)
    }),
    ("DeleteRecords", delete_records),
    ("CreateTopics", create_topics),
    ("DeleteTopics by name", |a| {
        use delete_topics_request as d;
        let topic =
            |name: &str| d::DeleteTopicState { name: Some(name.into()), ..Default::default() };
        // What the rights of the cluster would delete must not be there.
        let topics = ["tx", "hidden3"].map(topic).into();
        a.ask(&DeleteTopicsRequest { topics, timeout_ms: 5_000, ..Default::default() }, 6)
    }),
    ("CreatePartitions", |a| {
        use create_partitions_request as c;
        let topic = |name: &str| c::CreatePartitionsTopic {
            name: name.into(),
            count: 2,
            assignments: None,
        };
        let topics = NAMES.map(topic).into();
        let request = CreatePartitionsRequest { topics, timeout_ms: 5_000, validate_only: true };
        a.ask(&request, 3)
    }),
    ("DescribeConfigs", describe_configs),
    ("IncrementalAlterConfigs", incremental_alter_configs),
    ("AlterConfigs", alter_configs),
    ("FindCoordinator of a group", |a| find_coordinator(a, "g", 0)),
    ("FindCoordinator of a transaction", |a| find_coordinator(a, "x", 1)),
    ("JoinGroup", |a| {
        let request = JoinGroupRequest {
            group_id: "g".into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            member_id: "nobody".into(),
            protocol_type: "consumer".into(),
            protocols: vec![join_group_request::JoinGroupRequestProtocol::default()],
            ..Default::default()
        };
        a.ask(&request, 9)
    }),
    ("SyncGroup", |a| {
        a.ask(
            &SyncGroupRequest {
                group_id: "g".into(),
                member_id: "nobody".into(),
                protocol_type: Some("consumer".into()),
                protocol_name: Some("range".into()),
                ..Default::default()
            },
            5,
        )
    }),
    ("Heartbeat", |a| {
        let (group_id, member_id) = ("g".into(), "nobody".into());
        a.ask(&HeartbeatRequest { group_id, member_id, ..Default::default() }, 4)
    }),
    ("LeaveGroup", |a| {
        use leave_group_request::MemberIdentity;
        let member = MemberIdentity { member_id: "nobody".into(), ..Default::default() };
        let members = vec![member];
        a.ask(&LeaveGroupRequest { group_id: "g".into(), members, ..Default::default() }, 5)
    }),
    ("ConsumerGroupHeartbeat", |a| {
        let request = ConsumerGroupHeartbeatRequest {
            group_id: "g".into(),
            member_id: "nobody".into(),
            member_epoch: 5,
            subscribed_topic_names: Some(vec!["t".into(), "hidden".into()]),
            ..Default::default()
        };
        a.ask(&request, 1)
    }),
    ("OffsetCommit", offset_commit),
    ("OffsetFetch", |a| offset_fetch(a, true)),
    ("OffsetFetch of all", |a| offset_fetch(a, false)),
    ("OffsetDelete", |a| {
        use offset_delete_request as d;
        let topic = |name: &str| d::OffsetDeleteRequestTopic {
            name: name.into(),
            // One that is not there: a group without offsets is no more, sooner or later.
            partitions: vec![d::OffsetDeleteRequestPartition { partition_index: 9 }],
        };
        let topics = NAMES.map(topic).into();
        a.ask(&OffsetDeleteRequest { group_id: "g".into(), topics }, 0)
    }),
    ("DescribeGroups", |a| {
        let groups = vec!["g".into(), "unknown".into()];
        let include_authorized_operations = true;
        a.ask(&DescribeGroupsRequest { groups, include_authorized_operations }, 6)
    }),
    ("ConsumerGroupDescribe", |a| {
        let group_ids = vec!["g".into(), "unknown".into()];
        let include_authorized_operations = true;
        a.ask(&ConsumerGroupDescribeRequest { group_ids, include_authorized_operations }, 1)
    }),
    ("ListGroups", |a| a.ask(&ListGroupsRequest::default(), 5)),
    ("DeleteGroups", |a| {
        a.ask(&DeleteGroupsRequest { groups_names: vec!["unknown".into(), "g2".into()] }, 2)
    }),
    ("InitProducerId", |a| {
        let transactional_id = None;
        let request = InitProducerIdRequest { transactional_id, ..Default::default() };
        loop {
            // The first ids are on their way.
            let answer = a.raw.call(&request, 4, SOON)?;
            if answer.error_code != 14 {
                return Ok(answer.error_code.to_string());
            }
        }
    }),
    ("AddPartitionsToTxn", |a| {
        use add_partitions_to_txn_request::AddPartitionsToTxnTopic;
        let topic = |name: &str| AddPartitionsToTxnTopic { name: name.into(), partitions: vec![0] };
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: "x".into(),
            v3_and_below_producer_id: 7,
            v3_and_below_topics: NAMES.map(topic).into(),
            ..Default::default()
        };
        a.ask(&request, 3)
    }),
    ("AddOffsetsToTxn", |a| {
        let (transactional_id, group_id) = ("x".into(), "g".into());
        let request = AddOffsetsToTxnRequest {
            transactional_id,
            producer_id: 7,
            group_id,
            ..Default::default()
        };
        a.ask(&request, 3)
    }),
    ("EndTxn", |a| {
        let transactional_id = "x".into();
        a.ask(&EndTxnRequest { transactional_id, producer_id: 7, ..Default::default() }, 3)
    }),
    ("ListTransactions", |a| a.ask(&ListTransactionsRequest::default(), 1)),
    ("DescribeTransactions", |a| {
        let transactional_ids = vec!["x".into(), "unknown".into()];
        a.ask(&DescribeTransactionsRequest { transactional_ids }, 0)
    }),
    ("WriteTxnMarkers", write_txn_markers),
    ("DescribeAcls", |a| {
        let request = DescribeAclsRequest {
            resource_type_filter: 2,
            pattern_type_filter: 3,
            resource_name_filter: Some("nothing".into()),
            principal_filter: None,
            host_filter: None,
            operation: 1,
            permission_type: 1,
        };
        a.ask(&request, 3)
    }),
    ("CreateAcls", |a| {
        let creation = create_acls_request::AclCreation {
            resource_type: 2,
            resource_name: "any".into(),
            principal: "nobody".into(),
            host: "*".into(),
            operation: 3,
            permission_type: 3,
            ..Default::default()
        };
        a.ask(&CreateAclsRequest { creations: vec![creation] }, 3)
    }),
    ("DeleteAcls", |a| {
        let filter = delete_acls_request::DeleteAclsFilter {
            resource_type_filter: 2,
            resource_name_filter: Some("nothing".into()),
            principal_filter: None,
            host_filter: None,
            operation: 1,
            permission_type: 1,
            ..Default::default()
        };
        a.ask(&DeleteAclsRequest { filters: vec![filter] }, 3)
    }),
    ("ElectLeaders", |a| {
        use elect_leaders_request::TopicPartitions;
        let topics = vec![TopicPartitions { topic: "t".into(), partitions: vec![0] }];
        let topic_partitions = Some(topics);
        a.ask(&ElectLeadersRequest { topic_partitions, timeout_ms: 5_000, election_type: 0 }, 2)
    }),
    ("AlterPartitionReassignments", |a| {
        use alter_partition_reassignments_request as r;
        let partition = r::ReassignablePartition { partition_index: 0, replicas: None };
        let topics = vec![r::ReassignableTopic { name: "t".into(), partitions: vec![partition] }];
        let request =
            AlterPartitionReassignmentsRequest { topics, timeout_ms: 5_000, ..Default::default() };
        a.ask(&request, 0)
    }),
    ("ListPartitionReassignments", |a| {
        a.ask(&ListPartitionReassignmentsRequest { timeout_ms: 5_000, topics: None }, 0)
    }),
    ("DescribeLogDirs", |a| {
        // Whether it is refused: there are other topics in the directories.
        let answer = a.raw.call(&DescribeLogDirsRequest { topics: Some(Vec::new()) }, 4, SOON)?;
        Ok(answer.error_code.to_string())
    }),
    ("DescribeQuorum", |a| {
        let request = DescribeQuorumRequest { topics: Vec::new() };
        let answer = a.raw.call(&request, 2, SOON)?;
        Ok((answer.error_code == 31).to_string())
    }),
    ("UnregisterBroker", |a| a.ask(&UnregisterBrokerRequest { broker_id: 99 }, 0)),
    ("ListConfigResources", |a| {
        let request = ListConfigResourcesRequest { resource_types: vec![2] };
        let answer = a.raw.call(&request, 1, SOON)?;
        Ok(answer.error_code.to_string())
    }),
    ("DescribeClientQuotas", |a| a.ask(&DescribeClientQuotasRequest::default(), 1)),
    ("DescribeUserScramCredentials", |a| {
        // Kafka answers nothing to a null of somebody who may not ask.
        let user = describe_user_scram_credentials_request::UserName { name: "u".into() };
        let answer = a.raw.call(
            &DescribeUserScramCredentialsRequest { users: Some(vec![user]) },
            0,
            SOON,
        )?;
        Ok(answer.error_code.to_string())
    }),
];

fn metadata() -> MetadataRequest {
    MetadataRequest {
        allow_auto_topic_creation: false,
        include_topic_authorized_operations: true,
        ..Default::default()
    }
}

fn topic(name: &str) -> metadata_request::MetadataRequestTopic {
    metadata_request::MetadataRequestTopic { name: Some(name.into()), ..Default::default() }
}

fn named() -> Vec<metadata_request::MetadataRequestTopic> {
    NAMES.map(topic).into()
}

fn by_id(a: &mut Asker) -> Result<String> {
    let topic = |topic_id| metadata_request::MetadataRequestTopic { topic_id, name: None };
    let ids = [a.ids[0], a.ids[1], TopicId::from_random(77)];
    a.ask(&MetadataRequest { topics: Some(ids.map(topic).into()), ..metadata() }, 12)
}

fn describe_topic_partitions(a: &mut Asker) -> Result<String> {
    use describe_topic_partitions_request::TopicRequest;
    let topics = NAMES.map(|name| TopicRequest { name: name.into() }).into();
    a.ask(&DescribeTopicPartitionsRequest { topics, ..Default::default() }, 0)
}

fn batch(producer: Option<i64>) -> Bytes {
    let mut options = BatchOptions::default();
    if let Some(id) = producer {
        options.producer_id = id;
        options.producer_epoch = 0;
        options.base_sequence = 0;
        options.transactional = true;
    }
    let mut builder = BatchBuilder::new(options);
    // Young enough for retention to leave it alone.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    builder.append(now_ms, None, Some(b"value"), &[]);
    Bytes::from(builder.finish())
}

fn produce(a: &mut Asker) -> Result<String> {
    use produce_request as p;
    let topic = |name: &str| p::TopicProduceData {
        name: name.into(),
        partition_data: vec![p::PartitionProduceData { index: 0, records: Some(batch(None)) }],
        ..Default::default()
    };
    let topic_data = NAMES.map(topic).into();
    a.ask(&ProduceRequest { acks: -1, timeout_ms: 5_000, topic_data, ..Default::default() }, 9)
}

fn produce_transactional(a: &mut Asker) -> Result<String> {
    use produce_request as p;
    // Where the topic is denied, and no coordinator is asked.
    let topic = p::TopicProduceData {
        name: "hidden".into(),
        partition_data: vec![p::PartitionProduceData { index: 0, records: Some(batch(Some(7))) }],
        ..Default::default()
    };
    let transactional_id = Some("x".into());
    let topic_data = vec![topic];
    let request = ProduceRequest { acks: -1, timeout_ms: 5_000, topic_data, transactional_id };
    a.ask(&request, 9)
}

fn fetch(a: &mut Asker, version: i16) -> Result<String> {
    use fetch_request as f;
    let partition =
        || f::FetchPartition { fetch_offset: 0, partition_max_bytes: 1, ..Default::default() };
    let topic = |(name, topic_id): (&str, TopicId)| f::FetchTopic {
        topic: name.into(),
        topic_id,
        partitions: vec![partition()],
    };
    let unknown = TopicId::from_random(77);
    let topics = [("t", a.ids[0]), ("tx", unknown), ("hidden", a.ids[1])].map(topic).into();
    let request = FetchRequest {
        max_wait_ms: 0,
        max_bytes: 1,
        session_epoch: -1,
        topics,
        ..Default::default()
    };
    let answer = a.raw.call(&request, version, SOON)?;
    // Records are no names.
    let place = |id| [a.ids[0], unknown, a.ids[1]].iter().position(|known| *known == id);
    let mut told: Vec<String> = answer
        .responses
        .iter()
        .map(|t| format!("{}{:?}={}", t.topic, place(t.topic_id), t.partitions[0].error_code))
        .collect();
    told.sort();
    Ok(format!("{} {told:?}", answer.error_code))
}

fn list_offsets(a: &mut Asker) -> Result<String> {
    use list_offsets_request as l;
    let topic = |name: &str| l::ListOffsetsTopic {
        name: name.into(),
        partitions: vec![l::ListOffsetsPartition { timestamp: -2, ..Default::default() }],
    };
    a.ask(&ListOffsetsRequest { topics: NAMES.map(topic).into(), ..Default::default() }, 7)
}

pub fn list_offsets_of_t(a: &mut Asker) -> Result<String> {
    list_offsets(a)
}

fn offset_for_leader_epoch(a: &mut Asker) -> Result<String> {
    use offset_for_leader_epoch_request as o;
    let topic = |name: &str| o::OffsetForLeaderTopic {
        topic: name.into(),
        partitions: vec![o::OffsetForLeaderPartition::default()],
    };
    let topics = NAMES.map(topic).into();
    a.ask(&OffsetForLeaderEpochRequest { replica_id: -1, topics }, 4)
}

fn delete_records(a: &mut Asker) -> Result<String> {
    use delete_records_request as d;
    let topic = |name: &str| d::DeleteRecordsTopic {
        name: name.into(),
        partitions: vec![d::DeleteRecordsPartition { partition_index: 0, offset: 0 }],
    };
    a.ask(&DeleteRecordsRequest { topics: NAMES.map(topic).into(), timeout_ms: 5_000 }, 2)
}

fn create_topics(a: &mut Asker) -> Result<String> {
    let topic = |name: &str| create_topics_request::CreatableTopic {
        name: name.into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest {
        topics: NAMES.map(topic).into(),
        timeout_ms: 5_000,
        validate_only: true,
    };
    // Without the names of configs.
    let answer = a.raw.call(&request, 7, SOON)?;
    let mut told: Vec<String> = answer
        .topics
        .iter()
        .map(|t| {
            let numbers = (t.num_partitions, t.replication_factor);
            format!("{} {} {} {numbers:?}", t.name, t.error_code, t.topic_config_error_code)
        })
        .collect();
    told.sort();
    Ok(format!("{told:?}"))
}

/// Topics, the broker, a group, client metrics.
const RESOURCES: [(i8, &str); 6] =
    [(2, "t"), (2, "tx"), (2, "hidden"), (4, "1"), (32, "g"), (16, "metrics")];

fn describe_configs(a: &mut Asker) -> Result<String> {
    use describe_configs_request::DescribeConfigsResource;
    let resource = |(resource_type, name): (i8, &str)| DescribeConfigsResource {
        resource_type,
        resource_name: name.into(),
        configuration_keys: Some(vec!["retention.ms".into()]),
    };
    let resources = RESOURCES.map(resource).into();
    a.ask(&DescribeConfigsRequest { resources, ..Default::default() }, 4)
}

fn incremental_alter_configs(a: &mut Asker) -> Result<String> {
    use incremental_alter_configs_request as i;
    let resource = |(resource_type, name): (i8, &str)| i::AlterConfigsResource {
        resource_type,
        resource_name: name.into(),
        configs: vec![i::AlterableConfig {
            name: "retention.ms".into(),
            config_operation: 0,
            value: Some("100000".into()),
        }],
    };
    let resources = [RESOURCES[0], RESOURCES[1], RESOURCES[2]].map(resource).into();
    a.ask(&IncrementalAlterConfigsRequest { resources, validate_only: true }, 1)
}

fn alter_configs(a: &mut Asker) -> Result<String> {
    use alter_configs_request as c;
    let resource = |(resource_type, name): (i8, &str)| c::AlterConfigsResource {
        resource_type,
        resource_name: name.into(),
        configs: vec![c::AlterableConfig {
            name: "retention.ms".into(),
            value: Some("100000".into()),
        }],
    };
    let resources = [RESOURCES[0], RESOURCES[1], RESOURCES[2]].map(resource).into();
    a.ask(&AlterConfigsRequest { resources, validate_only: true }, 2)
}

fn find_coordinator(a: &mut Asker, key: &str, key_type: i8) -> Result<String> {
    let coordinator_keys = vec![key.into()];
    let request = FindCoordinatorRequest { key_type, coordinator_keys, ..Default::default() };
    a.ask(&request, 4)
}

fn offset_commit(a: &mut Asker) -> Result<String> {
    use offset_commit_request as c;
    let topic = |name: &str| c::OffsetCommitRequestTopic {
        name: name.into(),
        partitions: vec![c::OffsetCommitRequestPartition::default()],
        ..Default::default()
    };
    let topics = NAMES.map(topic).into();
    a.ask(&OffsetCommitRequest { group_id: "g".into(), topics, ..Default::default() }, 9)
}

fn offset_fetch(a: &mut Asker, is_named: bool) -> Result<String> {
    use offset_fetch_request as f;
    let topic = |name: &str| f::OffsetFetchRequestTopics {
        name: name.into(),
        partition_indexes: vec![0],
        ..Default::default()
    };
    let topics = is_named.then(|| NAMES.map(topic).into());
    let group = f::OffsetFetchRequestGroup { group_id: "g".into(), topics, ..Default::default() };
    a.ask(&OffsetFetchRequest { groups: vec![group], ..Default::default() }, 9)
}

fn write_txn_markers(a: &mut Asker) -> Result<String> {
    use write_txn_markers_request as w;
    let topic = w::WritableTxnMarkerTopic { name: "tx".into(), partition_indexes: vec![0] };
    let marker = w::WritableTxnMarker { topics: vec![topic], ..Default::default() };
    a.ask(&WriteTxnMarkersRequest { markers: vec![marker] }, 1)
}
