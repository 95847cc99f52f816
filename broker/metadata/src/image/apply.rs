//! Applying records: the only way an image changes. A record that does not fit the image is an
//! error, never a panic: it means that logs diverged or a newer broker wrote something unknown.

use std::sync::Arc;

use authorizer::AclSetError;
use base::{BrokerEpoch, BrokerId, ProducerId, TopicId, TopicPartition};
use imbl::Vector;

use super::{Broker, Image, Partition, Topic, collision_key};
use crate::record::{
    BrokerStateRecord, ConfigRecord, LeaderChange, LeaderRecoveryState, MetadataRecord,
    PartitionChangeRecord, PartitionRecord, RegisterBrokerRecord, RemoveTopicRecord, TopicRecord,
};

/// The record does not fit the image it is applied to.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("no broker {0} with that epoch")]
    UnknownBroker(BrokerId),
    #[error("no topic with id {0}")]
    UnknownTopic(TopicId),
    #[error("topic {0} exists")]
    TopicExists(Arc<str>),
    #[error("topic {0} has no partition {1}")]
    UnknownPartition(TopicId, i32),
    #[error("partition {1} of topic {0} is not the next one")]
    PartitionOutOfOrder(TopicId, i32),
    #[error("the change of partition {1} of topic {0} was decided on another state")]
    StalePartitionChange(TopicId, i32),
    #[error("broker epoch {0} was assigned before")]
    StaleBrokerEpoch(BrokerEpoch),
    #[error("producer ids below {0} were assigned before")]
    StaleProducerIds(ProducerId),
    #[error("user {0} has no such credential")]
    UnknownCredential(Arc<str>),
    #[error("records of the kind {0} are not allowed at this level of barnabas.version")]
    LevelTooLow(&'static str),
    #[error(transparent)]
    Acl(#[from] AclSetError),
}

impl Image {
    /// Applies one log entry, all its records at its offset or, after an error, nothing. Every
    /// image that got the same entries decides the same.
    pub fn apply(&mut self, offset: i64, records: &[MetadataRecord]) -> Result<(), ApplyError> {
        let mut next = self.clone();
        next.offset = offset;
        records.iter().try_for_each(|record| next.apply_record(record))?;
        next.validate_since(self, records);
        *self = next;
        Ok(())
    }

    /// The image as it will be once the records are committed: what the next request of a batch is
    /// validated against. The offset is a lower bound of the true one.
    pub fn with(&self, records: &[MetadataRecord]) -> Result<Image, ApplyError> {
        let mut next = self.clone();
        next.apply(self.offset + 1, records)?;
        Ok(next)
    }

    /// One record in place: cheaper than an entry, as long as nobody shares the image.
    pub(crate) fn apply_record(&mut self, record: &MetadataRecord) -> Result<(), ApplyError> {
        let level = record.level();
        if level > self.level() {
            return Err(ApplyError::LevelTooLow(record.kind()));
        }
        self.written_level = self.written_level.max(level);
        match record {
            MetadataRecord::RegisterBroker(r) => self.register_broker(r)?,
            MetadataRecord::UnregisterBroker(r) => {
                let current = self.brokers.get(&r.broker_id).map(|b| b.epoch);
                if current != Some(r.broker_epoch) {
                    return Err(ApplyError::UnknownBroker(r.broker_id));
                }
                self.brokers.remove(&r.broker_id);
            }
            MetadataRecord::FenceBroker(r) => self.update_broker(r, |b, _| b.fenced = true)?,
            MetadataRecord::UnfenceBroker(r) => self.update_broker(r, |b, _| b.fenced = false)?,
            MetadataRecord::BrokerShutdown(r) => self.update_broker(r, |b, offset| {
                b.in_controlled_shutdown = true;
                b.shutdown_at = offset;
            })?,
            MetadataRecord::Topic(r) => self.add_topic(r)?,
            MetadataRecord::Partition(r) => self.add_partition(r)?,
            MetadataRecord::PartitionChange(r) => self.change_partition(r)?,
            MetadataRecord::RemoveTopic(r) => self.remove_topic(r)?,
            MetadataRecord::Config(r) => self.set_config(r),
            MetadataRecord::ProducerIds(r) => {
                if r.next_producer_id <= self.next_producer_id {
                    return Err(ApplyError::StaleProducerIds(r.next_producer_id));
                }
                self.next_producer_id = r.next_producer_id;
            }
            MetadataRecord::FeatureLevel(r) => {
                if r.level == 0 {
                    self.features.remove(&r.name);
                } else {
                    self.features.insert(r.name.clone(), r.level);
                }
            }
            MetadataRecord::Controller(r) => {
                self.controller = Some((r.controller_id, r.controller_epoch));
                // An older version does not tell; then the last word stands.
                self.file_min_isr = r.min_insync_replicas.or(self.file_min_isr);
            }
            MetadataRecord::ClientQuota(r) => self.set_quota(r),
            MetadataRecord::BrokerLevel(r) => {
                let broker = self
                    .brokers
                    .get_mut(&r.broker_id)
                    .filter(|b| b.epoch == r.broker_epoch)
                    .ok_or(ApplyError::UnknownBroker(r.broker_id))?;
                Arc::make_mut(broker).supports = Some(r.supports);
            }
            MetadataRecord::AccessControlEntry(r) => self.acls.insert(r.id, Arc::new(r.acl()))?,
            MetadataRecord::RemoveAccessControlEntry(r) => drop(self.acls.remove(r.id)?),
            MetadataRecord::UserScramCredential(r) => {
                self.scram.insert(r.name.clone(), r.mechanism, r.credential.clone());
            }
            MetadataRecord::RemoveUserScramCredential(r) => {
                if !self.scram.remove(&r.name, r.mechanism) {
                    return Err(ApplyError::UnknownCredential(r.name.clone()));
                }
            }
        }
        Ok(())
    }

    fn register_broker(&mut self, r: &RegisterBrokerRecord) -> Result<(), ApplyError> {
        let previous = self.brokers.get(&r.broker_id).filter(|_| r.update);
        let fits = match previous {
            Some(broker) => broker.epoch == r.broker_epoch,
            None => r.broker_epoch >= self.next_broker_epoch,
        };
        if !fits {
            return Err(ApplyError::StaleBrokerEpoch(r.broker_epoch));
        }
        let broker = Broker {
            id: r.broker_id,
            epoch: r.broker_epoch,
            incarnation_id: r.incarnation_id,
            listeners: r.listeners.clone(),
            rack: r.rack.clone(),
            log_dirs: r.log_dirs.clone(),
            log_dir_paths: r.log_dir_paths.clone(),
            cordoned_log_dirs: r.cordoned_log_dirs.clone(),
            fenced: previous.is_none_or(|b| b.fenced),
            in_controlled_shutdown: previous.is_some_and(|b| b.in_controlled_shutdown),
            registered_at: self.offset,
            shutdown_at: previous.map_or(-1, |b| b.shutdown_at),
            supports: previous.and_then(|b| b.supports),
        };
        self.next_broker_epoch = self.next_broker_epoch.max(r.broker_epoch + 1);
        self.brokers.insert(r.broker_id, Arc::new(broker));
        Ok(())
    }

    fn update_broker(
        &mut self,
        r: &BrokerStateRecord,
        change: impl FnOnce(&mut Broker, i64),
    ) -> Result<(), ApplyError> {
        let offset = self.offset;
        let broker = self
            .brokers
            .get_mut(&r.broker_id)
            .filter(|b| b.epoch == r.broker_epoch)
            .ok_or(ApplyError::UnknownBroker(r.broker_id))?;
        change(Arc::make_mut(broker), offset);
        Ok(())
    }

    fn add_topic(&mut self, r: &TopicRecord) -> Result<(), ApplyError> {
        if self.topics.contains_key(&r.name) || self.topic_names.contains_key(&r.topic_id) {
            return Err(ApplyError::TopicExists(r.name.clone()));
        }
        let topic = Topic { name: r.name.clone(), id: r.topic_id, partitions: Vector::new() };
        self.insert_topic(topic);
        Ok(())
    }

    fn insert_topic(&mut self, topic: Topic) {
        if let Some(key) = collision_key(&topic.name) {
            self.collisions.insert(key, topic.name.clone());
        }
        self.topic_names.insert(topic.id, topic.name.clone());
        self.topics.insert(topic.name.clone(), Arc::new(topic));
    }

    /// A whole topic from a snapshot, with its index entries.
    pub(crate) fn restore_topic(&mut self, topic: Topic) {
        for (index, partition) in topic.partitions.iter().enumerate() {
            let tp = TopicPartition::new(topic.name.clone(), index as i32);
            self.index(&tp, partition);
        }
        self.insert_topic(topic);
    }

    fn topic_name(&self, id: TopicId) -> Result<Arc<str>, ApplyError> {
        self.topic_names.get(&id).cloned().ok_or(ApplyError::UnknownTopic(id))
    }

    fn add_partition(&mut self, r: &PartitionRecord) -> Result<(), ApplyError> {
        let name = self.topic_name(r.topic_id)?;
        let topic = self.topics.get_mut(&name).ok_or(ApplyError::UnknownTopic(r.topic_id))?;
        if usize::try_from(r.partition) != Ok(topic.partitions.len()) {
            return Err(ApplyError::PartitionOutOfOrder(r.topic_id, r.partition));
        }
        let partition = Arc::new(Partition {
            replicas: r.replicas.clone(),
            isr: r.isr.clone(),
            elr: Vec::new(),
            last_known_elr: Vec::new(),
            adding: Vec::new(),
            removing: Vec::new(),
            leader: r.leader,
            leader_epoch: 0,
            partition_epoch: 0,
            leader_recovery_state: LeaderRecoveryState::Recovered,
            offline: Vec::new(),
        });
        Arc::make_mut(topic).partitions.push_back(partition.clone());
        self.index(&TopicPartition::new(name, r.partition), &partition);
        Ok(())
    }

    fn change_partition(&mut self, r: &PartitionChangeRecord) -> Result<(), ApplyError> {
        let name = self.topic_name(r.topic_id)?;
        let topic = self.topics.get_mut(&name).ok_or(ApplyError::UnknownTopic(r.topic_id))?;
        let slot = usize::try_from(r.partition)
            .ok()
            .and_then(|index| Arc::make_mut(topic).partitions.get_mut(index))
            .ok_or(ApplyError::UnknownPartition(r.topic_id, r.partition))?;
        let old = slot.clone();
        if r.partition_epoch != old.partition_epoch + 1 {
            return Err(ApplyError::StalePartitionChange(r.topic_id, r.partition));
        }
        let new = Arc::new(old.changed(r));
        *slot = new.clone();
        let tp = TopicPartition::new(name, r.partition);
        self.unindex(&tp, &old, Some(&new));
        self.index(&tp, &new);
        Ok(())
    }

    fn remove_topic(&mut self, r: &RemoveTopicRecord) -> Result<(), ApplyError> {
        let name = self.topic_name(r.topic_id)?;
        let topic = self.topics.remove(&name).ok_or(ApplyError::UnknownTopic(r.topic_id))?;
        self.topic_names.remove(&r.topic_id);
        if let Some(key) = collision_key(&name) {
            self.collisions.remove(&key);
        }
        for (index, partition) in topic.partitions.iter().enumerate() {
            self.unindex(&TopicPartition::new(name.clone(), index as i32), partition, None);
        }
        self.configs.remove(&crate::ConfigResource::Topic(name));
        Ok(())
    }

    fn set_config(&mut self, r: &ConfigRecord) {
        let mut map = self.configs.get(&r.resource).cloned().unwrap_or_default();
        let configs = Arc::make_mut(&mut map);
        match &r.value {
            Some(value) => configs.insert(r.name.clone(), value.clone()),
            None => configs.remove(&r.name),
        };
        if map.is_empty() {
            self.configs.remove(&r.resource);
        } else {
            self.configs.insert(r.resource.clone(), map);
        }
    }

    fn index(&mut self, tp: &TopicPartition, partition: &Partition) {
        for broker in partition.stakeholders() {
            self.stakes.entry(broker).or_default().insert(tp.clone());
        }
        if partition.is_imbalanced() {
            self.imbalanced.insert(tp.clone());
        }
        if partition.is_reassigning() {
            self.reassigning.insert(tp.clone());
        }
    }

    /// Removes what `new` will not put back.
    fn unindex(&mut self, tp: &TopicPartition, old: &Partition, new: Option<&Partition>) {
        for broker in old.stakeholders() {
            if new.is_some_and(|p| p.stakeholders().any(|b| b == broker)) {
                continue;
            }
            if let Some(set) = self.stakes.get_mut(&broker) {
                set.remove(tp);
                if set.is_empty() {
                    self.stakes.remove(&broker);
                }
            }
        }
        if !new.is_some_and(Partition::is_imbalanced) {
            self.imbalanced.remove(tp);
        }
        if !new.is_some_and(Partition::is_reassigning) {
            self.reassigning.remove(tp);
        }
    }
}

impl Partition {
    /// The state after the change.
    pub(crate) fn changed(&self, r: &PartitionChangeRecord) -> Partition {
        let mut next = self.clone();
        let set = |field: &mut Vec<BrokerId>, value: &Option<Vec<BrokerId>>| {
            if let Some(value) = value {
                field.clone_from(value);
            }
        };
        set(&mut next.replicas, &r.replicas);
        set(&mut next.isr, &r.isr);
        set(&mut next.elr, &r.elr);
        set(&mut next.last_known_elr, &r.last_known_elr);
        set(&mut next.adding, &r.adding);
        set(&mut next.removing, &r.removing);
        set(&mut next.offline, &r.offline);
        if !next.offline.is_empty() {
            // A controller of an older version does not know who is offline.
            let Partition { replicas, isr, elr, offline, .. } = &mut next;
            let knows = |b: &BrokerId| isr.contains(b) || elr.contains(b) || !replicas.contains(b);
            offline.retain(|b| !knows(b));
        }
        match r.leader {
            LeaderChange::Unchanged => {}
            LeaderChange::Nobody => next.leader = None,
            LeaderChange::To(broker) => next.leader = Some(broker),
        }
        if !r.leader.is_unchanged() {
            next.leader_epoch += 1;
        }
        if let Some(state) = r.leader_recovery_state {
            next.leader_recovery_state = state;
        }
        next.partition_epoch = r.partition_epoch;
        next
    }
}
