//! Adding partitions to a topic.

use base::ErrorCode;

use super::draft::Draft;
use super::failure::error;
use super::topics::{check_batch, repeated};
use crate::entropy::Entropy;
use crate::request::{ControllerError, CreatePartitionsRequest, GrowTopic, TopicResult};

impl Draft<'_> {
    pub(super) fn create_partitions(
        &mut self,
        request: CreatePartitionsRequest,
        entropy: &mut Entropy,
    ) -> Result<Vec<TopicResult>, ControllerError> {
        let added = |grow: &GrowTopic| {
            let current = self.image.topic(&grow.name).map_or(0, |t| t.partitions.len());
            (grow.count.max(0) as usize).saturating_sub(current)
        };
        let total = request.topics.iter().map(added).fold(0, usize::saturating_add);
        check_batch(total)?;
        let repeated = repeated(request.topics.iter().map(|t| &t.name));
        let topics = request.topics.into_iter();
        Ok(topics
            .map(|grow| {
                let result = if repeated.contains(&grow.name) {
                    error(ErrorCode::InvalidRequest, "Duplicate topic in request.")
                } else {
                    self.grow_topic(&grow, entropy)
                };
                TopicResult { name: grow.name, result }
            })
            .collect())
    }

    fn grow_topic(
        &mut self,
        grow: &GrowTopic,
        entropy: &mut Entropy,
    ) -> Result<(), ControllerError> {
        let Some(topic) = self.image.topic(&grow.name).cloned() else {
            return Err(ErrorCode::UnknownTopicOrPartition.into());
        };
        let current = topic.partitions.len();
        let wanted = grow.count.max(0) as usize;
        if wanted == current {
            let message = format!("Topic already has {current} partition(s).");
            return error(ErrorCode::InvalidPartitions, message);
        }
        if wanted < current {
            let message = format!(
                "The topic {} currently has {current} partition(s); {} would not be an increase.",
                grow.name, grow.count
            );
            return error(ErrorCode::InvalidPartitions, message);
        }
        let added = wanted - current;
        let replication_factor = topic.partitions.front().map_or(1, |p| p.replicas.len());
        let assignments = match &grow.assignments {
            None => self.place_partitions(added, replication_factor, entropy)?,
            Some(given) => {
                if given.len() != added {
                    let message = format!(
                        "Attempted to add {added} additional partition(s), but only {} \
                         assignment(s) were specified.",
                        given.len()
                    );
                    return error(ErrorCode::InvalidReplicaAssignment, message);
                }
                for (index, replicas) in given.iter().enumerate() {
                    self.check_assignment(replicas, Some(replication_factor))?;
                    self.check_some_active((current + index) as i32, replicas)?;
                }
                given.clone()
            }
        };
        for (index, replicas) in assignments.into_iter().enumerate() {
            self.push_partition(topic.id, (current + index) as i32, replicas);
        }
        Ok(())
    }
}
