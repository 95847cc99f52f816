//! The end of a pass: statuses that changed and finalizers that may go, several at a time.

use std::time::SystemTime;

use crd::{Time, TopicStatus, find_condition, kind};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use k8s_openapi::jiff::Timestamp;
use plan::topics::TopicReason;

use super::admin::TopicAdmin;
use super::index::Entry;
use super::outcome::{Outcome, status};
use super::resources::{Resources, Written, finalizers};
use super::worker::{WRITES_AT_A_TIME, Worker};
use crate::Result;
use crate::error::Category;
use crate::runtime::Severity;

/// What is to be said and done about one resource.
#[derive(Debug)]
pub struct TopicResult {
    pub entry: Entry,
    /// `None`: the status stays.
    pub outcome: Option<Outcome>,
    /// It may go when it is deleted: its finalizer is taken off.
    pub release: bool,
}

/// A write, and the resource it is for.
enum Write {
    Release(Vec<String>),
    Status(Outcome, TopicStatus),
}

/// Writes what differs from what is there; the class of the last failure.
pub async fn write<A: TopicAdmin, R: Resources>(
    worker: &mut Worker<A, R>,
    verdicts: Vec<TopicResult>,
) -> Option<Category> {
    let now = Time(Timestamp::try_from(SystemTime::now()).unwrap_or_default());
    let writes = verdicts.into_iter().filter_map(|verdict| {
        let TopicResult { entry, outcome, release } = verdict;
        if release {
            let rest = finalizers(&entry, false)?;
            return Some((entry, Write::Release(rest)));
        }
        let outcome = outcome?;
        let new = status(&entry, &outcome, &now)?;
        Some((entry, Write::Status(outcome, new)))
    });
    let resources = &worker.shared.resources;
    let writing = writes.map(|(entry, write)| {
        let writing = async move {
            let written = execute(resources, &entry, &write).await;
            (entry, write, written)
        };
        writing.boxed()
    });
    let writing: Vec<BoxFuture<'_, _>> = writing.collect();
    let done: Vec<_> = stream::iter(writing).buffer_unordered(WRITES_AT_A_TIME).collect().await;
    let mut failure = None;
    for (entry, write, written) in done {
        let topic = entry.wish.topic.clone();
        match (written, write) {
            (Ok(Written::Done), Write::Status(_, status)) => {
                worker.shared.index().wrote_status(&entry, status);
            }
            (Ok(Written::Done), Write::Release(rest)) => {
                worker.shared.index().wrote_finalizers(&entry, rest);
            }
            (Ok(Written::Gone), _) => {}
            (Ok(Written::Raced), _) => worker.again(&topic, true),
            (Err(error), _) => {
                tracing::warn!(topic, %error, "not written");
                failure = Some(error.category());
                worker.again(&topic, false);
            }
        }
    }
    failure
}

async fn execute(resources: &impl Resources, entry: &Entry, write: &Write) -> Result<Written> {
    match write {
        Write::Release(rest) => {
            let written = resources.write_finalizers(entry, rest).await;
            tracing::debug!(topic = entry.wish.topic, ?written, "finalizer removed");
            written
        }
        Write::Status(outcome, status) => {
            let written = resources.write_status(entry, status).await;
            if matches!(written, Ok(Written::Done)) {
                tell(resources, entry, outcome).await;
            }
            written
        }
    }
}

/// An Event, where the resource came into a state that the user should hear of.
async fn tell(resources: &impl Resources, entry: &Entry, outcome: &Outcome) {
    let conditions = entry.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let before = find_condition(conditions, kind::READY).map(|c| c.reason.as_str());
    let told = match outcome.reason {
        TopicReason::Conflict
        | TopicReason::AdoptionDiffers
        | TopicReason::InvalidConfig
        | TopicReason::InvalidReplicationFactor
        | TopicReason::NotSupported
        | TopicReason::KafkaError => before != Some(outcome.reason.name()),
        // Data is lost: the topic was deleted behind the resource's back.
        TopicReason::Created => entry.wish.known_id.is_some(),
        _ => false,
    };
    if told {
        let (reason, note) = (outcome.reason.name(), &outcome.message);
        resources.event(entry, Severity::Warning, reason, note).await;
    }
}
