//! Admin against scripted brokers on real sockets.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::{BrokerId, ErrorCode, TopicId, TopicPartition};
use bytes::BytesMut;
use plan::moves::Move;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use wire::frame::{Split, split};
use wire::header::RequestHeader;
use wire::messages::api_versions_response::ApiVersion;
use wire::messages::describe_cluster_response::DescribeClusterBroker;
use wire::messages::describe_quorum_response as quorum;
use wire::messages::describe_topic_partitions_response as topics;
use wire::messages::{
    AlterPartitionReassignmentsResponse, ApiVersionsResponse, CreateTopicsResponse,
    DescribeClusterResponse, DescribeConfigsResponse, DescribeQuorumResponse,
    DescribeTopicPartitionsResponse, alter_partition_reassignments_response as reassignments,
    create_topics_response,
};
use wire::{AnyRequest, AnyResponse, ApiKey, Part, Reader, Str, encode_response};

use super::*;

/// What a scripted broker does with a request.
pub(crate) enum Answer {
    Say(Box<AnyResponse>),
    Nothing,
    HangUp,
}

pub(crate) fn say(response: impl Into<AnyResponse>) -> Answer {
    Answer::Say(Box::new(response.into()))
}

pub(crate) type Seen = Arc<Mutex<Vec<AnyRequest>>>;

/// A broker that answers as `script` says; its address, and the requests that it got.
pub(crate) async fn broker(
    script: impl FnMut(&AnyRequest) -> Answer + Send + 'static,
) -> (std::net::SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Seen::default();
    let script = Arc::new(Mutex::new(script));
    tokio::spawn({
        let seen = seen.clone();
        async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, script.clone(), seen.clone()));
            }
        }
    });
    (address, seen)
}

async fn serve(
    mut stream: TcpStream,
    script: Arc<Mutex<impl FnMut(&AnyRequest) -> Answer>>,
    seen: Seen,
) {
    let mut buffer = BytesMut::new();
    loop {
        let frame = match split(&mut buffer, 1 << 20).unwrap() {
            Split::Frame(frame) => frame,
            Split::Need(_) => match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => continue,
            },
        };
        let mut r = Reader::new(frame);
        let header = RequestHeader::decode(&mut r).unwrap();
        let request = AnyRequest::decode(header.api_key, header.api_version, &mut r).unwrap();
        let answer = match header.api_key {
            ApiKey::ApiVersions => say(versions()),
            _ => {
                seen.lock().unwrap().push(request.clone());
                (script.lock().unwrap())(&request)
            }
        };
        let body = match answer {
            Answer::Say(body) => body,
            Answer::Nothing => continue,
            Answer::HangUp => return,
        };
        for part in encode_response(&body, header.api_version, header.correlation_id).unwrap() {
            if let Part::Bytes(mut bytes) = part {
                stream.write_all_buf(&mut bytes).await.unwrap();
            }
        }
    }
}

pub(crate) fn admin_of(address: std::net::SocketAddr) -> Admin {
    Admin::new(vec![address.to_string()], options())
}

/// So many moves of a topic are in flight.
pub(crate) fn moves_of(topic: &str, count: i32) -> Answer {
    use wire::messages::list_partition_reassignments_response as list;
    let partitions = (0..count).map(|at| list::OngoingPartitionReassignment {
        partition_index: at,
        replicas: vec![1, 2],
        adding_replicas: vec![2],
        ..Default::default()
    });
    let partitions: Vec<_> = partitions.collect();
    let topic = list::OngoingTopicReassignment { name: topic.into(), partitions };
    let topics = if count > 0 { vec![topic] } else { Vec::new() };
    say(wire::messages::ListPartitionReassignmentsResponse { topics, ..Default::default() })
}

fn versions() -> ApiVersionsResponse {
    let all = (0..=100).filter_map(ApiKey::from_i16).map(|key| ApiVersion {
        api_key: key as i16,
        min_version: *key.versions().start(),
        max_version: *key.versions().end(),
    });
    ApiVersionsResponse { api_keys: all.collect(), ..Default::default() }
}

fn options() -> Options {
    Options {
        connect_timeout: Duration::from_secs(2),
        request_timeout: Duration::from_millis(300),
        ..Options::default()
    }
}

fn cluster_of(addresses: &[std::net::SocketAddr]) -> DescribeClusterResponse {
    let brokers = addresses.iter().enumerate().map(|(id, address)| DescribeClusterBroker {
        broker_id: id as i32,
        host: address.ip().to_string().into(),
        port: i32::from(address.port()),
        rack: Some(Str::from("zone-a")),
        is_fenced: id == 1,
    });
    DescribeClusterResponse {
        cluster_id: "the-cluster".into(),
        brokers: brokers.collect(),
        ..Default::default()
    }
}

#[tokio::test]
async fn another_address_is_tried_and_a_broken_connection_made_anew() {
    let mut calls = 0;
    let (address, seen) = broker(move |_| {
        calls += 1;
        // The second request ends the connection; a read is asked again.
        if calls == 2 { Answer::HangUp } else { say(cluster_of(&[])) }
    })
    .await;
    let dead = "127.0.0.1:1".to_owned();
    let admin = Admin::new(vec![dead, address.to_string()], options());
    assert_eq!(admin.describe_cluster().await.unwrap().cluster_id, "the-cluster");
    assert_eq!(admin.describe_cluster().await.unwrap().cluster_id, "the-cluster");
    assert_eq!(seen.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_silent_broker_costs_its_time_and_the_next_call_goes_elsewhere() {
    let (silent, _) = broker(|_| Answer::Nothing).await;
    let (good, _) = broker(|_| say(cluster_of(&[]))).await;
    let admin = Admin::new(vec![silent.to_string(), good.to_string()], options());
    let begun = Instant::now();
    let error = admin.describe_cluster().await.unwrap_err();
    assert_eq!(error, AdminError::Timeout(ApiKey::DescribeCluster));
    assert!(error.is_retriable() && begun.elapsed() < Duration::from_secs(5));
    admin.describe_cluster().await.unwrap();
}

#[tokio::test]
async fn another_first_address_is_asked_at_once() {
    let mut calls = 0;
    let (lost, _) = broker(move |_| {
        calls += 1;
        if calls == 1 { say(cluster_of(&[])) } else { Answer::Nothing }
    })
    .await;
    let (good, seen) = broker(|_| say(cluster_of(&[]))).await;
    let admin = Admin::new(vec![lost.to_string(), good.to_string()], options());
    admin.describe_cluster().await.unwrap();
    admin.set_bootstrap(vec![good.to_string(), lost.to_string()]).await;
    admin.describe_cluster().await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn nobody_there_is_said_in_time() {
    let error = Admin::new(vec!["127.0.0.1:1".into()], options()).describe_cluster().await;
    assert!(matches!(error, Err(AdminError::Unreachable(_))), "{error:?}");
    let error = Admin::new(Vec::new(), options()).describe_cluster().await;
    assert!(matches!(error, Err(AdminError::Unreachable(_))), "{error:?}");
}

#[tokio::test]
async fn a_change_is_never_sent_twice() {
    let (address, seen) = broker(|_| Answer::HangUp).await;
    let admin = Admin::new(vec![address.to_string()], options());
    let error = admin.delete_topics(&["t".into()]).await.unwrap_err();
    assert!(matches!(error, AdminError::Lost { .. }), "{error}");
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_broker_without_a_controller_is_left_for_another() {
    let refusing = |_: &AnyRequest| {
        let error_code = ErrorCode::NotController.code();
        say(AlterPartitionReassignmentsResponse { error_code, ..Default::default() })
    };
    let done = |_: &AnyRequest| {
        let partition = reassignments::ReassignablePartitionResponse::default();
        let (name, partitions) = ("t".into(), vec![partition]);
        let topic = reassignments::ReassignableTopicResponse { name, partitions };
        let responses = vec![topic];
        say(AlterPartitionReassignmentsResponse { responses, ..Default::default() })
    };
    let ((first, _), (second, seen)) = tokio::join!(broker(refusing), broker(done));
    let admin = Admin::new(vec![first.to_string(), second.to_string()], options());
    let there = TopicPartition::new("t", 0);
    let unknown = TopicPartition::new("t", 1);
    let moves = [&there, &unknown].map(|partition| Move {
        partition: partition.clone(),
        replicas: vec![BrokerId(1), BrokerId(2)],
    });
    let error = admin.reassign(&moves).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NotController));
    assert!(error.is_retriable());
    let answers = admin.reassign(&moves).await.unwrap();
    assert_eq!(answers[&there], Ok(()));
    assert!(answers[&unknown].is_err(), "what is not answered is not done");
    let AnyRequest::AlterPartitionReassignments(request) = seen.lock().unwrap()[0].clone() else {
        panic!()
    };
    assert_eq!(request.topics[0].partitions[1].replicas, Some(vec![1, 2]));
}

#[tokio::test]
async fn a_broker_is_asked_itself_at_the_address_that_it_advertises() {
    let (second, asked) = broker(|_| say(DescribeConfigsResponse::default())).await;
    let (first, _) = broker(move |_| say(cluster_of(&[second, second]))).await;
    let admin = Admin::new(vec![first.to_string()], options());
    let error = admin.broker_configs(BrokerId(1)).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownServerError), "the answer is empty");
    assert_eq!(asked.lock().unwrap().len(), 1);
    let unknown = admin.broker_configs(BrokerId(7)).await.unwrap_err();
    assert!(unknown.to_string().contains("broker 7 is not registered"), "{unknown}");
    let info = admin.describe_cluster().await.unwrap();
    assert!(!info.brokers[&BrokerId(0)].fenced && info.brokers[&BrokerId(1)].fenced);
    assert_eq!(info.brokers[&BrokerId(0)].rack.as_deref(), Some("zone-a"));
}

#[tokio::test]
async fn topics_come_in_pages_and_those_unknown_are_left_out() {
    let page = |request: &AnyRequest| {
        let AnyRequest::DescribeTopicPartitions(request) = request else { panic!("{request:?}") };
        let partition = |n| topics::DescribeTopicPartitionsResponsePartition {
            partition_index: n,
            replica_nodes: vec![0, 1],
            isr_nodes: vec![0],
            ..Default::default()
        };
        let named = |name: &str, numbers: std::ops::Range<i32>| {
            topics::DescribeTopicPartitionsResponseTopic {
                name: Some(name.into()),
                topic_id: TopicId([9; 16]),
                partitions: numbers.map(partition).collect(),
                ..Default::default()
            }
        };
        let mut response = DescribeTopicPartitionsResponse::default();
        match &request.cursor {
            None => {
                response.topics.push(named("a", 0..2));
                let (topic_name, partition_index) = ("a".into(), 2);
                response.next_cursor = Some(topics::Cursor { topic_name, partition_index });
            }
            Some(_) => {
                response.topics.push(named("a", 2..3));
                let error_code = ErrorCode::UnknownTopicOrPartition.code();
                let gone =
                    topics::DescribeTopicPartitionsResponseTopic { error_code, ..named("b", 0..0) };
                response.topics.push(gone);
            }
        }
        say(response)
    };
    let (address, seen) = broker(page).await;
    let admin = Admin::new(vec![address.to_string()], options());
    let found = admin.describe_topics(&["a".into(), "b".into()]).await.unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(found["a"].id, TopicId([9; 16]));
    let numbers: Vec<i32> = found["a"].partitions.iter().map(|p| p.partition).collect();
    assert_eq!(numbers, [0, 1, 2]);
    assert_eq!(found["a"].partitions[2].isr, [BrokerId(0)]);
    assert_eq!(seen.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn many_topics_are_created_in_requests_of_a_hundred() {
    let create = |request: &AnyRequest| {
        let AnyRequest::CreateTopics(request) = request else { panic!("{request:?}") };
        let created = request.topics.iter().map(|topic| {
            let refused = *topic.name == *"t7";
            create_topics_response::CreatableTopicResult {
                name: topic.name.clone(),
                error_code: if refused { ErrorCode::InvalidConfig.code() } else { 0 },
                error_message: refused.then(|| Str::from("no such key")),
                num_partitions: topic.num_partitions,
                replication_factor: 3,
                ..Default::default()
            }
        });
        say(CreateTopicsResponse { topics: created.collect(), ..Default::default() })
    };
    let (address, seen) = broker(create).await;
    let admin = Admin::new(vec![address.to_string()], options());
    let new = |n| NewTopic {
        name: format!("t{n}"),
        partitions: 4,
        replication_factor: -1,
        config: Default::default(),
    };
    let answers = admin.create_topics(&(0..250).map(new).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 3);
    let made = answers["t249"].clone().unwrap();
    assert_eq!((made.partitions, made.replication_factor), (4, 3));
    let refused = answers["t7"].clone().unwrap_err();
    assert_eq!((refused.code, refused.message.as_str()), (ErrorCode::InvalidConfig, "no such key"));
    assert!(!refused.is_retriable());
}

#[tokio::test]
async fn who_follows_the_quorum_closely_is_measured_with_the_leaders_clock() {
    let state = |id, end, at| quorum::ReplicaState {
        replica_id: id,
        log_end_offset: end,
        last_fetch_timestamp: at,
        last_caught_up_timestamp: at,
        ..Default::default()
    };
    let answer = move |_: &AnyRequest| {
        let now = 1_000_000;
        let partition = quorum::PartitionData {
            leader_id: 0,
            current_voters: vec![state(0, 500, now), state(1, 499, now - 60_000)],
            observers: vec![state(2, 450, now - 100), state(3, 10, now), state(4, 500, -1)],
            ..Default::default()
        };
        let topic = quorum::TopicData { partitions: vec![partition], ..Default::default() };
        say(DescribeQuorumResponse { topics: vec![topic], ..Default::default() })
    };
    let (address, _) = broker(answer).await;
    let quorum = Admin::new(vec![address.to_string()], options()).describe_quorum().await.unwrap();
    assert_eq!(quorum.leader, Some(BrokerId(0)));
    let caught_up = |members: &std::collections::BTreeMap<BrokerId, Member>| {
        members.values().map(|m| m.caught_up).collect::<Vec<_>>()
    };
    assert_eq!(caught_up(&quorum.voters), [true, false], "silent for a minute");
    assert_eq!(caught_up(&quorum.observers), [true, false, false]);
    assert_eq!(quorum.observers[&BrokerId(3)].lag, 490);
}
