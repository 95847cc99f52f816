//! One resource against one topic.

use std::collections::BTreeMap;

use crd::EntityReason;
use metadata::config::{topic_config, validate_topic_configs, validate_value};

use super::{TopicAction, TopicActual, TopicContext, TopicPlan, TopicWish};
use crate::moves::{self, Limits, MoveBroker, THROTTLED_REPLICAS};
use crate::observed::PartitionView;

/// Partitions of one topic that one pass begins to move.
const MOVES_MAX: usize = 100;
/// Kafka's work shows soon.
const SOON_MS: u64 = 1_000;
/// What a broker more or less would allow.
const LATER_MS: u64 = 10_000;

const MIN_ISR: &str = "min.insync.replicas";

/// Decides for one resource. `owner` is the resource that owns the topic ([`super::owners`]), the
/// same as `wish` for all but duplicates; `actual` is `None` where Kafka has no such topic.
pub fn plan_topic(
    wish: &TopicWish,
    owner: &TopicWish,
    actual: Option<&TopicActual>,
    context: &TopicContext,
) -> TopicPlan {
    let under_replicated = actual.map_or(0, |actual| {
        let lacks = |p: &&PartitionView| p.target().iter().any(|id| !p.isr.contains(id));
        actual.partitions.iter().filter(lacks).count()
    });
    let plan = decide(wish, owner, actual, context);
    let adopted = plan.adopted || wish.known_id.is_some();
    TopicPlan { under_replicated, adopted, ..plan }
}

fn decide(
    wish: &TopicWish,
    owner: &TopicWish,
    actual: Option<&TopicActual>,
    context: &TopicContext,
) -> TopicPlan {
    let owned = wish.uid == owner.uid;
    if wish.deleting {
        return deletion(wish, owned, actual, context);
    }
    if !wish.managed {
        let text = "not managed: the topic is left as it is";
        return says(actual.is_some(), EntityReason::Unmanaged, text);
    }
    if !owned {
        let (namespace, name) = (&owner.namespace, &owner.name);
        let text = format!("topic {} belongs to the older Topic {namespace}/{name}", wish.topic);
        return says(false, EntityReason::Conflict, text);
    }
    if context.paused {
        let text = "the cluster is paused: nothing is changed";
        return says(actual.is_some(), EntityReason::Paused, text);
    }
    if context.brokers.is_empty() {
        return TopicPlan { requeue_ms: Some(LATER_MS), ..waiting("no broker answers") };
    }
    if let Err(text) = base::topic_name::check_new(&wish.topic) {
        return says(false, EntityReason::NotSupported, text.to_string());
    }
    if let Err(text) = check_config(&wish.config) {
        return says(false, EntityReason::InvalidConfig, text);
    }
    match actual {
        None => creation(wish, context),
        Some(actual) => match strange(wish, actual) {
            Some(text) => says(false, EntityReason::AdoptionDiffers, text),
            None => TopicPlan { adopted: true, ..alteration(wish, actual, context) },
        },
    }
}

/// What would change of a topic that was there before the resource: its data may depend on how it
/// is, and a user has to say that it is to be changed.
fn strange(wish: &TopicWish, actual: &TopicActual) -> Option<String> {
    if wish.known_id.is_some() || wish.adopt {
        return None;
    }
    let differences = differences(wish, actual);
    (!differences.is_empty()).then(|| {
        format!(
            "topic {} exists, and is left as it is: {}; the annotation barnabas.dev/adopt=true \
             lets it be changed",
            wish.topic,
            differences.join(", ")
        )
    })
}

fn differences(wish: &TopicWish, actual: &TopicActual) -> Vec<String> {
    let mut all = Vec::new();
    let mut differs = |what: &str, now: String, wanted: String| {
        all.push(format!("{what} is {now}, wanted {wanted}"));
    };
    if let Some(TopicAction::AlterConfig { set, delete }) = config_change(wish, actual) {
        let now = |key: &String| actual.config.get(key).map_or("not set".into(), String::clone);
        set.iter().for_each(|(key, value)| differs(key, now(key), value.clone()));
        delete.iter().for_each(|key| differs(key, now(key), "not set".into()));
    }
    let copies = actual.partitions.iter().map(|p| p.target().len());
    let wanted = wish.replication_factor.and_then(|factor| usize::try_from(factor).ok());
    if let Some((wanted, now)) = wanted.zip(copies.clone().find(|now| Some(*now) != wanted)) {
        differs("the replication factor", now.to_string(), wanted.to_string());
    }
    let there = actual.partitions.len();
    if usize::try_from(wish.partitions).is_ok_and(|wanted| wanted > there) {
        differs("the number of partitions", there.to_string(), wish.partitions.to_string());
    }
    all
}

fn says(ready: bool, reason: EntityReason, message: impl Into<String>) -> TopicPlan {
    TopicPlan {
        actions: Vec::new(),
        ready,
        reason,
        message: message.into(),
        release: false,
        requeue_ms: None,
        under_replicated: 0,
        adopted: false,
    }
}

fn waiting(message: &str) -> TopicPlan {
    says(false, EntityReason::WaitingForCluster, message)
}

/// The resource goes; the topic only if it is the resource's to delete.
fn deletion(
    wish: &TopicWish,
    owned: bool,
    actual: Option<&TopicActual>,
    context: &TopicContext,
) -> TopicPlan {
    let stays = !wish.delete_data || !wish.managed || !owned;
    if stays || (actual.is_none() && !context.brokers.is_empty()) {
        let text = if stays { "the topic stays" } else { "the topic is deleted" };
        return TopicPlan { release: true, ..says(false, EntityReason::Deleting, text) };
    }
    if context.paused {
        return says(
            false,
            EntityReason::Paused,
            "the cluster is paused: the topic is not deleted",
        );
    }
    if context.brokers.is_empty() {
        let text = "no broker answers: the topic cannot be deleted now";
        return TopicPlan { requeue_ms: Some(LATER_MS), ..waiting(text) };
    }
    TopicPlan {
        actions: vec![TopicAction::Delete],
        release: true,
        requeue_ms: Some(SOON_MS),
        ..says(false, EntityReason::Deleting, "deleting the topic")
    }
}

/// The first key that is wrong, by name.
fn check_config(config: &BTreeMap<String, String>) -> Result<(), String> {
    for (name, value) in config {
        let def = topic_config(name).ok_or(format!("{name} is no topic configuration key"))?;
        validate_value(name, def.kind, def.valid, value)?;
    }
    let all = config.iter().map(|(k, v)| (k.as_str().into(), v.as_str().into())).collect();
    validate_topic_configs(&all)
}

/// Replicas that must be in sync for a write with `acks=all`, once the topic is as wanted.
fn min_isr(wish: &TopicWish, context: &TopicContext) -> i32 {
    let own = wish.config.get(MIN_ISR).and_then(|value| value.trim().parse().ok());
    own.unwrap_or(context.min_isr).max(1)
}

/// Whether the topic, as wanted, would take no write with `acks=all`.
fn is_mute(wish: &TopicWish, context: &TopicContext) -> bool {
    let factor = wish.replication_factor.unwrap_or(context.default_factor.max(1));
    factor < min_isr(wish, context)
}

fn check_factor(wish: &TopicWish, context: &TopicContext) -> Result<(), String> {
    if is_mute(wish, context) {
        let factor = wish.replication_factor.unwrap_or(context.default_factor.max(1));
        let minimum = min_isr(wish, context);
        return Err(format!(
            "replication factor {factor} is below {MIN_ISR} {minimum}: every write with acks=all \
             would be refused"
        ));
    }
    let brokers = context.brokers.len();
    match wish.replication_factor {
        Some(factor) if usize::try_from(factor).is_ok_and(|factor| factor > brokers) => {
            Err(format!("replication factor {factor} needs as many brokers; there are {brokers}"))
        }
        _ => Ok(()),
    }
}

fn creation(wish: &TopicWish, context: &TopicContext) -> TopicPlan {
    if let Err(text) = check_factor(wish, context) {
        let plan = says(false, EntityReason::InvalidReplicationFactor, text);
        return TopicPlan { requeue_ms: Some(LATER_MS), ..plan };
    }
    let create = TopicAction::Create {
        partitions: wish.partitions,
        replication_factor: wish.replication_factor.unwrap_or(-1),
        config: wish.config.clone(),
    };
    let text = match wish.known_id {
        None => "created",
        Some(_) => "the topic was gone; created anew, empty",
    };
    TopicPlan {
        actions: vec![create],
        requeue_ms: Some(SOON_MS),
        ..says(true, EntityReason::Created, text)
    }
}

fn alteration(wish: &TopicWish, actual: &TopicActual, context: &TopicContext) -> TopicPlan {
    let mut plan = says(true, EntityReason::InSync, "as wanted");
    plan.actions
        .extend(config_change(wish, actual).and_then(|change| audible(change, wish, context)));
    let there = actual.partitions.len();
    if usize::try_from(wish.partitions).is_ok_and(|wanted| wanted > there) {
        plan.actions.push(TopicAction::AddPartitions { to: wish.partitions });
    }
    if !plan.actions.is_empty() {
        plan.requeue_ms = Some(SOON_MS);
        plan.message = "changed".into();
    }
    resize(wish, actual, context, &mut plan);
    // Without a factor of its own the topic keeps what it has.
    let copies = actual.partitions.iter().map(|p| p.target().len()).min();
    let copies = copies.and_then(|copies| i32::try_from(copies).ok());
    let wish =
        &TopicWish { replication_factor: wish.replication_factor.or(copies), ..wish.clone() };
    // What cannot be done is said first; what can be is done all the same.
    if let Err(text) = check_factor(wish, context) {
        let (ready, reason) = (false, EntityReason::InvalidReplicationFactor);
        plan = TopicPlan { ready, reason, message: text, requeue_ms: Some(LATER_MS), ..plan };
    }
    if usize::try_from(wish.partitions).is_ok_and(|wanted| wanted < there) {
        let text = format!(
            "the topic has {there} partitions and cannot be reduced to {}",
            wish.partitions
        );
        plan =
            TopicPlan { ready: false, reason: EntityReason::NotSupported, message: text, ..plan };
    }
    plan
}

/// What the topic's own configs lack or have too much of.
fn config_change(wish: &TopicWish, actual: &TopicActual) -> Option<TopicAction> {
    let differs = |(key, value): &(&String, &String)| actual.config.get(*key) != Some(*value);
    let set: BTreeMap<String, String> = wish
        .config
        .iter()
        .filter(differs)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let extra = actual.config.keys().filter(|key| !wish.config.contains_key(*key));
    let delete: Vec<String> =
        extra.filter(|key| !THROTTLED_REPLICAS.contains(&key.as_str())).cloned().collect();
    let changed = !set.is_empty() || !delete.is_empty();
    changed.then_some(TopicAction::AlterConfig { set, delete })
}

/// A minimum that the topic cannot have is not set.
fn audible(change: TopicAction, wish: &TopicWish, context: &TopicContext) -> Option<TopicAction> {
    let TopicAction::AlterConfig { mut set, delete } = change else { return Some(change) };
    if is_mute(wish, context) {
        set.remove(MIN_ISR);
    }
    let left = !set.is_empty() || !delete.is_empty();
    left.then_some(TopicAction::AlterConfig { set, delete })
}

/// More or fewer replicas of each partition.
fn resize(wish: &TopicWish, actual: &TopicActual, context: &TopicContext, plan: &mut TopicPlan) {
    let Some(factor) = wish.replication_factor.and_then(|rf| usize::try_from(rf).ok()) else {
        return;
    };
    let shrinks = actual.partitions.iter().any(|p| p.target().len() > factor);
    if factor == 0 || factor > context.brokers.len() || shrinks && is_mute(wish, context) {
        return;
    }
    let brokers: Vec<MoveBroker> = context
        .brokers
        .iter()
        .map(|b| MoveBroker { id: b.id, rack: b.rack.clone(), usable: b.usable })
        .collect();
    let hosted = context.brokers.iter().map(|b| (b.id, b.hosted)).collect();
    let per_broker = usize::try_from(context.moves_per_broker).unwrap_or(1).max(1);
    let limits = Limits { per_broker, batch: MOVES_MAX };
    let planned = moves::resize(&actual.partitions, &brokers, &hosted, factor, limits);
    let resizing = |p: &&PartitionView| p.adding.len() != p.removing.len();
    let moving = actual.partitions.iter().filter(resizing).count();
    if planned.remaining == 0 && moving == 0 {
        return;
    }
    plan.ready = false;
    plan.reason = EntityReason::Reassigning;
    plan.requeue_ms = Some(SOON_MS);
    let left = planned.remaining.saturating_sub(planned.moves.len());
    plan.message = match (planned.moves.is_empty() && moving == 0, planned.obstacle) {
        (true, Some(obstacle)) => format!("changing to {factor} replicas: {obstacle}"),
        _ => format!(
            "changing to {factor} replicas: {} partitions on the move, {left} to go",
            moving + planned.moves.len()
        ),
    };
    if !planned.moves.is_empty() {
        plan.actions.push(TopicAction::Reassign(planned.moves));
    }
}
