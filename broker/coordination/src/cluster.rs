//! An image of the metadata, as coordinators see it.

use std::sync::Arc;

use base::TopicId;
use coordinator::{Cluster, TopicShape};
use metadata::{ConfigResource, Image};

#[derive(Debug)]
pub(crate) struct ImageView(pub(crate) Arc<Image>);

impl Cluster for ImageView {
    fn topic(&self, name: &str) -> Option<TopicShape> {
        let topic = self.0.topic(name)?;
        let partitions = i32::try_from(topic.partitions.len()).ok()?;
        Some(TopicShape { id: topic.id, partitions })
    }

    fn topic_name(&self, id: TopicId) -> Option<Arc<str>> {
        Some(self.0.topic_by_id(id)?.name.clone())
    }

    fn for_each_topic(&self, act: &mut dyn FnMut(&Arc<str>)) {
        for topic in self.0.topics() {
            act(&topic.name);
        }
    }

    fn group_setting(&self, group: &str, key: &str) -> Option<i32> {
        let set = self.0.config(&ConfigResource::Group(group.into()))?;
        set.get(key)?.parse().ok()
    }
}
