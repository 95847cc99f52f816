//! What a pass comes to for one resource: its condition and numbers, from the plan and from what
//! the brokers answered.

use base::ErrorCode;
use crd::{Condition, ConditionStatus, NewCondition, Time, TopicStatus, kind, set_condition};
use plan::PartitionView;
use plan::topics::{TopicActual, TopicPlan, TopicReason};

use super::index::Entry;
use crate::kafka::{AdminError, Created, Refused};

/// The condition and the numbers of one resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    pub ready: bool,
    pub reason: TopicReason,
    pub message: String,
    pub facts: TopicNumbers,
}

/// What the topic is like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TopicNumbers {
    /// Not looked at: what the status says stays.
    Kept,
    /// There is none, or it is not this resource's.
    None,
    Are {
        id: Option<String>,
        partitions: i32,
        replication_factor: i32,
        under_replicated: i32,
    },
}

impl TopicNumbers {
    pub fn of(actual: &TopicActual, plan: &TopicPlan) -> TopicNumbers {
        // Copies that are being made do not count yet.
        let copies = |p: &PartitionView| p.replicas.len().saturating_sub(p.adding.len());
        let factor = actual.partitions.iter().map(copies).min().unwrap_or(0);
        TopicNumbers::Are {
            id: (!actual.id.is_zero() && plan.adopted).then(|| actual.id.to_string()),
            partitions: int(actual.partitions.len()),
            replication_factor: int(factor),
            under_replicated: int(plan.under_replicated),
        }
    }

    /// A new topic has all its replicas.
    pub fn of_new(created: &Created) -> TopicNumbers {
        match created.partitions < 0 {
            true => TopicNumbers::Kept,
            false => TopicNumbers::Are {
                id: (!created.id.is_zero()).then(|| created.id.to_string()),
                partitions: created.partitions,
                replication_factor: created.replication_factor,
                under_replicated: 0,
            },
        }
    }
}

fn int(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// A request about a topic that did not do what it should.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    pub reason: TopicReason,
    pub message: String,
    /// It may pass by itself: the user hears of it only if it does not.
    pub passing: bool,
}

impl Failure {
    /// The whole request failed.
    pub fn of_request(error: &AdminError) -> Failure {
        Failure {
            reason: TopicReason::KafkaError,
            message: error.to_string(),
            passing: error.is_retriable(),
        }
    }

    /// The broker refused this topic.
    pub fn of_topic(refused: &Refused) -> Failure {
        let reason = match refused.code {
            ErrorCode::InvalidConfig => TopicReason::InvalidConfig,
            ErrorCode::InvalidReplicationFactor => TopicReason::InvalidReplicationFactor,
            ErrorCode::InvalidPartitions
            | ErrorCode::InvalidTopicException
            | ErrorCode::PolicyViolation => TopicReason::NotSupported,
            ErrorCode::TopicDeletionDisabled => TopicReason::Deleting,
            _ => TopicReason::KafkaError,
        };
        // Somebody else was faster: the next look sees it.
        let raced = refused.code == ErrorCode::TopicAlreadyExists;
        let message = match refused.code {
            ErrorCode::TopicDeletionDisabled => {
                "the brokers' delete.topic.enable is false: the topic cannot be deleted".to_owned()
            }
            _ => refused.message.clone(),
        };
        Failure { reason, message, passing: raced || refused.is_retriable() }
    }
}

/// The status of a resource after a pass; `None` where it says so already.
pub fn status(entry: &Entry, outcome: &Outcome, now: &Time) -> Option<TopicStatus> {
    let old = entry.status.clone().unwrap_or_default();
    let mut new = TopicStatus {
        observed_generation: entry.generation,
        topic_name: Some(entry.wish.topic.clone()),
        ..old.clone()
    };
    match &outcome.facts {
        TopicNumbers::Kept => {}
        TopicNumbers::None => {
            (new.topic_id, new.partitions) = (None, None);
            (new.replication_factor, new.under_replicated) = (None, None);
        }
        TopicNumbers::Are { id, partitions, replication_factor, under_replicated } => {
            new.topic_id = id.clone();
            new.partitions = Some(*partitions);
            new.replication_factor = Some(*replication_factor);
            new.under_replicated = Some(*under_replicated);
        }
    }
    let said = crd::find_condition(&old.conditions, kind::READY);
    if !outcome.ready || !said.is_some_and(|said| still_says(said, entry, outcome)) {
        let condition = NewCondition {
            kind: kind::READY,
            status: ConditionStatus::from(outcome.ready),
            reason: outcome.reason.name().to_owned(),
            message: outcome.message.clone(),
        };
        set_condition(&mut new.conditions, condition, entry.generation, now);
    }
    (new != old).then_some(new)
}

/// A topic that was created and is now found to be as wanted stays `Created`: nothing happened
/// that anybody would have to be told.
fn still_says(said: &Condition, entry: &Entry, outcome: &Outcome) -> bool {
    let settled = outcome.reason == TopicReason::InSync;
    let was = said.reason == TopicReason::Created.name() || said.reason == outcome.reason.name();
    settled && was && said.status == "True" && said.observed_generation == entry.generation
}
