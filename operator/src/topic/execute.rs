//! The requests of a pass: actions of many topics in few of them. A topic whose action failed
//! gets no further ones in this pass; the others go on.

use std::collections::BTreeMap;

use base::ErrorCode;
use crd::EntityReason;
use plan::PartitionView;
use plan::moves::{self, Move};
use plan::topics::{Batch, TopicAction, TopicActionKind, TopicPlan, batches};

use super::admin::TopicAdmin;
use crate::entity::{BATCH, Failure};
use crate::kafka::{
    AdminError, ConfigChange, ConfigResource, Created, ItemResult, NewTopic, Refused,
    throttle_changes,
};

/// What the brokers answered.
#[derive(Debug, Default)]
pub struct Executed {
    pub created: BTreeMap<String, Created>,
    /// By topic: the first failure.
    pub failed: BTreeMap<String, Failure>,
    /// Requests sent that change something.
    pub requests: u64,
}

/// Sends what the plans (by topic) ask for. Moves are throttled to `throttle` bytes per second.
pub async fn execute(
    admin: &impl TopicAdmin,
    plans: &BTreeMap<String, TopicPlan>,
    partitions: &[PartitionView],
    throttle: Option<i64>,
) -> Executed {
    let mut done = Executed::default();
    // Once no broker answers, nothing further is tried.
    let mut outage: Option<AdminError> = None;
    for batch in batches(plans.iter().map(|(topic, plan)| (topic.as_str(), plan)), BATCH) {
        let Batch { kind, mut items } = batch;
        items.retain(|(topic, _)| !done.failed.contains_key(*topic));
        if items.is_empty() {
            continue;
        }
        if let Some(outage) = &outage {
            let failure = Failure::of_request(outage);
            fail(&mut done.failed, &items, &failure);
            continue;
        }
        done.requests += 1;
        let result = match kind {
            TopicActionKind::Delete => delete(admin, &items, &mut done).await,
            TopicActionKind::Create => create(admin, &items, &mut done).await,
            TopicActionKind::AlterConfig => alter(admin, &items, &mut done).await,
            TopicActionKind::AddPartitions => widen(admin, &items, &mut done).await,
            TopicActionKind::Reassign => {
                reassign(admin, &items, partitions, throttle, &mut done).await
            }
        };
        if let Err(error) = result {
            fail(&mut done.failed, &items, &Failure::of_request(&error));
            if error.code().is_none() {
                outage = Some(error);
            }
        }
    }
    done
}

type Items<'a> = [(&'a str, &'a TopicAction)];

fn fail(failed: &mut BTreeMap<String, Failure>, items: &Items<'_>, failure: &Failure) {
    for (topic, _) in items {
        failed.entry((*topic).to_owned()).or_insert_with(|| failure.clone());
    }
}

fn note<T>(done: &mut Executed, topic: &str, result: ItemResult<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(refused) => {
            done.failed.entry(topic.to_owned()).or_insert_with(|| failure_of(&refused));
            None
        }
    }
}

/// The broker refused this topic.
pub fn failure_of(refused: &Refused) -> Failure {
    let reason = match refused.code {
        ErrorCode::InvalidConfig => EntityReason::InvalidConfig,
        ErrorCode::InvalidReplicationFactor => EntityReason::InvalidReplicationFactor,
        ErrorCode::InvalidPartitions
        | ErrorCode::InvalidTopicException
        | ErrorCode::PolicyViolation => EntityReason::NotSupported,
        ErrorCode::TopicDeletionDisabled => EntityReason::Deleting,
        _ => EntityReason::KafkaError,
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

async fn delete(
    admin: &impl TopicAdmin,
    items: &Items<'_>,
    done: &mut Executed,
) -> Result<(), AdminError> {
    let names: Vec<String> = items.iter().map(|(topic, _)| (*topic).to_owned()).collect();
    for (topic, result) in admin.delete(&names).await? {
        let result = match result {
            // It is gone, which is what was wanted.
            Err(refused) if refused.code == ErrorCode::UnknownTopicOrPartition => Ok(()),
            result => result,
        };
        note(done, &topic, result);
    }
    Ok(())
}

async fn create(
    admin: &impl TopicAdmin,
    items: &Items<'_>,
    done: &mut Executed,
) -> Result<(), AdminError> {
    let topics = items.iter().filter_map(|(topic, action)| match action {
        TopicAction::Create { partitions, replication_factor, config } => Some(NewTopic {
            name: (*topic).to_owned(),
            partitions: *partitions,
            replication_factor: *replication_factor,
            config: config.clone(),
        }),
        _ => None,
    });
    for (topic, result) in admin.create(&topics.collect::<Vec<_>>()).await? {
        if let Some(created) = note(done, &topic, result) {
            done.created.insert(topic, created);
        }
    }
    Ok(())
}

async fn alter(
    admin: &impl TopicAdmin,
    items: &Items<'_>,
    done: &mut Executed,
) -> Result<(), AdminError> {
    let changes = items.iter().filter_map(|(topic, action)| match action {
        TopicAction::AlterConfig { set, delete } => Some(ConfigChange {
            resource: ConfigResource::Topic((*topic).to_owned()),
            set: set.clone(),
            delete: delete.iter().cloned().collect(),
        }),
        _ => None,
    });
    let answers = admin.alter(&changes.collect::<Vec<_>>()).await?;
    for ((topic, _), result) in items.iter().zip(answers) {
        note(done, topic, result);
    }
    Ok(())
}

async fn widen(
    admin: &impl TopicAdmin,
    items: &Items<'_>,
    done: &mut Executed,
) -> Result<(), AdminError> {
    let counts = items.iter().filter_map(|(topic, action)| match action {
        TopicAction::AddPartitions { to } => Some(((*topic).to_owned(), *to)),
        _ => None,
    });
    for (topic, result) in admin.widen(&counts.collect::<Vec<_>>()).await? {
        note(done, &topic, result);
    }
    Ok(())
}

/// Moves begin throttled, or not at all.
async fn reassign(
    admin: &impl TopicAdmin,
    items: &Items<'_>,
    partitions: &[PartitionView],
    throttle: Option<i64>,
    done: &mut Executed,
) -> Result<(), AdminError> {
    let moves = items.iter().filter_map(|(_, action)| match action {
        TopicAction::Reassign(moves) => Some(moves),
        _ => None,
    });
    let moves: Vec<Move> = moves.flatten().cloned().collect();
    if let Some(change) = throttle.and_then(|r| moves::throttle(r, &moves, partitions)) {
        let changes = throttle_changes(&change).concat();
        for (change, result) in changes.iter().zip(admin.alter(&changes).await?) {
            if let Err(refused) = result {
                let text = format!("throttle of {:?}: {}", change.resource, refused.message);
                let refused = Refused::new(refused.code, text);
                fail(&mut done.failed, items, &failure_of(&refused));
                return Ok(());
            }
        }
    }
    for (partition, result) in admin.reassign(&moves).await? {
        note(done, &partition.topic, result);
    }
    Ok(())
}
