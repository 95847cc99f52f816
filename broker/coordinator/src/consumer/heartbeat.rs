//! ConsumerGroupHeartbeat: how members enter, tell what has changed, and hear what they shall own.

use std::collections::BTreeSet;
use std::sync::Arc;

use base::{ErrorCode, TopicId};

use super::change::Change;
use super::reconcile::Step;
use super::request::{ConsumerHeartbeat, ConsumerHeartbeatReply, Refusal, TopicPartitionList};
use super::value::{ConsumerRecord, Current, MemberState, Subscription};
use super::{ConsumerGroup, LEAVING_STATIC};
use crate::group::Cx;
use crate::timers::Timer;
use crate::{GroupReply, MemberId, Ticket};

/// Heartbeats with what everything is said of count as a question for the assignment.
fn is_full(request: &ConsumerHeartbeat) -> bool {
    request.member_epoch == 0
        || (request.rebalance_timeout_ms.is_some()
            && (request.topics.is_some() || request.regex.is_some())
            && request.owned.is_some())
}

impl ConsumerGroup {
    /// Whether the heartbeat may change anything: asked before the group is.
    pub(crate) fn admit(&self, cx: &Cx<'_>, request: &ConsumerHeartbeat) -> Result<(), Refusal> {
        let most = cx.config.consumer.members_max;
        let is_known = self.members.contains_key(&request.member_id)
            || request.instance_id.as_ref().is_some_and(|i| self.static_members.contains_key(i));
        if self.members.len() >= most && !is_known {
            let message =
                format!("The consumer group has reached its maximum capacity of {most} members.");
            return Err(Refusal::new(ErrorCode::GroupMaxSizeReached, message));
        }
        match &request.instance_id {
            None => self.admit_dynamic(request),
            Some(instance) => self.admit_static(request, instance),
        }
    }

    fn admit_dynamic(&self, request: &ConsumerHeartbeat) -> Result<(), Refusal> {
        match self.members.get(&request.member_id).and_then(|m| m.current.as_ref()) {
            Some(current) => check_epoch(current, request),
            None if request.member_epoch == 0 => Ok(()),
            None => Err(self.unknown(&request.member_id)),
        }
    }

    pub(super) fn unknown(&self, member_id: &str) -> Refusal {
        let message = format!("Member {member_id} is not a member of group {}.", self.id);
        Refusal::new(ErrorCode::UnknownMemberId, message)
    }

    fn admit_static(&self, request: &ConsumerHeartbeat, instance: &str) -> Result<(), Refusal> {
        let asked = &request.member_id;
        let existing = self.static_members.get(instance);
        let current = existing.and_then(|id| self.members.get(id)?.current.as_ref());
        if request.member_epoch != 0 {
            self.check_instance(asked, instance)?;
            return current.map_or(Ok(()), |current| check_epoch(current, request));
        }
        match (existing, current) {
            (Some(id), Some(current)) if current.epoch != LEAVING_STATIC => {
                let message = format!(
                    "Static member {asked} with instance id {instance} cannot join the group \
                     because the instance id is owned by {id} member."
                );
                Err(Refusal::new(ErrorCode::UnreleasedInstanceId, message))
            }
            _ => Ok(()),
        }
    }

    /// Whether the instance id is this member's.
    pub(super) fn check_instance(&self, member_id: &str, instance: &str) -> Result<(), Refusal> {
        match self.static_members.get(instance) {
            None => {
                let message = format!("Instance id {instance} is unknown.");
                Err(Refusal::new(ErrorCode::UnknownMemberId, message))
            }
            Some(id) if &**id != member_id => {
                let message = format!(
                    "Static member {member_id} with instance id {instance} was fenced by member \
                     {id}."
                );
                Err(Refusal::new(ErrorCode::FencedInstanceId, message))
            }
            Some(_) => Ok(()),
        }
    }

    /// Takes a heartbeat that was admitted. `change` has what made room for the group.
    pub(crate) fn heartbeat(
        &mut self,
        cx: &mut Cx<'_>,
        ticket: Ticket,
        request: ConsumerHeartbeat,
        mut change: Change,
    ) {
        let id = match request.member_id.is_empty() {
            true => request.new_member_id.clone(),
            false => request.member_id.clone(),
        };
        self.take_over(cx, &mut change, &id, &request);
        let assignor = self.preferred_assignor(cx.config);
        let has_subscription_changed = self.update_subscription(&mut change, &id, &request);
        let mut calls_for_epoch = has_subscription_changed;
        calls_for_epoch |= self.preferred_assignor(cx.config) != assignor;
        if calls_for_epoch || self.has_regexes() || request.regex.is_some() {
            calls_for_epoch |= self.update_regexes(cx, Some(&request.sight), &mut change);
        }
        self.update_epoch(cx, &mut change, calls_for_epoch);
        self.update_target(cx, &mut change);
        let before = self.members.get(&id).and_then(|m| m.current.clone()).unwrap_or_default();
        let after = match self.reconcile(cx, &id, &before, &request, has_subscription_changed) {
            Ok(None) => before.clone(),
            Ok(Some(next)) => {
                self.change(&mut change, ConsumerRecord::Current(id.clone(), Some(next.clone())));
                next
            }
            Err(refusal) => {
                // What the request has changed stands: it is true of the member all the same.
                let reply = ConsumerHeartbeatReply::error(refusal.error, Some(refusal.message));
                self.append(cx, change, Some((ticket, GroupReply::ConsumerHeartbeat(reply))));
                return;
            }
        };
        self.keep_alive(cx, &id);
        self.watch_revocation(cx, &id, &before, &after);
        if request.member_epoch == 0 || request.topics.is_some() || request.regex.is_some() {
            self.bookings.insert(id.clone(), request.booking.clone());
        }
        let is_news = before.assigned != after.assigned || is_full(&request);
        let reply = ConsumerHeartbeatReply {
            error: ErrorCode::None,
            message: None,
            member_id: Some(id),
            member_epoch: after.epoch,
            interval_ms: self.heartbeat_interval_ms(cx),
            assignment: is_news.then(|| listed(&after)),
        };
        self.append(cx, change, Some((ticket, GroupReply::ConsumerHeartbeat(reply))));
        self.schedule_target(cx);
    }

    /// A static member that comes back has the place of its former self.
    fn take_over(
        &mut self,
        cx: &mut Cx<'_>,
        change: &mut Change,
        id: &MemberId,
        request: &ConsumerHeartbeat,
    ) {
        let Some(old_id) = request.instance_id.as_ref().and_then(|i| self.static_members.get(i))
        else {
            return;
        };
        if request.member_epoch != 0 {
            return;
        }
        let old_id = old_id.clone();
        let Some(old) = self.members.get(&old_id).cloned() else { return };
        let target = self.targets.get(&old_id).cloned();
        self.remove(cx, change, &old_id);
        self.change(change, ConsumerRecord::Member(id.clone(), old.subscription));
        if let Some(target) = target {
            self.change(change, ConsumerRecord::Target(id.clone(), Some(target)));
        }
        let place = old.current.unwrap_or_default();
        let place = Current { epoch: 0, previous_epoch: 0, ..place };
        self.change(change, ConsumerRecord::Current(id.clone(), Some(place)));
    }

    /// True if the member subscribes to something else than before.
    fn update_subscription(
        &mut self,
        change: &mut Change,
        id: &MemberId,
        request: &ConsumerHeartbeat,
    ) -> bool {
        let old = self.members.get(id).and_then(|m| m.subscription.clone());
        let is_new = old.is_none();
        let old = old.unwrap_or_else(|| {
            Arc::new(Subscription { rebalance_timeout_ms: -1, ..Subscription::default() })
        });
        let mut new = (*old).clone();
        if request.instance_id.is_some() {
            new.instance_id.clone_from(&request.instance_id);
        }
        if request.rack_id.is_some() {
            new.rack_id.clone_from(&request.rack_id);
        }
        if let Some(ms) = request.rebalance_timeout_ms {
            new.rebalance_timeout_ms = ms;
        }
        if request.assignor.is_some() {
            new.assignor.clone_from(&request.assignor);
        }
        if let Some(topics) = &request.topics {
            new.topics = topics.iter().cloned().collect();
        }
        if let Some(regex) = &request.regex {
            // An empty one takes the expression back.
            new.regex = Some(regex.clone()).filter(|r| !r.is_empty());
        }
        new.client_id.clone_from(&request.client_id);
        new.client_host.clone_from(&request.client_host);
        new.classic = None;
        if !is_new && new == *old {
            return false;
        }
        let differs = new.topics != old.topics || new.regex != old.regex;
        self.change(change, ConsumerRecord::Member(id.clone(), Some(Arc::new(new))));
        differs
    }

    /// Begins a new group epoch if something calls for it, or if subscribed topics have changed.
    pub(super) fn update_epoch(&mut self, cx: &Cx<'_>, change: &mut Change, is_called_for: bool) {
        let is_first = self.epoch.is_none();
        if !is_called_for && !is_first && self.view_seen == cx.view.number {
            return;
        }
        let metadata_hash = self.metadata_hash(cx);
        self.view_seen = cx.view.number;
        let has_changed = self.epoch.is_none_or(|e| e.metadata_hash != metadata_hash);
        if !is_called_for && !has_changed {
            return;
        }
        let epoch = self.group_epoch().saturating_add(1);
        let epoch = super::value::GroupEpoch { epoch, metadata_hash };
        self.change(change, ConsumerRecord::Group(Some(epoch)));
    }

    /// Ids and sizes of the subscribed topics in one number (FNV-1a). Only its change matters.
    fn metadata_hash(&self, cx: &Cx<'_>) -> i64 {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        let mut mix = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        for topic in self.subscribed_topics() {
            if let Some(shape) = cx.view.topic(topic) {
                mix(&shape.id.0);
                mix(&shape.partitions.to_be_bytes());
            }
        }
        hash.cast_signed()
    }

    fn reconcile(
        &self,
        cx: &Cx<'_>,
        id: &MemberId,
        current: &Current,
        request: &ConsumerHeartbeat,
        has_subscription_changed: bool,
    ) -> Result<Option<Current>, Refusal> {
        let is_settled =
            current.state == MemberState::Stable && current.epoch == self.target_epoch();
        if is_settled && !has_subscription_changed {
            return Ok(None);
        }
        let nothing = super::value::Partitions::new();
        let step = Step {
            target_epoch: self.target_epoch(),
            target: self.targets.get(id).map_or(&nothing, |target| target),
            owned: request.owned.as_ref(),
            topics: &self.topic_ids(cx, id),
            has_subscription_changed,
            is_free: &|topic, partition| !self.holders.contains_key(&(topic, partition)),
        };
        step.take(current).map_err(|_| {
            let message = "The consumer group member is in an unknown state. The member must \
                           abandon all its partitions and rejoin.";
            Refusal::new(ErrorCode::FencedMemberEpoch, message)
        })
    }

    /// The topics that a member subscribes to, as far as they exist.
    pub(super) fn topic_ids(&self, cx: &Cx<'_>, id: &MemberId) -> BTreeSet<TopicId> {
        let subscription = self.members.get(id).and_then(|m| m.subscription.as_ref());
        let Some(subscription) = subscription else { return BTreeSet::new() };
        let by_regex = subscription.regex.as_ref().and_then(|r| self.regexes.get(r));
        let topics = subscription.topics.iter().chain(by_regex.iter().flat_map(|r| &r.topics));
        topics.filter_map(|name| Some(cx.view.topic(name)?.id)).collect()
    }

    /// The member has the rebalance timeout to give up what it must.
    fn watch_revocation(&self, cx: &mut Cx<'_>, id: &MemberId, before: &Current, after: &Current) {
        let timer = Timer::Revocation(self.id.clone(), id.clone());
        if after.state != MemberState::UnrevokedPartitions {
            cx.timers.cancel(&timer);
        } else if before.revoking != after.revoking || before.epoch != after.epoch {
            cx.timers.set(timer, cx.now_ms + self.rebalance_timeout_ms(id));
        }
    }
}

/// A member may be one answer behind: it did not get the last one, and owns no more than it should.
fn check_epoch(current: &Current, request: &ConsumerHeartbeat) -> Result<(), Refusal> {
    let (received, known) = (request.member_epoch, current.epoch);
    if received == 0 || received == known {
        return Ok(());
    }
    let relation = if received > known { "greater" } else { "smaller" };
    let missed_one = received < known
        && received == current.previous_epoch
        && request.owned.as_ref().is_some_and(|owned| is_within(owned, current));
    if missed_one {
        return Ok(());
    }
    let message = format!(
        "The consumer group member has a {relation} member epoch ({received}) than the one known \
         by the group coordinator ({known}). The member must abandon all its partitions and \
         rejoin."
    );
    Err(Refusal::new(ErrorCode::FencedMemberEpoch, message))
}

fn is_within(owned: &TopicPartitionList, current: &Current) -> bool {
    owned.iter().all(|(id, partitions)| {
        let assigned = current.assigned.get(id);
        partitions.iter().all(|p| assigned.is_some_and(|among| among.contains_key(p)))
    })
}

fn listed(current: &Current) -> TopicPartitionList {
    let topic = |(id, partitions): (&TopicId, &std::collections::BTreeMap<i32, i32>)| {
        (*id, partitions.keys().copied().collect())
    };
    current.assigned.iter().map(topic).collect()
}
