//! The end of a pass: statuses that changed and finalizers that may go, several at a time.

use std::time::SystemTime;

use crd::{EntityReason, Time};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use k8s_openapi::jiff::Timestamp;

use super::api::{Resources, Written};
use super::batch::Batch;
use super::outcome::{Outcome, status};
use super::resource::{Entity, Entry, Wish};
use super::worker::{WRITES_AT_A_TIME, Worker};
use crate::Result;
use crate::error::Category;
use crate::runtime::Severity;

/// What is to be said and done about one resource.
#[derive(Debug)]
pub struct Verdict<E: Entity> {
    pub entry: Entry<E>,
    /// `None`: the status stays.
    pub outcome: Option<Outcome<E>>,
    /// It may go when it is deleted: its finalizer is taken off.
    pub release: bool,
}

/// A write, and the resource it is for.
enum Write<E: Entity> {
    Release(Vec<String>),
    Status(Outcome<E>, E::Status),
}

/// Writes what differs from what is there; the class of the last failure.
pub async fn write<B: Batch, R: Resources<B::Entity>>(
    worker: &mut Worker<B, R>,
    verdicts: Vec<Verdict<B::Entity>>,
) -> Option<Category> {
    let now = Time(Timestamp::try_from(SystemTime::now()).unwrap_or_default());
    let writes = verdicts.into_iter().filter_map(|verdict| {
        let Verdict { entry, outcome, release } = verdict;
        if release {
            let rest = entry.finalizers_with(false)?;
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
        let entity = entry.wish.entity().to_owned();
        match (written, write) {
            (Ok(Written::Done), Write::Status(_, status)) => {
                worker.shared.index().wrote_status(&entry, status);
            }
            (Ok(Written::Done), Write::Release(rest)) => {
                worker.shared.index().wrote_finalizers(&entry, rest);
            }
            (Ok(Written::Gone), _) => {}
            (Ok(Written::Raced), _) => worker.again(&entity, true),
            (Err(error), _) => {
                tracing::warn!(entity, %error, "not written");
                failure = Some(error.category());
                worker.again(&entity, false);
            }
        }
    }
    failure
}

async fn execute<E: Entity>(
    resources: &impl Resources<E>,
    entry: &Entry<E>,
    write: &Write<E>,
) -> Result<Written> {
    match write {
        Write::Release(rest) => {
            let written = resources.write_finalizers(entry, rest).await;
            tracing::debug!(entity = entry.wish.entity(), ?written, "finalizer removed");
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
async fn tell<E: Entity>(resources: &impl Resources<E>, entry: &Entry<E>, outcome: &Outcome<E>) {
    let before = entry.ready().map(|condition| condition.reason.as_str());
    let told = match outcome.reason {
        EntityReason::Conflict
        | EntityReason::AdoptionDiffers
        | EntityReason::InvalidConfig
        | EntityReason::InvalidReplicationFactor
        | EntityReason::NotSupported
        | EntityReason::KafkaError => before != Some(outcome.reason.name()),
        // Data is lost: the entity was deleted behind the resource's back.
        EntityReason::Created => entry.wish.had_it(),
        _ => false,
    };
    if told {
        let (reason, note) = (outcome.reason.name(), &outcome.message);
        resources.event(entry, Severity::Warning, reason, note).await;
    }
}
