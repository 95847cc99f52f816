//! The metadata records: what the quorum's log carries. They are named after Kafka's records where
//! they mean the same. Fields are written by name, a field unknown to the reader is skipped and a
//! missing one takes its default, so that neighbouring versions of the broker read each other.

use std::sync::Arc;

use authorizer::{Acl, AclId, Operation, PatternType, Permission, ResourceType};
use base::{BrokerEpoch, BrokerId, PartitionEpoch, ProducerId, TopicId};
use serde::{Deserialize, Serialize};

use crate::quota::QuotaEntity;
use crate::scram::{ScramCredential, ScramMechanism};

/// One change of the cluster's metadata.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum MetadataRecord {
    RegisterBroker(RegisterBrokerRecord),
    UnregisterBroker(UnregisterBrokerRecord),
    FenceBroker(BrokerStateRecord),
    UnfenceBroker(BrokerStateRecord),
    /// The broker wants to stop: it gets no new leaderships and leaves its ISRs.
    BrokerShutdown(BrokerStateRecord),
    Topic(TopicRecord),
    Partition(PartitionRecord),
    PartitionChange(PartitionChangeRecord),
    RemoveTopic(RemoveTopicRecord),
    Config(ConfigRecord),
    ProducerIds(ProducerIdsRecord),
    FeatureLevel(FeatureLevelRecord),
    /// A controller became active. The next one knows by it whom it succeeds.
    Controller(ControllerRecord),
    /// What a broker can read. From level 1 of `barnabas.version` on.
    BrokerLevel(BrokerLevelRecord),
    /// Rules of access. From level 2 of `barnabas.version` on.
    AccessControlEntry(AccessControlEntryRecord),
    RemoveAccessControlEntry(RemoveAccessControlEntryRecord),
    /// A credential of SCRAM. From level 2 of `barnabas.version` on.
    UserScramCredential(UserScramCredentialRecord),
    RemoveUserScramCredential(RemoveUserScramCredentialRecord),
    /// A quota of clients. From level 2 of `barnabas.version` on.
    ClientQuota(ClientQuotaRecord),
}

/// Where clients (or brokers, or controllers) reach a broker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    /// The listener's name, for example `PLAINTEXT` or `INTERNAL`.
    pub name: Arc<str>,
    pub host: Arc<str>,
    pub port: u16,
    #[serde(default = "plaintext")]
    pub security_protocol: Arc<str>,
}

pub(crate) fn nothing() -> Arc<str> {
    "".into()
}

fn plaintext() -> Arc<str> {
    "PLAINTEXT".into()
}

/// A broker registered: a new incarnation starts fenced and not shutting down.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RegisterBrokerRecord {
    pub broker_id: BrokerId,
    pub incarnation_id: TopicId,
    pub broker_epoch: BrokerEpoch,
    pub listeners: Vec<Endpoint>,
    #[serde(default)]
    pub rack: Option<Arc<str>>,
    #[serde(default)]
    pub log_dirs: Vec<TopicId>,
    /// The same directories by their paths on the broker.
    #[serde(default)]
    pub log_dir_paths: Vec<Arc<str>>,
    /// `cordoned.log.dirs` in the broker's own file.
    #[serde(default = "nothing")]
    pub cordoned_log_dirs: Arc<str>,
    /// The same incarnation registered again: it keeps its fencing state.
    #[serde(default)]
    pub update: bool,
}

/// The broker leaves the cluster for good.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UnregisterBrokerRecord {
    pub broker_id: BrokerId,
    pub broker_epoch: BrokerEpoch,
}

/// A change of state of one incarnation of a broker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BrokerStateRecord {
    pub broker_id: BrokerId,
    pub broker_epoch: BrokerEpoch,
}

/// The highest level of `barnabas.version` that one incarnation of a broker supports.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BrokerLevelRecord {
    pub broker_id: BrokerId,
    pub broker_epoch: BrokerEpoch,
    pub supports: i16,
}

/// A new topic; its partitions follow as [`PartitionRecord`]s.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TopicRecord {
    pub name: Arc<str>,
    pub topic_id: TopicId,
}

/// Whether the leader may lack committed records, since its election was unclean.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub enum LeaderRecoveryState {
    #[default]
    Recovered,
    Recovering,
}

impl LeaderRecoveryState {
    /// Kafka's number of the state.
    pub fn code(self) -> i8 {
        match self {
            LeaderRecoveryState::Recovered => 0,
            LeaderRecoveryState::Recovering => 1,
        }
    }
}

/// A new partition, with its whole state. Partitions of a topic are numbered from 0 without gaps.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartitionRecord {
    pub topic_id: TopicId,
    pub partition: i32,
    pub replicas: Vec<BrokerId>,
    pub isr: Vec<BrokerId>,
    pub leader: Option<BrokerId>,
}

/// What a change says about the leader.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub enum LeaderChange {
    #[default]
    Unchanged,
    /// The partition has no leader. The leader epoch grows.
    Nobody,
    /// A leader takes over, or the same one continues in a new epoch. The leader epoch grows.
    To(BrokerId),
}

impl LeaderChange {
    pub fn is_unchanged(&self) -> bool {
        *self == LeaderChange::Unchanged
    }
}

/// A change of a partition: absent fields keep their value. It fits only the state that it was
/// decided on, the one of the epoch before: what was decided on an older image is never applied.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct PartitionChangeRecord {
    pub topic_id: TopicId,
    pub partition: i32,
    /// The partition's epoch after the change.
    pub partition_epoch: PartitionEpoch,
    #[serde(default, skip_serializing_if = "LeaderChange::is_unchanged")]
    pub leader: LeaderChange,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isr: Option<Vec<BrokerId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elr: Option<Vec<BrokerId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_known_elr: Option<Vec<BrokerId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Vec<BrokerId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adding: Option<Vec<BrokerId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removing: Option<Vec<BrokerId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_recovery_state: Option<LeaderRecoveryState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline: Option<Vec<BrokerId>>,
}

/// The topic, its partitions and its configs are gone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RemoveTopicRecord {
    pub topic_id: TopicId,
}

/// What a dynamic config belongs to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum ConfigResource {
    Topic(Arc<str>),
    Broker(BrokerId),
    /// The cluster-wide default of all brokers (the broker resource with the empty name).
    BrokerDefault,
    Group(Arc<str>),
    ClientMetrics(Arc<str>),
}

/// A dynamic config was set, or removed where the value is absent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConfigRecord {
    pub resource: ConfigResource,
    pub name: Arc<str>,
    pub value: Option<Arc<str>>,
}

/// A quota was set, or removed where the value is absent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ClientQuotaRecord {
    pub entity: QuotaEntity,
    pub key: Arc<str>,
    pub value: Option<f64>,
}

/// All producer ids below `next_producer_id` are handed out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProducerIdsRecord {
    pub broker_id: BrokerId,
    pub broker_epoch: BrokerEpoch,
    pub next_producer_id: ProducerId,
}

/// A finalized feature level; level 0 removes the feature.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FeatureLevelRecord {
    pub name: Arc<str>,
    pub level: i16,
}

/// The broker became the active controller in this epoch (the quorum's term).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ControllerRecord {
    pub controller_id: BrokerId,
    pub controller_epoch: i64,
    /// `min.insync.replicas` by its own file. From now on this counts in place of what is in
    /// anybody's file: leaders and controller must not disagree on it.
    #[serde(default)]
    pub min_insync_replicas: Option<i32>,
}

/// A new rule of access.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AccessControlEntryRecord {
    pub id: AclId,
    pub resource_type: ResourceType,
    pub resource_name: Arc<str>,
    pub pattern_type: PatternType,
    pub principal: Arc<str>,
    pub host: Arc<str>,
    pub operation: Operation,
    pub permission_type: Permission,
}

impl AccessControlEntryRecord {
    pub fn of(id: AclId, acl: Acl) -> AccessControlEntryRecord {
        AccessControlEntryRecord {
            id,
            resource_type: acl.resource_type,
            resource_name: acl.resource_name,
            pattern_type: acl.pattern_type,
            principal: acl.principal,
            host: acl.host,
            operation: acl.operation,
            permission_type: acl.permission_type,
        }
    }

    pub fn acl(&self) -> Acl {
        Acl {
            resource_type: self.resource_type,
            resource_name: self.resource_name.clone(),
            pattern_type: self.pattern_type,
            principal: self.principal.clone(),
            host: self.host.clone(),
            operation: self.operation,
            permission_type: self.permission_type,
        }
    }
}

/// The rule is gone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RemoveAccessControlEntryRecord {
    pub id: AclId,
}

/// A user's credential for one mechanism of SCRAM; it takes the place of the one before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UserScramCredentialRecord {
    pub name: Arc<str>,
    pub mechanism: ScramMechanism,
    pub credential: ScramCredential,
}

/// The user has no credential for the mechanism any more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RemoveUserScramCredentialRecord {
    pub name: Arc<str>,
    pub mechanism: ScramMechanism,
}
