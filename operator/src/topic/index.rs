//! What is known of resources: topics by the name that they have in Kafka, per cluster, and of
//! each cluster the few facts that matter here. Objects themselves are not kept.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use base::topic_name;
use build::Names;
use crd::{KafkaCluster, Phase, Topic, TopicDeletionPolicy, TopicStatus};
use kube::ResourceExt;
use plan::topics::{TopicReason, TopicWish};

use crate::cluster::owner::{Standing, standing};
use crate::runtime::Settings;

/// On every Topic whose deletion deletes the topic.
pub const FINALIZER: &str = "barnabas.dev/topic";
/// `false`: the operator leaves the topic alone.
const MANAGED: &str = "barnabas.dev/managed";
/// `true`: a topic that was there before the resource may be changed.
const ADOPT: &str = "barnabas.dev/adopt";
/// Brokers that connecting may begin with, besides the Service.
const BOOTSTRAP_MAX: i32 = 5;

/// Namespace and name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Key {
        Key { namespace: namespace.into(), name: name.into() }
    }

    pub fn of(object: &impl ResourceExt) -> Key {
        Key::new(object.namespace().unwrap_or_default(), object.name_any())
    }
}

/// A `Topic` resource, as far as it matters.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Entry {
    pub wish: TopicWish,
    /// Name of its cluster, in the same namespace.
    pub cluster: String,
    pub generation: Option<i64>,
    pub resource_version: String,
    pub finalizers: Vec<String>,
    /// Why it can never be, whatever the cluster says.
    pub impossible: Option<(TopicReason, String)>,
    pub status: Option<TopicStatus>,
}

impl Entry {
    pub fn new(topic: &Topic) -> Entry {
        let meta = &topic.metadata;
        let annotation = |key: &str| meta.annotations.as_ref().and_then(|all| all.get(key));
        let mut config = BTreeMap::new();
        let mut impossible = None;
        for (key, value) in &topic.spec.config {
            match value.scalar() {
                Some(text) => drop(config.insert(key.clone(), text)),
                None => {
                    let text = format!("the value of {key} is not a string, number or boolean");
                    impossible = Some((TopicReason::InvalidConfig, text));
                }
            }
        }
        let name = topic.topic_name();
        let internal = topic_name::is_internal(name) || topic_name::is_reserved(name);
        if internal {
            let text = format!("{} is internal: the brokers manage it", topic.topic_name());
            impossible = Some((TopicReason::NotSupported, text));
        }
        let created = meta.creation_timestamp.as_ref();
        let status = topic.status.clone();
        let known_id = status.as_ref().and_then(|s| s.topic_id.as_ref()?.parse().ok());
        let wish = TopicWish {
            namespace: topic.namespace().unwrap_or_default(),
            name: topic.name_any(),
            uid: topic.uid().unwrap_or_default(),
            created_ms: created.map_or(i64::MAX, |time| time.0.as_millisecond()),
            topic: topic.topic_name().to_owned(),
            partitions: topic.spec.partitions,
            replication_factor: topic.spec.replication_factor,
            config,
            managed: annotation(MANAGED).is_none_or(|value| value != "false"),
            adopt: annotation(ADOPT).is_some_and(|value| value == "true"),
            deleting: meta.deletion_timestamp.is_some(),
            delete_data: topic.spec.deletion_policy == TopicDeletionPolicy::Delete && !internal,
            known_id,
        };
        Entry {
            wish,
            cluster: topic.spec.cluster_ref.name.clone(),
            generation: meta.generation,
            resource_version: topic.resource_version().unwrap_or_default(),
            finalizers: topic.finalizers().to_vec(),
            impossible,
            status,
        }
    }

    pub fn key(&self) -> Key {
        Key::new(&self.wish.namespace, &self.wish.name)
    }

    pub fn cluster_key(&self) -> Key {
        Key::new(&self.wish.namespace, &self.cluster)
    }

    pub fn has_finalizer(&self) -> bool {
        self.finalizers.iter().any(|name| name == FINALIZER)
    }

    pub fn is_ready(&self) -> bool {
        let conditions = self.status.as_ref().map_or(&[][..], |status| &status.conditions);
        crd::find_condition(conditions, crd::kind::READY).is_some_and(|c| c.status == "True")
    }

    /// Whether the two ask for the same. The rest is of our own making.
    fn asks_as(&self, other: &Entry) -> bool {
        let known_id = other.wish.known_id;
        let wish = TopicWish { known_id, ..self.wish.clone() };
        wish == other.wish
            && self.cluster == other.cluster
            && self.generation == other.generation
            && self.finalizers == other.finalizers
            && self.impossible == other.impossible
    }
}

/// A `KafkaCluster`, as far as it matters to topics.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClusterState {
    pub uid: String,
    /// It is being deleted, alone or with its namespace.
    pub deleting: bool,
    pub paused: bool,
    /// Another operator looks after it, and after its topics.
    pub foreign: bool,
    /// At least one broker pod is ready.
    pub ready: bool,
    /// `host:port`, the Service first.
    pub bootstrap: Vec<String>,
    /// Brokers from this id on are to be removed.
    pub replicas: i32,
    pub moves_per_broker: i32,
    pub throttle: Option<i64>,
    /// `min.insync.replicas` and `default.replication.factor`.
    pub min_isr: i32,
    pub default_factor: i32,
}

impl ClusterState {
    pub fn new(cluster: &KafkaCluster, settings: &Settings) -> ClusterState {
        let (name, namespace) = (cluster.name_any(), cluster.namespace().unwrap_or_default());
        let names = Names { cluster: &name, namespace: &namespace };
        let spec = &cluster.spec;
        let mut bootstrap = Vec::new();
        if let Some(listener) = spec.inter_broker_listener() {
            bootstrap.push(format!("{}:{}", names.bootstrap_host(), listener.port));
            let brokers = 0..spec.brokers.replicas.min(BOOTSTRAP_MAX);
            let hosts = brokers.map(|id| format!("{}:{}", names.broker_host(id), listener.port));
            bootstrap.extend(hosts);
        }
        let status = cluster.status.as_ref();
        let ready = status.and_then(|status| status.ready_replicas);
        let text = |key| spec.config.get(key).and_then(crd::ConfigValue::scalar);
        // What is no number is refused elsewhere; Kafka's default of both is 1.
        let number = |key| text(key).and_then(|text| text.trim().parse().ok()).unwrap_or(1);
        let goes = status.is_some_and(|status| status.phase == Some(Phase::Deleting));
        let deleting = goes || cluster.metadata.deletion_timestamp.is_some();
        // Until it has an owner, which it soon has, none of several may begin; one that goes gets
        // none any more.
        let foreign = match standing(&cluster.metadata, spec.operator_class.as_deref(), settings) {
            Standing::Ours => false,
            Standing::Free => !deleting,
            Standing::Others(_) | Standing::OtherClass { .. } => true,
        };
        ClusterState {
            uid: cluster.uid().unwrap_or_default(),
            deleting,
            paused: spec.paused,
            foreign,
            ready: ready.is_some_and(|ready| ready > 0),
            bootstrap,
            replicas: spec.brokers.replicas,
            moves_per_broker: spec.rebalance.max_moves_per_broker,
            throttle: spec.rebalance.throttle_bytes_per_second,
            min_isr: number("min.insync.replicas"),
            default_factor: number("default.replication.factor"),
        }
    }
}

/// A topic that wants a look: its cluster and its name in Kafka.
pub type Dirty = (Key, String);

/// All resources that were seen.
#[derive(Debug, Default)]
pub struct Index {
    entries: HashMap<Key, Entry>,
    /// Resources by cluster and by the topic's name in Kafka.
    topics: HashMap<Key, BTreeMap<String, BTreeSet<Key>>>,
    clusters: HashMap<Key, ClusterState>,
}

impl Index {
    /// Takes a resource in; what has to be looked at because of it.
    pub fn apply(&mut self, entry: Entry) -> Vec<Dirty> {
        let key = entry.key();
        let now = (entry.cluster_key(), entry.wish.topic.clone());
        let old = self.entries.get(&key);
        let unchanged = old.is_some_and(|old| old.asks_as(&entry));
        let before = old.map(|old| (old.cluster_key(), old.wish.topic.clone()));
        let mut dirty = Vec::new();
        if let Some(before) = before.filter(|before| *before != now) {
            self.unlink(&before, &key);
            dirty.push(before);
        }
        let topics = self.topics.entry(now.0.clone()).or_default();
        topics.entry(now.1.clone()).or_default().insert(key.clone());
        self.entries.insert(key, entry);
        if !unchanged {
            dirty.push(now);
        }
        dirty
    }

    /// A resource is gone.
    pub fn remove(&mut self, key: &Key) -> Option<Dirty> {
        let entry = self.entries.remove(key)?;
        let at = (entry.cluster_key(), entry.wish.topic);
        self.unlink(&at, key);
        Some(at)
    }

    fn unlink(&mut self, (cluster, topic): &Dirty, key: &Key) {
        let Some(topics) = self.topics.get_mut(cluster) else { return };
        if let Some(keys) = topics.get_mut(topic) {
            keys.remove(key);
            if keys.is_empty() {
                topics.remove(topic);
            }
        }
        if topics.is_empty() {
            self.topics.remove(cluster);
        }
    }

    /// Whether what matters of the cluster has changed.
    pub fn apply_cluster(&mut self, key: Key, facts: ClusterState) -> bool {
        self.clusters.get(&key) != Some(&facts) && {
            self.clusters.insert(key, facts);
            true
        }
    }

    pub fn remove_cluster(&mut self, key: &Key) -> bool {
        self.clusters.remove(key).is_some()
    }

    pub fn cluster(&self, key: &Key) -> Option<&ClusterState> {
        self.clusters.get(key)
    }

    /// Resources that name a topic.
    pub fn naming(&self, cluster: &Key, topic: &str) -> Vec<Entry> {
        let keys = self.topics.get(cluster).and_then(|topics| topics.get(topic));
        keys.into_iter().flatten().filter_map(|key| self.entries.get(key)).cloned().collect()
    }

    /// All topics of a cluster, by their names in Kafka.
    pub fn topics_of(&self, cluster: &Key) -> Vec<String> {
        let topics = self.topics.get(cluster);
        topics.into_iter().flat_map(BTreeMap::keys).cloned().collect()
    }

    pub fn has_topics(&self, cluster: &Key) -> bool {
        self.topics.contains_key(cluster)
    }

    /// Clusters that topics name, whether they exist or not.
    pub fn named_clusters(&self) -> Vec<Key> {
        self.topics.keys().cloned().collect()
    }

    /// How many resources of a cluster are ready, and how many are not.
    pub fn count(&self, cluster: &Key) -> (usize, usize) {
        let keys = self.topics.get(cluster).into_iter().flat_map(BTreeMap::values).flatten();
        let entries = keys.filter_map(|key| self.entries.get(key));
        entries.fold((0, 0), |(ready, not), entry| match entry.is_ready() {
            true => (ready + 1, not),
            false => (ready, not + 1),
        })
    }

    /// Resources and clusters that were not seen in a new listing of a namespace (of all where
    /// `None`).
    pub fn unlisted(&self, namespace: Option<&str>, listed: &BTreeSet<Key>) -> Vec<Key> {
        let lost = |key: &&Key| is_in(key, namespace) && !listed.contains(key);
        self.entries.keys().filter(lost).cloned().collect()
    }

    pub fn unlisted_clusters(&self, namespace: Option<&str>, listed: &BTreeSet<Key>) -> Vec<Key> {
        let lost = |key: &&Key| is_in(key, namespace) && !listed.contains(key);
        self.clusters.keys().filter(lost).cloned().collect()
    }

    /// A status was written: the watch will say so too, but later.
    pub fn wrote_status(&mut self, written: &Entry, status: TopicStatus) {
        if let Some(entry) = self.entries.get_mut(&written.key())
            && entry.wish.uid == written.wish.uid
            && entry.generation == written.generation
        {
            entry.wish.known_id = status.topic_id.as_ref().and_then(|id| id.parse().ok());
            entry.status = Some(status);
        }
    }

    /// The finalizers were changed.
    pub fn wrote_finalizers(&mut self, written: &Entry, finalizers: Vec<String>) {
        if let Some(entry) = self.entries.get_mut(&written.key())
            && entry.wish.uid == written.wish.uid
        {
            entry.finalizers = finalizers;
        }
    }
}

fn is_in(key: &Key, namespace: Option<&str>) -> bool {
    namespace.is_none_or(|namespace| key.namespace == namespace)
}
