//! JoinGroup: how members enter, re-enter and replace themselves.

use std::sync::Arc;

use base::ErrorCode;

use super::{ClassicGroup, Cx, GroupState, Member};
use crate::pending::Outcome;
use crate::timers::Timer;
use crate::{GroupReply, JoinGroup, JoinReply, JoinedMember, MemberId, Protocol, Ticket};

impl ClassicGroup {
    /// Takes a join whose session timeout and group id are valid. The answer is given when the
    /// join phase ends, or at once if it changes nothing or is refused.
    pub(crate) fn join(&mut self, cx: &mut Cx<'_>, ticket: Ticket, mut request: JoinGroup) {
        keep_first_of_each_name(&mut request.protocols);
        if !self.has_room_for(cx, &request.member_id) {
            refuse(cx, ticket, ErrorCode::GroupMaxSizeReached, "".into());
            self.turn_away(cx, &request.member_id);
        } else if !self.supports(&request.protocol_type, &request.protocols) {
            let error = ErrorCode::InconsistentGroupProtocol;
            refuse(cx, ticket, error, request.member_id);
        } else if request.member_id.is_empty() {
            self.join_without_id(cx, ticket, request);
        } else if self.pending_members.contains_key(&request.member_id) {
            if request.instance_id.is_some() {
                // Promised ids are for dynamic members only.
                refuse(cx, ticket, ErrorCode::UnknownMemberId, request.member_id);
            } else {
                let id = request.member_id.clone();
                self.add(cx, ticket, request, id);
            }
        } else {
            match self.check_member(&request.member_id, request.instance_id.as_deref()) {
                Err(error) => refuse(cx, ticket, error, request.member_id),
                Ok(()) => self.rejoin(cx, ticket, request),
            }
        }
    }

    /// Members that are in stay in, up to `group.max.size`. While rebalancing it is the members
    /// that have rejoined who count, so that a group that is over a lowered limit loses its last.
    fn has_room_for(&self, cx: &Cx<'_>, member_id: &str) -> bool {
        let member = self.members.get(member_id);
        match self.state {
            GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance => {
                member.is_some_and(|m| m.awaiting_join.is_some())
                    || self.joins_awaited < cx.config.members_max
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                member.is_some() || self.members.len() < cx.config.members_max
            }
        }
    }

    /// Forgets a member, or the id promised to one, for which there is no room.
    fn turn_away(&mut self, cx: &mut Cx<'_>, member_id: &MemberId) {
        if self.pending_members.remove(member_id).is_some() {
            cx.timers.cancel(&Timer::Session(self.id.clone(), member_id.clone()));
            self.complete_join_if_all_joined(cx);
        } else if let Some(member) = self.remove_silently(cx, member_id) {
            self.answer_removed(cx, member, ErrorCode::GroupMaxSizeReached);
            self.settle_after_removal(cx);
        }
    }

    fn join_without_id(&mut self, cx: &mut Cx<'_>, ticket: Ticket, request: JoinGroup) {
        let new_id = request.new_member_id.clone();
        if let Some(instance) = &request.instance_id {
            match self.static_members.get(instance).cloned() {
                Some(old_id) => self.replace_static(cx, ticket, request, old_id),
                None => self.add(cx, ticket, request, new_id),
            }
        } else if request.requires_known_id {
            // The member comes back with the id, so that a lost reply leaves no ghost behind.
            let at_ms = cx.now_ms + i64::from(request.session_timeout_ms);
            cx.timers.set(Timer::Session(self.id.clone(), new_id.clone()), at_ms);
            self.pending_members.insert(new_id.clone(), request.booking);
            refuse(cx, ticket, ErrorCode::MemberIdRequired, new_id);
        } else {
            self.add(cx, ticket, request, new_id);
        }
    }

    fn add(&mut self, cx: &mut Cx<'_>, ticket: Ticket, request: JoinGroup, id: MemberId) {
        let initial = self.previous_state == GroupState::Empty;
        if self.state == GroupState::PreparingRebalance && initial {
            self.new_member_added = true;
        }
        self.insert(Member {
            id: id.clone(),
            instance_id: request.instance_id,
            client_id: request.client_id,
            client_host: request.client_host,
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            protocol_type: request.protocol_type,
            protocols: request.protocols,
            assignment: bytes::Bytes::new(),
            awaiting_join: Some(ticket),
            awaiting_sync: None,
            is_new: true,
            booking: request.booking,
        });
        // It cannot send heartbeats before it knows its id, and a client that gave up on the join
        // is not noticed otherwise.
        let at_ms = cx.now_ms + cx.config.new_member_join_timeout_ms;
        cx.timers.set(Timer::Session(self.id.clone(), id), at_ms);
        self.rebalance_or_complete_join(cx);
    }

    fn rejoin(&mut self, cx: &mut Cx<'_>, ticket: Ticket, request: JoinGroup) {
        let id = request.member_id.clone();
        let member = self.members.get(&id).expect("invariant: checked by the caller");
        let unchanged = member.protocols == request.protocols;
        match self.state {
            // It missed the answer to its join.
            GroupState::CompletingRebalance if unchanged => {
                let reply = self.join_reply(&id);
                cx.reply(ticket, GroupReply::Join(reply));
            }
            // A leader rejoins because its topics changed; a follower without news is just late.
            GroupState::Stable if unchanged && !self.is_leader(&id) => {
                let reply = self.join_reply(&id);
                cx.reply(ticket, GroupReply::Join(reply));
            }
            GroupState::PreparingRebalance
            | GroupState::CompletingRebalance
            | GroupState::Stable => {
                self.update(cx, &id, ticket, &request);
                self.rebalance_or_complete_join(cx);
            }
            GroupState::Empty | GroupState::Dead => {
                refuse(cx, ticket, ErrorCode::UnknownMemberId, id);
            }
        }
    }

    /// Takes over what a known member says of itself, and parks its join.
    fn update(&mut self, cx: &mut Cx<'_>, id: &MemberId, ticket: Ticket, request: &JoinGroup) {
        self.set_protocols(id, request.protocols.clone());
        if let Some(member) = self.members.get_mut(id) {
            member.rebalance_timeout_ms = request.rebalance_timeout_ms;
            member.session_timeout_ms = request.session_timeout_ms;
            member.booking = request.booking.clone();
        }
        if let Some(old) = self.park_join(id, ticket) {
            // Only the newest join of a member is answered with a generation.
            refuse(cx, old, ErrorCode::RebalanceInProgress, id.clone());
        }
    }

    /// A static member restarted: it gets a new id and its former self is fenced. In a stable
    /// group whose protocol stays the same nobody else notices (KIP-345).
    fn replace_static(
        &mut self,
        cx: &mut Cx<'_>,
        ticket: Ticket,
        request: JoinGroup,
        old_id: MemberId,
    ) {
        let new_id = request.new_member_id.clone();
        let old_leader = self.leader.clone();
        let old = self.rename_static(cx, &old_id, &new_id);
        self.set_protocols(&new_id, request.protocols.clone());
        if let Some(member) = self.members.get_mut(&new_id) {
            member.rebalance_timeout_ms = request.rebalance_timeout_ms;
            member.session_timeout_ms = request.session_timeout_ms;
            member.client_id = request.client_id;
            member.client_host = request.client_host;
            member.booking = request.booking;
        }
        self.restart_session(cx, &new_id);
        if self.state != GroupState::Stable || self.elect_protocol() != self.protocol_name {
            self.park_join(&new_id, ticket);
            // A generation that is being completed must not include the former self.
            self.rebalance_or_complete_join(cx);
            return;
        }
        let mut reply = self.join_reply(&new_id);
        if request.supports_skip_assignment {
            reply.skip_assignment = self.is_leader(&new_id);
        } else {
            // A client that cannot skip the assignment must not think itself the leader.
            reply.members.clear();
            reply.leader = old_leader.unwrap_or_else(|| "".into());
        }
        let record = self.record(|m| m.assignment.clone());
        let group = self.id.clone();
        let outcome = Outcome::Replace { group, new_member_id: new_id, old: Box::new(old) };
        cx.append(vec![record], Vec::new(), outcome, Some((ticket, GroupReply::Join(reply))));
    }

    /// Gives the static member `old_id` the id `new_id`, and returns it as it was, with its
    /// waiting requests answered.
    fn rename_static(&mut self, cx: &mut Cx<'_>, old_id: &MemberId, new_id: &MemberId) -> Member {
        let led = self.is_leader(old_id);
        let mut old = self.remove(old_id).expect("invariant: static members are members");
        cx.timers.cancel(&Timer::Session(self.id.clone(), old_id.clone()));
        let error = ErrorCode::FencedInstanceId;
        if let Some(ticket) = old.awaiting_join.take() {
            refuse(cx, ticket, error, old_id.clone());
        }
        if let Some(ticket) = old.awaiting_sync.take() {
            cx.reply(ticket, GroupReply::Sync(crate::SyncReply::error(error)));
        }
        self.insert(Member { id: new_id.clone(), ..old.clone() });
        if led {
            self.leader = Some(new_id.clone());
        }
        old
    }

    /// The replacement of a static member was not appended: the former self is back.
    pub(crate) fn undo_replace(&mut self, cx: &mut Cx<'_>, new_id: &MemberId, old: Member) {
        let led = self.is_leader(new_id);
        let Some(new) = self.remove(new_id) else { return };
        cx.timers.cancel(&Timer::Session(self.id.clone(), new_id.clone()));
        self.answer_removed(cx, new, ErrorCode::UnknownMemberId);
        let old_id = old.id.clone();
        self.insert(old);
        if led {
            self.leader = Some(old_id.clone());
        }
        self.restart_session(cx, &old_id);
    }

    /// The answer that tells a member of the current generation.
    pub(super) fn join_reply(&self, member_id: &MemberId) -> JoinReply {
        let protocol = self.protocol_name.as_deref().unwrap_or("");
        let members = match self.is_leader(member_id) {
            true => self.members.values().map(|m| joined(m, protocol)).collect(),
            false => Vec::new(),
        };
        JoinReply {
            error: ErrorCode::None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone().unwrap_or_else(|| "".into()),
            skip_assignment: false,
            member_id: member_id.clone(),
            members,
        }
    }
}

fn joined(member: &Member, protocol: &str) -> JoinedMember {
    JoinedMember {
        member_id: member.id.clone(),
        instance_id: member.instance_id.clone(),
        metadata: member.metadata(protocol),
    }
}

fn refuse(cx: &mut Cx<'_>, ticket: Ticket, error: ErrorCode, member_id: Arc<str>) {
    cx.reply(ticket, GroupReply::Join(JoinReply::error(error, member_id)));
}

/// A name counts once per member, or it could have more supporters than there are members.
fn keep_first_of_each_name(protocols: &mut Vec<Protocol>) {
    let mut seen = std::collections::BTreeSet::new();
    protocols.retain(|p| seen.insert(p.name.clone()));
}
