//! What brokers ask the active controller, and its answers, in core types: the API layer converts
//! the wire's versioned structs to these, and the internal RPC carries them as they are.

use std::sync::Arc;

use authorizer::{Acl, AclFilter};
use base::{BrokerEpoch, BrokerId, ErrorCode, LeaderEpoch, PartitionEpoch, ProducerId, TopicId};
use serde::{Deserialize, Serialize};

pub use crate::config_op::ConfigOpKind;
use crate::record::{ConfigResource, Endpoint, LeaderRecoveryState, nothing};
use crate::scram::ScramCredential;
use crate::voter_change::VoterChange;

/// An error code with the sentence a person needs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ControllerError {
    pub code: ErrorCode,
    pub message: String,
}

impl ControllerError {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> ControllerError {
        ControllerError { code, message: message.into() }
    }
}

impl From<ErrorCode> for ControllerError {
    fn from(code: ErrorCode) -> ControllerError {
        ControllerError::new(code, code.message())
    }
}

impl std::fmt::Display for ControllerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}: {}", self.code, self.message)
    }
}

impl std::error::Error for ControllerError {}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum ControllerRequest {
    RegisterBroker(RegisterBrokerRequest),
    Heartbeat(HeartbeatRequest),
    UnregisterBroker(UnregisterBrokerRequest),
    AlterIsr(AlterIsrRequest),
    CreateTopics(CreateTopicsRequest),
    DeleteTopics(DeleteTopicsRequest),
    CreatePartitions(CreatePartitionsRequest),
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest),
    AlterConfigs(AlterConfigsRequest),
    ElectLeaders(ElectLeadersRequest),
    AlterPartitionReassignments(AlterReassignmentsRequest),
    ListPartitionReassignments(ListReassignmentsRequest),
    AllocateProducerIds(AllocateProducerIdsRequest),
    UpdateFeatures(UpdateFeaturesRequest),
    CreateAcls(CreateAclsRequest),
    DeleteAcls(DeleteAclsRequest),
    AlterScramCredentials(AlterScramCredentialsRequest),
    AlterClientQuotas(AlterClientQuotasRequest),
    ChangeVoters(VoterChange),
}

impl ControllerRequest {
    /// The broker that tells this of itself; absent for what is asked on behalf of others.
    pub fn speaks_for(&self) -> Option<BrokerId> {
        match self {
            ControllerRequest::RegisterBroker(r) => Some(r.broker_id),
            ControllerRequest::Heartbeat(r) => Some(r.broker_id),
            ControllerRequest::AlterIsr(r) => Some(r.broker_id),
            ControllerRequest::AllocateProducerIds(r) => Some(r.broker_id),
            _ => None,
        }
    }

    /// Whether it asks what would happen, and nothing is to be changed.
    pub fn validates_only(&self) -> bool {
        match self {
            ControllerRequest::CreateTopics(r) => r.validate_only,
            ControllerRequest::CreatePartitions(r) => r.validate_only,
            ControllerRequest::IncrementalAlterConfigs(r) => r.validate_only,
            ControllerRequest::AlterConfigs(r) => r.validate_only,
            ControllerRequest::UpdateFeatures(r) => r.validate_only,
            ControllerRequest::AlterClientQuotas(r) => r.validate_only,
            _ => false,
        }
    }

    /// Whether its records may be committed in parts, one after the other. Each part leaves
    /// metadata that is right in itself, and who asks again gets the rest. What clients ask for
    /// by name (a topic with its partitions, the configs of a resource) is done as a whole or not
    /// at all.
    pub fn is_divisible(&self) -> bool {
        match self {
            ControllerRequest::RegisterBroker(_)
            | ControllerRequest::Heartbeat(_)
            | ControllerRequest::UnregisterBroker(_)
            | ControllerRequest::AlterIsr(_)
            | ControllerRequest::DeleteTopics(_)
            | ControllerRequest::ElectLeaders(_)
            | ControllerRequest::AlterPartitionReassignments(_) => true,
            ControllerRequest::CreateTopics(_)
            | ControllerRequest::CreatePartitions(_)
            | ControllerRequest::IncrementalAlterConfigs(_)
            | ControllerRequest::AlterConfigs(_)
            | ControllerRequest::ListPartitionReassignments(_)
            | ControllerRequest::AllocateProducerIds(_)
            | ControllerRequest::UpdateFeatures(_)
            | ControllerRequest::CreateAcls(_)
            | ControllerRequest::DeleteAcls(_)
            | ControllerRequest::AlterScramCredentials(_)
            | ControllerRequest::AlterClientQuotas(_)
            | ControllerRequest::ChangeVoters(_) => false,
        }
    }

    /// How much longer than usual its answer may take.
    pub fn patience_ms(&self) -> u64 {
        match self {
            ControllerRequest::ChangeVoters(VoterChange::Add { patience_ms, .. }) => *patience_ms,
            _ => 0,
        }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum ControllerResponse {
    /// The request failed as a whole.
    Error(ControllerError),
    RegisterBroker(RegisterBrokerResponse),
    Heartbeat(HeartbeatResponse),
    UnregisterBroker,
    AlterIsr(AlterIsrResponse),
    CreateTopics(Vec<CreateTopicResult>),
    DeleteTopics(Vec<DeleteTopicResult>),
    CreatePartitions(Vec<TopicResult>),
    IncrementalAlterConfigs(Vec<ConfigResult>),
    AlterConfigs(Vec<ConfigResult>),
    ElectLeaders(Vec<PartitionResult>),
    AlterPartitionReassignments(Vec<PartitionResult>),
    ListPartitionReassignments(Vec<OngoingReassignment>),
    AllocateProducerIds(ProducerIdBlock),
    UpdateFeatures(Vec<FeatureResult>),
    CreateAcls(CreatedAcls),
    DeleteAcls(DeletedAcls),
    AlterScramCredentials(Vec<ScramResult>),
    AlterClientQuotas(Vec<QuotaResult>),
    ChangeVoters,
}

/// In the request's order.
pub type CreatedAcls = Vec<Result<(), ControllerError>>;
/// In the order of the filters: the rules that are gone.
pub type DeletedAcls = Vec<Result<Vec<Acl>, ControllerError>>;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RegisterBrokerRequest {
    pub broker_id: BrokerId,
    pub cluster_id: Arc<str>,
    /// Fresh at every start of the process.
    pub incarnation_id: TopicId,
    pub listeners: Vec<Endpoint>,
    #[serde(default)]
    pub rack: Option<Arc<str>>,
    #[serde(default)]
    pub log_dirs: Vec<TopicId>,
    /// The same directories by their paths, for configs that name them.
    #[serde(default)]
    pub log_dir_paths: Vec<Arc<str>>,
    /// `cordoned.log.dirs` in the broker's own file: the level below its dynamic config.
    #[serde(default = "nothing")]
    pub cordoned_log_dirs: Arc<str>,
    /// The broker epoch in the clean-shutdown marker that this start found; absent after an
    /// unclean stop and on an empty disk.
    #[serde(default)]
    pub clean_shutdown_epoch: Option<BrokerEpoch>,
    /// The highest level of `barnabas.version` that the broker can read; 0 if it does not say.
    #[serde(default)]
    pub supports: i16,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RegisterBrokerResponse {
    pub broker_epoch: BrokerEpoch,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HeartbeatRequest {
    pub broker_id: BrokerId,
    pub broker_epoch: BrokerEpoch,
    /// Offset of the image that the broker has published to its parts.
    pub image_offset: i64,
    /// The broker wants to be (or stay) fenced, for example while its logs recover.
    #[serde(default)]
    pub want_fence: bool,
    #[serde(default)]
    pub want_shutdown: bool,
    /// Replicas on this broker whose log directory failed and that its image does not have as
    /// offline yet: some of them, the others follow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offline: Vec<OfflineReplicas>,
    /// As in the registration: a new controller hears of it by a heartbeat.
    #[serde(default)]
    pub supports: i16,
}

/// Replicas of one topic that their broker cannot use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OfflineReplicas {
    pub topic_id: TopicId,
    pub partitions: Vec<i32>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HeartbeatResponse {
    /// The broker's image has its registration.
    pub caught_up: bool,
    /// State after this heartbeat's records.
    pub fenced: bool,
    /// Controlled shutdown is complete: the broker leads nothing and everybody knows.
    pub should_shut_down: bool,
    /// How long this controller lets a broker be silent; 0 if it does not say. Its file may not be
    /// the broker's.
    #[serde(default)]
    pub silence_ms: i64,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct UnregisterBrokerRequest {
    pub broker_id: BrokerId,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AlterIsrRequest {
    pub broker_id: BrokerId,
    pub broker_epoch: BrokerEpoch,
    pub partitions: Vec<AlterIsrPartition>,
}

/// A compare-and-set of one partition's ISR, proposed by its leader.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AlterIsrPartition {
    pub topic_id: TopicId,
    pub partition: i32,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    /// With each member's broker epoch as the leader knows it; -1 skips that check.
    pub isr: Vec<IsrMember>,
    #[serde(default)]
    pub leader_recovery_state: LeaderRecoveryState,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IsrMember {
    pub broker_id: BrokerId,
    pub broker_epoch: BrokerEpoch,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AlterIsrResponse {
    /// In the request's order.
    pub partitions: Vec<AlterIsrResult>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AlterIsrResult {
    pub topic_id: TopicId,
    pub partition: i32,
    /// The state after the change, or why there is none.
    pub result: Result<PartitionIsr, ErrorCode>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PartitionIsr {
    pub leader: Option<BrokerId>,
    pub leader_epoch: LeaderEpoch,
    pub isr: Vec<BrokerId>,
    pub leader_recovery_state: LeaderRecoveryState,
    pub partition_epoch: PartitionEpoch,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CreateTopicsRequest {
    pub topics: Vec<CreateTopic>,
    pub validate_only: bool,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CreateTopic {
    pub name: Arc<str>,
    /// -1: the broker's default.
    pub partitions: i32,
    /// -1: the broker's default.
    pub replication_factor: i16,
    /// Replicas by partition; where given, both numbers above must be -1.
    #[serde(default)]
    pub assignments: Vec<Assignment>,
    #[serde(default)]
    pub configs: Vec<(Arc<str>, Option<Arc<str>>)>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Assignment {
    pub partition: i32,
    pub replicas: Vec<BrokerId>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CreateTopicResult {
    pub name: Arc<str>,
    pub result: Result<CreatedTopic, ControllerError>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CreatedTopic {
    pub topic_id: TopicId,
    pub partitions: i32,
    pub replication_factor: i16,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DeleteTopicsRequest {
    pub topics: Vec<TopicSelector>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum TopicSelector {
    Name(Arc<str>),
    Id(TopicId),
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DeleteTopicResult {
    pub selector: TopicSelector,
    /// Known unless the topic does not exist.
    pub name: Option<Arc<str>>,
    pub topic_id: TopicId,
    pub result: Result<(), ControllerError>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CreatePartitionsRequest {
    pub topics: Vec<GrowTopic>,
    pub validate_only: bool,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct GrowTopic {
    pub name: Arc<str>,
    /// The new total.
    pub count: i32,
    /// Replicas of each new partition; absent: the controller places them.
    #[serde(default)]
    pub assignments: Option<Vec<Vec<BrokerId>>>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TopicResult {
    pub name: Arc<str>,
    pub result: Result<(), ControllerError>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct IncrementalAlterConfigsRequest {
    pub resources: Vec<IncrementalAlterConfigs>,
    pub validate_only: bool,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct IncrementalAlterConfigs {
    pub resource: ConfigResource,
    pub ops: Vec<ConfigOp>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ConfigOp {
    pub name: Arc<str>,
    pub kind: ConfigOpKind,
    pub value: Option<Arc<str>>,
}

/// The legacy request: each resource's configs are replaced as a whole.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AlterConfigsRequest {
    pub resources: Vec<AlterConfigs>,
    pub validate_only: bool,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AlterConfigs {
    pub resource: ConfigResource,
    pub configs: Vec<(Arc<str>, Option<Arc<str>>)>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ConfigResult {
    pub resource: ConfigResource,
    pub result: Result<(), ControllerError>,
}

/// Types and names of an entity of quotas, as the client gave them: `user`, `client-id`, `ip`.
pub type QuotaParts = Vec<(Arc<str>, Option<Arc<str>>)>;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AlterClientQuotasRequest {
    pub entries: Vec<AlterQuotas>,
    pub validate_only: bool,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AlterQuotas {
    pub entity: QuotaParts,
    pub ops: Vec<QuotaOp>,
}

/// A limit to set, or to remove where there is no value.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct QuotaOp {
    pub key: Arc<str>,
    pub value: Option<f64>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct QuotaResult {
    pub entity: QuotaParts,
    pub result: Result<(), ControllerError>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ElectionType {
    Preferred,
    Unclean,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ElectLeadersRequest {
    pub election: ElectionType,
    /// Absent: every partition (those that need no election are left out of the answer).
    pub partitions: Option<Vec<TopicPartitions>>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TopicPartitions {
    pub topic: Arc<str>,
    pub partitions: Vec<i32>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PartitionResult {
    pub topic: Arc<str>,
    pub partition: i32,
    pub result: Result<(), ControllerError>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AlterReassignmentsRequest {
    pub partitions: Vec<ReassignPartition>,
    /// Whether a reassignment may change the number of replicas (version 1 of the API).
    #[serde(default = "yes")]
    pub allow_replication_factor_change: bool,
}

fn yes() -> bool {
    true
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ReassignPartition {
    pub topic: Arc<str>,
    pub partition: i32,
    /// Absent: cancel the reassignment under way.
    pub replicas: Option<Vec<BrokerId>>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ListReassignmentsRequest {
    /// Absent: all.
    pub partitions: Option<Vec<TopicPartitions>>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct OngoingReassignment {
    pub topic: Arc<str>,
    pub partition: i32,
    pub replicas: Vec<BrokerId>,
    pub adding: Vec<BrokerId>,
    pub removing: Vec<BrokerId>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AllocateProducerIdsRequest {
    pub broker_id: BrokerId,
    pub broker_epoch: BrokerEpoch,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProducerIdBlock {
    pub first: ProducerId,
    pub len: i32,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct UpdateFeaturesRequest {
    pub updates: Vec<FeatureUpdate>,
    pub validate_only: bool,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FeatureUpdate {
    pub name: Arc<str>,
    pub level: i16,
    #[serde(default)]
    pub allow_downgrade: bool,
    /// Kafka's code of [`UpgradeType`]; absent in requests of older brokers, which say it by
    /// `allow_downgrade`.
    #[serde(default)]
    pub upgrade_type: Option<i8>,
}

/// What a client allows an update to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpgradeType {
    Upgrade,
    SafeDowngrade,
    UnsafeDowngrade,
}

impl FeatureUpdate {
    /// `None`: a code that is not Kafka's.
    pub fn upgrade_type(&self) -> Option<UpgradeType> {
        match self.upgrade_type {
            None if self.allow_downgrade => Some(UpgradeType::SafeDowngrade),
            None | Some(1) => Some(UpgradeType::Upgrade),
            Some(2) => Some(UpgradeType::SafeDowngrade),
            Some(3) => Some(UpgradeType::UnsafeDowngrade),
            Some(_) => None,
        }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FeatureResult {
    pub name: Arc<str>,
    pub result: Result<(), ControllerError>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CreateAclsRequest {
    pub acls: Vec<Acl>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DeleteAclsRequest {
    pub filters: Vec<AclFilter>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AlterScramCredentialsRequest {
    pub deletions: Vec<ScramDeletion>,
    pub upsertions: Vec<ScramUpsertion>,
}

/// The mechanism is Kafka's number, which may be none.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ScramDeletion {
    pub user: Arc<str>,
    pub mechanism: i8,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ScramUpsertion {
    pub user: Arc<str>,
    pub mechanism: i8,
    pub credential: ScramCredential,
}

/// Of one user, whatever was asked for it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ScramResult {
    pub user: Arc<str>,
    pub result: Result<(), ControllerError>,
}
