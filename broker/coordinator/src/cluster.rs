//! What a coordinator knows of the cluster: one immutable view, given to a shard whenever topics
//! or settings of groups have changed. A shard decides by the view that it was given last.

use std::fmt::Debug;
use std::sync::Arc;

use base::TopicId;

/// A topic as far as assignments go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicShape {
    pub id: TopicId,
    pub partitions: i32,
}

/// The cluster at one moment. The same view always gives the same answers.
pub trait Cluster: Debug + Send + Sync {
    fn topic(&self, name: &str) -> Option<TopicShape>;
    fn topic_name(&self, id: TopicId) -> Option<Arc<str>>;
    fn for_each_topic(&self, act: &mut dyn FnMut(&Arc<str>));
    /// A dynamic config of a group, if it is set and a number.
    fn group_setting(&self, group: &str, key: &str) -> Option<i32>;
}

/// The newest view, and its number: groups remember which one they were computed by.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) cluster: Option<Arc<dyn Cluster>>,
    pub(crate) number: u64,
}

impl View {
    pub(crate) fn topic(&self, name: &str) -> Option<TopicShape> {
        self.cluster.as_ref()?.topic(name)
    }

    pub(crate) fn topic_name(&self, id: TopicId) -> Option<Arc<str>> {
        self.cluster.as_ref()?.topic_name(id)
    }

    pub(crate) fn group_setting(&self, group: &str, key: &str) -> Option<i32> {
        self.cluster.as_ref()?.group_setting(group, key)
    }
}
