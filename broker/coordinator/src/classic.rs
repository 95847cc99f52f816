//! The members of one classic group, and its generation.
//!
//! This file is the group as data, with the rules that hold between its fields; the behaviour is in
//! the submodules, one per kind of event, as methods that take a [`Cx`] to reply, append and set
//! timers with.
//!
//! Invariants, asserted by [`ClassicGroup::validate`]:
//! - members is empty exactly if the state is Empty or (for the moment between the last member's
//!   leaving and the end of the join phase) PreparingRebalance;
//! - there is a leader exactly if there are members, and it is one of them;
//! - `static_members` holds exactly the members with an instance id;
//! - an id is a member or pending, never both;
//! - only members of a CompletingRebalance group await a sync, only members of a
//!   PreparingRebalance group await a join;
//! - the counts of joins and of supporters of protocols are those of the members;
//! - assignments are on their way to the log only while they may yet count.

mod describe;
mod invariants;
mod join;
mod leave;
mod member;
mod offsets;
mod rebalance;
mod session;
pub(crate) mod state;
mod subscription;
mod sync;

pub(crate) use state::GroupState;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::ErrorCode;
use bytes::Bytes;

pub(crate) use member::Member;

use crate::group::Cx;
use crate::pending::Outcome;
use crate::{
    AppendId, Booking, Effect, GroupId, GroupRecord, GroupReply, GroupValue, MemberId, Protocol,
    Ticket,
};

#[derive(Debug)]
pub(crate) struct ClassicGroup {
    pub(crate) id: GroupId,
    state: GroupState,
    /// The join phase of a group that was empty is prolonged for newcomers.
    previous_state: GroupState,
    state_since_ms: Option<i64>,
    generation: i32,
    protocol_type: Option<Arc<str>>,
    protocol_name: Option<Arc<str>>,
    leader: Option<MemberId>,
    members: BTreeMap<MemberId, Member>,
    static_members: BTreeMap<Arc<str>, MemberId>,
    /// Ids given out with MEMBER_ID_REQUIRED that have not joined yet.
    pending_members: BTreeMap<MemberId, Booking>,
    /// Members of this generation that have not synchronised yet.
    pending_sync: BTreeSet<MemberId>,
    /// How many members support a protocol, by its name.
    protocol_supporters: BTreeMap<Arc<str>, usize>,
    joins_awaited: usize,
    /// A newcomer arrived during the initial delay, which is therefore extended.
    new_member_added: bool,
    /// What is left of the rebalance timeout after the current initial delay.
    initial_delay_left_ms: i64,
    initial_delay_ms: i64,
    /// The append with this generation's assignments, until it is committed: another sync of the
    /// leader must not append others. An append of a former generation, or of a group of this name
    /// that was deleted since, is not this one.
    assigning: Option<AppendId>,
    /// Topics of a consumer group's members; `None` if they cannot be told.
    subscribed: Option<BTreeSet<Arc<str>>>,
    /// The log has a record of this group that needs a tombstone when it goes.
    in_log: bool,
}

impl ClassicGroup {
    pub(crate) fn new(id: GroupId) -> ClassicGroup {
        ClassicGroup {
            id,
            state: GroupState::Empty,
            previous_state: GroupState::Empty,
            state_since_ms: None,
            generation: 0,
            protocol_type: None,
            protocol_name: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_members: BTreeMap::new(),
            pending_sync: BTreeSet::new(),
            protocol_supporters: BTreeMap::new(),
            joins_awaited: 0,
            new_member_added: false,
            initial_delay_left_ms: 0,
            initial_delay_ms: 0,
            assigning: None,
            subscribed: None,
            in_log: false,
        }
    }

    /// Nothing but offsets distinguishes the group from one that does not exist.
    pub(crate) fn is_vacant(&self) -> bool {
        self.is_deserted() && !self.in_log
    }

    /// No members, nor ids promised to any.
    pub(crate) fn is_deserted(&self) -> bool {
        self.is_empty() && self.pending_members.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state == GroupState::Empty
    }

    fn transition(&mut self, state: GroupState, wall_ms: i64) {
        let allowed = match state {
            GroupState::Empty | GroupState::CompletingRebalance => {
                self.state == GroupState::PreparingRebalance
            }
            GroupState::PreparingRebalance => self.state != GroupState::PreparingRebalance,
            GroupState::Stable => self.state == GroupState::CompletingRebalance,
            GroupState::Dead => false,
        };
        debug_assert!(allowed, "{} -> {state}", self.state);
        self.previous_state = self.state;
        self.state = state;
        self.state_since_ms = Some(wall_ms);
    }

    fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    fn insert(&mut self, member: Member) {
        if self.members.is_empty() {
            self.protocol_type = Some(member.protocol_type.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        if let Some(instance) = &member.instance_id {
            self.static_members.insert(instance.clone(), member.id.clone());
        }
        self.pending_members.remove(&member.id);
        self.count_protocols(&member.protocols, true);
        self.joins_awaited += usize::from(member.awaiting_join.is_some());
        let old = self.members.insert(member.id.clone(), member);
        debug_assert!(old.is_none(), "a member is inserted once");
    }

    /// Takes a member out. Its waiting requests, if any, are the caller's to answer.
    fn remove(&mut self, member_id: &str) -> Option<Member> {
        let member = self.members.remove(member_id)?;
        self.count_protocols(&member.protocols, false);
        self.joins_awaited -= usize::from(member.awaiting_join.is_some());
        if let Some(instance) = &member.instance_id {
            self.static_members.remove(instance);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending_sync.remove(member_id);
        Some(member)
    }

    fn count_protocols(&mut self, protocols: &[Protocol], add: bool) {
        for protocol in protocols {
            let count = self.protocol_supporters.entry(protocol.name.clone()).or_default();
            if add {
                *count += 1;
            } else {
                *count -= 1;
                if *count == 0 {
                    self.protocol_supporters.remove(&protocol.name);
                }
            }
        }
    }

    fn set_protocols(&mut self, member_id: &str, protocols: Vec<Protocol>) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        let old = std::mem::replace(&mut member.protocols, protocols);
        let new = member.protocols.clone();
        self.count_protocols(&old, false);
        self.count_protocols(&new, true);
    }

    /// Parks a join request with its member; a request parked before is given back.
    fn park_join(&mut self, member_id: &str, ticket: Ticket) -> Option<Ticket> {
        let old = self.members.get_mut(member_id)?.awaiting_join.replace(ticket);
        self.joins_awaited += usize::from(old.is_none());
        old
    }

    fn take_join(&mut self, member_id: &str) -> Option<Ticket> {
        let ticket = self.members.get_mut(member_id)?.awaiting_join.take()?;
        self.joins_awaited -= 1;
        Some(ticket)
    }

    /// Whether a member with these protocols leaves at least one that all members support.
    fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols
                .iter()
                .any(|p| self.protocol_supporters.get(&p.name) == Some(&self.members.len()))
    }

    /// The protocol with the most votes among those that all members support; every member votes
    /// for the first such in its own order. Ties go to the leader's preference.
    fn elect_protocol(&self) -> Option<Arc<str>> {
        let common =
            |p: &&Protocol| self.protocol_supporters.get(&p.name) == Some(&self.members.len());
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(vote) = member.protocols.iter().find(common) {
                *votes.entry(&vote.name).or_default() += 1;
            }
        }
        let leader = self.members.get(self.leader.as_ref()?)?;
        let mut best: Option<(&Protocol, usize)> = None;
        for protocol in leader.protocols.iter().filter(common) {
            let count = votes.get(&*protocol.name).copied().unwrap_or(0);
            if best.is_none_or(|(_, most)| count > most) {
                best = Some((protocol, count));
            }
        }
        best.map(|(protocol, _)| protocol.name.clone())
    }

    /// The largest rebalance timeout of the members: how long a join phase may take.
    fn rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|m| i64::from(m.rebalance_timeout_ms)).max().unwrap_or(0)
    }

    /// Whether the request speaks for a current member: its id, and, for a static member, that the
    /// instance id still belongs to it.
    fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance_id {
            match self.static_members.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(id) if &**id != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        match self.members.contains_key(member_id) {
            true => Ok(()),
            false => Err(ErrorCode::UnknownMemberId),
        }
    }

    /// The record of the group as it is, with these assignments in place of the members' own.
    fn record(&self, assignment_of: impl Fn(&Member) -> Bytes) -> GroupRecord {
        let protocol = self.protocol_name.as_deref().unwrap_or("");
        GroupRecord::Group {
            group: self.id.clone(),
            value: Some(GroupValue {
                protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
                generation: self.generation,
                protocol: self.protocol_name.clone(),
                leader: self.leader.clone(),
                state_since_ms: self.state_since_ms,
                members: self
                    .members
                    .values()
                    .map(|m| m.to_value(protocol, assignment_of(m)))
                    .collect(),
            }),
        }
    }

    /// The record that restores the group after a tombstone, if the log has one of it.
    pub(crate) fn record_in_log(&self) -> Option<GroupRecord> {
        self.in_log.then(|| self.record(|m| m.assignment.clone()))
    }

    /// Whether the log has a record of this group.
    pub(crate) fn is_in_log(&self) -> bool {
        self.in_log
    }

    /// Tells the log of a group that is new, so that a failover before its first generation does
    /// not forget that it exists.
    pub(crate) fn write_down(&mut self, cx: &mut Cx<'_>) {
        if self.in_log || self.is_vacant() {
            return;
        }
        self.in_log = true;
        let since_ms = *self.state_since_ms.get_or_insert(cx.wall_ms);
        let value = GroupValue {
            protocol_type: "".into(),
            generation: 0,
            protocol: None,
            leader: None,
            state_since_ms: Some(since_ms),
            members: Vec::new(),
        };
        let record = GroupRecord::Group { group: self.id.clone(), value: Some(value) };
        cx.append(vec![record], Vec::new(), Outcome::Records, None);
    }

    /// Becomes what the record says: a stable group, or an empty one if it lists no members.
    pub(crate) fn restore(&mut self, value: GroupValue) {
        *self = ClassicGroup::new(self.id.clone());
        self.in_log = true;
        self.generation = value.generation;
        self.state_since_ms = value.state_since_ms;
        self.protocol_name = value.protocol;
        let protocol_name: Arc<str> = self.protocol_name.clone().unwrap_or_else(|| "".into());
        for member in value.members {
            if self.members.contains_key(&member.member_id) {
                continue;
            }
            self.insert(Member::from_value(member, &value.protocol_type, &protocol_name));
        }
        if !value.protocol_type.is_empty() {
            self.protocol_type = Some(value.protocol_type);
        }
        if !self.members.is_empty() {
            self.state = GroupState::Stable;
            if let Some(leader) = value.leader.filter(|id| self.members.contains_key(id)) {
                self.leader = Some(leader);
            }
        }
        self.update_subscribed();
    }

    /// The record that replay leads to. A group between two generations is not in the log as it
    /// is. Since when a group has been stable is not kept.
    pub(crate) fn persistent_view(&self) -> Option<GroupRecord> {
        let settled = matches!(self.state, GroupState::Stable | GroupState::Empty);
        let mut group = (self.in_log && settled).then(|| self.record(|m| m.assignment.clone()));
        if self.state == GroupState::Stable
            && let Some(GroupRecord::Group { value: Some(value), .. }) = &mut group
        {
            value.state_since_ms = None;
        }
        group
    }

    /// Answers everything that waits in this group, because the shard is leaving this broker.
    pub(crate) fn refuse_waiting(&mut self, error: ErrorCode, effects: &mut Vec<Effect>) {
        for member in self.members.values_mut() {
            if let Some(ticket) = member.awaiting_join.take() {
                let reply = crate::JoinReply::error(error, member.id.clone());
                effects.push(Effect::Reply { ticket, reply: GroupReply::Join(reply) });
            }
            if let Some(ticket) = member.awaiting_sync.take() {
                let reply = GroupReply::Sync(crate::SyncReply::error(error));
                effects.push(Effect::Reply { ticket, reply });
            }
        }
        self.joins_awaited = 0;
    }
}
