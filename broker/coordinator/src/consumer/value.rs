//! What the log says of a consumer group: one value per key. The group is what its records say, and
//! nothing else decides (`consumer.rs` applies them).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::TopicId;

use crate::{MemberId, Protocol};

/// Partitions by topic; no topic is without partitions.
pub type Partitions = BTreeMap<TopicId, BTreeSet<i32>>;

/// Partitions by topic, with the member epoch in which each was assigned.
pub type OwnedPartitions = BTreeMap<TopicId, BTreeMap<i32, i32>>;

/// One record of a consumer group; no value is a tombstone.
#[derive(Clone, PartialEq, Debug)]
pub enum ConsumerRecord {
    Group(Option<GroupEpoch>),
    Member(MemberId, Option<Arc<Subscription>>),
    TargetEpoch(Option<TargetEpoch>),
    Target(MemberId, Option<Arc<Partitions>>),
    Current(MemberId, Option<Current>),
    Regex(Arc<str>, Option<Arc<ResolvedRegex>>),
}

impl ConsumerRecord {
    pub(crate) fn is_tombstone(&self) -> bool {
        match self {
            ConsumerRecord::Group(value) => value.is_none(),
            ConsumerRecord::Member(_, value) => value.is_none(),
            ConsumerRecord::TargetEpoch(value) => value.is_none(),
            ConsumerRecord::Target(_, value) => value.is_none(),
            ConsumerRecord::Current(_, value) => value.is_none(),
            ConsumerRecord::Regex(_, value) => value.is_none(),
        }
    }
}

/// The epoch of a group grows with everything that calls for another assignment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupEpoch {
    pub epoch: i32,
    /// Of the subscribed topics as they were.
    pub metadata_hash: i64,
}

/// The group epoch that the target assignment was computed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TargetEpoch {
    pub epoch: i32,
    /// Wall time of the computation; 0 where no broker said it.
    pub computed_ms: i64,
}

/// What a member said of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Subscription {
    pub instance_id: Option<Arc<str>>,
    pub rack_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub topics: BTreeSet<Arc<str>>,
    pub regex: Option<Arc<str>>,
    /// -1 if it is not known.
    pub rebalance_timeout_ms: i32,
    pub assignor: Option<Arc<str>>,
    /// Of a member that speaks the classic protocol; another broker may have written it.
    pub classic: Option<ClassicMetadata>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClassicMetadata {
    pub session_timeout_ms: i32,
    pub protocols: Vec<Protocol>,
}

/// The state of a group, with Kafka's names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConsumerGroupState {
    /// No members; maybe committed offsets.
    Empty,
    /// The target is yet to be computed.
    Assigning,
    /// Members are on their way to the target.
    Reconciling,
    Stable,
    /// There is no such group.
    Dead,
}

impl ConsumerGroupState {
    pub fn name(self) -> &'static str {
        match self {
            ConsumerGroupState::Empty => "Empty",
            ConsumerGroupState::Assigning => "Assigning",
            ConsumerGroupState::Reconciling => "Reconciling",
            ConsumerGroupState::Stable => "Stable",
            ConsumerGroupState::Dead => "Dead",
        }
    }
}

/// How far a member has come towards its target.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MemberState {
    #[default]
    Stable,
    /// It is to give partitions up, and has not said that it did.
    UnrevokedPartitions,
    /// It waits for partitions that others have not given up yet.
    UnreleasedPartitions,
    /// A state that only newer brokers know.
    Unknown,
}

/// Where a member stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Current {
    pub epoch: i32,
    pub previous_epoch: i32,
    pub state: MemberState,
    pub assigned: OwnedPartitions,
    pub revoking: OwnedPartitions,
}

/// The topics that a regular expression stood for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ResolvedRegex {
    pub topics: BTreeSet<Arc<str>>,
    /// Of the metadata that they were looked up in.
    pub version: i64,
    pub resolved_ms: i64,
}
