//! What the group looks like from outside.

use std::sync::Arc;

use base::{ErrorCode, TopicId};

use super::request::{DescribedConsumer, DescribedConsumerGroup, DescribedPartitions};
use super::value::Subscription;
use super::{ConsumerGroup, Member};
use crate::group::Cx;
use crate::{GroupReply, ListedGroup, MemberId, Ticket};

/// `protocol.type` of the groups of this protocol.
const PROTOCOL_TYPE: &str = "consumer";

impl ConsumerGroup {
    pub(crate) fn listed(&self) -> ListedGroup {
        ListedGroup {
            group: self.id.clone(),
            protocol_type: PROTOCOL_TYPE.into(),
            state: self.state().name(),
            kind: "consumer",
        }
    }

    /// Tells of the group once all of it is committed.
    pub(crate) fn describe(&self, cx: &mut Cx<'_>, ticket: Ticket) {
        let members = self.members.iter().map(|(id, member)| self.described(cx, id, member));
        let described = DescribedConsumerGroup {
            error: ErrorCode::None,
            message: None,
            group: self.id.clone(),
            state: self.state(),
            epoch: self.group_epoch(),
            target_epoch: self.target_epoch(),
            assignor: self.preferred_assignor(cx.config).name().into(),
            members: members.collect(),
        };
        cx.reply_after(self.last_append, ticket, GroupReply::DescribeConsumer(described));
    }

    fn described(&self, cx: &Cx<'_>, id: &MemberId, member: &Member) -> DescribedConsumer {
        let nothing = Arc::new(Subscription::default());
        let subscription = member.subscription.as_ref().unwrap_or(&nothing);
        let partitions = |(topic_id, partitions): (TopicId, Vec<i32>)| {
            let topic = cx.view.topic_name(topic_id)?;
            Some(DescribedPartitions { topic, topic_id, partitions })
        };
        let assigned = member.current.iter().flat_map(|c| &c.assigned);
        let assigned = assigned.map(|(id, ps)| (*id, ps.keys().copied().collect()));
        let target = self.target_of(id).into_iter().flat_map(|t| t.iter());
        let target = target.map(|(id, ps)| (*id, ps.iter().copied().collect()));
        DescribedConsumer {
            member_id: id.clone(),
            instance_id: subscription.instance_id.clone(),
            rack_id: subscription.rack_id.clone(),
            member_epoch: member.epoch(),
            client_id: subscription.client_id.clone(),
            client_host: subscription.client_host.clone(),
            topics: subscription.topics.iter().cloned().collect(),
            regex: subscription.regex.clone(),
            is_classic: subscription.classic.is_some(),
            assignment: assigned.filter_map(partitions).collect(),
            target: target.filter_map(partitions).collect(),
        }
    }
}
