//! One group: what it has committed, and who its members are. The offsets are the same whatever
//! protocol the members speak, and outlive the members.

mod offset;
mod transaction;

use crate::classic::ClassicGroup;
use crate::cluster::View;
use crate::consumer::ConsumerGroup;
use crate::consumer::value::ConsumerRecord;
use crate::offsets::Offsets;
use crate::pending::{Outcome, PendingAppends};
use crate::timers::Timers;
use crate::{
    AppendId, CommittedOffset, Effect, GroupConfig, GroupId, GroupRecord, GroupReply, GroupValue,
    ListedGroup, Ticket, Transaction,
};

pub(crate) use offset::fetch_nothing;

/// What an event may do besides changing its group.
pub(crate) struct Cx<'a> {
    pub(crate) now_ms: i64,
    /// The same moment as it is stored in records.
    pub(crate) wall_ms: i64,
    /// The same moment as ages are judged by.
    pub(crate) expiry_ms: i64,
    pub(crate) config: &'a GroupConfig,
    /// What is known of the cluster.
    pub(crate) view: &'a View,
    pub(crate) timers: &'a mut Timers,
    pub(crate) pending: &'a mut PendingAppends,
    pub(crate) effects: &'a mut Vec<Effect>,
}

impl Cx<'_> {
    pub(crate) fn reply(&mut self, ticket: Ticket, reply: GroupReply) {
        self.effects.push(Effect::Reply { ticket, reply });
    }

    /// Replies once the append is committed: the reply tells of state that it made.
    pub(crate) fn reply_after(&mut self, id: AppendId, ticket: Ticket, reply: GroupReply) {
        if let Some(reply) = self.pending.hold(id, ticket, reply) {
            self.reply(ticket, reply);
        }
    }

    /// Appends the records as one batch; `undo` restores what was before, in its own order.
    pub(crate) fn append(
        &mut self,
        records: Vec<GroupRecord>,
        undo: Vec<GroupRecord>,
        outcome: Outcome,
        reply: Option<(Ticket, GroupReply)>,
    ) -> AppendId {
        debug_assert!(!records.is_empty(), "an append has records");
        let deadline_ms = self.now_ms + self.config.commit_timeout_ms;
        let id = self.pending.push(deadline_ms, outcome, undo, reply);
        self.effects.push(Effect::Append { id, records });
        id
    }
}

#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) offsets: Offsets,
    /// The newest append that changed the offsets.
    pub(crate) offsets_append: AppendId,
    pub(crate) members: Membership,
}

/// The members of a group, by the protocol that they speak.
#[derive(Debug)]
pub(crate) enum Membership {
    Classic(Box<ClassicGroup>),
    Consumer(Box<ConsumerGroup>),
}

impl Group {
    pub(crate) fn new(id: GroupId) -> Group {
        Group {
            offsets: Offsets::default(),
            offsets_append: AppendId::default(),
            members: Membership::Classic(Box::new(ClassicGroup::new(id.clone()))),
            id,
        }
    }

    pub(crate) fn classic(&mut self) -> Option<&mut ClassicGroup> {
        match &mut self.members {
            Membership::Classic(classic) => Some(classic),
            Membership::Consumer(_) => None,
        }
    }

    pub(crate) fn consumer(&mut self) -> Option<&mut ConsumerGroup> {
        match &mut self.members {
            Membership::Classic(_) => None,
            Membership::Consumer(consumer) => Some(consumer),
        }
    }

    /// Nothing distinguishes the group from one that does not exist.
    pub(crate) fn is_vacant(&self) -> bool {
        let has_members = match &self.members {
            Membership::Classic(classic) => !classic.is_vacant(),
            Membership::Consumer(consumer) => !consumer.is_vacant(),
        };
        !has_members && self.offsets.is_empty()
    }

    /// No members, nor anybody about to become one.
    fn is_deserted(&self) -> bool {
        match &self.members {
            Membership::Classic(classic) => classic.is_deserted(),
            Membership::Consumer(consumer) => consumer.is_empty(),
        }
    }

    /// The group without members: a group of any kind may follow.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.members {
            Membership::Classic(classic) => classic.is_empty(),
            Membership::Consumer(consumer) => consumer.is_empty(),
        }
    }

    pub(crate) fn listed(&self) -> ListedGroup {
        match &self.members {
            Membership::Classic(classic) => classic.listed(),
            Membership::Consumer(consumer) => consumer.listed(),
        }
    }

    /// Appends what removes the group from the log, and forgets the members.
    pub(crate) fn append_group_tombstone(
        &mut self,
        cx: &mut Cx<'_>,
        reply: Option<(Ticket, GroupReply)>,
    ) {
        let (records, undo) = self.forget();
        if records.is_empty() {
            if let Some((ticket, reply)) = reply {
                cx.reply_after(self.offsets_append, ticket, reply);
            }
            return;
        }
        self.offsets_append = cx.append(records, undo, Outcome::Records, reply);
    }

    /// Forgets the members; returns the tombstones that say so, and what takes it back.
    pub(crate) fn forget(&mut self) -> (Vec<GroupRecord>, Vec<GroupRecord>) {
        let of_consumers = |record| GroupRecord::Consumer { group: self.id.clone(), record };
        let (records, undo) = match &self.members {
            Membership::Classic(classic) => {
                let tombstone = GroupRecord::Group { group: self.id.clone(), value: None };
                (vec![tombstone], classic.record_in_log().into_iter().collect())
            }
            Membership::Consumer(consumer) => (
                consumer.tombstones().into_iter().map(of_consumers).collect(),
                consumer.records().into_iter().map(of_consumers).collect(),
            ),
        };
        self.forget_membership();
        (records, undo)
    }

    /// Begins a consumer group in the place of one without members; returns what that takes.
    pub(crate) fn become_consumer(&mut self) -> (Vec<GroupRecord>, Vec<GroupRecord>) {
        let is_in_log = match &self.members {
            Membership::Classic(classic) => classic.is_in_log(),
            Membership::Consumer(_) => return (Vec::new(), Vec::new()),
        };
        let change = if is_in_log { self.forget() } else { (Vec::new(), Vec::new()) };
        self.members = Membership::Consumer(Box::new(ConsumerGroup::new(self.id.clone())));
        change
    }

    /// Applies a record of a classic group, of the log or to take one back.
    pub(crate) fn replay_classic(&mut self, value: Option<GroupValue>) {
        match (value, &mut self.members) {
            (Some(value), Membership::Classic(classic)) => classic.restore(value),
            (Some(value), Membership::Consumer(_)) => {
                let mut classic = ClassicGroup::new(self.id.clone());
                classic.restore(value);
                self.members = Membership::Classic(Box::new(classic));
            }
            (None, Membership::Classic(_)) => self.forget_membership(),
            // Of the classic group that was there before.
            (None, Membership::Consumer(_)) => {}
        }
    }

    /// Applies a record of a consumer group, of the log or to take one back.
    pub(crate) fn replay_consumer(&mut self, record: ConsumerRecord) {
        let consumer = match &mut self.members {
            Membership::Consumer(consumer) => consumer,
            // Of the consumer group that was there before.
            Membership::Classic(_) if record.is_tombstone() => return,
            Membership::Classic(_) => {
                let mut consumer = ConsumerGroup::new(self.id.clone());
                consumer.apply(record);
                self.members = Membership::Consumer(Box::new(consumer));
                return;
            }
        };
        consumer.apply(record);
        if consumer.is_vacant() {
            self.forget_membership();
        }
    }

    /// Forgets everything but the offsets, as a group tombstone says.
    pub(crate) fn forget_membership(&mut self) {
        self.members = Membership::Classic(Box::new(ClassicGroup::new(self.id.clone())));
    }

    /// The records that replay leads to.
    pub(crate) fn persistent_view(&self) -> Vec<GroupRecord> {
        let members: Vec<GroupRecord> = match &self.members {
            Membership::Classic(classic) => classic.persistent_view().into_iter().collect(),
            Membership::Consumer(consumer) => {
                let of_group = |record| GroupRecord::Consumer { group: self.id.clone(), record };
                consumer.records().into_iter().map(of_group).collect()
            }
        };
        let offsets = self.offsets.iter().map(|(topic, partition, value)| GroupRecord::Offset {
            group: self.id.clone(),
            topic: topic.clone(),
            partition,
            value: Some(CommittedOffset { order: 0, ..value.clone() }),
        });
        let pending = self.offsets.iter_pending().map(|(id, topic, partition, value)| {
            GroupRecord::PendingOffset {
                transaction: Transaction::of(id),
                group: self.id.clone(),
                topic: topic.clone(),
                partition,
                value: Some(CommittedOffset { order: 0, ..value.clone() }),
            }
        });
        members.into_iter().chain(offsets).chain(pending).collect()
    }

    /// Panics when an invariant of the group is broken.
    pub(crate) fn validate(&self) {
        self.offsets.validate();
        match &self.members {
            Membership::Classic(classic) => classic.validate(),
            Membership::Consumer(consumer) => consumer.validate(),
        }
    }
}
