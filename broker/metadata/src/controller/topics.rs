//! Creating and deleting topics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::topic_name::{self, NameError};
use base::{BrokerId, ErrorCode, TopicId, limits};

use super::draft::Draft;
use super::failure::error;
use crate::config;
use crate::entropy::Entropy;
use crate::placement::{PlacementBroker, place};
use crate::record::{
    ConfigRecord, ConfigResource, MetadataRecord, PartitionRecord, RemoveTopicRecord, TopicRecord,
};
use crate::request::{
    Assignment, ControllerError, CreateTopic, CreateTopicResult, CreateTopicsRequest, CreatedTopic,
    DeleteTopicResult, DeleteTopicsRequest, TopicSelector,
};

type ConfigOverrides = BTreeMap<Arc<str>, Arc<str>>;

impl Draft<'_> {
    pub(super) fn create_topics(
        &mut self,
        request: CreateTopicsRequest,
        entropy: &mut Entropy,
    ) -> Result<Vec<CreateTopicResult>, ControllerError> {
        let wanted = |topic: &CreateTopic| match topic.partitions {
            -1 if topic.assignments.is_empty() => self.settings.default_partitions.max(0) as usize,
            -1 => topic.assignments.len(),
            count => count.max(0) as usize,
        };
        let total = request.topics.iter().map(wanted).fold(0, usize::saturating_add);
        check_batch(total)?;
        let repeated = repeated(request.topics.iter().map(|t| &t.name));
        let topics = request.topics.into_iter();
        Ok(topics
            .map(|topic| {
                let result = if repeated.contains(&topic.name) {
                    error(ErrorCode::InvalidRequest, "Duplicate topic name.")
                } else {
                    self.create_topic(&topic, entropy)
                };
                CreateTopicResult { name: topic.name, result }
            })
            .collect())
    }

    fn create_topic(
        &mut self,
        topic: &CreateTopic,
        entropy: &mut Entropy,
    ) -> Result<CreatedTopic, ControllerError> {
        self.check_new_name(&topic.name)?;
        let configs = new_topic_configs(topic)?;
        let assignments = if topic.assignments.is_empty() {
            self.place_new_topic(topic, entropy)?
        } else {
            self.manual_assignments(topic)?
        };
        let topic_id = self.unused_topic_id(entropy);
        let created = CreatedTopic {
            topic_id,
            partitions: assignments.len() as i32,
            replication_factor: assignments[0].len() as i16,
        };
        self.push(MetadataRecord::Topic(TopicRecord { name: topic.name.clone(), topic_id }));
        for (name, value) in configs {
            let resource = ConfigResource::Topic(topic.name.clone());
            self.push(MetadataRecord::Config(ConfigRecord { resource, name, value: Some(value) }));
        }
        for (index, replicas) in assignments.into_iter().enumerate() {
            self.push_partition(topic_id, index as i32, replicas);
        }
        Ok(created)
    }

    fn check_new_name(&self, name: &str) -> Result<(), ControllerError> {
        if let Err(why) = topic_name::check_new(name) {
            // Kafka's code for its metadata topic.
            let code = match why {
                NameError::Reserved(_) => ErrorCode::TopicAuthorizationFailed,
                _ => ErrorCode::InvalidTopicException,
            };
            return error(code, why.to_string());
        }
        if self.image.topic(name).is_some() {
            let message = format!("Topic '{name}' already exists.");
            return error(ErrorCode::TopicAlreadyExists, message);
        }
        if let Some(other) = self.image.colliding_topic(name) {
            let message = format!("Topic '{name}' collides with existing topic: {other}");
            return error(ErrorCode::InvalidTopicException, message);
        }
        Ok(())
    }

    fn place_new_topic(
        &self,
        topic: &CreateTopic,
        entropy: &mut Entropy,
    ) -> Result<Vec<Vec<BrokerId>>, ControllerError> {
        let partitions = match topic.partitions {
            -1 => self.settings.default_partitions,
            count => count,
        };
        if partitions < 1 {
            let message = "Number of partitions was set to an invalid non-positive value.";
            return error(ErrorCode::InvalidPartitions, message);
        }
        let replication_factor = match topic.replication_factor {
            -1 => self.settings.default_replication_factor,
            count => count,
        };
        if replication_factor < 1 {
            let message = "Replication factor was set to an invalid non-positive value.";
            return error(ErrorCode::InvalidReplicationFactor, message);
        }
        self.place_partitions(partitions as usize, replication_factor as usize, entropy)
    }

    pub(super) fn place_partitions(
        &self,
        partitions: usize,
        replication_factor: usize,
        entropy: &mut Entropy,
    ) -> Result<Vec<Vec<BrokerId>>, ControllerError> {
        let usable = self.image.brokers().filter(|b| !b.in_controlled_shutdown);
        let usable = usable.filter(|b| !self.image.is_cordoned(b.id));
        let brokers: Vec<PlacementBroker> = usable
            .map(|b| PlacementBroker { id: b.id, rack: b.rack.clone(), fenced: b.fenced })
            .collect();
        place(&brokers, partitions, replication_factor, entropy)
            .or_else(|why| error(ErrorCode::InvalidReplicationFactor, why.to_string()))
    }

    fn manual_assignments(
        &self,
        topic: &CreateTopic,
    ) -> Result<Vec<Vec<BrokerId>>, ControllerError> {
        if topic.replication_factor != -1 {
            let message = "A manual partition assignment was specified, but replication factor \
                           was not set to -1.";
            return error(ErrorCode::InvalidRequest, message);
        }
        if topic.partitions != -1 {
            let message = "A manual partition assignment was specified, but numPartitions was \
                           not set to -1.";
            return error(ErrorCode::InvalidRequest, message);
        }
        let mut sorted: Vec<&Assignment> = topic.assignments.iter().collect();
        sorted.sort_by_key(|a| a.partition);
        if sorted.iter().enumerate().any(|(index, a)| a.partition != index as i32) {
            let message = "partitions should be a consecutive 0-based integer sequence.";
            return error(ErrorCode::InvalidReplicaAssignment, message);
        }
        let replication_factor = sorted[0].replicas.len();
        for assignment in &sorted {
            self.check_assignment(&assignment.replicas, Some(replication_factor))?;
            self.check_some_active(assignment.partition, &assignment.replicas)?;
        }
        Ok(sorted.into_iter().map(|a| a.replicas.clone()).collect())
    }

    /// Rules for replicas that a user chose.
    pub(super) fn check_assignment(
        &self,
        replicas: &[BrokerId],
        replication_factor: Option<usize>,
    ) -> Result<(), ControllerError> {
        let code = ErrorCode::InvalidReplicaAssignment;
        if replicas.is_empty() {
            let message = "The manual partition assignment includes an empty replica list.";
            return error(code, message);
        }
        if replicas.iter().enumerate().any(|(i, b)| replicas[..i].contains(b)) {
            let message = format!(
                "The manual partition assignment includes a broker more than once: {replicas:?}"
            );
            return error(code, message);
        }
        if let Some(unknown) = replicas.iter().find(|b| self.image.broker(**b).is_none()) {
            let message = format!(
                "The manual partition assignment includes broker {unknown}, but no such broker \
                 is registered."
            );
            return error(code, message);
        }
        if let Some(expected) = replication_factor.filter(|expected| *expected != replicas.len()) {
            let found = replicas.len();
            let message = format!(
                "The manual partition assignment includes a partition with {found} replica(s), \
                 but this is not consistent with previous partitions, which have {expected} \
                 replica(s)."
            );
            return error(code, message);
        }
        Ok(())
    }

    pub(super) fn check_some_active(
        &self,
        partition: i32,
        replicas: &[BrokerId],
    ) -> Result<(), ControllerError> {
        if replicas.iter().any(|b| self.image.is_active(*b)) {
            return Ok(());
        }
        let message = format!(
            "All brokers specified in the manual partition assignment for partition {partition} \
             are fenced or in controlled shutdown."
        );
        error(ErrorCode::InvalidReplicaAssignment, message)
    }

    /// A new partition: its active replicas are in sync, the first of them leads.
    pub(super) fn push_partition(
        &mut self,
        topic_id: TopicId,
        partition: i32,
        replicas: Vec<BrokerId>,
    ) {
        let isr: Vec<BrokerId> =
            replicas.iter().copied().filter(|b| self.image.is_active(*b)).collect();
        let leader = isr.first().copied();
        let record = PartitionRecord { topic_id, partition, replicas, isr, leader };
        self.push(MetadataRecord::Partition(record));
    }

    fn unused_topic_id(&self, entropy: &mut Entropy) -> TopicId {
        loop {
            let id = entropy.next_topic_id();
            if self.image.topic_by_id(id).is_none() {
                return id;
            }
        }
    }

    pub(super) fn delete_topics(&mut self, request: DeleteTopicsRequest) -> Vec<DeleteTopicResult> {
        request.topics.into_iter().map(|selector| self.delete_topic(selector)).collect()
    }

    fn delete_topic(&mut self, selector: TopicSelector) -> DeleteTopicResult {
        let found = match &selector {
            TopicSelector::Name(name) => self.image.topic(name),
            TopicSelector::Id(id) => self.image.topic_by_id(*id),
        };
        let found = found.map(|topic| (topic.name.clone(), topic.id));
        let (name, topic_id, result) = match (found, &selector) {
            (Some((name, topic_id)), _) => {
                self.push(MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id }));
                (Some(name), topic_id, Ok(()))
            }
            (None, TopicSelector::Name(name)) => {
                let result = Err(ErrorCode::UnknownTopicOrPartition.into());
                (Some(name.clone()), TopicId::ZERO, result)
            }
            (None, TopicSelector::Id(id)) => (None, *id, Err(ErrorCode::UnknownTopicId.into())),
        };
        DeleteTopicResult { selector, name, topic_id, result }
    }
}

/// One request may not create so many partitions that its records are too large for one entry.
pub(super) fn check_batch(partitions: usize) -> Result<(), ControllerError> {
    if partitions > limits::PARTITIONS_PER_REQUEST_MAX {
        let message = format!("Excessively large number of partitions per request: {partitions}");
        return error(ErrorCode::PolicyViolation, message);
    }
    Ok(())
}

/// The names that occur more than once.
pub(super) fn repeated<'a>(names: impl Iterator<Item = &'a Arc<str>>) -> BTreeSet<Arc<str>> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert((*name).clone())).cloned().collect()
}

fn new_topic_configs(topic: &CreateTopic) -> Result<ConfigOverrides, ControllerError> {
    let mut configs = ConfigOverrides::new();
    for (name, value) in &topic.configs {
        let Some(value) = value else {
            let message = format!("Null value not supported for topic configs: {name}");
            return error(ErrorCode::InvalidConfig, message);
        };
        configs.insert(name.clone(), value.clone());
    }
    config::validate_topic_configs(&configs).or_else(|why| error(ErrorCode::InvalidConfig, why))?;
    Ok(configs)
}
