//! The invariants at the head of `consumer.rs`, asserted after events where debug assertions are
//! on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::value::MemberState;
use super::{ConsumerGroup, held};

impl ConsumerGroup {
    /// Panics when an invariant of this group is broken.
    pub(crate) fn validate(&self) {
        assert!(self.target_epoch() <= self.group_epoch(), "a target of the future: {self:?}");
        self.validate_members();
        self.validate_partitions();
        self.validate_topics();
    }

    fn validate_members(&self) {
        for (id, member) in &self.members {
            let is_told = member.subscription.is_some() || member.current.is_some();
            assert!(is_told, "a member that no record speaks of: {self:?}");
            if let Some(instance) = member.instance_id() {
                let owner = self.static_members.get(instance);
                assert_eq!(owner, Some(id), "another member has the instance id: {self:?}");
            }
            let Some(current) = &member.current else { continue };
            let gives_up =
                matches!(current.state, MemberState::UnrevokedPartitions | MemberState::Unknown);
            assert!(current.revoking.is_empty() || gives_up, "a revocation is over: {self:?}");
        }
        let statics = self.members.values().filter(|m| m.instance_id().is_some()).count();
        assert_eq!(statics, self.static_members.len(), "static members differ: {self:?}");
        for id in self.bookings.keys() {
            assert!(self.members.contains_key(id), "memory booked for nobody: {self:?}");
        }
    }

    fn validate_partitions(&self) {
        let owners = self.members.values().filter_map(|m| m.current.as_ref());
        let partitions: Vec<_> = owners.flat_map(held).collect();
        for at in &partitions {
            assert_eq!(self.holders.get(at), Some(&1), "{at:?} has two owners: {self:?}");
        }
        assert_eq!(partitions.len(), self.holders.len(), "count of partitions: {self:?}");
        let mut targets = BTreeSet::new();
        for (id, target) in &self.targets {
            assert!(self.members.contains_key(id), "a target of nobody: {self:?}");
            for at in target.iter().flat_map(|(topic, ps)| ps.iter().map(move |p| (topic, p))) {
                assert!(targets.insert(at), "{at:?} is in two targets: {self:?}");
            }
        }
    }

    fn validate_topics(&self) {
        let mut counts: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        let subscriptions = self.members.values().filter_map(|m| m.subscription.as_ref());
        for topic in subscriptions.flat_map(|s| &s.topics) {
            *counts.entry(topic.clone()).or_default() += 1;
        }
        assert_eq!(counts, self.topic_counts, "count of topics: {self:?}");
    }
}

#[cfg(test)]
mod tests {
    use base::TopicId;
    use base::testing::said_of;

    use super::super::value::{ConsumerRecord, Current, GroupEpoch, Subscription, TargetEpoch};
    use super::*;

    const TOPIC: TopicId = TopicId([7; 16]);

    /// Two members that own a partition of one topic each.
    fn group() -> ConsumerGroup {
        let mut group = ConsumerGroup::new("g".into());
        for (id, partition) in [("a", 0), ("b", 1)] {
            let id: Arc<str> = id.into();
            let subscription = Subscription {
                instance_id: Some(format!("i-{id}").into()),
                topics: BTreeSet::from(["t".into()]),
                ..Subscription::default()
            };
            let assigned = BTreeMap::from([(TOPIC, BTreeMap::from([(partition, 1)]))]);
            let current = Current { epoch: 1, assigned, ..Current::default() };
            let target = BTreeMap::from([(TOPIC, BTreeSet::from([partition]))]);
            group.apply(ConsumerRecord::Member(id.clone(), Some(Arc::new(subscription))));
            group.apply(ConsumerRecord::Target(id.clone(), Some(Arc::new(target))));
            group.apply(ConsumerRecord::Current(id, Some(current)));
        }
        group.apply(ConsumerRecord::Group(Some(GroupEpoch { epoch: 1, metadata_hash: 0 })));
        group.apply(ConsumerRecord::TargetEpoch(Some(TargetEpoch { epoch: 1, computed_ms: 0 })));
        group
    }

    /// What [`ConsumerGroup::validate`] says of a group in which something is broken.
    fn said(fault: impl FnOnce(&mut ConsumerGroup)) -> String {
        said_of(group(), ConsumerGroup::validate, fault)
    }

    fn give(group: &mut ConsumerGroup, member: &str, state: MemberState, partition: i32) {
        let all = BTreeMap::from([(TOPIC, BTreeMap::from([(partition, 1)]))]);
        let current = Current { epoch: 1, state, revoking: all, ..Current::default() };
        group.apply(ConsumerRecord::Current(member.into(), Some(current)));
    }

    #[test]
    fn a_planted_fault_is_seen() {
        let twice = |g: &mut ConsumerGroup| give(g, "b", MemberState::UnrevokedPartitions, 0);
        assert!(said(twice).contains("has two owners"));
        let late = |g: &mut ConsumerGroup| give(g, "b", MemberState::Stable, 1);
        assert!(said(late).contains("a revocation is over"));
        let both = BTreeMap::from([(TOPIC, BTreeSet::from([0, 1]))]);
        let both = ConsumerRecord::Target("b".into(), Some(Arc::new(both)));
        assert!(said(|g| drop(g.apply(both))).contains("is in two targets"));
        let early = ConsumerRecord::Group(None);
        assert!(said(|g| drop(g.apply(early))).contains("a target of the future"));
        assert!(said(|g| drop(g.members.remove("a"))).contains("static members differ"));
        assert!(said(|g| g.topic_counts.clear()).contains("count of topics"));
    }
}
