//! Heartbeats and the end of sessions.

use base::ErrorCode;

use super::{ClassicGroup, Cx, GroupState, Member};
use crate::timers::Timer;
use crate::{GroupReply, Heartbeat, JoinReply, MemberId, SyncReply, Ticket};

impl ClassicGroup {
    pub(crate) fn heartbeat(&mut self, cx: &mut Cx<'_>, ticket: Ticket, request: &Heartbeat) {
        let error = match self.check_heartbeat(request) {
            Err(error) => error,
            Ok(()) => {
                self.restart_session(cx, &request.member_id);
                match self.state {
                    GroupState::PreparingRebalance => ErrorCode::RebalanceInProgress,
                    _ => ErrorCode::None,
                }
            }
        };
        cx.reply(ticket, GroupReply::Heartbeat(error));
    }

    fn check_heartbeat(&self, request: &Heartbeat) -> Result<(), ErrorCode> {
        self.check_member(&request.member_id, request.instance_id.as_deref())?;
        match request.generation == self.generation {
            true => Ok(()),
            false => Err(ErrorCode::IllegalGeneration),
        }
    }

    /// The member is alive: its session starts anew.
    pub(super) fn restart_session(&self, cx: &mut Cx<'_>, member_id: &MemberId) {
        if let Some(member) = self.members.get(member_id) {
            let at_ms = cx.now_ms + i64::from(member.session_timeout_ms);
            cx.timers.set(Timer::Session(self.id.clone(), member_id.clone()), at_ms);
        }
    }

    /// A loaded group's members get a whole session to find this coordinator.
    pub(crate) fn restart_all_sessions(&self, cx: &mut Cx<'_>) {
        for id in self.members.keys() {
            self.restart_session(cx, id);
        }
    }

    /// [`Timer::Session`]: nothing was heard of the member for its session timeout.
    pub(crate) fn session_timer(&mut self, cx: &mut Cx<'_>, member_id: &MemberId) {
        if self.pending_members.remove(member_id).is_some() {
            self.complete_join_if_all_joined(cx);
            return;
        }
        let Some(member) = self.members.get(member_id) else { return };
        // A member whose request is parked here is silent by our doing; its session restarts with
        // the answer.
        if member.is_waiting() {
            return;
        }
        if let Some(member) = self.remove_silently(cx, member_id) {
            // A new member may still wait for its first join: it shall ask for a new id.
            self.answer_removed(cx, member, ErrorCode::UnknownMemberId);
        }
        self.settle_after_removal(cx);
    }

    /// Takes a member out with its timer, leaving its waiting requests to the caller.
    pub(super) fn remove_silently(&mut self, cx: &mut Cx<'_>, member_id: &str) -> Option<Member> {
        let member = self.remove(member_id)?;
        cx.timers.cancel(&Timer::Session(self.id.clone(), member.id.clone()));
        Some(member)
    }

    pub(super) fn answer_removed(&self, cx: &mut Cx<'_>, member: Member, error: ErrorCode) {
        if let Some(ticket) = member.awaiting_join {
            cx.reply(ticket, GroupReply::Join(JoinReply::error(error, "".into())));
        }
        if let Some(ticket) = member.awaiting_sync {
            cx.reply(ticket, GroupReply::Sync(SyncReply::error(error)));
        }
    }

    /// The rest of the group after somebody left.
    pub(super) fn settle_after_removal(&mut self, cx: &mut Cx<'_>) {
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance => self.prepare_rebalance(cx),
            GroupState::PreparingRebalance => self.complete_join_if_all_joined(cx),
            GroupState::Empty | GroupState::Dead => {}
        }
    }
}
