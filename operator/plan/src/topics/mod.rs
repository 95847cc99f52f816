//! What `Topic` resources ask for and what Kafka has, compared: requests to send, and the
//! condition that each resource gets. A topic belongs to one resource: the oldest of those that
//! name it ([`owners`]).

mod batch;
mod compare;
mod owner;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use batch::{Batch, TopicActionKind, batches};
pub use compare::plan_topic;
pub use owner::owners;

use std::collections::BTreeMap;

use base::{BrokerId, TopicId};
use crd::EntityReason;

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
    /// `barnabas.dev/adopt` is `true`: a topic that is there already may be changed.
    pub adopt: bool,
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
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicBroker {
    pub id: BrokerId,
    pub rack: Option<String>,
    /// Unfenced.
    pub usable: bool,
    /// Replicas that it has already.
    pub hosted: u64,
}

/// What all topics of a cluster share.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TopicContext {
    /// Registered brokers that are not cordoned; empty where the cluster does not answer.
    pub brokers: Vec<TopicBroker>,
    /// Moves of one topic in flight that a broker may take part in; 0 counts as 1.
    pub moves_per_broker: i32,
    /// The cluster is paused: nothing is changed.
    pub paused: bool,
    /// `min.insync.replicas` of topics that do not say otherwise; less than 1 counts as 1.
    pub min_isr: i32,
    /// `default.replication.factor`; less than 1 counts as 1.
    pub default_factor: i32,
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
    /// In this order; a failed one ends the row, and the condition is then `KafkaError`.
    pub actions: Vec<TopicAction>,
    /// The condition, provided that all actions succeed.
    pub ready: bool,
    pub reason: EntityReason,
    pub message: String,
    /// The resource is being deleted and nothing is left to do once `actions` have succeeded
    /// (an unknown topic counts as deleted): the finalizer may go.
    pub release: bool,
    /// `None`: wait for a change of the resource, or the resync.
    pub requeue_ms: Option<u64>,
    pub under_replicated: usize,
    /// The topic is the resource's, to be changed as it says: its id may be remembered.
    pub adopted: bool,
}
