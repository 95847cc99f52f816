//! The consumer group protocol at the door of a shard: which group a heartbeat is for, and whether
//! there may be one.

use base::ErrorCode;

use super::GroupShard;
use crate::consumer::request::Refusal;
use crate::consumer::{change::Change, validate::validate};
use crate::group::{Cx, Group, Membership};
use crate::{
    ConsumerHeartbeat, ConsumerHeartbeatReply, DescribedConsumerGroup, Effect, GroupId, GroupReply,
    Ticket,
};

impl GroupShard {
    pub(super) fn consumer_heartbeat(
        &mut self,
        now_ms: i64,
        ticket: Ticket,
        request: ConsumerHeartbeat,
        effects: &mut Vec<Effect>,
    ) {
        let mut cx = cx!(self, now_ms, effects);
        let id = request.group.clone();
        let is_known = self.groups.contains_key(&id);
        let checked = validate(&request, &cx.config.consumer);
        let outcome = checked.and_then(|()| match self.groups.get_mut(&id) {
            _ if cx.view.cluster.is_none() => {
                Err(Refusal::new(ErrorCode::CoordinatorLoadInProgress, "No topics are known yet."))
            }
            Some(group) => heartbeat(&mut cx, group, ticket, request),
            None if request.member_epoch == 0 => {
                let group = self.groups.entry(id.clone()).or_insert_with(|| Group::new(id.clone()));
                heartbeat(&mut cx, group, ticket, request)
            }
            None => {
                let kind = if request.member_epoch > 0 { "Consumer group" } else { "Group" };
                let message = format!("{kind} {id} not found.");
                Err(Refusal::new(ErrorCode::GroupIdNotFound, message))
            }
        });
        if let Err(refusal) = outcome {
            let reply = ConsumerHeartbeatReply::error(refusal.error, Some(refusal.message));
            let reply = GroupReply::ConsumerHeartbeat(reply);
            match is_known {
                true => cx.reply(ticket, reply),
                // The group may just have been deleted, which may yet fail.
                false => cx.reply_after(cx.pending.last_id(), ticket, reply),
            }
        }
    }
}

fn heartbeat(
    cx: &mut Cx<'_>,
    group: &mut Group,
    ticket: Ticket,
    request: ConsumerHeartbeat,
) -> Result<(), Refusal> {
    if let Membership::Consumer(consumer) = &mut group.members {
        if request.member_epoch < 0 {
            return consumer.leave(cx, ticket, &request);
        }
        consumer.admit(cx, &request)?;
        consumer.heartbeat(cx, ticket, request, Change::default());
        return Ok(());
    }
    if request.member_epoch != 0 {
        let message = format!("Group {} is not a consumer group.", group.id);
        return Err(Refusal::new(ErrorCode::GroupIdNotFound, message));
    }
    if !group.is_empty() {
        // As Apache Kafka with group.consumer.migration.policy=disabled.
        let message = format!(
            "Cannot upgrade classic group {} to consumer group because online upgrade is disabled.",
            group.id
        );
        return Err(Refusal::new(ErrorCode::GroupIdNotFound, message));
    }
    let (records, undo) = group.become_consumer();
    if let Some(consumer) = group.consumer() {
        consumer.heartbeat(cx, ticket, request, Change::after(records, undo));
    }
    Ok(())
}

/// ConsumerGroupDescribe.
pub(super) fn describe(cx: &mut Cx<'_>, group: &mut Group, ticket: Ticket) {
    if let Some(consumer) = group.consumer() {
        consumer.describe(cx, ticket);
        return;
    }
    let message = format!("Group {} is not a consumer group.", group.id);
    let described = not_found(group.id.clone(), message);
    cx.reply(ticket, GroupReply::DescribeConsumer(described));
}

pub(super) fn describe_unknown(group: GroupId) -> DescribedConsumerGroup {
    let message = format!("Group {group} not found.");
    not_found(group, message)
}

fn not_found(group: GroupId, message: String) -> DescribedConsumerGroup {
    DescribedConsumerGroup::error(group, ErrorCode::GroupIdNotFound, Some(message))
}
