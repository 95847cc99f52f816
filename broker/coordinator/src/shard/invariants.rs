//! The invariants of a shard beyond those of its groups, asserted after events where debug
//! assertions are on: in tests and simulations.

use super::GroupShard;
use crate::GroupId;
use crate::group::Group;

/// A shard with more groups than that is not looked through after each event.
const GROUPS_LOOKED_THROUGH: usize = 32;

impl GroupShard {
    /// Panics when an invariant of the shard, or of any group, is broken.
    pub fn validate(&self) {
        self.validate_queues();
        for (id, group) in &self.groups {
            self.validate_group(id, group);
        }
    }

    /// After an event of one group, or of all: what can be looked through quickly. In release
    /// builds nothing.
    pub(super) fn validate_after(&self, touched: Option<&GroupId>) {
        if !cfg!(debug_assertions) {
            return;
        }
        if self.groups.len() <= GROUPS_LOOKED_THROUGH {
            return self.validate();
        }
        self.validate_queues();
        if let Some((id, group)) = touched.and_then(|id| self.groups.get_key_value(id)) {
            self.validate_group(id, group);
        }
    }

    fn validate_queues(&self) {
        self.pending.validate();
        self.timers.validate();
        for (producer_id, groups) in &self.transactions {
            assert!(!groups.is_empty(), "producer {producer_id} has a transaction nowhere");
        }
    }

    fn validate_group(&self, id: &GroupId, group: &Group) {
        assert_eq!(*id, group.id, "a group under another id");
        assert!(!group.is_vacant(), "a group is kept of which nothing is known: {group:?}");
        for (producer_id, ..) in group.offsets.iter_pending() {
            let groups = self.transactions.get(&producer_id);
            let is_known = groups.is_some_and(|groups| groups.contains(id));
            assert!(is_known, "the end of {producer_id}'s transaction would pass over {id}");
        }
        group.validate();
    }
}

#[cfg(test)]
mod tests {
    use base::testing::said_of;

    use super::*;
    use crate::{CommittedOffset, GroupConfig, GroupRecord, Shard, Transaction};

    /// A shard with one group, which has an offset, and one in the transaction of producer 7.
    fn shard() -> GroupShard {
        let mut shard = GroupShard::new(GroupConfig::kafka_defaults());
        let (group, topic): (GroupId, std::sync::Arc<str>) = ("g".into(), "t".into());
        let value = Some(CommittedOffset {
            offset: 5,
            leader_epoch: -1,
            metadata: "".into(),
            commit_ms: 0,
            expire_ms: None,
            topic_id: Default::default(),
            order: 0,
        });
        let transaction = Transaction::of(7);
        let (partition, pending) = (0, value.clone());
        shard.replay(GroupRecord::Offset {
            group: group.clone(),
            topic: topic.clone(),
            partition,
            value,
        });
        shard.replay(GroupRecord::PendingOffset {
            transaction,
            group,
            topic,
            partition,
            value: pending,
        });
        shard
    }

    fn said(fault: impl FnOnce(&mut GroupShard)) -> String {
        said_of(shard(), |shard| shard.validate_after(None), fault)
    }

    #[test]
    fn a_planted_fault_is_seen() {
        assert!(said(|s| s.transactions.clear()).contains("would pass over g"));
        assert!(said(|s| drop(s.transactions.insert(8, Default::default()))).contains("nowhere"));
        let vacant = |s: &mut GroupShard| {
            s.groups.insert("v".into(), Group::new("v".into()));
        };
        assert!(said(vacant).contains("nothing is known"));
        let renamed = |s: &mut GroupShard| {
            s.groups.values_mut().for_each(|group| group.id = "h".into());
        };
        assert!(said(renamed).contains("under another id"));
    }
}
