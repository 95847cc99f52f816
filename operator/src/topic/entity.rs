//! What a `Topic` asks for, and what its status says of the topic.

use std::collections::BTreeMap;

use base::topic_name;
use crd::{Condition, EntityReason, Topic, TopicDeletionPolicy, TopicStatus};
use kube::ResourceExt;
use kube::core::DynamicObject;
use plan::PartitionView;
use plan::topics::{TopicActual, TopicPlan, TopicWish, owners};

use crate::entity::{Entity, Entry, Key, Status, Wish};
use crate::kafka::Created;
use crate::runtime::Metrics;

/// `false`: the operator leaves the topic alone.
const MANAGED: &str = "barnabas.dev/managed";
/// `true`: a topic that was there before the resource may be changed.
const ADOPT: &str = "barnabas.dev/adopt";

/// Topics, as a kind of entity.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Topics;

impl Entity for Topics {
    type Resource = Topic;
    type Wish = TopicWish;
    type Status = TopicStatus;
    type Numbers = TopicNumbers;

    const FINALIZER: &'static str = "barnabas.dev/topic";
    const CONTROLLER: &'static str = "topic";

    fn entry(topic: &Topic) -> Entry<Topics> {
        let (wish, impossible) = wish_of(topic);
        Entry {
            wish,
            cluster: topic.spec.cluster_ref.name.clone(),
            generation: topic.metadata.generation,
            resource_version: topic.resource_version().unwrap_or_default(),
            finalizers: topic.finalizers().to_vec(),
            impossible,
            status: topic.status.clone(),
        }
    }

    fn unreadable(key: &Key, uid: String) -> TopicWish {
        TopicWish {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            uid,
            topic: key.name.clone(),
            ..TopicWish::default()
        }
    }

    fn name_in_kafka(resource: &DynamicObject) -> String {
        let name = resource.data["spec"]["topicName"].as_str().map(str::to_owned);
        name.unwrap_or_else(|| resource.name_any())
    }

    fn owner(wishes: &[TopicWish]) -> Option<usize> {
        owners(wishes).into_values().next()
    }

    fn note(status: &mut TopicStatus, wish: &TopicWish, numbers: &TopicNumbers) {
        status.topic_name = Some(wish.topic.clone());
        match numbers {
            TopicNumbers::Kept => {}
            TopicNumbers::None => {
                (status.topic_id, status.partitions) = (None, None);
                (status.replication_factor, status.under_replicated) = (None, None);
            }
            TopicNumbers::Are { id, partitions, replication_factor, under_replicated } => {
                status.topic_id = id.clone();
                status.partitions = Some(*partitions);
                status.replication_factor = Some(*replication_factor);
                status.under_replicated = Some(*under_replicated);
            }
        }
    }

    fn learn(wish: &mut TopicWish, status: &TopicStatus) {
        wish.known_id = status.topic_id.as_ref().and_then(|id| id.parse().ok());
    }

    fn count(metrics: &Metrics, cluster: &Key, count: Option<(usize, usize)>) {
        let Key { namespace, name } = cluster;
        match count {
            Some((ready, not_ready)) => metrics.topics(namespace, name, ready, not_ready),
            None => metrics.forget_topics(namespace, name),
        }
    }
}

impl Wish for TopicWish {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn uid(&self) -> &str {
        &self.uid
    }

    fn entity(&self) -> &str {
        &self.topic
    }

    fn is_managed(&self) -> bool {
        self.managed
    }

    fn is_deleting(&self) -> bool {
        self.deleting
    }

    fn is_held(&self) -> bool {
        self.delete_data
    }

    fn had_it(&self) -> bool {
        self.known_id.is_some()
    }

    fn asks_as(&self, other: &TopicWish) -> bool {
        TopicWish { known_id: other.known_id, ..self.clone() } == *other
    }
}

impl Status for TopicStatus {
    fn observed_generation(&self) -> Option<i64> {
        self.observed_generation
    }

    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    fn common_mut(&mut self) -> (&mut Option<i64>, &mut Vec<Condition>) {
        (&mut self.observed_generation, &mut self.conditions)
    }
}

/// What a resource asks for, and why that can never be, if so.
fn wish_of(topic: &Topic) -> (TopicWish, Option<(EntityReason, String)>) {
    let meta = &topic.metadata;
    let annotation = |key: &str| meta.annotations.as_ref().and_then(|all| all.get(key));
    let mut config = BTreeMap::new();
    let mut impossible = None;
    for (key, value) in &topic.spec.config {
        match value.scalar() {
            Some(text) => drop(config.insert(key.clone(), text)),
            None => {
                let text = format!("the value of {key} is not a string, number or boolean");
                impossible = Some((EntityReason::InvalidConfig, text));
            }
        }
    }
    let name = topic.topic_name();
    let internal = topic_name::is_internal(name) || topic_name::is_reserved(name);
    if internal {
        let text = format!("{name} is internal: the brokers manage it");
        impossible = Some((EntityReason::NotSupported, text));
    }
    let created = meta.creation_timestamp.as_ref();
    let mut wish = TopicWish {
        namespace: topic.namespace().unwrap_or_default(),
        name: topic.name_any(),
        uid: topic.uid().unwrap_or_default(),
        created_ms: created.map_or(i64::MAX, |time| time.0.as_millisecond()),
        topic: name.to_owned(),
        partitions: topic.spec.partitions,
        replication_factor: topic.spec.replication_factor,
        config,
        managed: annotation(MANAGED).is_none_or(|value| value != "false"),
        adopt: annotation(ADOPT).is_some_and(|value| value == "true"),
        deleting: meta.deletion_timestamp.is_some(),
        delete_data: topic.spec.deletion_policy == TopicDeletionPolicy::Delete && !internal,
        known_id: None,
    };
    if let Some(status) = &topic.status {
        Topics::learn(&mut wish, status);
    }
    (wish, impossible)
}

/// What the topic is like.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum TopicNumbers {
    /// Not looked at: what the status says stays.
    #[default]
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
