//! What differs between two images. Shared structure is skipped, so that the cost is that of the
//! changes between them, and a reader may skip images: it compares with the one it applied last.

use std::collections::BTreeSet;
use std::sync::Arc;

use base::{BrokerId, TopicPartition};
use imbl::ordmap::DiffItem;

use crate::image::{Image, Topic};
use crate::record::ConfigResource;

/// The differences from an old image to a new one.
#[derive(Clone, Default, Debug)]
pub struct Changes {
    /// Topics of the old image that the new one does not have; a topic that was created again is
    /// here with its old id. They come before the partitions' changes.
    pub topics_deleted: Vec<Arc<Topic>>,
    pub topics_created: Vec<Arc<Topic>>,
    /// New and changed partitions (those of deleted topics are not among them).
    pub partitions: BTreeSet<TopicPartition>,
    /// Brokers that registered, left or changed state.
    pub brokers: BTreeSet<BrokerId>,
    pub configs: BTreeSet<ConfigResource>,
    pub features: bool,
    pub controller: bool,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.topics_deleted.is_empty()
            && self.topics_created.is_empty()
            && self.partitions.is_empty()
            && self.brokers.is_empty()
            && self.configs.is_empty()
            && !self.features
            && !self.controller
    }
}

/// Compares two versions of one cluster's image.
pub fn changes_between(old: &Image, new: &Image) -> Changes {
    let mut changes = Changes {
        controller: old.controller != new.controller,
        features: old.features != new.features,
        ..Changes::default()
    };
    for item in old.topics.diff(&new.topics) {
        match item {
            DiffItem::Add(_, topic) => changes.topic_created(topic),
            DiffItem::Remove(_, topic) => changes.topics_deleted.push(topic.clone()),
            DiffItem::Update { old: (_, before), new: (_, after) } => {
                changes.topic_changed(before, after);
            }
        }
    }
    changes.brokers = old.brokers.diff(&new.brokers).map(|item| *key(&item)).collect();
    changes.configs = old.configs.diff(&new.configs).map(|item| key(&item).clone()).collect();
    if old.file_min_isr != new.file_min_isr {
        // Stands below the default of all brokers, and concerns as many topics.
        changes.configs.insert(ConfigResource::BrokerDefault);
    }
    changes
}

fn key<'a, K, V>(item: &DiffItem<'a, 'a, K, V>) -> &'a K {
    match item {
        DiffItem::Add(key, _) | DiffItem::Remove(key, _) => key,
        DiffItem::Update { new: (key, _), .. } => key,
    }
}

impl Changes {
    fn topic_created(&mut self, topic: &Arc<Topic>) {
        self.topics_created.push(topic.clone());
        self.add_partitions(topic, 0..topic.partitions.len());
    }

    fn topic_changed(&mut self, before: &Arc<Topic>, after: &Arc<Topic>) {
        if before.id != after.id {
            self.topics_deleted.push(before.clone());
            return self.topic_created(after);
        }
        let same =
            |index: &usize| match (before.partitions.get(*index), after.partitions.get(*index)) {
                (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                _ => false,
            };
        let changed = (0..after.partitions.len()).filter(|index| !same(index));
        self.add_partitions(after, changed);
    }

    fn add_partitions(&mut self, topic: &Topic, indexes: impl Iterator<Item = usize>) {
        let name = &topic.name;
        self.partitions.extend(indexes.map(|i| TopicPartition::new(name.clone(), i as i32)));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "delta_tests.rs"]
mod tests;
