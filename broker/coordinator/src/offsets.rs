//! The committed offsets of one group.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{Offset, TimestampMs, TopicId};

/// A committed offset with everything that is stored about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommittedOffset {
    pub offset: Offset,
    /// Epoch of the last consumed record, -1 if the client did not say.
    pub leader_epoch: i32,
    pub metadata: Arc<str>,
    pub commit_ms: TimestampMs,
    /// Set only by old clients that ask for a retention of their own.
    pub expire_ms: Option<TimestampMs>,
    /// [`TopicId::ZERO`] if the client did not say.
    pub topic_id: TopicId,
}

impl CommittedOffset {
    /// Whether the offset belongs to another incarnation of the topic than `topic_id`.
    pub(crate) fn is_of_other_topic(&self, topic_id: TopicId) -> bool {
        !self.topic_id.is_zero() && !topic_id.is_zero() && self.topic_id != topic_id
    }
}

/// Invariant: no topic is without partitions, so that "empty" is one question.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    topics: BTreeMap<Arc<str>, BTreeMap<i32, CommittedOffset>>,
}

impl Offsets {
    pub(crate) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.topics.get(topic)?.get(&partition)
    }

    /// Puts or removes (`None`) one offset and returns the one before.
    pub(crate) fn set(
        &mut self,
        topic: &Arc<str>,
        partition: i32,
        value: Option<CommittedOffset>,
    ) -> Option<CommittedOffset> {
        match value {
            Some(value) => self.topics.entry(topic.clone()).or_default().insert(partition, value),
            None => {
                let partitions = self.topics.get_mut(topic)?;
                let old = partitions.remove(&partition);
                if partitions.is_empty() {
                    self.topics.remove(topic);
                }
                old
            }
        }
    }

    pub(crate) fn topics(
        &self,
    ) -> impl Iterator<Item = (&Arc<str>, &BTreeMap<i32, CommittedOffset>)> {
        self.topics.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.topics.values().map(|partitions| partitions.len()).sum()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i32, &CommittedOffset)> {
        self.topics
            .iter()
            .flat_map(|(topic, partitions)| partitions.iter().map(move |(p, o)| (topic, *p, o)))
    }
}
