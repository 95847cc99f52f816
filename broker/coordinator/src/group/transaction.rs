//! Offsets that are committed within a transaction: they show when its marker is written.

use base::{ErrorCode, ProducerId};

use super::offset::to_store;
use super::{Cx, Group, Membership};
use crate::pending::Outcome;
use crate::{CommitReply, GroupRecord, GroupReply, Ticket, Transaction, TransactionalCommit};

impl Group {
    pub(crate) fn commit_in_transaction(
        &mut self,
        cx: &mut Cx<'_>,
        ticket: Ticket,
        request: TransactionalCommit,
    ) {
        let TransactionalCommit { transaction, commit } = request;
        let admitted = match &self.members {
            Membership::Classic(classic) => classic.check_transactional_commit(&commit),
            Membership::Consumer(consumer) => consumer.admit_transactional_commit(cx, &commit),
        };
        if let Err(error) = admitted {
            let errors = vec![error; commit.offsets.len()];
            cx.reply(ticket, GroupReply::Commit(CommitReply { errors }));
            return;
        }
        let mut errors = Vec::with_capacity(commit.offsets.len());
        let (mut records, mut undo) = (Vec::new(), Vec::new());
        for asked in commit.offsets {
            if asked.metadata.len() > cx.config.offset_metadata_bytes_max {
                errors.push(ErrorCode::OffsetMetadataTooLarge);
                continue;
            }
            errors.push(ErrorCode::None);
            let (topic, partition) = (asked.topic.clone(), asked.partition);
            let value = Some(to_store(cx, asked, None));
            let id = transaction.producer_id;
            let old = self.offsets.set_pending(id, &topic, partition, value.clone());
            let group = self.id.clone();
            let record = |value| GroupRecord::PendingOffset {
                transaction,
                group: group.clone(),
                topic: topic.clone(),
                partition,
                value,
            };
            undo.push(record(old));
            records.push(record(value));
        }
        let reply = GroupReply::Commit(CommitReply { errors });
        if records.is_empty() {
            cx.reply(ticket, reply);
            return;
        }
        // One request may name a partition twice: the oldest value must be the last one restored.
        undo.reverse();
        self.offsets_append = cx.append(records, undo, Outcome::Records, Some((ticket, reply)));
    }

    /// A producer's transaction has ended. What it committed counts where no later commit does.
    /// Returns what takes that back.
    pub(crate) fn end_transaction(
        &mut self,
        producer_id: ProducerId,
        is_committed: bool,
    ) -> Vec<GroupRecord> {
        let mut undo = Vec::new();
        for ((topic, partition), value) in self.offsets.take_pending(producer_id) {
            let group = self.id.clone();
            let known = self.offsets.get(&topic, partition);
            if is_committed && known.is_none_or(|known| known.order < value.order) {
                let old = self.offsets.set(&topic, partition, Some(value.clone()));
                let (group, topic) = (group.clone(), topic.clone());
                undo.push(GroupRecord::Offset { group, topic, partition, value: old });
            }
            let (transaction, value) = (Transaction::of(producer_id), Some(value));
            undo.push(GroupRecord::PendingOffset { transaction, group, topic, partition, value });
        }
        undo
    }
}
