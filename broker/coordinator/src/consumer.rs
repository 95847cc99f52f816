//! The members of one consumer group (KIP-848): what they subscribe to, the target that the
//! coordinator computes for them, and how far each has come towards it.
//!
//! The state that lasts is exactly what the records say: an event makes records, and
//! [`ConsumerGroup::apply`] is the only way in. It returns the record that takes a change back, so
//! that a failed append leaves the group as it was. Timers and bookings are kept beside it.
//!
//! Invariants, asserted by [`ConsumerGroup::validate`]:
//! - no partition is held by two members: one gets it only once the other has given it up;
//! - no partition is in the targets of two members, and only members have one;
//! - `static_members` holds exactly the members with an instance id;
//! - the target's epoch is not above the group's;
//! - only who has not said that it gave up has something to give up;
//! - the counts of topics and partitions are those of the members.

pub(crate) mod assignor;
pub(crate) mod change;
mod describe;
mod heartbeat;
mod invariants;
mod leave;
mod offsets;
mod reconcile;
mod regex;
pub(crate) mod request;
mod target;
pub(crate) mod validate;
pub(crate) mod value;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use base::TopicId;

use crate::{AppendId, Booking, GroupId, MemberId};
use value::{
    ConsumerGroupState, ConsumerRecord, Current, GroupEpoch, MemberState, OwnedPartitions,
    Partitions, ResolvedRegex, Subscription, TargetEpoch,
};

/// Epochs that a member gives, or has, while it is not in the group.
pub(crate) const LEAVING: i32 = -1;
pub(crate) const LEAVING_STATIC: i32 = -2;

/// A member has a subscription, a place, or both: records come in any order after compaction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Member {
    subscription: Option<Arc<Subscription>>,
    current: Option<Current>,
}

impl Member {
    fn epoch(&self) -> i32 {
        self.current.as_ref().map_or(0, |c| c.epoch)
    }

    fn instance_id(&self) -> Option<&Arc<str>> {
        self.subscription.as_ref()?.instance_id.as_ref()
    }

    fn state(&self) -> MemberState {
        self.current.as_ref().map_or(MemberState::Stable, |c| c.state)
    }
}

#[derive(Debug)]
pub(crate) struct ConsumerGroup {
    id: GroupId,
    epoch: Option<GroupEpoch>,
    target_epoch: Option<TargetEpoch>,
    members: BTreeMap<MemberId, Member>,
    targets: BTreeMap<MemberId, Arc<Partitions>>,
    regexes: BTreeMap<Arc<str>, Arc<ResolvedRegex>>,
    static_members: BTreeMap<Arc<str>, MemberId>,
    /// How many members name a topic.
    topic_counts: BTreeMap<Arc<str>, usize>,
    /// How many members hold a partition, those included that are to give it up.
    holders: HashMap<(TopicId, i32), usize>,
    /// The newest append that changed the group.
    last_append: AppendId,
    /// The number of the view that the group's topics were compared with last.
    view_seen: u64,
    /// The same for the regular expressions, and when they were resolved last.
    regexes_seen: u64,
    regexes_resolved_ms: Option<i64>,
    bookings: BTreeMap<MemberId, Booking>,
}

impl ConsumerGroup {
    pub(crate) fn new(id: GroupId) -> ConsumerGroup {
        ConsumerGroup {
            id,
            epoch: None,
            target_epoch: None,
            members: BTreeMap::new(),
            targets: BTreeMap::new(),
            regexes: BTreeMap::new(),
            static_members: BTreeMap::new(),
            topic_counts: BTreeMap::new(),
            holders: HashMap::new(),
            last_append: AppendId::default(),
            view_seen: 0,
            regexes_seen: 0,
            regexes_resolved_ms: None,
            bookings: BTreeMap::new(),
        }
    }

    /// Nothing of the group is in the log.
    pub(crate) fn is_vacant(&self) -> bool {
        self.epoch.is_none()
            && self.target_epoch.is_none()
            && self.members.is_empty()
            && self.targets.is_empty()
            && self.regexes.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn state(&self) -> ConsumerGroupState {
        let target = self.target_epoch();
        let is_settled = |m: &Member| m.state() == MemberState::Stable && m.epoch() == target;
        if self.members.is_empty() {
            ConsumerGroupState::Empty
        } else if self.group_epoch() > target {
            ConsumerGroupState::Assigning
        } else if self.members.values().all(is_settled) {
            ConsumerGroupState::Stable
        } else {
            ConsumerGroupState::Reconciling
        }
    }

    fn group_epoch(&self) -> i32 {
        self.epoch.map_or(0, |e| e.epoch)
    }

    fn target_epoch(&self) -> i32 {
        self.target_epoch.map_or(0, |t| t.epoch)
    }

    /// Makes one change, and returns the one that takes it back.
    pub(crate) fn apply(&mut self, record: ConsumerRecord) -> ConsumerRecord {
        match record {
            ConsumerRecord::Group(value) => {
                ConsumerRecord::Group(std::mem::replace(&mut self.epoch, value))
            }
            ConsumerRecord::TargetEpoch(value) => {
                ConsumerRecord::TargetEpoch(std::mem::replace(&mut self.target_epoch, value))
            }
            ConsumerRecord::Target(member, value) => {
                let old = match value {
                    Some(value) => self.targets.insert(member.clone(), value),
                    None => self.targets.remove(&member),
                };
                ConsumerRecord::Target(member, old)
            }
            ConsumerRecord::Regex(regex, value) => {
                let old = match value {
                    Some(value) => self.regexes.insert(regex.clone(), value),
                    None => self.regexes.remove(&regex),
                };
                ConsumerRecord::Regex(regex, old)
            }
            ConsumerRecord::Member(id, value) => self.apply_subscription(id, value),
            ConsumerRecord::Current(id, value) => self.apply_current(id, value),
        }
    }

    fn apply_subscription(
        &mut self,
        id: MemberId,
        value: Option<Arc<Subscription>>,
    ) -> ConsumerRecord {
        let member = self.members.entry(id.clone()).or_default();
        let old = std::mem::replace(&mut member.subscription, value.clone());
        if let Some(old) = &old {
            for topic in &old.topics {
                if let Some(count) = self.topic_counts.get_mut(topic) {
                    *count -= 1;
                    if *count == 0 {
                        self.topic_counts.remove(topic);
                    }
                }
            }
            if let Some(instance) = &old.instance_id
                && self.static_members.get(instance) == Some(&id)
            {
                self.static_members.remove(instance);
            }
        }
        if let Some(new) = &value {
            for topic in &new.topics {
                *self.topic_counts.entry(topic.clone()).or_default() += 1;
            }
            if let Some(instance) = &new.instance_id {
                self.static_members.insert(instance.clone(), id.clone());
            }
        }
        self.drop_if_gone(&id);
        ConsumerRecord::Member(id, old)
    }

    fn apply_current(&mut self, id: MemberId, value: Option<Current>) -> ConsumerRecord {
        if let Some(new) = &value {
            for at in held(new) {
                *self.holders.entry(at).or_default() += 1;
            }
        }
        let member = self.members.entry(id.clone()).or_default();
        let old = std::mem::replace(&mut member.current, value);
        for at in old.iter().flat_map(held) {
            if let Some(count) = self.holders.get_mut(&at) {
                *count -= 1;
                if *count == 0 {
                    self.holders.remove(&at);
                }
            }
        }
        self.drop_if_gone(&id);
        ConsumerRecord::Current(id, old)
    }

    fn drop_if_gone(&mut self, id: &MemberId) {
        if self.members.get(id).is_some_and(|m| m.subscription.is_none() && m.current.is_none()) {
            self.members.remove(id);
            self.bookings.remove(id);
        }
    }

    /// The records that say what the group is.
    pub(crate) fn records(&self) -> Vec<ConsumerRecord> {
        let mut records = Vec::new();
        for (id, member) in &self.members {
            if let Some(subscription) = &member.subscription {
                records.push(ConsumerRecord::Member(id.clone(), Some(subscription.clone())));
            }
            if let Some(current) = &member.current {
                records.push(ConsumerRecord::Current(id.clone(), Some(current.clone())));
            }
        }
        for (regex, resolved) in &self.regexes {
            records.push(ConsumerRecord::Regex(regex.clone(), Some(resolved.clone())));
        }
        records.extend(self.epoch.map(|epoch| ConsumerRecord::Group(Some(epoch))));
        for (id, target) in &self.targets {
            records.push(ConsumerRecord::Target(id.clone(), Some(target.clone())));
        }
        records.extend(self.target_epoch.map(|epoch| ConsumerRecord::TargetEpoch(Some(epoch))));
        records
    }

    /// The records that remove all of the group, in an order that Kafka accepts.
    pub(crate) fn tombstones(&self) -> Vec<ConsumerRecord> {
        let mut records = Vec::new();
        let members = self.members.iter();
        for (id, _) in members.clone().filter(|(_, m)| m.current.is_some()) {
            records.push(ConsumerRecord::Current(id.clone(), None));
        }
        records.extend(self.targets.keys().map(|id| ConsumerRecord::Target(id.clone(), None)));
        records.extend(self.target_epoch.map(|_| ConsumerRecord::TargetEpoch(None)));
        for (id, _) in members.filter(|(_, m)| m.subscription.is_some()) {
            records.push(ConsumerRecord::Member(id.clone(), None));
        }
        records.extend(self.regexes.keys().map(|r| ConsumerRecord::Regex(r.clone(), None)));
        records.extend(self.epoch.map(|_| ConsumerRecord::Group(None)));
        records
    }

    /// The topics of all members.
    fn subscribed_topics(&self) -> BTreeSet<&Arc<str>> {
        let by_regex = self.regexes.values().flat_map(|r| &r.topics);
        self.topic_counts.keys().chain(by_regex).collect()
    }

    pub(crate) fn is_subscribed(&self, topic: &str) -> bool {
        self.topic_counts.contains_key(topic)
            || self.regexes.values().any(|r| r.topics.contains(topic))
    }
}

/// All partitions that a member holds.
fn held(current: &Current) -> impl Iterator<Item = (TopicId, i32)> + '_ {
    let all = |owned: &'_ OwnedPartitions| {
        let pairs = owned.iter().flat_map(|(id, ps)| ps.keys().map(|p| (*id, *p)));
        pairs.collect::<Vec<_>>()
    };
    all(&current.assigned).into_iter().chain(all(&current.revoking))
}
