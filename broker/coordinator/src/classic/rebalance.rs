//! The join phase: its start, its timers and its end with a new generation.

use base::ErrorCode;
use bytes::Bytes;

use super::{ClassicGroup, Cx, GroupState};
use crate::pending::Outcome;
use crate::timers::Timer;
use crate::{GroupReply, MemberId, SyncReply};

impl ClassicGroup {
    /// Starts a join phase, or ends the current one if everybody is there.
    pub(super) fn rebalance_or_complete_join(&mut self, cx: &mut Cx<'_>) {
        match self.state {
            GroupState::PreparingRebalance => self.complete_join_if_all_joined(cx),
            _ => self.prepare_rebalance(cx),
        }
    }

    /// Starts a join phase: members hear of it by heartbeats and by the end of their syncs.
    pub(super) fn prepare_rebalance(&mut self, cx: &mut Cx<'_>) {
        if self.state == GroupState::CompletingRebalance {
            self.fail_assignment(cx, ErrorCode::RebalanceInProgress);
        }
        cx.timers.cancel(&Timer::Sync(self.id.clone()));
        let initial = self.state == GroupState::Empty;
        self.transition(GroupState::PreparingRebalance, cx.wall_ms);
        if initial {
            // The first members of a group usually start together: wait for the others.
            let delay_ms = i64::from(cx.config.initial_rebalance_delay_ms);
            self.new_member_added = false;
            self.initial_delay_ms = delay_ms;
            self.initial_delay_left_ms = (self.rebalance_timeout_ms() - delay_ms).max(0);
            cx.timers.set(Timer::Rebalance(self.id.clone()), cx.now_ms + delay_ms);
        } else if self.has_all_joined() {
            self.complete_join(cx);
        } else {
            let at_ms = cx.now_ms + self.rebalance_timeout_ms();
            cx.timers.set(Timer::Rebalance(self.id.clone()), at_ms);
        }
    }

    fn has_all_joined(&self) -> bool {
        self.joins_awaited == self.members.len() && self.pending_members.is_empty()
    }

    pub(super) fn complete_join_if_all_joined(&mut self, cx: &mut Cx<'_>) {
        let initial = self.previous_state == GroupState::Empty;
        if self.state == GroupState::PreparingRebalance && self.has_all_joined() && !initial {
            self.complete_join(cx);
        }
    }

    /// [`Timer::Rebalance`]: the initial delay or the rebalance timeout is over.
    pub(crate) fn rebalance_timer(&mut self, cx: &mut Cx<'_>) {
        if self.state != GroupState::PreparingRebalance {
            return;
        }
        let initial = self.previous_state == GroupState::Empty;
        if initial && self.new_member_added && self.initial_delay_left_ms > 0 {
            self.new_member_added = false;
            let spent_ms = self.initial_delay_ms;
            let left_ms = self.initial_delay_left_ms;
            let base_ms = i64::from(cx.config.initial_rebalance_delay_ms);
            self.initial_delay_ms = base_ms.min(left_ms);
            self.initial_delay_left_ms = (left_ms - spent_ms).max(0);
            let at_ms = cx.now_ms + self.initial_delay_ms;
            cx.timers.set(Timer::Rebalance(self.id.clone()), at_ms);
        } else {
            self.complete_join(cx);
        }
    }

    /// Ends the join phase. Dynamic members that did not rejoin are out; static ones stay until
    /// their session ends.
    fn complete_join(&mut self, cx: &mut Cx<'_>) {
        cx.timers.cancel(&Timer::Rebalance(self.id.clone()));
        let late: Vec<MemberId> = self
            .members
            .values()
            .filter(|m| m.awaiting_join.is_none() && !m.is_static())
            .map(|m| m.id.clone())
            .collect();
        for id in late {
            self.remove_silently(cx, &id);
        }
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Nobody is here, and the static members may still come: wait another time, which no
            // client can make so short that nothing else is done.
            let least_ms = i64::from(cx.config.session_timeout_ms_min).max(1);
            let at_ms = cx.now_ms + self.rebalance_timeout_ms().max(least_ms);
            cx.timers.set(Timer::Rebalance(self.id.clone()), at_ms);
            return;
        }
        self.generation = self.generation.checked_add(1).unwrap_or(0);
        self.assigning = None;
        self.pending_sync.clear();
        if self.members.is_empty() {
            self.become_empty(cx);
        } else {
            self.answer_joins(cx);
        }
    }

    /// Makes sure that the leader is somebody who has rejoined; false if nobody has.
    fn elect_joined_leader(&mut self) -> bool {
        let joined =
            |id: &MemberId| self.members.get(id).is_some_and(|m| m.awaiting_join.is_some());
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        let next = self.members.values().find(|m| m.awaiting_join.is_some());
        let Some(next) = next.map(|m| m.id.clone()) else { return false };
        self.leader = Some(next);
        true
    }

    fn become_empty(&mut self, cx: &mut Cx<'_>) {
        self.protocol_name = None;
        self.transition(GroupState::Empty, cx.wall_ms);
        self.update_subscribed();
        self.in_log = true;
        let record = self.record(|_| Bytes::new());
        cx.append(vec![record], Vec::new(), Outcome::Records, None);
    }

    fn answer_joins(&mut self, cx: &mut Cx<'_>) {
        self.protocol_name = self.elect_protocol();
        debug_assert!(self.protocol_name.is_some(), "members share a protocol");
        self.transition(GroupState::CompletingRebalance, cx.wall_ms);
        self.update_subscribed();
        let ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for id in ids {
            let reply = self.join_reply(&id);
            if let Some(ticket) = self.take_join(&id) {
                cx.reply(ticket, GroupReply::Join(reply));
            }
            self.restart_session(cx, &id);
            if let Some(member) = self.members.get_mut(&id) {
                member.is_new = false;
            }
            self.pending_sync.insert(id);
        }
        let at_ms = cx.now_ms + self.rebalance_timeout_ms();
        cx.timers.set(Timer::Sync(self.id.clone()), at_ms);
    }

    /// [`Timer::Sync`]: who has not synchronised by now is out.
    pub(crate) fn sync_timer(&mut self, cx: &mut Cx<'_>) {
        let active = matches!(self.state, GroupState::CompletingRebalance | GroupState::Stable);
        if !active || self.pending_sync.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.pending_sync) {
            self.remove_silently(cx, &id);
        }
        self.prepare_rebalance(cx);
    }

    /// Ends this generation's sync phase without assignments.
    pub(super) fn fail_assignment(&mut self, cx: &mut Cx<'_>, error: ErrorCode) {
        let ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for id in ids {
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.assignment = Bytes::new();
            if let Some(ticket) = member.awaiting_sync.take() {
                cx.reply(ticket, GroupReply::Sync(SyncReply::error(error)));
                self.restart_session(cx, &id);
            }
        }
    }
}
