//! The transactions that have committed offsets of a shard's groups.

use std::collections::BTreeSet;

use base::{ErrorCode, ProducerId};
use bytes::Bytes;

use super::GroupShard;
use crate::group::Cx;
use crate::pending::Outcome;
use crate::{Effect, GroupId, GroupRecord, GroupReply, Ticket, Transaction, TransactionEnd};

impl GroupShard {
    fn cx<'a>(&'a mut self, now_ms: i64, effects: &'a mut Vec<Effect>) -> Cx<'a> {
        Cx {
            now_ms,
            wall_ms: now_ms + self.wall_offset_ms,
            expiry_ms: now_ms + self.expiry_offset_ms,
            config: &self.config,
            view: &self.view,
            timers: &mut self.timers,
            pending: &mut self.pending,
            effects,
        }
    }

    /// Takes over what the log has of an open transaction.
    pub(super) fn load_pending(
        &mut self,
        producer_id: ProducerId,
        key: Bytes,
        value: Option<Bytes>,
    ) -> Result<(), String> {
        match GroupRecord::decode(key, value).map_err(|error| error.to_string())? {
            Some(GroupRecord::Offset { group, topic, partition, value: Some(value) }) => {
                let (transaction, value) = (Transaction::of(producer_id), Some(value));
                self.replay(GroupRecord::PendingOffset {
                    transaction,
                    group,
                    topic,
                    partition,
                    value,
                });
                Ok(())
            }
            Some(_) => Err("a transaction has something else than offsets".to_owned()),
            None => Ok(()),
        }
    }

    /// What open transactions of a producer have committed counts now, or is forgotten. Returns
    /// what takes that back, and the groups that had anything.
    pub(super) fn end_pending(
        &mut self,
        producer_id: ProducerId,
        is_committed: bool,
    ) -> (Vec<GroupRecord>, BTreeSet<GroupId>) {
        let groups = self.transactions.remove(&producer_id).unwrap_or_default();
        let mut undo = Vec::new();
        for id in &groups {
            if let Some(group) = self.groups.get_mut(id) {
                undo.extend(group.end_transaction(producer_id, is_committed));
                self.drop_if_vacant(id);
            }
        }
        (undo, groups)
    }

    pub(super) fn end_transaction(
        &mut self,
        now_ms: i64,
        ticket: Ticket,
        end: TransactionEnd,
        effects: &mut Vec<Effect>,
    ) {
        let (undo, groups) = self.end_pending(end.producer_id, end.commit);
        let records = vec![GroupRecord::TransactionEnd(end)];
        let reply = Some((ticket, GroupReply::EndTransaction(ErrorCode::None)));
        let append = self.cx(now_ms, effects).append(records, undo, Outcome::Records, reply);
        for id in &groups {
            if let Some(group) = self.groups.get_mut(id) {
                group.offsets_append = append;
            }
        }
        self.validate_after(None);
    }
}
