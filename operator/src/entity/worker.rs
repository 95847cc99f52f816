//! One worker per cluster: takes entities from its queue in batches, has each batch looked at and
//! done, and says what became of it. It remembers nothing that it could not find out again; what
//! it keeps is about pace only.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crd::EntityReason;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use tokio::time::Instant;

use super::api::{Resources, Written};
use super::batch::{BATCH, Batch, Done, Job, Planned, SOON};
use super::cluster::ClusterState;
use super::index::Index;
use super::outcome::Outcome;
use super::queue::{Backoff, Queue};
use super::resource::{Entity, Entry, Key, Status, Wish};
use super::write::{Verdict, write};
use crate::error::Category;
use crate::kafka::AdminError;

/// Requests to the API server at a time.
pub(super) const WRITES_AT_A_TIME: usize = 16;
/// Entities that were ready stay so while brokers are silent for less than this.
const GRACE: Duration = Duration::from_secs(30);
/// A failure that may pass is told the user when it has come so often in a row.
const FAILURES_TOLD: u32 = 3;
/// Longest wait between two attempts to reach the brokers.
const DOWN_MAX: Duration = Duration::from_secs(10);

/// What all workers have in common.
pub struct Shared<E: Entity, R> {
    pub index: Mutex<Index<E>>,
    pub resources: R,
}

impl<E: Entity, R> Shared<E, R> {
    pub fn index(&self) -> MutexGuard<'_, Index<E>> {
        // A panic elsewhere ends the process anyway.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Works on the entities of one cluster.
pub struct Worker<B: Batch, R> {
    cluster: Key,
    pub(super) shared: Arc<Shared<B::Entity, R>>,
    queue: Arc<Queue>,
    batch: B,
    backoff: Backoff,
    /// Since when no broker answers, or none is ready.
    unreachable_since: Option<Instant>,
    down: Option<Down>,
    /// What connecting depends on; a change of it is a reason to try at once.
    state: Option<ClusterState>,
}

/// No broker could be reached.
#[derive(Debug)]
struct Down {
    until: Instant,
    wait: Duration,
}

type Jobs<B> = Vec<Job<<B as Batch>::Entity>>;
type Verdicts<B> = Vec<Verdict<<B as Batch>::Entity>>;

impl<B: Batch, R: Resources<B::Entity>> Worker<B, R> {
    pub fn new(
        cluster: Key,
        shared: Arc<Shared<B::Entity, R>>,
        queue: Arc<Queue>,
        batch: B,
    ) -> Worker<B, R> {
        let (backoff, unreachable_since, down, state) = Default::default();
        Worker { cluster, shared, queue, batch, backoff, unreachable_since, down, state }
    }

    /// Runs until the queue is closed.
    pub async fn run(mut self) {
        while let Some(names) = self.queue.batch(BATCH).await {
            let begun = Instant::now();
            let failure = self.pass(names).await;
            let metrics = self.shared.resources.metrics();
            metrics.passed(B::Entity::CONTROLLER, begun.elapsed(), failure);
            let count = self.shared.index().count(&self.cluster);
            B::Entity::count(metrics, &self.cluster, Some(count));
        }
        B::Entity::count(self.shared.resources.metrics(), &self.cluster, None);
    }

    /// Looks at these entities and does what is to be done.
    pub(crate) async fn pass(&mut self, names: Vec<String>) -> Option<Category> {
        let (state, jobs) = self.snapshot(names);
        let verdicts = match &state {
            Some(state) if !state.deleting => self.reconcile(state, jobs).await,
            state => self.release_orphans(state.is_some(), jobs).await,
        };
        let written = write(self, verdicts).await;
        written.or(self.down.as_ref().map(|_| Category::Brokers))
    }

    fn snapshot(&mut self, names: Vec<String>) -> (Option<ClusterState>, Jobs<B>) {
        let index = self.shared.index();
        let state = index.cluster(&self.cluster).cloned();
        let jobs = names.into_iter().map(|entity| {
            let entries = index.naming(&self.cluster, &entity);
            let wishes: Vec<_> = entries.iter().map(|entry| entry.wish.clone()).collect();
            Job { entity, entries, owner: B::Entity::owner(&wishes) }
        });
        let jobs = jobs.filter(|job| !job.entries.is_empty()).collect();
        drop(index);
        if state != self.state {
            self.state.clone_from(&state);
            self.down = None;
        }
        (state, jobs)
    }

    /// The cluster is gone or going: nothing is deleted for it, and nobody waits for it. Of one
    /// that is going even resources that stay are let go: with the namespace goes the right to do
    /// it later.
    async fn release_orphans(&mut self, going: bool, jobs: Jobs<B>) -> Verdicts<B> {
        let held = jobs.iter().flat_map(|job| &job.entries);
        let mut release = true;
        if !going && held.into_iter().any(|entry| entry.wish.is_deleting() && entry.has_finalizer())
        {
            // What cannot be taken back is not decided by a watch that may lag.
            release =
                matches!(self.shared.resources.cluster_exists(&self.cluster).await, Ok(false));
        }
        let what = if going { "is being deleted" } else { "does not exist" };
        let text = format!("KafkaCluster {} {what}", self.cluster.name);
        let verdict = |entry: Entry<B::Entity>| {
            let reason = match entry.wish.is_managed() {
                true => EntityReason::WaitingForCluster,
                false => EntityReason::Unmanaged,
            };
            let deleting = entry.wish.is_deleting();
            if deleting && !release {
                self.queue.push_later(entry.wish.entity(), SOON);
            }
            let (ready, numbers) = (false, Default::default());
            let outcome = Outcome { ready, reason, message: text.clone(), numbers };
            let release = deleting && release || going && entry.has_finalizer();
            Verdict { entry, outcome: Some(outcome), release }
        };
        jobs.into_iter().flat_map(|job| job.entries).map(verdict).collect()
    }

    async fn reconcile(&mut self, state: &ClusterState, jobs: Jobs<B>) -> Verdicts<B> {
        // The finalizer is there before the entity: a resource that goes meanwhile cannot leave it.
        let jobs = self.ensure_finalizers(jobs).await;
        let wait = self.down.as_ref().is_some_and(|down| Instant::now() < down.until);
        let ask = state.ready && !wait && !jobs.is_empty();
        let resources = &self.shared.resources;
        let mut done = self.batch.run(&self.cluster, state, ask, &jobs, resources).await;
        resources.metrics().sent_to_brokers(done.requests);
        match &done.silence {
            Some(error) => self.went_down(error),
            None if ask => self.down = None,
            None => {}
        }
        match !done.seen && !jobs.is_empty() {
            true => drop(self.unreachable_since.get_or_insert_with(Instant::now)),
            false => self.unreachable_since = None,
        }
        let planned = std::mem::take(&mut done.planned);
        let judged = jobs.into_iter().zip(planned);
        judged.flat_map(|(job, planned)| self.verdicts_of(state, &done, job, planned)).collect()
    }

    /// Sets and removes finalizers as the deletion policy says. Entities of which that failed
    /// have to wait.
    async fn ensure_finalizers(&mut self, jobs: Jobs<B>) -> Jobs<B> {
        let resources = &self.shared.resources;
        let changes = jobs.iter().enumerate().flat_map(|(at, job)| {
            let entries = job.entries.iter().enumerate().filter(|(_, e)| !e.wish.is_deleting());
            entries.filter_map(move |(number, entry)| {
                Some((at, number, entry, entry.finalizers_with(entry.wish.is_held())?))
            })
        });
        let writes = changes.map(|(at, number, entry, wanted)| {
            let write = async move {
                let written = resources.write_finalizers(entry, &wanted).await;
                (at, number, wanted, written)
            };
            write.boxed()
        });
        let writes: Vec<BoxFuture<'_, _>> = writes.collect();
        let written: Vec<_> =
            stream::iter(writes).buffer_unordered(WRITES_AT_A_TIME).collect().await;
        let mut jobs: Vec<Option<Job<B::Entity>>> = jobs.into_iter().map(Some).collect();
        for (at, number, wanted, written) in written {
            let Some(job) = &mut jobs[at] else { continue };
            if matches!(written, Ok(Written::Done)) {
                self.shared.index().wrote_finalizers(&job.entries[number], wanted.clone());
                job.entries[number].finalizers = wanted;
                continue;
            }
            if let Err(error) = written {
                tracing::warn!(entity = job.entity, %error, "finalizer not written");
            }
            let (_, wait) = self.backoff.failed(&job.entity);
            self.queue.push_later(&job.entity, wait);
            jobs[at] = None;
        }
        jobs.into_iter().flatten().collect()
    }

    fn went_down(&mut self, error: &AdminError) {
        let wait = self.down.as_ref().map_or(Duration::from_secs(1), |down| down.wait * 2);
        let wait = wait.min(DOWN_MAX);
        tracing::warn!(cluster = %self.cluster.name, namespace = %self.cluster.namespace, %error,
            "brokers do not answer");
        self.down = Some(Down { until: Instant::now() + wait, wait });
    }

    /// What is to be said and done about each resource of an entity.
    fn verdicts_of(
        &mut self,
        state: &ClusterState,
        done: &Done<B::Entity>,
        job: Job<B::Entity>,
        planned: Vec<Planned<B::Entity>>,
    ) -> Verdicts<B> {
        let Job { entity, entries, owner } = job;
        let failure = done.failed.get(&entity);
        let told = failure.map(|failure| {
            let (count, wait) = self.backoff.failed(&entity);
            self.queue.push_later(&entity, wait);
            !failure.passing || count >= FAILURES_TOLD
        });
        if failure.is_none() && done.seen {
            self.backoff.succeeded(&entity);
        }
        let mut verdicts = Vec::new();
        for (at, (entry, planned)) in entries.into_iter().zip(planned).enumerate() {
            // Whose plan had the actions: what failed is the owner's.
            let failure = failure.filter(|_| owner == Some(at));
            let silent = planned.reason == EntityReason::WaitingForCluster;
            if let (None, Some(wait)) = (failure, self.requeue(planned.requeue, silent)) {
                self.queue.push_later(&entity, wait);
            }
            let Planned { ready, reason, message, numbers, release, .. } = planned;
            let outcome = match failure {
                Some(_) if told == Some(false) => None,
                Some(failure) => Some(Outcome {
                    ready: false,
                    reason: failure.reason,
                    message: failure.message.clone(),
                    numbers,
                }),
                None if silent && self.is_graced(&entry) => None,
                None => {
                    let message = match silent && !entry.wish.is_deleting() {
                        true => self.silence(state),
                        false => message,
                    };
                    Some(Outcome { ready, reason, message, numbers })
                }
            };
            verdicts.push(Verdict { entry, outcome, release: release && failure.is_none() });
        }
        verdicts
    }

    fn requeue(&self, wait: Option<Duration>, silent: bool) -> Option<Duration> {
        let (wait, now) = (wait?, Instant::now());
        let down = self.down.as_ref().filter(|_| silent);
        Some(down.map_or(wait, |down| down.until.saturating_duration_since(now).max(SOON)))
    }

    fn silence(&self, state: &ClusterState) -> String {
        let what = if state.ready { "answers" } else { "is ready" };
        format!("no broker of KafkaCluster {} {what}", self.cluster.name)
    }

    /// A short silence of the brokers does not make an entity less ready.
    fn is_graced(&self, entry: &Entry<B::Entity>) -> bool {
        let observed = entry.status.as_ref().and_then(Status::observed_generation);
        let short = self.unreachable_since.is_some_and(|since| since.elapsed() < GRACE);
        short && entry.is_ready() && observed == entry.generation && !entry.wish.is_deleting()
    }

    /// A write did not succeed: looked at again.
    pub(super) fn again(&mut self, entity: &str, raced: bool) {
        let wait = if raced { SOON } else { self.backoff.failed(entity).1 };
        self.queue.push_later(entity, wait);
    }
}
