//! One worker per cluster: takes topics from its queue in batches, looks at all of a batch at once,
//! and does what `plan` says. It remembers nothing that it could not find out again; what it keeps
//! is about pace only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::BrokerId;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use plan::topics::{
    TopicAction, TopicActual, TopicBroker, TopicContext, TopicPlan, TopicReason, TopicWish, owners,
    plan_topic,
};
use tokio::time::Instant;

use super::BATCH;
use super::admin::{BrokerLoad, TopicAdmin};
use super::execute::{Executed, execute};
use super::index::{ClusterState, Entry, Index, Key};
use super::outcome::{Failure, Outcome, TopicNumbers};
use super::queue::{Backoff, Queue};
use super::resources::{Resources, Written, finalizers};
use super::write::{TopicResult, write};
use crate::error::Category;
use crate::kafka::{AdminError, ItemResult};

/// Requests to the API server at a time.
pub(super) const WRITES_AT_A_TIME: usize = 16;
/// Topics that were ready stay so while brokers are silent for less than this.
const GRACE: Duration = Duration::from_secs(30);
/// A failure that may pass is told the user when it has come so often in a row.
const FAILURES_TOLD: u32 = 3;
/// Longest wait between two attempts to reach the brokers.
const DOWN_MAX: Duration = Duration::from_secs(10);
/// When the watch is expected to have told what another writer wrote.
const SOON: Duration = Duration::from_millis(500);

/// What all workers have in common.
pub struct Shared<R> {
    pub index: Mutex<Index>,
    pub resources: R,
}

impl<R> Shared<R> {
    pub fn index(&self) -> MutexGuard<'_, Index> {
        // A panic elsewhere ends the process anyway.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Works on the topics of one cluster.
pub struct Worker<A, R> {
    pub(super) cluster: Key,
    pub(super) shared: Arc<Shared<R>>,
    pub(super) queue: Arc<Queue>,
    admin: A,
    pub(super) backoff: Backoff,
    /// Since when no broker answers, or none is ready.
    unreachable_since: Option<Instant>,
    down: Option<Down>,
    /// Topics found to need other replicas once: acted on when found so twice, since a broker's
    /// view may be a moment old.
    needs_confirmation: BTreeSet<String>,
    /// What connecting depends on; a change of it is a reason to try at once.
    facts: Option<ClusterState>,
}

/// No broker could be reached.
#[derive(Debug)]
struct Down {
    until: Instant,
    wait: Duration,
}

/// One topic, and the resources that name it.
#[derive(Debug)]
struct Job {
    topic: String,
    entries: Vec<Entry>,
    /// Index of the one that has it.
    owner: Option<usize>,
}

/// What the brokers said for a batch. Without brokers: nothing.
#[derive(Debug, Default)]
struct BrokerSnapshot {
    context: TopicContext,
    actual: BTreeMap<String, ItemResult<TopicActual>>,
}

impl<A: TopicAdmin, R: Resources> Worker<A, R> {
    pub fn new(cluster: Key, shared: Arc<Shared<R>>, queue: Arc<Queue>, admin: A) -> Worker<A, R> {
        let (backoff, needs_confirmation) = Default::default();
        let (unreachable_since, down, facts) = (None, None, None);
        Worker {
            cluster,
            shared,
            queue,
            admin,
            backoff,
            unreachable_since,
            down,
            needs_confirmation,
            facts,
        }
    }

    /// Runs until the queue is closed.
    pub async fn run(mut self) {
        while let Some(names) = self.queue.batch(BATCH).await {
            let begun = Instant::now();
            let failure = self.pass(names).await;
            self.shared.resources.metrics().passed("topic", begun.elapsed(), failure);
            self.count();
        }
        self.shared.resources.metrics().forget_topics(&self.cluster.namespace, &self.cluster.name);
    }

    fn count(&self) {
        let (ready, not_ready) = self.shared.index().count(&self.cluster);
        let metrics = self.shared.resources.metrics();
        metrics.topics(&self.cluster.namespace, &self.cluster.name, ready, not_ready);
    }

    /// Looks at these topics and does what is to be done.
    pub(super) async fn pass(&mut self, names: Vec<String>) -> Option<Category> {
        let (facts, jobs) = self.snapshot(names);
        let verdicts = match &facts {
            Some(facts) if !facts.deleting => self.reconcile(facts, jobs).await,
            facts => self.release_orphans(facts.is_some(), jobs).await,
        };
        let written = write(self, verdicts).await;
        written.or(self.down.as_ref().map(|_| Category::Brokers))
    }

    fn snapshot(&mut self, names: Vec<String>) -> (Option<ClusterState>, Vec<Job>) {
        let index = self.shared.index();
        let facts = index.cluster(&self.cluster).cloned();
        let jobs = names.into_iter().map(|topic| {
            let entries = index.naming(&self.cluster, &topic);
            let wishes: Vec<TopicWish> = entries.iter().map(|entry| entry.wish.clone()).collect();
            let owner = owners(&wishes).get(topic.as_str()).copied();
            Job { topic, entries, owner }
        });
        let jobs = jobs.filter(|job| !job.entries.is_empty()).collect();
        drop(index);
        if facts != self.facts {
            self.facts.clone_from(&facts);
            self.down = None;
        }
        (facts, jobs)
    }

    /// The cluster is gone or going: nothing is deleted for it, and nobody waits for it. Of one
    /// that is going even Topics that stay are let go: with the namespace goes the right to do it
    /// later.
    async fn release_orphans(&mut self, going: bool, jobs: Vec<Job>) -> Vec<TopicResult> {
        let held = jobs.iter().flat_map(|job| &job.entries);
        let mut release = true;
        if !going && held.into_iter().any(|entry| entry.wish.deleting && entry.has_finalizer()) {
            // What cannot be taken back is not decided by a watch that may lag.
            release =
                matches!(self.shared.resources.cluster_exists(&self.cluster).await, Ok(false));
        }
        let what = if going { "is being deleted" } else { "does not exist" };
        let text = format!("KafkaCluster {} {what}", self.cluster.name);
        let verdict = |entry: Entry| {
            let reason = match entry.wish.managed {
                true => TopicReason::WaitingForCluster,
                false => TopicReason::Unmanaged,
            };
            if entry.wish.deleting && !release {
                self.queue.push_later(&entry.wish.topic, SOON);
            }
            let (ready, facts) = (false, TopicNumbers::Kept);
            let outcome = Outcome { ready, reason, message: text.clone(), facts };
            let release = entry.wish.deleting && release || going && entry.has_finalizer();
            TopicResult { entry, outcome: Some(outcome), release }
        };
        jobs.into_iter().flat_map(|job| job.entries).map(verdict).collect()
    }

    async fn reconcile(&mut self, facts: &ClusterState, jobs: Vec<Job>) -> Vec<TopicResult> {
        // The finalizer is there before the topic: a resource that goes meanwhile cannot leave it.
        let jobs = self.ensure_finalizers(jobs).await;
        let world = self.observe(facts, &jobs).await;
        let mut plans: Vec<Vec<TopicPlan>> =
            jobs.iter().map(|job| plan_job(job, &world, &world.context)).collect();
        self.plan_moves(&jobs, &mut plans, &world).await;
        self.leave_to_heirs(&jobs, &mut plans).await;
        let mut wanted = BTreeMap::new();
        for (job, plans) in jobs.iter().zip(&plans) {
            if let Some(plan) = job.owner.and_then(|at| plans.get(at))
                && !plan.actions.is_empty()
            {
                wanted.insert(job.topic.clone(), plan.clone());
            }
        }
        let partitions = world.actual.values().flatten().flat_map(|a| &a.partitions);
        let partitions: Vec<_> = match facts.throttle {
            Some(_) => partitions.cloned().collect(),
            None => Vec::new(),
        };
        let moves = wanted.values().any(|plan| plan.actions.iter().any(is_reassign));
        let _ours = match moves {
            true => Some(self.shared.resources.hold_throttle(&self.cluster).await),
            false => None,
        };
        let executed = execute(&self.admin, &wanted, &partitions, facts.throttle).await;
        self.shared.resources.metrics().sent_to_brokers(executed.requests);
        let judged = jobs.into_iter().zip(plans);
        judged
            .flat_map(|(job, plans)| self.outcomes_of(facts, &world, &executed, job, plans))
            .collect()
    }

    /// Sets and removes finalizers as the deletion policy says. Topics of which that failed have
    /// to wait.
    async fn ensure_finalizers(&mut self, jobs: Vec<Job>) -> Vec<Job> {
        let resources = &self.shared.resources;
        let changes = jobs.iter().enumerate().flat_map(|(at, job)| {
            let entries = job.entries.iter().enumerate().filter(|(_, e)| !e.wish.deleting);
            entries.filter_map(move |(number, entry)| {
                Some((at, number, entry, finalizers(entry, entry.wish.delete_data)?))
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
        let mut jobs: Vec<Option<Job>> = jobs.into_iter().map(Some).collect();
        for (at, number, wanted, written) in written {
            let Some(job) = &mut jobs[at] else { continue };
            if matches!(written, Ok(Written::Done)) {
                self.shared.index().wrote_finalizers(&job.entries[number], wanted.clone());
                job.entries[number].finalizers = wanted;
                continue;
            }
            if let Err(error) = written {
                tracing::warn!(topic = job.topic, %error, "finalizer not written");
            }
            let (_, wait) = self.backoff.failed(&job.topic);
            self.queue.push_later(&job.topic, wait);
            jobs[at] = None;
        }
        jobs.into_iter().flatten().collect()
    }

    async fn observe(&mut self, facts: &ClusterState, jobs: &[Job]) -> BrokerSnapshot {
        let wait = self.down.as_ref().is_some_and(|down| Instant::now() < down.until);
        let mut world = BrokerSnapshot::default();
        world.context.paused = facts.paused;
        world.context.moves_per_broker = facts.moves_per_broker;
        world.context.min_isr = facts.min_isr;
        world.context.default_factor = facts.default_factor;
        if facts.ready && !wait && !jobs.is_empty() {
            self.admin.aim(&facts.bootstrap).await;
            let names: Vec<String> = jobs.iter().map(|job| job.topic.clone()).collect();
            let asked =
                async { tokio::try_join!(self.admin.brokers(), self.admin.describe(&names)) };
            match asked.await {
                Ok((brokers, actual)) => {
                    world.actual = actual;
                    let brokers = brokers.into_iter().filter(|(id, _)| id.0 < facts.replicas);
                    world.context.brokers = brokers
                        .map(|(id, info)| {
                            let (rack, usable) = (info.rack, !info.fenced);
                            TopicBroker { id, rack, usable, hosted: 0 }
                        })
                        .collect();
                    self.down = None;
                }
                Err(error) => self.went_down(&error),
            }
        }
        match world.context.brokers.is_empty() && !jobs.is_empty() {
            true => drop(self.unreachable_since.get_or_insert_with(Instant::now)),
            false => self.unreachable_since = None,
        }
        world
    }

    fn went_down(&mut self, error: &AdminError) {
        let wait = self.down.as_ref().map_or(Duration::from_secs(1), |down| down.wait * 2);
        let wait = wait.min(DOWN_MAX);
        tracing::warn!(cluster = %self.cluster.name, namespace = %self.cluster.namespace, %error,
            "brokers do not answer");
        self.down = Some(Down { until: Instant::now() + wait, wait });
    }

    /// Moves are planned with how full the brokers are, which is asked for only now, and only for
    /// topics that were found to need them twice.
    async fn plan_moves(
        &mut self,
        jobs: &[Job],
        plans: &mut [Vec<TopicPlan>],
        world: &BrokerSnapshot,
    ) {
        let moves = is_reassign;
        let mut loads: Option<Result<BTreeMap<BrokerId, BrokerLoad>, AdminError>> = None;
        for (job, plans) in jobs.iter().zip(plans) {
            if !plans.iter().any(|plan| plan.actions.iter().any(moves)) {
                self.needs_confirmation.remove(&job.topic);
                continue;
            }
            let again = self.needs_confirmation.remove(&job.topic);
            if again && loads.is_none() {
                loads = Some(self.admin.loads().await);
            }
            match (again, &loads) {
                (true, Some(Ok(loads))) => {
                    *plans = plan_job(job, world, &loaded(&world.context, loads));
                }
                (true, Some(Err(error))) => {
                    tracing::warn!(topic = job.topic, %error, "moves cannot be planned");
                    plans.iter_mut().for_each(|plan| plan.actions.retain(|a| !moves(a)));
                }
                _ => {
                    self.needs_confirmation.insert(job.topic.clone());
                    plans.iter_mut().for_each(|plan| plan.actions.retain(|a| !moves(a)));
                }
            }
        }
    }

    /// A resource that the watch has not told of yet may name a topic that is to be deleted. What
    /// cannot be asked is not deleted.
    async fn leave_to_heirs(&self, jobs: &[Job], plans: &mut [Vec<TopicPlan>]) {
        let deletes = |plan: &TopicPlan| plan.actions.contains(&TopicAction::Delete);
        if !plans.iter().flatten().any(deletes) {
            return;
        }
        let known = jobs.iter().flat_map(|job| &job.entries).map(|entry| entry.wish.uid.clone());
        let known: BTreeSet<String> = known.collect();
        let named = self.shared.resources.named_by_others(&self.cluster, &known).await;
        if let Err(error) = &named {
            tracing::warn!(cluster = %self.cluster.name, %error, "nothing is deleted");
        }
        for (job, plans) in jobs.iter().zip(plans) {
            let stays = named.as_ref().map_or(true, |named| named.contains(&job.topic));
            for plan in plans.iter_mut().filter(|plan| stays && deletes(plan)) {
                plan.actions.clear();
                plan.release = false;
                plan.message = "not deleted yet: another Topic may name the topic".into();
                plan.requeue_ms = Some(SOON.as_millis() as u64);
            }
        }
    }

    /// What is to be said and done about each resource of a topic, once its requests are answered.
    fn outcomes_of(
        &mut self,
        facts: &ClusterState,
        world: &BrokerSnapshot,
        executed: &Executed,
        job: Job,
        plans: Vec<TopicPlan>,
    ) -> Vec<TopicResult> {
        let Job { topic, entries, owner } = job;
        let unseen = match world.actual.get(&topic) {
            Some(Err(refused)) => Some(Failure::of_topic(refused)),
            _ => None,
        };
        let failure = unseen.as_ref().or(executed.failed.get(&topic));
        let told = failure.map(|failure| {
            let (count, wait) = self.backoff.failed(&topic);
            self.queue.push_later(&topic, wait);
            !failure.passing || count >= FAILURES_TOLD
        });
        if failure.is_none() && !world.context.brokers.is_empty() {
            self.backoff.succeeded(&topic);
        }
        let mut verdicts = Vec::new();
        for (at, (entry, plan)) in entries.into_iter().zip(plans).enumerate() {
            // Whose plan had the actions: what failed is the owner's.
            let failure = failure.filter(|_| owner == Some(at));
            let silent = plan.reason == TopicReason::WaitingForCluster;
            if let (None, Some(wait)) = (failure, self.requeue(&plan, silent)) {
                self.queue.push_later(&topic, wait);
            }
            let outcome = match failure {
                Some(_) if told == Some(false) => None,
                Some(failure) => Some(Outcome {
                    ready: false,
                    reason: failure.reason,
                    message: failure.message.clone(),
                    facts: about(world, executed, &topic, &plan),
                }),
                None if silent && self.is_graced(&entry) => None,
                None => Some(Outcome {
                    ready: plan.ready,
                    reason: plan.reason,
                    message: match silent && !entry.wish.deleting {
                        true => self.silence(facts),
                        false => settled(&plan),
                    },
                    facts: about(world, executed, &topic, &plan),
                }),
            };
            let release = plan.release && failure.is_none();
            verdicts.push(TopicResult { entry, outcome, release });
        }
        verdicts
    }

    fn requeue(&self, plan: &TopicPlan, silent: bool) -> Option<Duration> {
        let wait = Duration::from_millis(plan.requeue_ms?);
        let now = Instant::now();
        let down = self.down.as_ref().filter(|_| silent);
        Some(down.map_or(wait, |down| down.until.saturating_duration_since(now).max(SOON)))
    }

    fn silence(&self, facts: &ClusterState) -> String {
        let what = if facts.ready { "answers" } else { "is ready" };
        format!("no broker of KafkaCluster {} {what}", self.cluster.name)
    }

    /// A short silence of the brokers does not make a topic less ready.
    fn is_graced(&self, entry: &Entry) -> bool {
        let observed = entry.status.as_ref().and_then(|status| status.observed_generation);
        let short = self.unreachable_since.is_some_and(|since| since.elapsed() < GRACE);
        short && entry.is_ready() && observed == entry.generation && !entry.wish.deleting
    }
}

fn is_reassign(action: &TopicAction) -> bool {
    matches!(action, TopicAction::Reassign(_))
}

fn plan_job(job: &Job, world: &BrokerSnapshot, context: &TopicContext) -> Vec<TopicPlan> {
    let actual = world.actual.get(&job.topic).and_then(|actual| actual.as_ref().ok());
    let unseen = world.actual.get(&job.topic).is_some_and(Result::is_err);
    let plans = job.entries.iter().enumerate().map(|(at, entry)| {
        let owner = job.owner.map_or(&entry.wish, |owner| &job.entries[owner].wish);
        let mut plan = plan_topic(&entry.wish, owner, actual, context);
        let owns = job.owner == Some(at);
        if let (Some((reason, text)), true) = (&entry.impossible, owns && !entry.wish.deleting) {
            plan = TopicPlan {
                actions: Vec::new(),
                ready: false,
                reason: *reason,
                message: text.clone(),
                requeue_ms: None,
                ..plan
            };
        }
        if unseen || !owns {
            // Not looked at, or not this resource's to change.
            plan.actions.clear();
            plan.release &= !owns;
        }
        plan
    });
    plans.collect()
}

/// With how full the brokers are, and without those that take nothing.
fn loaded(context: &TopicContext, loads: &BTreeMap<BrokerId, BrokerLoad>) -> TopicContext {
    let load = |id| loads.get(id).copied().unwrap_or_default();
    let brokers = context.brokers.iter().filter(|b| load(&b.id).cordoned != Some(true));
    let brokers = brokers.map(|b| TopicBroker {
        hosted: load(&b.id).replicas,
        // One that did not say whether it is cordoned may be.
        usable: b.usable && load(&b.id).cordoned == Some(false),
        ..b.clone()
    });
    TopicContext { brokers: brokers.collect(), ..context.clone() }
}

fn about(
    world: &BrokerSnapshot,
    executed: &Executed,
    topic: &str,
    plan: &TopicPlan,
) -> TopicNumbers {
    if let Some(created) = executed.created.get(topic) {
        return TopicNumbers::of_new(created);
    }
    match (world.actual.get(topic), plan.reason) {
        (_, TopicReason::Conflict | TopicReason::AdoptionDiffers) => TopicNumbers::None,
        (Some(Ok(actual)), _) => TopicNumbers::of(actual, plan),
        (Some(Err(_)), _) => TopicNumbers::Kept,
        (None, _) if world.context.brokers.is_empty() => TopicNumbers::Kept,
        (None, _) => TopicNumbers::None,
    }
}

/// What was changed a moment ago is as wanted: said so at once, it need not be said again.
fn settled(plan: &TopicPlan) -> String {
    match plan.reason {
        TopicReason::InSync => "as wanted".to_owned(),
        _ => plan.message.clone(),
    }
}

impl<A, R> Worker<A, R> {
    /// A write did not succeed: looked at again.
    pub(super) fn again(&mut self, topic: &str, raced: bool) {
        let wait = if raced { SOON } else { self.backoff.failed(topic).1 };
        self.queue.push_later(topic, wait);
    }
}
