//! The target assignment: computed when the group's epoch has passed it, but not more often than
//! `group.consumer.assignment.interval.ms` says.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ConsumerGroup;
use super::assignor::{Assignor, GroupSpec, MemberSpec};
use super::change::Change;
use super::value::{ConsumerRecord, Partitions, Subscription, TargetEpoch};
use crate::group::Cx;
use crate::timers::Timer;
use crate::{GroupConfig, MemberId};

impl ConsumerGroup {
    /// The assignor that most members ask for; the first that is configured if none asks.
    pub(super) fn preferred_assignor(&self, config: &GroupConfig) -> Assignor {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        let subscriptions = self.members.values().filter_map(|m| m.subscription.as_ref());
        for name in subscriptions.filter_map(|s| s.assignor.as_deref()) {
            *votes.entry(name).or_default() += 1;
        }
        let known = &config.consumer.assignors;
        let count = |assignor: &Assignor| votes.get(assignor.name()).copied().unwrap_or(0);
        let most = known.iter().map(count).max().unwrap_or(0);
        known.iter().find(|a| count(a) == most).copied().unwrap_or(Assignor::Uniform)
    }

    /// When the next target may be computed, by the monotonic clock; `None` if none is missing.
    fn target_due_ms(&self, cx: &Cx<'_>) -> Option<i64> {
        if self.group_epoch() <= self.target_epoch() {
            return None;
        }
        let interval_ms = cx
            .view
            .group_setting(&self.id, "consumer.assignment.interval.ms")
            .unwrap_or(cx.config.consumer.assignment_interval_ms);
        let computed_ms = self.target_epoch.map_or(0, |t| t.computed_ms);
        let elapsed_ms = cx.wall_ms - computed_ms;
        // A clock that was set back makes nobody wait.
        if computed_ms == 0 || elapsed_ms < 0 {
            return Some(cx.now_ms);
        }
        Some(cx.now_ms + (i64::from(interval_ms) - elapsed_ms).max(0))
    }

    /// Computes the target if one is missing and may be computed.
    pub(super) fn update_target(&mut self, cx: &Cx<'_>, change: &mut Change) {
        if self.target_due_ms(cx).is_none_or(|at_ms| at_ms > cx.now_ms) {
            return;
        }
        let spec = self.spec(cx);
        let targets = self.preferred_assignor(cx.config).assign(&spec);
        for (member, target) in spec.members.into_iter().zip(targets) {
            let is_same = match &member.target {
                Some(old) => **old == target,
                None => target.is_empty(),
            };
            if !is_same {
                self.change(change, ConsumerRecord::Target(member.id, Some(Arc::new(target))));
            }
        }
        let epoch = TargetEpoch { epoch: self.group_epoch(), computed_ms: cx.wall_ms };
        self.change(change, ConsumerRecord::TargetEpoch(Some(epoch)));
    }

    /// Sees to it that a missing target is computed, even if nobody sends a heartbeat.
    pub(super) fn schedule_target(&self, cx: &mut Cx<'_>) {
        if let Some(at_ms) = self.target_due_ms(cx).filter(|_| !self.members.is_empty()) {
            cx.timers.set(Timer::Target(self.id.clone()), at_ms);
        }
    }

    /// [`Timer::Target`].
    pub(crate) fn target_timer(&mut self, cx: &mut Cx<'_>) {
        if self.members.is_empty() {
            return;
        }
        let mut change = Change::default();
        self.update_target(cx, &mut change);
        self.append(cx, change, None);
        self.schedule_target(cx);
    }

    /// The group as assignors see it. Members with one subscription share its list.
    fn spec(&self, cx: &Cx<'_>) -> GroupSpec {
        let mut topics = Vec::new();
        let mut indexes: BTreeMap<&str, u32> = BTreeMap::new();
        for name in self.subscribed_topics() {
            if let Some(shape) = cx.view.topic(name) {
                indexes.insert(name, topics.len() as u32);
                topics.push((shape.id, u32::try_from(shape.partitions).unwrap_or(0)));
            }
        }
        let mut last: Option<(&Subscription, Arc<[u32]>)> = None;
        let mut members = Vec::with_capacity(self.members.len());
        for (id, member) in &self.members {
            let Some(subscription) = member.subscription.as_deref() else { continue };
            let topics = match &last {
                Some((other, topics))
                    if other.topics == subscription.topics && other.regex == subscription.regex =>
                {
                    topics.clone()
                }
                _ => self.topic_indexes(subscription, &indexes),
            };
            last = Some((subscription, topics.clone()));
            members.push(self.member_spec(id, subscription, topics));
        }
        GroupSpec { topics, members }
    }

    fn member_spec(
        &self,
        id: &MemberId,
        subscription: &Subscription,
        topics: Arc<[u32]>,
    ) -> MemberSpec {
        let instance_id = subscription.instance_id.clone();
        MemberSpec { id: id.clone(), instance_id, topics, target: self.targets.get(id).cloned() }
    }

    fn topic_indexes(
        &self,
        subscription: &Subscription,
        indexes: &BTreeMap<&str, u32>,
    ) -> Arc<[u32]> {
        let by_regex = subscription.regex.as_ref().and_then(|r| self.regexes.get(r));
        let names = subscription.topics.iter().chain(by_regex.iter().flat_map(|r| &r.topics));
        let mut topics: Vec<u32> = names.filter_map(|n| indexes.get(&**n).copied()).collect();
        topics.sort_unstable();
        topics.dedup();
        topics.into()
    }

    /// What a member is meant to have.
    pub(super) fn target_of(&self, id: &MemberId) -> Option<&Arc<Partitions>> {
        self.targets.get(id)
    }
}
