//! The groups of one partition of `__consumer_offsets`.
//!
//! Life of a shard: [`Shard::new`], [`Shard::load`] for every record of the log up to
//! its end, [`Shard::start`], then events, at last [`Shard::unload`]. The driver performs
//! the effects in order and before the next event (or, for several events, in their order, with
//! [`Shard::append_failed`] for all of them if the common append fails).
//!
//! Invariants:
//! - a reply never tells of anything that a failover could take back: it leaves after the records
//!   that made what it tells are committed;
//! - replaying the appended records yields the offsets, and of every group that is stable or empty
//!   the generation, the members and the assignments, as they are here;
//! - a ticket is answered exactly once.

mod transactions;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use base::{ErrorCode, ProducerId, TopicId, topic_name};
use bytes::Bytes;

use crate::classic::ClassicGroup;
use crate::cluster::{Cluster, View};
use crate::group::{self, Cx, Group, Membership};
use crate::pending::{Outcome, Pending, PendingAppends, TIMED_OUT, client_error};
use crate::timers::{Timer, Timers};
use crate::{
    AppendId, CommittedPosition, DescribedGroup, Effect, GroupConfig, GroupId, GroupRecord,
    GroupReply, GroupRequest, JoinGroup, JoinReply, LeaveReply, LeavingMember, LeftMember,
    ListFilter, ListedGroup, Shard, Ticket, Transaction, TransactionEnd, TransactionalCommit,
};

#[derive(Debug)]
pub struct GroupShard {
    config: GroupConfig,
    view: View,
    groups: BTreeMap<GroupId, Group>,
    timers: Timers,
    pending: PendingAppends,
    /// Where open transactions have committed offsets, or had before those were deleted.
    transactions: BTreeMap<ProducerId, BTreeSet<GroupId>>,
    wall_offset_ms: i64,
    expiry_offset_ms: i64,
}

/// The fields that an event of one group needs, borrowed apart from the groups.
macro_rules! cx {
    ($shard:ident, $now_ms:expr, $effects:expr) => {
        Cx {
            now_ms: $now_ms,
            wall_ms: $now_ms + $shard.wall_offset_ms,
            expiry_ms: $now_ms + $shard.expiry_offset_ms,
            config: &$shard.config,
            view: &$shard.view,
            timers: &mut $shard.timers,
            pending: &mut $shard.pending,
            effects: $effects,
        }
    };
}

mod consumer;
mod invariants;

impl Shard for GroupShard {
    const TOPIC: &'static str = topic_name::OFFSETS;
    type Config = GroupConfig;
    type Request = GroupRequest;
    type Reply = GroupReply;
    type Record = GroupRecord;
    type Errand = Infallible;

    fn new(config: GroupConfig) -> GroupShard {
        GroupShard {
            config,
            view: View::default(),
            groups: BTreeMap::new(),
            timers: Timers::default(),
            pending: PendingAppends::default(),
            transactions: BTreeMap::new(),
            wall_offset_ms: 0,
            expiry_offset_ms: 0,
        }
    }

    fn encode(record: &GroupRecord) -> Result<(Bytes, Option<Bytes>), String> {
        record.encode().map_err(|error| error.to_string())
    }

    fn load(&mut self, key: Bytes, value: Option<Bytes>) -> Result<(), String> {
        if let Some(record) = GroupRecord::decode(key, value).map_err(|error| error.to_string())? {
            self.replay(record);
        }
        Ok(())
    }

    fn transaction(record: &GroupRecord) -> Option<Transaction> {
        match record {
            GroupRecord::PendingOffset { transaction, .. } => Some(*transaction),
            _ => None,
        }
    }

    fn transaction_end(record: &GroupRecord) -> Option<TransactionEnd> {
        match record {
            GroupRecord::TransactionEnd(end) => Some(*end),
            _ => None,
        }
    }

    fn load_in_transaction(
        &mut self,
        producer_id: ProducerId,
        key: Bytes,
        value: Option<Bytes>,
    ) -> Result<(), String> {
        self.load_pending(producer_id, key, value)
    }

    fn load_end(&mut self, producer_id: ProducerId, is_committed: bool) {
        self.end_pending(producer_id, is_committed);
    }

    fn set_offsets_of_time(&mut self, wall_ms: i64, expiry_ms: i64) {
        self.wall_offset_ms = wall_ms;
        self.expiry_offset_ms = expiry_ms;
    }

    fn start(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        let mut cx = cx!(self, now_ms, effects);
        for group in self.groups.values_mut() {
            match &mut group.members {
                Membership::Classic(classic) => classic.restart_all_sessions(&mut cx),
                Membership::Consumer(consumer) => consumer.restart_timers(&mut cx),
            }
        }
        self.timers.set(Timer::OffsetExpiry, now_ms + self.config.offsets_retention_check_ms);
        self.validate_after(None);
    }

    fn handle(
        &mut self,
        now_ms: i64,
        ticket: Ticket,
        request: GroupRequest,
        effects: &mut Vec<Effect>,
    ) {
        let id = match request {
            GroupRequest::List(filter) => {
                let reply = GroupReply::List(self.list(&filter));
                effects.push(Effect::Reply { ticket, reply });
                return;
            }
            GroupRequest::Positions(max) => {
                let some = self.positions().take(max).collect();
                let reply = GroupReply::Positions(some, self.positions_len());
                effects.push(Effect::Reply { ticket, reply });
                return;
            }
            GroupRequest::EndTransaction(end) => {
                self.end_transaction(now_ms, ticket, end, effects);
                return;
            }
            GroupRequest::Join(request) => {
                let id = request.group.clone();
                self.join(now_ms, ticket, request, effects);
                id
            }
            GroupRequest::ConsumerHeartbeat(request) => {
                let id = request.group.clone();
                self.consumer_heartbeat(now_ms, ticket, *request, effects);
                id
            }
            request => {
                let id = request.group().cloned().unwrap_or_else(|| "".into());
                self.handle_existing(now_ms, ticket, request, effects);
                id
            }
        };
        self.drop_if_vacant(&id);
        self.validate_after(Some(&id));
    }

    fn next_deadline(&self) -> Option<i64> {
        let timer = self.timers.next_deadline();
        let append = self.pending.next_deadline();
        timer.into_iter().chain(append).min()
    }

    fn tick(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        while let Some(timer) = self.timers.pop_due(now_ms) {
            let id = match &timer {
                Timer::Rebalance(id)
                | Timer::Sync(id)
                | Timer::Target(id)
                | Timer::Session(id, _)
                | Timer::Revocation(id, _) => id.clone(),
                Timer::OffsetExpiry => {
                    self.expire_offsets(now_ms, effects);
                    continue;
                }
            };
            let mut cx = cx!(self, now_ms, effects);
            let Some(group) = self.groups.get_mut(&id) else { continue };
            match (&mut group.members, timer) {
                (Membership::Classic(classic), Timer::Rebalance(_)) => {
                    classic.rebalance_timer(&mut cx);
                }
                (Membership::Classic(classic), Timer::Sync(_)) => classic.sync_timer(&mut cx),
                (Membership::Classic(classic), Timer::Session(_, member)) => {
                    classic.session_timer(&mut cx, &member);
                }
                (Membership::Consumer(consumer), Timer::Session(_, member)) => {
                    consumer.session_timer(&mut cx, &member);
                }
                (Membership::Consumer(consumer), Timer::Revocation(_, member)) => {
                    consumer.revocation_timer(&mut cx, &member);
                }
                (Membership::Consumer(consumer), Timer::Target(_)) => {
                    consumer.target_timer(&mut cx);
                }
                // Of a group of the other protocol that was here before.
                _ => {}
            }
            self.drop_if_vacant(&id);
        }
        for (id, append) in self.pending.time_out(now_ms, effects) {
            if let Some(group) = classic(&mut self.groups, &id) {
                group.assign_late(&mut cx!(self, now_ms, effects), append, TIMED_OUT);
            }
        }
        self.validate_after(None);
    }

    fn topics_deleted(
        &mut self,
        now_ms: i64,
        deleted: &BTreeMap<Arc<str>, TopicId>,
        effects: &mut Vec<Effect>,
    ) {
        let mut cx = cx!(self, now_ms, effects);
        for group in self.groups.values_mut() {
            group.drop_topics(&mut cx, deleted);
        }
        self.groups.retain(|_, group| !group.is_vacant());
        self.validate_after(None);
    }

    fn cluster_changed(&mut self, cluster: Arc<dyn Cluster>) {
        self.view = View { cluster: Some(cluster), number: self.view.number + 1 };
    }

    fn committed(&mut self, now_ms: i64, id: AppendId, effects: &mut Vec<Effect>) {
        while let Some(pending) = self.pending.pop_committed(id) {
            for (ticket, reply) in pending.replies {
                effects.push(Effect::Reply { ticket, reply });
            }
            if let Outcome::Assign { group, assignments } = pending.outcome
                && let Some(group) = classic(&mut self.groups, &group)
            {
                group.assigned(&mut cx!(self, now_ms, effects), pending.id, assignments);
            }
        }
        self.validate_after(None);
    }

    fn append_failed(
        &mut self,
        now_ms: i64,
        first: AppendId,
        error: ErrorCode,
        effects: &mut Vec<Effect>,
    ) {
        let error = client_error(error);
        // New appends may follow from the failure (a rebalance of a group without members):
        // they are not part of it.
        let mut failed = Vec::new();
        while let Some(pending) = self.pending.pop_failed(first) {
            failed.push(pending);
        }
        for pending in failed {
            self.take_back(now_ms, pending, error, effects);
        }
        self.validate_after(None);
    }

    fn unload(mut self, effects: &mut Vec<Effect>) {
        let error = ErrorCode::NotCoordinator;
        for (ticket, reply) in self.pending.drain_replies() {
            effects.push(Effect::Reply { ticket, reply: reply.into_error(error) });
        }
        for group in self.groups.values_mut() {
            if let Some(classic) = group.classic() {
                classic.refuse_waiting(error, effects);
            }
        }
    }

    fn refuse(request: &GroupRequest, error: ErrorCode) -> GroupReply {
        request.refuse(error)
    }
}

impl GroupShard {
    /// Applies one record of the log.
    pub fn replay(&mut self, mut record: GroupRecord) {
        match &mut record {
            GroupRecord::Offset { value: Some(value), .. }
            | GroupRecord::PendingOffset { value: Some(value), .. } => {
                value.order = self.pending.next_order();
            }
            GroupRecord::Offset { group, topic, partition, value: None } => {
                if let Some(group) = self.groups.get_mut(group) {
                    group.offsets.drop_pending(topic, *partition);
                }
            }
            GroupRecord::TransactionEnd(end) => {
                self.end_pending(end.producer_id, end.commit);
                return;
            }
            GroupRecord::PendingOffset { value: None, .. }
            | GroupRecord::Group { .. }
            | GroupRecord::Consumer { .. } => {}
        }
        self.apply(record);
    }

    /// Makes the state what a record says: a new one, or one that takes back a failed append.
    fn apply(&mut self, record: GroupRecord) {
        let Some(id) = record.group().cloned() else { return };
        let group = self.groups.entry(id.clone()).or_insert_with(|| Group::new(id.clone()));
        match record {
            GroupRecord::Offset { topic, partition, value, .. } => {
                group.offsets.set(&topic, partition, value);
            }
            GroupRecord::PendingOffset { transaction, topic, partition, value, .. } => {
                let producer_id = transaction.producer_id;
                group.offsets.set_pending(producer_id, &topic, partition, value);
                self.transactions.entry(producer_id).or_default().insert(id.clone());
            }
            GroupRecord::TransactionEnd(_) => {}
            GroupRecord::Group { value, .. } => group.replay_classic(value),
            GroupRecord::Consumer { record, .. } => group.replay_consumer(record),
        }
        self.drop_if_vacant(&id);
    }

    fn join(&mut self, now_ms: i64, ticket: Ticket, request: JoinGroup, effects: &mut Vec<Effect>) {
        let timeouts = self.config.session_timeout_ms_min..=self.config.session_timeout_ms_max;
        let known = self.groups.contains_key(&request.group);
        let error = if request.group.is_empty() {
            ErrorCode::InvalidGroupId
        } else if !timeouts.contains(&request.session_timeout_ms) {
            ErrorCode::InvalidSessionTimeout
        } else if !known && !request.member_id.is_empty() {
            // Only newcomers create groups.
            ErrorCode::UnknownMemberId
        } else {
            let id = request.group.clone();
            let group = self.groups.entry(id.clone()).or_insert_with(|| Group::new(id));
            let mut cx = cx!(self, now_ms, effects);
            if group.consumer().is_some() && group.is_empty() {
                // A group of the other protocol may follow one that nobody is in.
                group.append_group_tombstone(&mut cx, None);
            }
            if let Some(classic) = group.classic() {
                classic.join(&mut cx, ticket, request);
                classic.write_down(&mut cx);
                return;
            }
            ErrorCode::InconsistentGroupProtocol
        };
        let reply = GroupReply::Join(JoinReply::error(error, request.member_id));
        effects.push(Effect::Reply { ticket, reply });
    }

    fn handle_existing(
        &mut self,
        now_ms: i64,
        ticket: Ticket,
        request: GroupRequest,
        effects: &mut Vec<Effect>,
    ) {
        if let GroupRequest::Commit(commit)
        | GroupRequest::CommitInTransaction(TransactionalCommit { commit, .. }) = &request
            && commit.generation < 0
            && !self.groups.contains_key(&commit.group)
        {
            // A consumer without membership needs no group to begin with.
            let id = commit.group.clone();
            self.groups.insert(id.clone(), Group::new(id));
        }
        let mut cx = cx!(self, now_ms, effects);
        let Some(group) = request.group().and_then(|id| self.groups.get_mut(id)) else {
            refuse_unknown_group(&mut cx, ticket, request);
            return;
        };
        match request {
            GroupRequest::Sync(_) | GroupRequest::Heartbeat(_) | GroupRequest::Leave(_) => {
                handle_members(&mut cx, group, ticket, request);
            }
            GroupRequest::Commit(r) => group.commit(&mut cx, ticket, r),
            GroupRequest::CommitInTransaction(r) => {
                let producer_id = r.transaction.producer_id;
                group.commit_in_transaction(&mut cx, ticket, r);
                if group.offsets.has_pending_of(producer_id) {
                    let groups = self.transactions.entry(producer_id).or_default();
                    groups.insert(group.id.clone());
                }
            }
            GroupRequest::Fetch(r) => group.fetch(&mut cx, ticket, r),
            GroupRequest::DeleteOffsets(r) => group.delete_offsets(&mut cx, ticket, r),
            GroupRequest::Describe(_) => {
                cx.reply(ticket, GroupReply::Describe(described(group)));
            }
            GroupRequest::DescribeConsumer(_) => consumer::describe(&mut cx, group, ticket),
            GroupRequest::DeleteGroup(_) => group.delete(&mut cx, ticket),
            GroupRequest::Join(_)
            | GroupRequest::ConsumerHeartbeat(_)
            | GroupRequest::List(_)
            | GroupRequest::Positions(_)
            | GroupRequest::EndTransaction(_) => {
                unreachable!("invariant: handled by the caller")
            }
        }
    }

    fn list(&self, filter: &ListFilter) -> Vec<ListedGroup> {
        let wanted = |names: &[Arc<str>], name: &str| {
            names.is_empty() || names.iter().any(|n| n.eq_ignore_ascii_case(name))
        };
        let groups = self.groups.values().map(Group::listed);
        let is_asked =
            |g: &ListedGroup| wanted(&filter.types, g.kind) && wanted(&filter.states, g.state);
        groups.filter(is_asked).collect()
    }

    fn expire_offsets(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        let mut cx = cx!(self, now_ms, effects);
        for group in self.groups.values_mut() {
            group.expire_offsets(&mut cx);
        }
        self.groups.retain(|_, group| !group.is_vacant());
        self.timers.set(Timer::OffsetExpiry, now_ms + self.config.offsets_retention_check_ms);
    }

    fn take_back(
        &mut self,
        now_ms: i64,
        pending: Pending,
        error: ErrorCode,
        effects: &mut Vec<Effect>,
    ) {
        let restored = pending.undo.first().and_then(|record| record.group().cloned());
        for record in pending.undo {
            self.apply(record);
        }
        if let Some(consumer) =
            restored.and_then(|id| self.groups.get_mut(&id)).and_then(Group::consumer)
        {
            consumer.restart_timers_late(&mut cx!(self, now_ms, effects));
        }
        for (ticket, reply) in pending.replies {
            effects.push(Effect::Reply { ticket, reply: reply.into_error(error) });
        }
        let mut cx = cx!(self, now_ms, effects);
        match pending.outcome {
            Outcome::Records => {}
            Outcome::Assign { group, .. } => {
                if let Some(group) = classic(&mut self.groups, &group) {
                    group.assign_failed(&mut cx, pending.id, error);
                }
            }
            Outcome::Replace { group, new_member_id, old } => {
                if let Some(group) = classic(&mut self.groups, &group) {
                    group.undo_replace(&mut cx, &new_member_id, *old);
                }
            }
        }
    }

    /// Committed offsets of all groups, for the metrics.
    pub fn positions(&self) -> impl Iterator<Item = CommittedPosition> + '_ {
        self.groups.values().flat_map(|group| {
            group.offsets.iter().map(|(topic, partition, o)| CommittedPosition {
                group: group.id.clone(),
                topic: topic.clone(),
                partition,
                offset: o.offset,
            })
        })
    }

    /// How many positions there are.
    pub fn positions_len(&self) -> usize {
        self.groups.values().map(|group| group.offsets.len()).sum()
    }

    /// Appends that are not committed yet.
    pub fn appends_pending(&self) -> usize {
        self.pending.len()
    }

    /// What replaying this shard's records must yield, per group: see the invariants above. Groups
    /// between two generations are left out of it, their offsets are not.
    pub fn persistent_view(&self) -> Vec<GroupRecord> {
        self.groups.values().flat_map(Group::persistent_view).collect()
    }

    fn drop_if_vacant(&mut self, id: &GroupId) {
        if self.groups.get(id).is_some_and(Group::is_vacant) {
            self.groups.remove(id);
        }
    }
}

/// The group of this id, if it is a classic one.
fn classic<'a>(
    groups: &'a mut BTreeMap<GroupId, Group>,
    id: &GroupId,
) -> Option<&'a mut ClassicGroup> {
    groups.get_mut(id)?.classic()
}

/// What members of classic groups ask once they have joined.
fn handle_members(cx: &mut Cx<'_>, group: &mut Group, ticket: Ticket, request: GroupRequest) {
    match (&mut group.members, request) {
        (Membership::Classic(classic), GroupRequest::Sync(r)) => classic.sync(cx, ticket, r),
        (Membership::Classic(classic), GroupRequest::Heartbeat(r)) => {
            classic.heartbeat(cx, ticket, &r);
        }
        (Membership::Classic(classic), GroupRequest::Leave(r)) => classic.leave(cx, ticket, r),
        (Membership::Consumer(consumer), GroupRequest::Leave(r)) => {
            consumer.leave_classic(cx, ticket, r);
        }
        (_, request) => cx.reply(ticket, request.refuse(ErrorCode::UnknownMemberId)),
    }
}

/// DescribeGroups knows classic groups only.
fn described(group: &mut Group) -> DescribedGroup {
    if let Some(classic) = group.classic() {
        return classic.described();
    }
    let message = format!("Group {} is not a classic group.", group.id);
    let dead = DescribedGroup::dead(group.id.clone(), ErrorCode::GroupIdNotFound);
    DescribedGroup { message: Some(message), ..dead }
}

/// How requests for a group that does not exist are answered.
fn refuse_unknown_group(cx: &mut Cx<'_>, ticket: Ticket, request: GroupRequest) {
    let reply = match request {
        GroupRequest::Fetch(fetch) => {
            // The group may just have been deleted, which is nobody's business before it is
            // committed.
            let last = cx.pending.last_id();
            let reply = group::fetch_nothing(fetch);
            cx.reply_after(last, ticket, GroupReply::Fetch(reply));
            return;
        }
        GroupRequest::Describe(id) => {
            GroupReply::Describe(DescribedGroup::dead(id, ErrorCode::GroupIdNotFound))
        }
        GroupRequest::DescribeConsumer(id) => {
            GroupReply::DescribeConsumer(consumer::describe_unknown(id))
        }
        GroupRequest::Leave(leave) if !leave.group.is_empty() => {
            // The request itself is fine: each of its members is not known.
            let error = ErrorCode::UnknownMemberId;
            let left = |LeavingMember { member_id, instance_id }| LeftMember {
                member_id,
                instance_id,
                error,
            };
            let members = leave.members.into_iter().map(left).collect();
            GroupReply::Leave(LeaveReply { error: ErrorCode::None, members })
        }
        request => {
            let error = match &request {
                GroupRequest::Commit(commit) => commit.unknown_group,
                GroupRequest::CommitInTransaction(r) => r.commit.unknown_group,
                GroupRequest::DeleteGroup(_) => ErrorCode::GroupIdNotFound,
                // Simple consumers of old may have no group id, members may not.
                _ if request.group().is_some_and(|id| id.is_empty()) => ErrorCode::InvalidGroupId,
                GroupRequest::DeleteOffsets(_) => ErrorCode::GroupIdNotFound,
                _ => ErrorCode::UnknownMemberId,
            };
            request.refuse(error)
        }
    };
    cx.reply(ticket, reply);
}
