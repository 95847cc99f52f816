//! SyncGroup: the leader's assignments on their way to the members. They are handed out only when
//! they are committed, so that a failover cannot change what a generation was told.

use base::ErrorCode;
use bytes::Bytes;

use super::{ClassicGroup, Cx, GroupState};
use crate::pending::Outcome;
use crate::{AppendId, GroupReply, MemberId, SyncGroup, SyncReply, Ticket};

impl ClassicGroup {
    pub(crate) fn sync(&mut self, cx: &mut Cx<'_>, ticket: Ticket, request: SyncGroup) {
        let state_error = match self.state {
            GroupState::Empty | GroupState::Dead => Some(ErrorCode::UnknownMemberId),
            GroupState::PreparingRebalance => Some(ErrorCode::RebalanceInProgress),
            GroupState::CompletingRebalance | GroupState::Stable => None,
        };
        if let Some(error) = self.check_sync(&request).err().or(state_error) {
            cx.reply(ticket, GroupReply::Sync(SyncReply::error(error)));
            return;
        }
        let id = request.member_id.clone();
        self.pending_sync.remove(&id);
        if self.state == GroupState::Stable {
            cx.reply(ticket, GroupReply::Sync(self.sync_reply(&id)));
            self.restart_session(cx, &id);
            return;
        }
        let member = self.members.get_mut(&id).expect("invariant: checked above");
        if let Some(old) = member.awaiting_sync.replace(ticket) {
            let error = ErrorCode::RebalanceInProgress;
            cx.reply(old, GroupReply::Sync(SyncReply::error(error)));
        }
        if self.is_leader(&id) && self.assigning.is_none() {
            self.append_assignments(cx, request.assignments);
        }
    }

    fn check_sync(&self, request: &SyncGroup) -> Result<(), ErrorCode> {
        self.check_member(&request.member_id, request.instance_id.as_deref())?;
        if request.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |asked: &Option<std::sync::Arc<str>>, have: &Option<_>| {
            asked.as_ref().is_some_and(|a| !a.is_empty() && Some(a) != have.as_ref())
        };
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol_name)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn append_assignments(&mut self, cx: &mut Cx<'_>, given: Vec<(MemberId, Bytes)>) {
        let mut given: std::collections::BTreeMap<_, _> = given.into_iter().collect();
        // Members that the leader forgot get an empty assignment, unknown ones are ignored.
        let assignments: Vec<(MemberId, Bytes)> = self
            .members
            .keys()
            .map(|id| (id.clone(), given.remove(id).unwrap_or_default()))
            .collect();
        let record = self.record(|m| {
            let found = assignments.binary_search_by(|(id, _)| id.cmp(&m.id));
            found.map(|i| assignments[i].1.clone()).unwrap_or_default()
        });
        self.in_log = true;
        let outcome = Outcome::Assign { group: self.id.clone(), assignments };
        self.assigning = Some(cx.append(vec![record], Vec::new(), outcome, None));
    }

    /// The assignments are committed: the members get them, unless the group has moved on.
    pub(crate) fn assigned(
        &mut self,
        cx: &mut Cx<'_>,
        append: AppendId,
        assignments: Vec<(MemberId, Bytes)>,
    ) {
        if !self.awaits(append) {
            return;
        }
        self.assigning = None;
        for (id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = assignment;
            }
        }
        self.transition(GroupState::Stable, cx.wall_ms);
        let ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for id in ids {
            let member = self.members.get_mut(&id).expect("invariant: listed above");
            if let Some(ticket) = member.awaiting_sync.take() {
                cx.reply(ticket, GroupReply::Sync(self.sync_reply(&id)));
                self.restart_session(cx, &id);
            }
        }
    }

    /// The assignments were not appended: everybody rejoins.
    pub(crate) fn assign_failed(&mut self, cx: &mut Cx<'_>, append: AppendId, error: ErrorCode) {
        if self.awaits(append) {
            self.assigning = None;
            self.fail_assignment(cx, error);
            self.prepare_rebalance(cx);
        }
    }

    /// The assignments are not committed in time. They may yet be, so the generation stands, but
    /// nobody is kept waiting.
    pub(crate) fn assign_late(&mut self, cx: &mut Cx<'_>, append: AppendId, error: ErrorCode) {
        if self.awaits(append) {
            self.fail_assignment(cx, error);
        }
    }

    fn awaits(&self, append: AppendId) -> bool {
        self.state == GroupState::CompletingRebalance && self.assigning == Some(append)
    }

    fn sync_reply(&self, member_id: &str) -> SyncReply {
        let assignment = self.members.get(member_id).map(|m| m.assignment.clone());
        SyncReply {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment: assignment.unwrap_or_default(),
        }
    }
}
