//! LeaveGroup: members that go by themselves, and static ones that an administrator removes.

use base::ErrorCode;

use super::{ClassicGroup, Cx};
use crate::timers::Timer;
use crate::{GroupReply, LeaveGroup, LeaveReply, LeavingMember, LeftMember, Ticket};

impl ClassicGroup {
    pub(crate) fn leave(&mut self, cx: &mut Cx<'_>, ticket: Ticket, request: LeaveGroup) {
        let members_before = self.members.len();
        let mut members = Vec::with_capacity(request.members.len());
        for LeavingMember { member_id, instance_id } in request.members {
            let result = self.leave_one(cx, &member_id, instance_id.as_deref());
            let error = result.err().unwrap_or(ErrorCode::None);
            members.push(LeftMember { member_id, instance_id, error });
        }
        let reply = LeaveReply { error: ErrorCode::None, members };
        cx.reply(ticket, GroupReply::Leave(reply));
        // One rebalance for all of them; a promised id that is given back causes none.
        if self.members.len() < members_before {
            self.settle_after_removal(cx);
        } else {
            self.complete_join_if_all_joined(cx);
        }
    }

    fn leave_one(
        &mut self,
        cx: &mut Cx<'_>,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ErrorCode> {
        let id = match instance_id {
            Some(instance) if member_id.is_empty() => {
                self.static_members.get(instance).cloned().ok_or(ErrorCode::UnknownMemberId)?
            }
            _ => member_id.into(),
        };
        if self.pending_members.remove(&id).is_some() {
            cx.timers.cancel(&Timer::Session(self.id.clone(), id));
            return Ok(());
        }
        self.check_member(&id, instance_id)?;
        if let Some(member) = self.remove_silently(cx, &id) {
            self.answer_removed(cx, member, ErrorCode::UnknownMemberId);
        }
        Ok(())
    }
}
