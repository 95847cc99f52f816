//! The committed offsets of one group.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{Offset, ProducerId, TimestampMs, TopicId};

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
    /// Its place among the commits of the shard, which is not stored: of two the later one counts.
    pub order: u64,
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
    /// Of open transactions, by their producers; none is empty.
    pending: BTreeMap<ProducerId, PendingOffsets>,
}

/// What one transaction has committed.
pub(crate) type PendingOffsets = BTreeMap<(Arc<str>, i32), CommittedOffset>;

impl Offsets {
    /// Nothing is committed, nor may it be by an open transaction.
    pub(crate) fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.pending.is_empty()
    }

    /// As [`Offsets::set`], within the transaction of a producer.
    pub(crate) fn set_pending(
        &mut self,
        producer_id: ProducerId,
        topic: &Arc<str>,
        partition: i32,
        value: Option<CommittedOffset>,
    ) -> Option<CommittedOffset> {
        let key = (topic.clone(), partition);
        let pending = self.pending.entry(producer_id).or_default();
        let old = match value {
            Some(value) => pending.insert(key, value),
            None => pending.remove(&key),
        };
        if pending.is_empty() {
            self.pending.remove(&producer_id);
        }
        old
    }

    /// An open transaction has committed an offset of this partition.
    pub(crate) fn is_pending(&self, topic: &Arc<str>, partition: i32) -> bool {
        !self.pending.is_empty() && {
            let key = (topic.clone(), partition);
            self.pending.values().any(|pending| pending.contains_key(&key))
        }
    }

    /// The transaction of the producer has committed something.
    pub(crate) fn has_pending_of(&self, producer_id: ProducerId) -> bool {
        self.pending.contains_key(&producer_id)
    }

    /// Drops what open transactions have committed of a partition: it was deleted.
    pub(crate) fn drop_pending(
        &mut self,
        topic: &Arc<str>,
        partition: i32,
    ) -> Vec<(ProducerId, CommittedOffset)> {
        let ids: Vec<ProducerId> = self.pending.keys().copied().collect();
        let drop = |id| Some((id, self.set_pending(id, topic, partition, None)?));
        ids.into_iter().filter_map(drop).collect()
    }

    /// Everything that the producer's transaction has committed: it has ended.
    pub(crate) fn take_pending(&mut self, producer_id: ProducerId) -> PendingOffsets {
        self.pending.remove(&producer_id).unwrap_or_default()
    }

    pub(crate) fn iter_pending(
        &self,
    ) -> impl Iterator<Item = (ProducerId, &Arc<str>, i32, &CommittedOffset)> {
        self.pending.iter().flat_map(|(id, pending)| {
            pending.iter().map(move |((topic, p), offset)| (*id, topic, *p, offset))
        })
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

    /// Panics when something is kept that holds nothing.
    pub(crate) fn validate(&self) {
        for (topic, partitions) in &self.topics {
            assert!(!partitions.is_empty(), "topic {topic} is kept without an offset");
        }
        for (producer_id, pending) in &self.pending {
            assert!(!pending.is_empty(), "producer {producer_id} has no offset pending");
        }
    }
}
