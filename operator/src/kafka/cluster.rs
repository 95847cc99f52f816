//! The cluster as a whole: brokers, what they store, and taking one off the list.

use std::collections::BTreeMap;

use base::{BrokerId, ErrorCode, TopicPartition};
use wire::messages::describe_log_dirs_response::DescribeLogDirsResult;
use wire::messages::{
    DescribeClusterRequest, DescribeClusterResponse, DescribeLogDirsRequest,
    UnregisterBrokerRequest,
};
use wire::{ApiKey, Request};

use super::{Admin, AdminError, Refused, Result};

/// What the brokers say of themselves.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClusterInfo {
    pub cluster_id: String,
    /// The active controller, if there is one and it is unfenced.
    pub controller: Option<BrokerId>,
    /// Registered brokers, fenced ones too.
    pub brokers: BTreeMap<BrokerId, BrokerInfo>,
}

/// A registered broker, with its address on the listener that was asked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BrokerInfo {
    pub host: String,
    pub port: i32,
    pub rack: Option<String>,
    pub fenced: bool,
}

impl BrokerInfo {
    pub fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// The log directories of one broker.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogDirs {
    /// Bytes of each replica.
    pub replicas: BTreeMap<TopicPartition, u64>,
    /// Room left on the volumes, where the broker says.
    pub usable_bytes: Option<u64>,
    /// No new replicas are placed on any of them.
    pub cordoned: bool,
    /// A directory cannot be used.
    pub failed: Option<Refused>,
}

impl LogDirs {
    pub fn bytes(&self) -> u64 {
        self.replicas.values().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }

    fn add(&mut self, dir: DescribeLogDirsResult) {
        if let Err(refused) = Refused::check(dir.error_code, None) {
            self.failed = Some(refused);
            return;
        }
        if let Ok(room) = u64::try_from(dir.usable_bytes) {
            self.usable_bytes = Some(self.usable_bytes.unwrap_or(0).saturating_add(room));
        }
        for topic in dir.topics {
            let name = topic.name.to_arc();
            for p in topic.partitions.iter().filter(|p| !p.is_future_key) {
                let id = TopicPartition::new(name.clone(), p.partition_index);
                self.replicas.insert(id, u64::try_from(p.partition_size).unwrap_or(0));
            }
        }
    }
}

impl Admin {
    /// Cluster id, active controller, and all registered brokers.
    pub async fn describe_cluster(&self) -> Result<ClusterInfo> {
        let request = DescribeClusterRequest { include_fenced_brokers: true, ..Default::default() };
        let response = self.read(&request).await?;
        let message = response.error_message.as_ref();
        self.check(ApiKey::DescribeCluster, response.error_code, message).await?;
        Ok(info(response))
    }

    /// What each of these brokers stores.
    pub async fn describe_log_dirs(
        &self,
        brokers: &[BrokerId],
    ) -> BTreeMap<BrokerId, Result<LogDirs>> {
        self.each(brokers, |id| self.log_dirs(id)).await
    }

    async fn log_dirs(&self, broker: BrokerId) -> Result<LogDirs> {
        let request = DescribeLogDirsRequest { topics: None };
        let response = self.read_from(broker, &request).await?;
        AdminError::check(DescribeLogDirsRequest::KEY, response.error_code, None)?;
        let cordoned = !response.results.is_empty();
        let mut dirs = LogDirs { cordoned, ..LogDirs::default() };
        for dir in response.results {
            dirs.cordoned &= dir.is_cordoned;
            dirs.add(dir);
        }
        Ok(dirs)
    }

    /// Takes a broker that is gone off the list. One that is not on it is no error.
    pub async fn unregister_broker(&self, broker: BrokerId) -> Result<()> {
        let response = self.call(&UnregisterBrokerRequest { broker_id: broker.0 }).await?;
        if response.error_code == ErrorCode::BrokerIdNotRegistered.code() {
            return Ok(());
        }
        let message = response.error_message.as_ref();
        self.check(ApiKey::UnregisterBroker, response.error_code, message).await
    }
}

fn info(response: DescribeClusterResponse) -> ClusterInfo {
    let brokers = response.brokers.into_iter().map(|b| {
        let info = BrokerInfo {
            host: b.host.into(),
            port: b.port,
            rack: b.rack.map(String::from),
            fenced: b.is_fenced,
        };
        (BrokerId(b.broker_id), info)
    });
    ClusterInfo {
        cluster_id: response.cluster_id.into(),
        controller: (response.controller_id >= 0).then_some(BrokerId(response.controller_id)),
        brokers: brokers.collect(),
    }
}
