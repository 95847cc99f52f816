//! How members go: by their own word, or because nothing is heard of them.

use base::ErrorCode;

use super::change::Change;
use super::request::{ConsumerHeartbeat, ConsumerHeartbeatReply, Refusal};
use super::value::{ConsumerRecord, Current, MemberState};
use super::{ConsumerGroup, LEAVING_STATIC};
use crate::group::Cx;
use crate::timers::Timer;
use crate::{GroupReply, LeaveGroup, LeaveReply, LeavingMember, LeftMember, MemberId, Ticket};

/// The rebalance timeout of a member whose own is not known (Kafka's default of clients).
const REBALANCE_TIMEOUT_MS: i64 = 300_000;
/// Before an append that failed is tried again.
const RETRY_MS: i64 = 1_000;

impl ConsumerGroup {
    /// A heartbeat with epoch -1 or -2.
    pub(crate) fn leave(
        &mut self,
        cx: &mut Cx<'_>,
        ticket: Ticket,
        request: &ConsumerHeartbeat,
    ) -> Result<(), Refusal> {
        let id = match &request.instance_id {
            Some(instance) => {
                self.check_instance(&request.member_id, instance)?;
                request.member_id.clone()
            }
            None if self.members.contains_key(&request.member_id) => request.member_id.clone(),
            None => return Err(self.unknown(&request.member_id)),
        };
        let mut change = Change::default();
        if request.member_epoch == LEAVING_STATIC {
            self.leave_for_a_while(cx, &mut change, &id);
        } else {
            self.remove(cx, &mut change, &id);
            self.settle_after_removal(cx, &mut change);
        }
        let reply = ConsumerHeartbeatReply {
            error: ErrorCode::None,
            message: None,
            member_id: Some(id),
            member_epoch: request.member_epoch,
            interval_ms: 0,
            assignment: None,
        };
        self.append(cx, change, Some((ticket, GroupReply::ConsumerHeartbeat(reply))));
        self.schedule_target(cx);
        Ok(())
    }

    /// A static member keeps its place for its session timeout.
    fn leave_for_a_while(&mut self, cx: &mut Cx<'_>, change: &mut Change, id: &MemberId) {
        let current = self.members.get(id).and_then(|m| m.current.clone()).unwrap_or_default();
        cx.timers.cancel(&Timer::Revocation(self.id.clone(), id.clone()));
        let away = Current { epoch: LEAVING_STATIC, revoking: Default::default(), ..current };
        self.change(change, ConsumerRecord::Current(id.clone(), Some(away)));
    }

    /// LeaveGroup: an administrator may take out static members by their instance id. Members of
    /// this protocol leave by a heartbeat.
    pub(crate) fn leave_classic(&mut self, cx: &mut Cx<'_>, ticket: Ticket, request: LeaveGroup) {
        let mut change = Change::default();
        let mut members = Vec::with_capacity(request.members.len());
        for LeavingMember { member_id, instance_id } in request.members {
            let found = instance_id.as_ref().filter(|_| member_id.is_empty());
            let found = found.and_then(|instance| self.static_members.get(instance)).cloned();
            let error = match found {
                Some(id) => {
                    self.remove(cx, &mut change, &id);
                    ErrorCode::None
                }
                None => ErrorCode::UnknownMemberId,
            };
            members.push(LeftMember { member_id, instance_id, error });
        }
        if !change.records.is_empty() {
            self.settle_after_removal(cx, &mut change);
        }
        let reply = GroupReply::Leave(LeaveReply { error: ErrorCode::None, members });
        self.append(cx, change, Some((ticket, reply)));
        self.schedule_target(cx);
    }

    /// [`Timer::Session`]: nothing was heard of the member for its session timeout.
    pub(crate) fn session_timer(&mut self, cx: &mut Cx<'_>, id: &MemberId) {
        self.fence(cx, id);
    }

    /// [`Timer::Revocation`]: the member has not given up in time what it must.
    pub(crate) fn revocation_timer(&mut self, cx: &mut Cx<'_>, id: &MemberId) {
        let state = self.members.get(id).map(super::Member::state);
        if state == Some(MemberState::UnrevokedPartitions) {
            self.fence(cx, id);
        }
    }

    fn fence(&mut self, cx: &mut Cx<'_>, id: &MemberId) {
        if !self.members.contains_key(id) {
            return;
        }
        let mut change = Change::default();
        self.remove(cx, &mut change, id);
        self.settle_after_removal(cx, &mut change);
        self.append(cx, change, None);
        self.schedule_target(cx);
    }

    /// Takes a member out, with its timers.
    pub(super) fn remove(&mut self, cx: &mut Cx<'_>, change: &mut Change, id: &MemberId) {
        cx.timers.cancel(&Timer::Session(self.id.clone(), id.clone()));
        cx.timers.cancel(&Timer::Revocation(self.id.clone(), id.clone()));
        let Some(member) = self.members.get(id).cloned() else { return };
        if member.current.is_some() {
            self.change(change, ConsumerRecord::Current(id.clone(), None));
        }
        if self.targets.contains_key(id) {
            self.change(change, ConsumerRecord::Target(id.clone(), None));
        }
        if member.subscription.is_some() {
            self.change(change, ConsumerRecord::Member(id.clone(), None));
        }
    }

    fn settle_after_removal(&mut self, cx: &Cx<'_>, change: &mut Change) {
        if self.has_regexes() {
            // Who leaves asks for nothing, and nobody is there whose rights would count.
            self.update_regexes(cx, None, change);
        }
        self.update_epoch(cx, change, true);
    }

    /// The member is alive: its session starts anew.
    pub(super) fn keep_alive(&self, cx: &mut Cx<'_>, id: &MemberId) {
        let config = &cx.config.consumer;
        let ms = cx
            .view
            .group_setting(&self.id, "consumer.session.timeout.ms")
            .unwrap_or(config.session_timeout_ms)
            .clamp(config.session_timeout_ms_min, config.session_timeout_ms_max);
        let at_ms = cx.now_ms + i64::from(ms);
        cx.timers.set(Timer::Session(self.id.clone(), id.clone()), at_ms);
    }

    pub(super) fn heartbeat_interval_ms(&self, cx: &Cx<'_>) -> i32 {
        let config = &cx.config.consumer;
        let set = cx.view.group_setting(&self.id, "consumer.heartbeat.interval.ms");
        set.unwrap_or(config.heartbeat_interval_ms)
            .clamp(config.heartbeat_interval_ms_min, config.heartbeat_interval_ms_max)
    }

    pub(super) fn rebalance_timeout_ms(&self, id: &MemberId) -> i64 {
        let subscription = self.members.get(id).and_then(|m| m.subscription.as_ref());
        let asked = subscription.map_or(-1, |s| s.rebalance_timeout_ms);
        if asked < 0 { REBALANCE_TIMEOUT_MS } else { i64::from(asked) }
    }

    /// Starts what timers are missing because an append has failed: those of members that are back,
    /// and that of the target, which is not tried again at once.
    pub(crate) fn restart_timers_late(&self, cx: &mut Cx<'_>) {
        self.restart_member_timers(cx);
        if self.group_epoch() > self.target_epoch() && !self.members.is_empty() {
            cx.timers.set(Timer::Target(self.id.clone()), cx.now_ms + RETRY_MS);
        }
    }

    /// Starts all timers of a loaded group.
    pub(crate) fn restart_timers(&self, cx: &mut Cx<'_>) {
        self.restart_member_timers(cx);
        self.schedule_target(cx);
    }

    fn restart_member_timers(&self, cx: &mut Cx<'_>) {
        for (id, member) in &self.members {
            let session = Timer::Session(self.id.clone(), id.clone());
            if !cx.timers.is_set(&session) {
                self.keep_alive(cx, id);
            }
            let revocation = Timer::Revocation(self.id.clone(), id.clone());
            if member.state() == MemberState::UnrevokedPartitions && !cx.timers.is_set(&revocation)
            {
                let left_ms = self.rebalance_timeout_ms(id).max(RETRY_MS);
                cx.timers.set(revocation, cx.now_ms + left_ms);
            }
        }
    }
}
