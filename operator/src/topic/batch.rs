//! A batch of topics: one look at all of them, a plan for each resource, and requests.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::BrokerId;
use crd::EntityReason;
use plan::topics::{TopicAction, TopicActual, TopicBroker, TopicContext, TopicPlan, plan_topic};

use super::admin::{BrokerLoad, TopicAdmin};
use super::entity::{TopicNumbers, Topics};
use super::execute::{Executed, execute, failure_of};
use crate::entity::{Batch, ClusterState, Done, Job, Key, Planned, Resources, SOON};
use crate::kafka::{AdminError, ItemResult};

/// Topics of one cluster, over its brokers.
pub struct TopicBatch<A> {
    admin: A,
    /// Topics found to need other replicas once: acted on when found so twice, since a broker's
    /// view may be a moment old.
    needs_confirmation: BTreeSet<String>,
}

/// What the brokers said for a batch. Without brokers: nothing.
#[derive(Debug, Default)]
struct BrokerSnapshot {
    context: TopicContext,
    actual: BTreeMap<String, ItemResult<TopicActual>>,
    silence: Option<AdminError>,
}

type Plans = Vec<Vec<TopicPlan>>;

impl<A: TopicAdmin> Batch for TopicBatch<A> {
    type Entity = Topics;

    async fn run(
        &mut self,
        cluster: &Key,
        state: &ClusterState,
        ask: bool,
        jobs: &[Job<Topics>],
        resources: &impl Resources<Topics>,
    ) -> Done<Topics> {
        let world = self.observe(state, ask, jobs).await;
        let mut plans: Plans =
            jobs.iter().map(|job| plan_job(job, &world, &world.context)).collect();
        self.plan_moves(jobs, &mut plans, &world).await;
        leave_to_heirs(cluster, jobs, &mut plans, resources).await;
        let mut executed = self.execute(cluster, state, jobs, &plans, &world, resources).await;
        let planned = jobs.iter().zip(&plans).map(|(job, plans)| {
            let planned = |plan| planned(&world, &executed, &job.entity, plan);
            plans.iter().map(planned).collect()
        });
        let planned = planned.collect();
        for (topic, actual) in &world.actual {
            if let Err(refused) = actual {
                executed.failed.insert(topic.clone(), failure_of(refused));
            }
        }
        let Executed { failed, requests, .. } = executed;
        let seen = !world.context.brokers.is_empty();
        Done { planned, failed, requests, seen, silence: world.silence }
    }
}

impl<A: TopicAdmin> TopicBatch<A> {
    pub fn new(admin: A) -> TopicBatch<A> {
        TopicBatch { admin, needs_confirmation: BTreeSet::new() }
    }

    async fn observe(
        &self,
        state: &ClusterState,
        ask: bool,
        jobs: &[Job<Topics>],
    ) -> BrokerSnapshot {
        let mut world = BrokerSnapshot::default();
        world.context.paused = state.paused;
        world.context.moves_per_broker = state.moves_per_broker;
        world.context.min_isr = state.min_isr;
        world.context.default_factor = state.default_factor;
        if !ask {
            return world;
        }
        self.admin.aim(&state.bootstrap).await;
        let names: Vec<String> = jobs.iter().map(|job| job.entity.clone()).collect();
        let asked = async { tokio::try_join!(self.admin.brokers(), self.admin.describe(&names)) };
        match asked.await {
            Ok((brokers, actual)) => {
                world.actual = actual;
                let brokers = brokers.into_iter().filter(|(id, _)| state.fleet.is_wanted(*id));
                let brokers = brokers.map(|(id, info)| {
                    let (rack, usable) = (info.rack, !info.fenced);
                    TopicBroker { id, rack, usable, hosted: 0 }
                });
                world.context.brokers = brokers.collect();
            }
            Err(error) => world.silence = Some(error),
        }
        world
    }

    /// Moves are planned with how full the brokers are, which is asked for only now, and only for
    /// topics that were found to need them twice.
    async fn plan_moves(
        &mut self,
        jobs: &[Job<Topics>],
        plans: &mut Plans,
        world: &BrokerSnapshot,
    ) {
        let moves = is_reassign;
        let mut loads: Option<Result<BTreeMap<BrokerId, BrokerLoad>, AdminError>> = None;
        for (job, plans) in jobs.iter().zip(plans) {
            if !plans.iter().any(|plan| plan.actions.iter().any(moves)) {
                self.needs_confirmation.remove(&job.entity);
                continue;
            }
            let again = self.needs_confirmation.remove(&job.entity);
            if again && loads.is_none() {
                loads = Some(self.admin.loads().await);
            }
            match (again, &loads) {
                (true, Some(Ok(loads))) => {
                    *plans = plan_job(job, world, &loaded(&world.context, loads));
                }
                (true, Some(Err(error))) => {
                    tracing::warn!(topic = job.entity, %error, "moves cannot be planned");
                    plans.iter_mut().for_each(|plan| plan.actions.retain(|a| !moves(a)));
                }
                _ => {
                    self.needs_confirmation.insert(job.entity.clone());
                    plans.iter_mut().for_each(|plan| plan.actions.retain(|a| !moves(a)));
                }
            }
        }
    }

    async fn execute(
        &self,
        cluster: &Key,
        state: &ClusterState,
        jobs: &[Job<Topics>],
        plans: &Plans,
        world: &BrokerSnapshot,
        resources: &impl Resources<Topics>,
    ) -> Executed {
        let mut wanted = BTreeMap::new();
        for (job, plans) in jobs.iter().zip(plans) {
            if let Some(plan) = job.owner.and_then(|at| plans.get(at))
                && !plan.actions.is_empty()
            {
                wanted.insert(job.entity.clone(), plan.clone());
            }
        }
        let partitions = world.actual.values().flatten().flat_map(|a| &a.partitions);
        let partitions: Vec<_> = match state.throttle {
            Some(_) => partitions.cloned().collect(),
            None => Vec::new(),
        };
        let moves = wanted.values().any(|plan| plan.actions.iter().any(is_reassign));
        let _ours = match moves {
            true => Some(resources.hold_throttle(cluster).await),
            false => None,
        };
        execute(&self.admin, &wanted, &partitions, state.throttle).await
    }
}

/// A resource that the watch has not told of yet may name a topic that is to be deleted. What
/// cannot be asked is not deleted.
async fn leave_to_heirs(
    cluster: &Key,
    jobs: &[Job<Topics>],
    plans: &mut Plans,
    resources: &impl Resources<Topics>,
) {
    let deletes = |plan: &TopicPlan| plan.actions.contains(&TopicAction::Delete);
    if !plans.iter().flatten().any(deletes) {
        return;
    }
    let known = jobs.iter().flat_map(|job| &job.entries).map(|entry| entry.wish.uid.clone());
    let known: BTreeSet<String> = known.collect();
    let named = resources.named_by_others(cluster, &known).await;
    if let Err(error) = &named {
        tracing::warn!(cluster = %cluster.name, %error, "nothing is deleted");
    }
    for (job, plans) in jobs.iter().zip(plans) {
        let stays = named.as_ref().map_or(true, |named| named.contains(&job.entity));
        for plan in plans.iter_mut().filter(|plan| stays && deletes(plan)) {
            plan.actions.clear();
            plan.release = false;
            plan.message = "not deleted yet: another Topic may name the topic".into();
            plan.requeue_ms = Some(SOON.as_millis() as u64);
        }
    }
}

fn is_reassign(action: &TopicAction) -> bool {
    matches!(action, TopicAction::Reassign(_))
}

fn plan_job(job: &Job<Topics>, world: &BrokerSnapshot, context: &TopicContext) -> Vec<TopicPlan> {
    let actual = world.actual.get(&job.entity).and_then(|actual| actual.as_ref().ok());
    let unseen = world.actual.get(&job.entity).is_some_and(Result::is_err);
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

fn planned(
    world: &BrokerSnapshot,
    executed: &Executed,
    topic: &str,
    plan: &TopicPlan,
) -> Planned<Topics> {
    Planned {
        ready: plan.ready,
        reason: plan.reason,
        message: settled(plan),
        numbers: about(world, executed, topic, plan),
        release: plan.release,
        requeue: plan.requeue_ms.map(Duration::from_millis),
    }
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
        (_, EntityReason::Conflict | EntityReason::AdoptionDiffers) => TopicNumbers::None,
        (Some(Ok(actual)), _) => TopicNumbers::of(actual, plan),
        (Some(Err(_)), _) => TopicNumbers::Kept,
        (None, _) if world.context.brokers.is_empty() => TopicNumbers::Kept,
        (None, _) => TopicNumbers::None,
    }
}

/// What was changed a moment ago is as wanted: said so at once, it need not be said again.
fn settled(plan: &TopicPlan) -> String {
    match plan.reason {
        EntityReason::InSync => "as wanted".to_owned(),
        _ => plan.message.clone(),
    }
}
