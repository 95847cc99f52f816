//! What `Topic` resources ask for and what Kafka has, compared: requests to send, and the
//! condition that each resource gets.

use std::collections::BTreeMap;

use base::{BrokerId, TopicId};

use crate::moves::Move;
use crate::observed::PartitionView;

/// A `Topic` resource.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TopicWish {
    pub namespace: String,
    /// Name of the resource.
    pub name: String,
    pub uid: String,
    /// `metadata.creationTimestamp`.
    pub created_ms: i64,
    /// Name in Kafka.
    pub topic: String,
    pub partitions: i32,
    /// `None`: the brokers' default on creation, and whatever there is afterwards.
    pub replication_factor: Option<i32>,
    /// Values as text, as Kafka takes them.
    pub config: BTreeMap<String, String>,
    /// `barnabas.dev/managed` is not `false`.
    pub managed: bool,
    /// The resource is being deleted.
    pub deleting: bool,
    /// `spec.deletionPolicy` is `Delete`.
    pub delete_data: bool,
    /// `status.topicId`, if this resource had it before.
    pub known_id: Option<TopicId>,
}

/// A topic in Kafka.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TopicActual {
    pub id: TopicId,
    /// By partition number, reassignments in flight included.
    pub partitions: Vec<PartitionView>,
    /// The topic's own configs (not inherited ones).
    pub config: BTreeMap<String, String>,
}

/// A broker that may take replicas.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TopicBroker {
    pub id: i32,
    pub rack: Option<String>,
    /// Unfenced and not cordoned.
    pub usable: bool,
    /// Replicas that it has already.
    pub hosted: u64,
}

/// What all topics of a cluster share.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TopicContext {
    pub brokers: Vec<TopicBroker>,
    /// The cluster is paused: nothing is changed.
    pub paused: bool,
}

/// A request to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TopicAction {
    Create {
        partitions: i32,
        /// -1: the brokers' default.
        replication_factor: i32,
        config: BTreeMap<String, String>,
    },
    AlterConfig {
        set: BTreeMap<String, String>,
        delete: Vec<String>,
    },
    AddPartitions {
        to: i32,
    },
    /// New replica lists; for a changed replication factor.
    Reassign(Vec<Move>),
    Delete,
}

/// What becomes of one resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicPlan {
    /// In this order; a failed one ends the row.
    pub actions: Vec<TopicAction>,
    pub ready: bool,
    pub reason: TopicReason,
    pub message: String,
    /// The resource is being deleted and nothing is left to do once `actions` have succeeded
    /// (an unknown topic counts as deleted): the finalizer may go.
    pub release: bool,
    /// `None`: wait for a change of the resource, or the resync.
    pub requeue_ms: Option<u64>,
    pub under_replicated: usize,
}

/// The condition's reason.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TopicReason {
    Created,
    InSync,
    WaitingForCluster,
    Conflict,
    InvalidConfig,
    InvalidReplicationFactor,
    NotSupported,
    KafkaError,
    Reassigning,
    Deleting,
    Paused,
    Unmanaged,
}

/// Decides for one resource. `winner` is the resource that owns the topic ([`owners`]); `actual`
/// is `None` where Kafka has no such topic.
pub fn plan_topic(
    wish: &TopicWish,
    winner: &TopicWish,
    actual: Option<&TopicActual>,
    context: &TopicContext,
) -> TopicPlan {
    let _ = (winner, actual, context, BrokerId(0));
    TopicPlan {
        actions: Vec::new(),
        ready: false,
        reason: TopicReason::WaitingForCluster,
        message: wish.topic.clone(),
        release: false,
        requeue_ms: None,
        under_replicated: 0,
    }
}

/// The owner of each topic, by its name in Kafka: the oldest resource, ties broken by namespace,
/// name and uid. Index into `wishes`.
pub fn owners(wishes: &[TopicWish]) -> BTreeMap<&str, usize> {
    let mut owners: BTreeMap<&str, usize> = BTreeMap::new();
    let age = |at: usize| {
        let wish = &wishes[at];
        (wish.created_ms, &wish.namespace, &wish.name, &wish.uid)
    };
    for (at, wish) in wishes.iter().enumerate() {
        let owner = owners.entry(wish.topic.as_str()).or_insert(at);
        if age(at) < age(*owner) {
            *owner = at;
        }
    }
    owners
}
