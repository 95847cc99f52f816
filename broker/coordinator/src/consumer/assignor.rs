//! Assignors: which member shall have which partitions. Each is a function of what it is given, so
//! that a repeated computation yields the same.

mod range;
mod uniform;

use std::collections::BTreeMap;
use std::sync::Arc;

use base::TopicId;

use super::value::Partitions;
use crate::MemberId;

/// The assignors of `group.consumer.assignors`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Assignor {
    /// As even as subscriptions allow, moving as little as possible.
    Uniform,
    /// Of each topic a range per member, in the order of the members: topics with as many
    /// partitions and the same subscribers are split alike.
    Range,
}

impl Assignor {
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    pub fn of_name(name: &str) -> Option<Assignor> {
        [Assignor::Uniform, Assignor::Range].into_iter().find(|a| a.name() == name)
    }

    /// The partitions of each member, in the order of the members.
    pub(crate) fn assign(self, group: &GroupSpec) -> Vec<Partitions> {
        match self {
            Assignor::Uniform => uniform::assign(group),
            Assignor::Range => range::assign(group),
        }
    }
}

/// A group as assignors see it.
#[derive(Debug, Default)]
pub(crate) struct GroupSpec {
    /// Subscribed topics that exist, with the number of their partitions.
    pub(crate) topics: Vec<(TopicId, u32)>,
    pub(crate) members: Vec<MemberSpec>,
}

#[derive(Debug)]
pub(crate) struct MemberSpec {
    pub(crate) id: MemberId,
    pub(crate) instance_id: Option<Arc<str>>,
    /// Indexes of topics, ascending.
    pub(crate) topics: Arc<[u32]>,
    /// The target that it has.
    pub(crate) target: Option<Arc<Partitions>>,
}

impl GroupSpec {
    /// Whether all members subscribe to all topics.
    fn is_homogeneous(&self) -> bool {
        let reads_all = |m: &MemberSpec| m.topics.len() == self.topics.len();
        self.members.first().is_none_or(reads_all)
            && self.members.windows(2).all(|pair| {
                Arc::ptr_eq(&pair[0].topics, &pair[1].topics) || pair[0].topics == pair[1].topics
            })
    }

    /// The members that subscribe to each topic, in their order.
    fn subscribers(&self) -> Vec<Vec<u32>> {
        let mut subscribers = vec![Vec::new(); self.topics.len()];
        for (m, member) in (0_u32..).zip(&self.members) {
            for topic in member.topics.iter() {
                subscribers[*topic as usize].push(m);
            }
        }
        subscribers
    }

    fn index_of_topics(&self) -> BTreeMap<TopicId, u32> {
        (0_u32..).zip(&self.topics).map(|(at, (id, _))| (*id, at)).collect()
    }
}

#[cfg(test)]
mod tests;
