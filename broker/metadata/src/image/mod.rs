//! The image: the metadata at one offset of the quorum's log. Maps share structure between
//! versions, so that a clone is O(1) and a commit costs what it changes.
//!
//! Invariants, checked by [`Image::validate`]:
//! - a partition's ISR and ELR are disjoint subsets of its replicas; its leader is in the ISR,
//!   and there is one where the ISR is not empty; ISR members are active brokers;
//! - an offline replica is a replica, and in neither ISR nor ELR;
//! - adding and removing replicas are replicas; a topic's partitions are numbered without gaps;
//! - leader and partition epochs only grow, broker epochs are unique;
//! - every index says what the partitions say.

mod apply;
mod quotas;
mod validate;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use authorizer::AclSet;
use base::{
    BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch, ProducerId, TopicId, TopicPartition,
};
use imbl::{HashMap, OrdMap, OrdSet, Vector};
use serde::{Deserialize, Serialize};

use crate::config::{CORDONED_LOG_DIRS, is_cordoned};
use crate::quota::{QuotaEntity, QuotaValues};
use crate::record::{ConfigResource, Endpoint, LeaderRecoveryState, nothing};
use crate::scram::ScramCredentials;

pub use apply::ApplyError;

/// Dynamic configs of one resource.
pub type ConfigMap = Arc<BTreeMap<Arc<str>, Arc<str>>>;

/// A registered broker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Broker {
    pub id: BrokerId,
    pub epoch: BrokerEpoch,
    pub incarnation_id: TopicId,
    pub listeners: Vec<Endpoint>,
    pub rack: Option<Arc<str>>,
    pub log_dirs: Vec<TopicId>,
    #[serde(default)]
    pub log_dir_paths: Vec<Arc<str>>,
    /// `cordoned.log.dirs` in the broker's own file.
    #[serde(default = "nothing")]
    pub cordoned_log_dirs: Arc<str>,
    pub fenced: bool,
    pub in_controlled_shutdown: bool,
    /// Offset of the registration: a broker whose image has it knows that it is registered.
    pub registered_at: i64,
    /// Offset at which the controlled shutdown began.
    pub shutdown_at: i64,
    /// The highest level of `barnabas.version` that it can read; unknown before level 1.
    #[serde(default)]
    pub supports: Option<i16>,
}

impl Broker {
    /// May lead partitions and join ISRs.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    pub fn listener(&self, name: &str) -> Option<&Endpoint> {
        self.listeners.iter().find(|l| &*l.name == name)
    }
}

/// A topic with all its partitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic {
    pub name: Arc<str>,
    pub id: TopicId,
    pub partitions: Vector<Arc<Partition>>,
}

impl Topic {
    pub fn partition(&self, index: i32) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    pub fn is_internal(&self) -> bool {
        base::topic_name::is_internal(&self.name)
    }
}

/// The state of a partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Partition {
    /// In order of preference.
    pub replicas: Vec<BrokerId>,
    pub isr: Vec<BrokerId>,
    /// Eligible leader replicas (KIP-966): not in sync, but known to have every committed record.
    pub elr: Vec<BrokerId>,
    /// The last leader, while nobody is in sync.
    pub last_known_elr: Vec<BrokerId>,
    pub adding: Vec<BrokerId>,
    pub removing: Vec<BrokerId>,
    pub leader: Option<BrokerId>,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    pub leader_recovery_state: LeaderRecoveryState,
    /// Replicas whose broker runs and cannot use their log: the log directory failed. They lead
    /// nothing and are in no ISR until their broker registers anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offline: Vec<BrokerId>,
}

impl Partition {
    pub fn is_replica(&self, broker: BrokerId) -> bool {
        self.replicas.contains(&broker)
    }

    pub fn in_isr(&self, broker: BrokerId) -> bool {
        self.isr.contains(&broker)
    }

    pub fn is_offline(&self, broker: BrokerId) -> bool {
        self.offline.contains(&broker)
    }

    pub fn preferred_leader(&self) -> Option<BrokerId> {
        self.replicas.first().copied()
    }

    pub fn is_reassigning(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// Somebody leads, but not the preferred replica, or nobody leads.
    pub(crate) fn is_imbalanced(&self) -> bool {
        self.leader != self.preferred_leader()
    }

    /// Brokers whose fate can change this partition's leader or ISR.
    fn stakeholders(&self) -> impl Iterator<Item = BrokerId> + '_ {
        let standing = self.isr.iter().chain(&self.elr).chain(&self.last_known_elr);
        standing.chain(&self.offline).copied()
    }
}

#[derive(Clone, Debug)]
pub struct Image {
    pub(crate) cluster_id: Arc<str>,
    pub(crate) offset: i64,
    pub(crate) controller: Option<(BrokerId, i64)>,
    /// `min.insync.replicas` by the file of the newest controller that told it.
    pub(crate) file_min_isr: Option<i32>,
    pub(crate) brokers: OrdMap<BrokerId, Arc<Broker>>,
    pub(crate) topics: OrdMap<Arc<str>, Arc<Topic>>,
    pub(crate) configs: OrdMap<ConfigResource, ConfigMap>,
    pub(crate) features: OrdMap<Arc<str>, i16>,
    pub(crate) acls: AclSet,
    pub(crate) scram: ScramCredentials,
    pub(crate) quotas: OrdMap<QuotaEntity, QuotaValues>,
    pub(crate) written_level: i16,
    pub(crate) next_producer_id: ProducerId,
    pub(crate) next_broker_epoch: BrokerEpoch,
    // Indexes, derived from the above.
    pub(crate) topic_names: HashMap<TopicId, Arc<str>>,
    /// Names with '.' read as '_': metrics cannot tell such names apart, so one may exist only.
    pub(crate) collisions: HashMap<Arc<str>, Arc<str>>,
    pub(crate) stakes: HashMap<BrokerId, OrdSet<TopicPartition>>,
    pub(crate) imbalanced: OrdSet<TopicPartition>,
    pub(crate) reassigning: OrdSet<TopicPartition>,
}

impl Image {
    /// The image before the first record.
    pub fn new(cluster_id: impl Into<Arc<str>>) -> Image {
        Image {
            cluster_id: cluster_id.into(),
            offset: -1,
            controller: None,
            file_min_isr: None,
            brokers: OrdMap::new(),
            topics: OrdMap::new(),
            configs: OrdMap::new(),
            features: OrdMap::new(),
            acls: AclSet::default(),
            scram: ScramCredentials::default(),
            quotas: OrdMap::new(),
            written_level: 0,
            next_producer_id: 0,
            next_broker_epoch: 1,
            topic_names: HashMap::new(),
            collisions: HashMap::new(),
            stakes: HashMap::new(),
            imbalanced: OrdSet::new(),
            reassigning: OrdSet::new(),
        }
    }

    pub fn cluster_id(&self) -> &Arc<str> {
        &self.cluster_id
    }

    /// Offset of the last applied log entry; -1 before the first.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// The controller whose [`crate::ControllerRecord`] came last. The quorum's leadership is
    /// fresher; this is what every image agrees on.
    pub fn controller(&self) -> Option<BrokerId> {
        self.controller.map(|(id, _)| id)
    }

    /// -1 before the first controller.
    pub fn controller_epoch(&self) -> i64 {
        self.controller.map_or(-1, |(_, epoch)| epoch)
    }

    pub fn broker(&self, id: BrokerId) -> Option<&Arc<Broker>> {
        self.brokers.get(&id)
    }

    /// By id, fenced ones too.
    pub fn brokers(&self) -> impl Iterator<Item = &Arc<Broker>> + '_ {
        self.brokers.values()
    }

    /// What a key of the broker's configuration was altered to: for the broker, else for all.
    pub fn dynamic_broker_value(&self, id: BrokerId, key: &str) -> Option<&Arc<str>> {
        let layers = [ConfigResource::Broker(id), ConfigResource::BrokerDefault];
        layers.iter().find_map(|layer| self.configs.get(layer)?.get(key))
    }

    /// The broker has no log directory for new replicas (`cordoned.log.dirs`): placement and moves
    /// pass it over, what it has stays.
    pub fn is_cordoned(&self, id: BrokerId) -> bool {
        let dirs = self.brokers.get(&id).map(|b| b.log_dir_paths.as_slice());
        is_cordoned(self.cordoned_log_dirs(id), dirs.unwrap_or_default())
    }

    /// The broker's effective `cordoned.log.dirs`.
    pub fn cordoned_log_dirs(&self, id: BrokerId) -> &str {
        let dynamic = self.configs.get(&ConfigResource::Broker(id));
        match dynamic.and_then(|configs| configs.get(CORDONED_LOG_DIRS)) {
            Some(value) => value,
            None => self.brokers.get(&id).map_or("", |b| &*b.cordoned_log_dirs),
        }
    }

    pub fn is_active(&self, id: BrokerId) -> bool {
        self.brokers.get(&id).is_some_and(|b| b.is_active())
    }

    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics.get(self.topic_names.get(&id)?)
    }

    /// Sorted by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> + '_ {
        self.topics.values()
    }

    /// Topics whose name is at least `name`, sorted: paging of DescribeTopicPartitions.
    pub fn topics_from<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Arc<Topic>> + 'a {
        let from = (Bound::Included(name), Bound::Unbounded);
        self.topics.range::<_, str>(from).map(|(_, topic)| topic)
    }

    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    pub fn partition(&self, topic: &str, partition: i32) -> Option<&Arc<Partition>> {
        self.topic(topic)?.partition(partition)
    }

    pub fn partition_by_id(&self, topic: TopicId, partition: i32) -> Option<&Arc<Partition>> {
        self.topic_by_id(topic)?.partition(partition)
    }

    /// Dynamic configs of the resource, without defaults.
    pub fn config(&self, resource: &ConfigResource) -> Option<&ConfigMap> {
        self.configs.get(resource)
    }

    pub fn configs(&self) -> impl Iterator<Item = (&ConfigResource, &ConfigMap)> + '_ {
        self.configs.iter()
    }

    /// The finalized level of a feature; 0 where it is not set.
    pub fn feature_level(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    pub fn features(&self) -> impl Iterator<Item = (&Arc<str>, i16)> + '_ {
        self.features.iter().map(|(name, level)| (name, *level))
    }

    /// The rules of access.
    pub fn acls(&self) -> &AclSet {
        &self.acls
    }

    /// What users of SCRAM authenticate by.
    pub fn scram_credentials(&self) -> &ScramCredentials {
        &self.scram
    }

    pub fn next_producer_id(&self) -> ProducerId {
        self.next_producer_id
    }

    /// Partitions whose ISR, ELR, last known leader or offline replicas have the broker; those that
    /// it leads are among them.
    pub fn partitions_at_stake(
        &self,
        broker: BrokerId,
    ) -> impl Iterator<Item = &TopicPartition> + '_ {
        self.stakes.get(&broker).into_iter().flatten()
    }

    /// Partitions that the broker leads.
    pub fn partitions_led_by(
        &self,
        broker: BrokerId,
    ) -> impl Iterator<Item = &TopicPartition> + '_ {
        self.partitions_at_stake(broker).filter(move |tp| {
            self.partition(&tp.topic, tp.partition).is_some_and(|p| p.leader == Some(broker))
        })
    }

    /// Partitions with a reassignment under way.
    pub fn reassigning(&self) -> impl Iterator<Item = &TopicPartition> + '_ {
        self.reassigning.iter()
    }

    /// Partitions whose leader is not the preferred replica.
    pub fn imbalanced(&self) -> impl Iterator<Item = &TopicPartition> + '_ {
        self.imbalanced.iter()
    }

    /// An existing topic that a new topic of this name would collide with.
    pub(crate) fn colliding_topic(&self, name: &str) -> Option<&Arc<str>> {
        self.collisions.get(collision_key(name)?.as_ref())
    }
}

/// What colliding names have in common; names without '.' and '_' collide with nothing else.
fn collision_key(name: &str) -> Option<Arc<str>> {
    name.contains(['.', '_']).then(|| name.replace('.', "_").into())
}

/// Equal contents; indexes follow from them.
impl PartialEq for Image {
    fn eq(&self, other: &Image) -> bool {
        self.cluster_id == other.cluster_id
            && self.offset == other.offset
            && self.controller == other.controller
            && self.file_min_isr == other.file_min_isr
            && self.brokers == other.brokers
            && self.topics == other.topics
            && self.configs == other.configs
            && self.features == other.features
            && self.acls == other.acls
            && self.scram == other.scram
            && self.quotas == other.quotas
            && self.written_level == other.written_level
            && self.next_producer_id == other.next_producer_id
            && self.next_broker_epoch == other.next_broker_epoch
    }
}
