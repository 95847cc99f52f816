//! What an answer says of other brokers and of what follows: leader hints (KIP-951), and the pages
//! of DescribeTopicPartitions. Two brokers in this process.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use base::{ErrorCode, TopicId};
use broker::boot::{Running, start};
use bytes::Bytes;
use client::{Connection, Options};
use support::{TOPIC, batch, config_with, partitions, want};
use tokio::time::{sleep, timeout};
use wire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use wire::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use wire::messages::fetch_request::FetchTopic;
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::*;

const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qg";

/// Broker 1, the only voter, and broker 2. Partition 0 of the topic is on the first of them, 1 on
/// the second.
struct Pair {
    brokers: [Running; 2],
    /// To broker 2.
    connection: Connection,
    topic_id: TopicId,
    _dirs: [tempfile::TempDir; 2],
}

async fn connect(broker: &Running) -> Connection {
    let address = broker.addresses[0].to_string();
    Connection::connect(&address, Options::default()).await.unwrap()
}

/// Asks until there is an answer.
async fn until<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            match ask().await {
                Some(answer) => return answer,
                None => sleep(Duration::from_millis(20)).await,
            }
        }
    };
    timeout(Duration::from_secs(30), asking).await.unwrap()
}

fn topic(name: &str, leaders: &[i32]) -> CreatableTopic {
    let assigned = leaders.iter().zip(0..).map(|(&id, partition_index)| {
        CreatableReplicaAssignment { partition_index, broker_ids: vec![id] }
    });
    CreatableTopic {
        name: name.into(),
        num_partitions: -1,
        replication_factor: -1,
        assignments: assigned.collect(),
        ..Default::default()
    }
}

impl Pair {
    async fn start() -> Pair {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let cluster = ("barnabas.cluster.id", CLUSTER);
        let first = start(config_with(dirs[0].path(), &[cluster])).unwrap();
        let voter = until(async || first.broker.quorum.status().voters.first().cloned()).await;
        let voters = format!("1@127.0.0.1:{}", voter.address.port);
        let secret = dirs[0].path().join("internal.secret").display().to_string();
        let more = [
            cluster,
            ("node.id", "2"),
            ("process.roles", "broker"),
            ("controller.quorum.voters", &voters),
            // The first broker made it.
            ("barnabas.internal.secret.file", &secret),
        ];
        let second = start(config_with(dirs[1].path(), &more)).unwrap();
        let connection = connect(&second).await;
        let pair =
            Pair { brokers: [first, second], connection, topic_id: TopicId::ZERO, _dirs: dirs };
        let topic_id = pair.create(TOPIC, &[1, 2]).await;
        // Broker 2 has heard of it when it leads its own partition.
        until(async || pair.brokers[1].broker.storage.partitions.find(TOPIC, 1).ok()).await;
        Pair { topic_id, ..pair }
    }

    async fn create(&self, name: &str, leaders: &[i32]) -> TopicId {
        let topics = vec![topic(name, leaders)];
        let request = CreateTopicsRequest { topics, timeout_ms: 5_000, ..Default::default() };
        until(async || {
            let response = self.connection.call(&request, 7).await.unwrap();
            let created = &response.topics[0];
            (created.error_code == 0).then_some(created.topic_id)
        })
        .await
    }

    async fn stop(self) {
        drop(self.connection);
        let [first, second] = self.brokers;
        second.stop().await.unwrap();
        first.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_the_wrong_broker_is_told_the_leader_and_its_address() {
    let pair = Pair::start().await;
    let leader = pair.brokers[0].addresses[0];
    let wrong = ErrorCode::NotLeaderOrFollower.code();
    for version in 9..=13 {
        let by_id = version >= 13;
        let records = Some(Bytes::from(batch(1, 10)));
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 1_000,
            topic_data: vec![TopicProduceData {
                name: if by_id { "".into() } else { TOPIC.into() },
                topic_id: if by_id { pair.topic_id } else { TopicId::ZERO },
                partition_data: vec![PartitionProduceData { index: 0, records }],
            }],
            ..Default::default()
        };
        let response = pair.connection.call(&request, version).await.unwrap();
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, wrong, "v{version}");
        let hint = partition.current_leader.leader_id;
        let nodes: Vec<(i32, i32)> =
            response.node_endpoints.iter().map(|node| (node.node_id, node.port)).collect();
        match version {
            9 => assert_eq!((hint, &nodes[..]), (-1, &[][..])),
            _ => assert_eq!((hint, &nodes[..]), (1, &[(1, leader.port().into())][..])),
        }
    }
    for version in 11..=18 {
        let by_id = version >= 13;
        let request = FetchRequest {
            max_bytes: 1 << 20,
            session_epoch: -1,
            topics: vec![FetchTopic {
                topic: if by_id { "".into() } else { TOPIC.into() },
                topic_id: if by_id { pair.topic_id } else { TopicId::ZERO },
                partitions: vec![want(0, 0)],
            }],
            ..Default::default()
        };
        let response = pair.connection.call(&request, version).await.unwrap();
        let data = partitions(&response)[0];
        assert_eq!(data.error_code, wrong, "v{version}");
        let hint = data.current_leader.leader_id;
        assert_eq!(hint, if version >= 12 { 1 } else { -1 }, "v{version}");
        let nodes: Vec<(i32, i32)> =
            response.node_endpoints.iter().map(|node| (node.node_id, node.port)).collect();
        let expected = [(1, i32::from(leader.port()))];
        assert_eq!(nodes, if version >= 16 { &expected[..] } else { &[] }, "v{version}");
    }
    pair.stop().await;
}

/// The partitions of a page, by topic; and where the next one begins.
async fn page(
    pair: &Pair,
    names: &[&str],
    limit: i32,
    cursor: Option<Cursor>,
) -> (Vec<(String, Vec<i32>)>, Option<Cursor>) {
    let request = DescribeTopicPartitionsRequest {
        topics: names.iter().map(|name| TopicRequest { name: (*name).into() }).collect(),
        response_partition_limit: limit,
        cursor,
    };
    let response = pair.connection.call(&request, 0).await.unwrap();
    let topics = response.topics.iter().map(|topic| {
        let known = topic.error_code == 0;
        assert!(known || topic.error_code == ErrorCode::UnknownTopicOrPartition.code());
        assert_eq!(known, !topic.partitions.is_empty());
        let indexes = topic.partitions.iter().map(|p| p.partition_index).collect();
        (topic.name.clone().unwrap().to_string(), indexes)
    });
    let next = response
        .next_cursor
        .map(|next| Cursor { topic_name: next.topic_name, partition_index: next.partition_index });
    (topics.collect(), next)
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_described_page_by_page() {
    let pair = Pair::start().await;
    pair.create("a", &[1, 2, 1]).await;
    pair.create("z", &[1]).await;
    let names = [TOPIC, "z", "a", "missing"];
    let told = |name: &str, indexes: &[i32]| (name.to_owned(), indexes.to_vec());
    until(async || {
        let image = pair.brokers[1].broker.image();
        (image.topic("a").is_some() && image.topic("z").is_some()).then_some(())
    })
    .await;
    let everything =
        vec![told("a", &[0, 1, 2]), told(TOPIC, &[0, 1]), told("missing", &[]), told("z", &[0])];
    let (all, next) = page(&pair, &names, 2_000, None).await;
    assert_eq!((all, next), (everything, None));
    // Two at a time, to the end, wherever a page breaks.
    let (mut pages, mut cursor) = (Vec::new(), None);
    loop {
        let (topics, next) = page(&pair, &names, 2, cursor).await;
        pages.push(topics);
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    let expected = [
        vec![told("a", &[0, 1])],
        vec![told("a", &[2]), told(TOPIC, &[0])],
        vec![told(TOPIC, &[1]), told("missing", &[]), told("z", &[0])],
    ];
    assert_eq!(pages, expected);
    // Without names: all topics there are, from the cursor on.
    let cursor = Some(Cursor { topic_name: "b".into(), partition_index: 7 });
    let (rest, next) = page(&pair, &[], 2_000, cursor).await;
    assert_eq!((rest, next), (vec![told(TOPIC, &[0, 1]), told("z", &[0])], None));
    pair.stop().await;
}
