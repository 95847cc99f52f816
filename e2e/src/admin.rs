//! What a test asks of a cluster: metadata, the quorum's leader, topics, elections. Blocking, over
//! the workspace's own client; every call tries the brokers one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use base::ErrorCode;
use client::{Connection, Options};
use tokio::runtime::{Builder, Runtime};
use wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use wire::messages::describe_quorum_request::{PartitionData, TopicData};
use wire::messages::metadata_request::MetadataRequestTopic;
use wire::messages::{
    CreateTopicsRequest, DescribeQuorumRequest, DescribeQuorumResponse, ElectLeadersRequest,
    MetadataRequest, MetadataResponse,
};
use wire::{Request, Str};

use crate::wait;

const CALL: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Admin {
    runtime: Runtime,
    brokers: Vec<String>,
}

/// One partition as the metadata tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partition {
    pub leader: i32,
    pub leader_epoch: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
}

pub type Partitions = BTreeMap<(String, i32), Partition>;

impl Admin {
    pub fn new(brokers: Vec<String>) -> Result<Admin> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Admin { runtime, brokers })
    }

    /// Asks one broker.
    pub fn call_at<R: Request>(&self, addr: &str, request: &R) -> Result<R::Response> {
        self.runtime.block_on(async {
            let options =
                Options { connect_timeout: CALL, request_timeout: CALL, ..Options::default() };
            let connection = Connection::open(addr, options).await?;
            Ok(connection.call_newest(request).await?)
        })
    }

    /// Asks the brokers in turn until one answers.
    pub fn call<R: Request>(&self, request: &R) -> Result<R::Response> {
        let mut last = anyhow!("there is no broker");
        for addr in &self.brokers {
            match self.call_at(addr, request) {
                Ok(response) => return Ok(response),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub fn metadata(&self, topics: &[&str]) -> Result<MetadataResponse> {
        self.call(&metadata_request(topics))
    }

    /// The partitions of these topics (all topics if none is named); fails while one is unknown.
    pub fn partitions(&self, topics: &[&str]) -> Result<Partitions> {
        partitions_of(&self.metadata(topics)?)
    }

    /// As [`Admin::partitions`], as one broker sees it.
    pub fn partitions_at(&self, addr: &str, topics: &[&str]) -> Result<Partitions> {
        partitions_of(&self.call_at(addr, &metadata_request(topics))?)
    }

    /// As [`Admin::partitions`], as every broker sees it. One that just started again, or was cut
    /// off or paused, tells for a while what it knew before, so a single view proves nothing.
    pub fn partitions_agreed(&self, topics: &[&str]) -> Result<Partitions> {
        self.agreed("the partitions", |addr| self.partitions_at(addr, topics))
    }

    /// The ids of the live brokers, as every broker sees them.
    pub fn brokers_agreed(&self) -> Result<BTreeSet<usize>> {
        self.agreed("the brokers", |addr| {
            let metadata = self.call_at(addr, &metadata_request(&["e2e-nobody-has-this"]))?;
            let ids = metadata.brokers.iter().map(|broker| usize::try_from(broker.node_id));
            Ok(ids.collect::<Result<_, _>>()?)
        })
    }

    /// The active controller: the leader of the metadata quorum.
    pub fn controller(&self) -> Result<i32> {
        controller_of(&self.call(&quorum_request())?)
    }

    /// As [`Admin::controller`], if every broker names the same one.
    pub fn controller_agreed(&self) -> Result<i32> {
        let request = quorum_request();
        self.agreed("the controller", |addr| controller_of(&self.call_at(addr, &request)?))
    }

    /// What all brokers answer alike.
    fn agreed<T: PartialEq + Debug>(
        &self,
        what: &str,
        ask: impl Fn(&str) -> Result<T>,
    ) -> Result<T> {
        let mut agreed = None;
        for addr in &self.brokers {
            let view = ask(addr).with_context(|| format!("{what} at {addr}"))?;
            match &agreed {
                Some(before) => ensure!(*before == view, "{what}: {before:?}, at {addr} {view:?}"),
                None => agreed = Some(view),
            }
        }
        agreed.context("there is no broker")
    }

    /// Creates a topic and waits until every broker tells its leaders and full ISRs.
    pub fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        replication: usize,
        configs: &[(&str, &str)],
    ) -> Result<()> {
        let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
            name: Str::from(*name),
            value: Some(Str::from(*value)),
        };
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: i16::try_from(replication)?,
            configs: configs.iter().map(config).collect(),
            ..CreatableTopic::default()
        };
        let request =
            CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, validate_only: false };
        let response = self.call(&request)?;
        let result = response.topics.first().context("CreateTopics without its topic")?;
        check(result.error_code, &format!("creating {name}"))?;
        for addr in &self.brokers {
            wait::until(format!("{name} at {addr}"), Duration::from_secs(15), || {
                let found = self.partitions_at(addr, &[name])?;
                let whole = |p: &Partition| p.leader >= 0 && p.isr.len() == replication;
                let count = usize::try_from(partitions)?;
                Ok((found.len() == count && found.values().all(whole)).then_some(()))
            })?;
        }
        Ok(())
    }

    /// Gives every partition back to its preferred leader.
    pub fn elect_preferred(&self) -> Result<()> {
        let request =
            ElectLeadersRequest { election_type: 0, topic_partitions: None, timeout_ms: 10_000 };
        check(self.call(&request)?.error_code, "ElectLeaders")
    }

    /// Waits until every partition of the topics (all, if none is named) has a leader and all its
    /// replicas in sync, in the view that all brokers share.
    pub fn wait_in_sync(&self, topics: &[&str], limit: Duration) -> Result<Partitions> {
        wait::until("every replica in sync", limit, || {
            let partitions = self.partitions_agreed(topics)?;
            let behind =
                partitions.iter().find(|(_, p)| p.leader < 0 || p.isr.len() != p.replicas.len());
            match behind {
                Some((name, p)) => Err(anyhow!("{name:?} has {p:?}")),
                None => Ok(Some(partitions)),
            }
        })
    }
}

fn quorum_request() -> DescribeQuorumRequest {
    let partition = PartitionData { partition_index: 0 };
    let topic = TopicData { topic_name: "__cluster_metadata".into(), partitions: vec![partition] };
    DescribeQuorumRequest { topics: vec![topic] }
}

fn controller_of(response: &DescribeQuorumResponse) -> Result<i32> {
    check(response.error_code, "DescribeQuorum")?;
    let partition = response.topics.first().and_then(|topic| topic.partitions.first());
    let partition = partition.context("DescribeQuorum without its partition")?;
    check(partition.error_code, "DescribeQuorum")?;
    if partition.leader_id < 0 {
        bail!("the quorum has no leader");
    }
    Ok(partition.leader_id)
}

fn metadata_request(topics: &[&str]) -> MetadataRequest {
    let topic = |name: &&str| MetadataRequestTopic {
        name: Some(Str::from(*name)),
        ..MetadataRequestTopic::default()
    };
    MetadataRequest {
        topics: (!topics.is_empty()).then(|| topics.iter().map(topic).collect()),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    }
}

fn partitions_of(response: &MetadataResponse) -> Result<Partitions> {
    let mut partitions = Partitions::new();
    for topic in &response.topics {
        let name = topic.name.as_ref().map(|name| name.as_str().to_owned()).unwrap_or_default();
        check(topic.error_code, &name)?;
        for p in &topic.partitions {
            let partition = Partition {
                leader: p.leader_id,
                leader_epoch: p.leader_epoch,
                replicas: p.replica_nodes.clone(),
                isr: p.isr_nodes.clone(),
            };
            partitions.insert((name.clone(), p.partition_index), partition);
        }
    }
    Ok(partitions)
}

/// An error code as an error.
pub fn check(code: i16, what: &str) -> Result<()> {
    if code == ErrorCode::None.code() {
        return Ok(());
    }
    bail!("{what}: error {code} ({:?})", ErrorCode::from_i16(code))
}
