//! One broker in this process with one topic, and short ways to ask it.
#![allow(dead_code, reason = "every test file uses its part of this")]
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use authorizer::{
    Acl, AclFilter, CLUSTER_NAME, Operation, PatternType, Permission, ResourceType, WILDCARD,
};
use base::{ErrorCode, TopicId};
use broker::boot::{Running, start};
use bytes::Bytes;
use client::{Connection, Options};
use config::Config;
use config::testing::on_free_ports_with;
use metadata::{CreateAclsRequest, DeleteAclsRequest};
use record::{BatchBuilder, BatchOptions};
use server::peer::proof::{AUTHENTICATE_VERSION, HANDSHAKE_VERSION};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use wire::Part;
use wire::messages::create_topics_request::CreatableTopic;
use wire::messages::fetch_request::{FetchPartition, FetchTopic};
use wire::messages::fetch_response::PartitionData;
use wire::messages::metadata_request::MetadataRequestTopic;
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::{
    CreateTopicsRequest, FetchRequest, FetchResponse, MetadataRequest, ProduceRequest,
};

pub const TOPIC: &str = "events";
pub const FETCH: i16 = 12;
pub const AUTHORIZER: &str = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";

pub struct Rig {
    pub running: Running,
    pub connection: Connection,
    pub address: String,
    pub topic_id: TopicId,
    pub dir: tempfile::TempDir,
}

pub fn config(dir: &Path) -> Arc<Config> {
    config_with(dir, &[])
}

/// The configuration of a broker on free ports, with more keys or other values.
pub fn config_with(dir: &Path, more: &[(&str, &str)]) -> Arc<Config> {
    Arc::new(on_free_ports_with(dir, more))
}

impl Rig {
    pub async fn start() -> Rig {
        Rig::start_with(&[]).await
    }

    /// A broker with more keys.
    pub async fn start_with(more: &[(&str, &str)]) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let running = start(config_with(dir.path(), more)).unwrap();
        let address = running.addresses[0].to_string();
        let connection = Connection::connect(&address, Options::default()).await.unwrap();
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: TOPIC.into(),
                num_partitions: 3,
                replication_factor: 1,
                ..Default::default()
            }],
            timeout_ms: 5_000,
            ..Default::default()
        };
        let created = async {
            loop {
                let created = connection.call(&request, 7).await.unwrap();
                match ErrorCode::from_i16(created.topics[0].error_code).unwrap() {
                    ErrorCode::None => return created.topics[0].topic_id,
                    // An attempt that timed out had come through.
                    ErrorCode::TopicAlreadyExists => return topic_id(&connection).await,
                    _ => sleep(Duration::from_millis(20)).await,
                }
            }
        };
        let topic_id = timeout(Duration::from_secs(20), created).await.unwrap();
        // The answer does not wait for the logs: a client that comes too soon is told to ask again.
        let led = async {
            while (0..3).any(|p| running.broker.storage.partitions.find(TOPIC, p).is_err()) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(20), led).await.unwrap();
        Rig { running, connection, address, topic_id, dir }
    }

    pub async fn produce(&self, partition: i32, batch: Vec<u8>) -> (ErrorCode, i64) {
        let response =
            self.connection.call(&self.produce_request(-1, partition, batch), 9).await.unwrap();
        let partition = &response.responses[0].partition_responses[0];
        (ErrorCode::from_i16(partition.error_code).unwrap(), partition.base_offset)
    }

    pub fn produce_request(&self, acks: i16, index: i32, batch: Vec<u8>) -> ProduceRequest {
        let records = Some(Bytes::from(batch));
        ProduceRequest {
            acks,
            timeout_ms: 5_000,
            topic_data: vec![TopicProduceData {
                name: TOPIC.into(),
                partition_data: vec![PartitionProduceData { index, records }],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    /// Has the connection be one of a broker, this one itself.
    pub async fn prove(&self, connection: &Connection) {
        let prover = self.running.broker.prover(self.running.broker.id).unwrap();
        let offered = connection.call(&prover.handshake(), HANDSHAKE_VERSION).await.unwrap();
        assert!(prover.is_offered(&offered).unwrap());
        let challenge = connection.call(&prover.first(), AUTHENTICATE_VERSION).await.unwrap();
        let answer = prover.second(&challenge).unwrap();
        let answer = connection.call(&answer, AUTHENTICATE_VERSION).await.unwrap();
        prover.accepted(&answer).unwrap();
    }

    pub async fn fetch(&self, request: FetchRequest) -> FetchResponse {
        self.connection.call(&request, FETCH).await.unwrap()
    }

    pub async fn stop(self) {
        drop(self.connection);
        self.running.stop().await.unwrap();
    }
}

/// A batch of `count` records with values of `size` bytes.
pub fn batch(count: usize, size: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let now = process::clock::wall_ms();
    for i in 0..count {
        builder.append(now, Some(&(i as u32).to_be_bytes()), Some(&vec![7; size]), &[]);
    }
    builder.finish()
}

pub fn want(partition: i32, fetch_offset: i64) -> FetchPartition {
    let partition_max_bytes = 1 << 20;
    FetchPartition { partition, fetch_offset, partition_max_bytes, ..Default::default() }
}

pub fn fetch(partitions: Vec<FetchPartition>) -> FetchRequest {
    let topics = match partitions.is_empty() {
        true => Vec::new(),
        false => vec![FetchTopic { topic: TOPIC.into(), partitions, ..Default::default() }],
    };
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 50 << 20,
        session_epoch: -1,
        topics,
        ..Default::default()
    }
}

pub fn partitions(response: &FetchResponse) -> Vec<&PartitionData> {
    response.responses.iter().flat_map(|topic| &topic.partitions).collect()
}

pub fn record_bytes(data: &PartitionData) -> usize {
    data.records.len()
}

pub fn frame<R: wire::Request>(request: &R, version: i16, correlation_id: i32) -> Vec<u8> {
    let parts = wire::encode_request(request, version, correlation_id, None).unwrap();
    let bytes = |part| match part {
        Part::Bytes(bytes) => bytes,
        Part::File(_) => panic!("requests have no files"),
    };
    parts.into_iter().flat_map(bytes).collect()
}

/// The next frame without its length; `None` when the connection ended.
pub async fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let length = stream.read_u32().await.ok()?;
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body).await.ok()?;
    Some(body)
}

pub fn correlation_id(frame: &[u8]) -> i32 {
    i32::from_be_bytes(*frame.first_chunk().unwrap())
}

async fn topic_id(connection: &Connection) -> TopicId {
    let topic = MetadataRequestTopic { name: Some(TOPIC.into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
    loop {
        let found = connection.call(&request, 12).await.unwrap();
        match ErrorCode::from_i16(found.topics[0].error_code).unwrap() {
            ErrorCode::None => return found.topics[0].topic_id,
            // The broker may not have heard of it yet.
            _ => sleep(Duration::from_millis(20)).await,
        }
    }
}

/// A rule for everybody that connects without a name.
pub fn rule(
    resource_type: ResourceType,
    name: &str,
    operation: Operation,
    permission_type: Permission,
) -> Acl {
    Acl {
        resource_type,
        resource_name: name.into(),
        pattern_type: PatternType::Literal,
        principal: "User:ANONYMOUS".into(),
        host: "*".into(),
        operation,
        permission_type,
    }
}

pub fn allow(resource_type: ResourceType, name: &str, operation: Operation) -> Acl {
    rule(resource_type, name, operation, Permission::Allow)
}

/// New rules, on the broker's own authority; it knows them afterwards.
pub async fn add_rules(running: &Running, acls: Vec<Acl>) {
    let request = CreateAclsRequest { acls: acls.clone() };
    let results = running.broker.controller.call(request).await.unwrap();
    assert!(results.iter().all(Result::is_ok));
    let known = async {
        while !acls.iter().all(|acl| running.broker.image().acls().contains(acl)) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), known).await.unwrap();
}

pub async fn remove_rules(running: &Running, filter: AclFilter) {
    let request = DeleteAclsRequest { filters: vec![filter.clone()] };
    running.broker.controller.call(request).await.unwrap();
    let gone = async {
        while running.broker.image().acls().matching(&filter).next().is_some() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), gone).await.unwrap();
}

/// Rules about every resource, and for somebody else: nobody here may do anything.
pub async fn close(running: &Running) {
    let acl = |&resource_type: &ResourceType| {
        let is_cluster = resource_type == ResourceType::Cluster;
        let name = if is_cluster { CLUSTER_NAME } else { WILDCARD };
        let acl = allow(resource_type, name, Operation::All);
        Acl { principal: "User:somebody".into(), ..acl }
    };
    add_rules(running, ResourceType::ALL_VALUES.iter().map(acl).collect()).await;
}
