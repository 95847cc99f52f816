//! Committed offsets of a group: commit, fetch, delete and expiry. A change shows in the state at
//! once; whoever is told of it waits until it is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::{ErrorCode, TopicId};

use super::{Cx, Group, Membership};
use crate::offsets::CommittedOffset;
use crate::pending::Outcome;
use crate::{
    CommitOffsets, CommitReply, DeleteOffsets, DeleteOffsetsReply, FetchOffsets, FetchReply,
    FetchTopic, FetchedOffset, FetchedTopic, GroupRecord, GroupReply, OffsetToCommit, Ticket,
    Transaction,
};

/// Tombstones of one append: a large group's expiry must not become one huge batch.
const TOMBSTONES_PER_APPEND_MAX: usize = 1000;

impl Group {
    pub(crate) fn commit(&mut self, cx: &mut Cx<'_>, ticket: Ticket, request: CommitOffsets) {
        let admitted = match &self.members {
            Membership::Classic(classic) => classic.admit_commit(cx, &request),
            Membership::Consumer(consumer) => consumer.admit_commit(cx, &request),
        };
        if let Err(error) = admitted {
            let errors = vec![error; request.offsets.len()];
            cx.reply(ticket, GroupReply::Commit(CommitReply { errors }));
            return;
        }
        let expire_ms = request.retention_ms.map(|ms| cx.wall_ms.saturating_add(ms));
        let mut errors = Vec::with_capacity(request.offsets.len());
        let mut changes = Vec::with_capacity(request.offsets.len());
        for asked in request.offsets {
            if asked.metadata.len() > cx.config.offset_metadata_bytes_max {
                errors.push(ErrorCode::OffsetMetadataTooLarge);
                continue;
            }
            errors.push(ErrorCode::None);
            let (topic, partition) = (asked.topic.clone(), asked.partition);
            changes.push((topic, partition, Some(to_store(cx, asked, expire_ms))));
        }
        let reply = GroupReply::Commit(CommitReply { errors });
        self.change_offsets(cx, changes, Some((ticket, reply)));
    }

    /// Applies and appends changes; with none, only replies.
    fn change_offsets(
        &mut self,
        cx: &mut Cx<'_>,
        changes: Vec<(Arc<str>, i32, Option<CommittedOffset>)>,
        reply: Option<(Ticket, GroupReply)>,
    ) {
        if changes.is_empty() {
            if let Some((ticket, reply)) = reply {
                cx.reply_after(self.offsets_append, ticket, reply);
            }
            return;
        }
        let mut records = Vec::with_capacity(changes.len());
        let mut undo = Vec::with_capacity(changes.len());
        for (topic, partition, value) in changes {
            let old = self.offsets.set(&topic, partition, value.clone());
            let group = self.id.clone();
            if value.is_none() {
                let dropped = self.offsets.drop_pending(&topic, partition).into_iter();
                undo.extend(dropped.map(|(id, value)| GroupRecord::PendingOffset {
                    transaction: Transaction::of(id),
                    group: group.clone(),
                    topic: topic.clone(),
                    partition,
                    value: Some(value),
                }));
            }
            undo.push(GroupRecord::Offset {
                group: group.clone(),
                topic: topic.clone(),
                partition,
                value: old,
            });
            records.push(GroupRecord::Offset { group, topic, partition, value });
        }
        // One request may name a partition twice: the oldest value must be the last one restored.
        undo.reverse();
        self.offsets_append = cx.append(records, undo, Outcome::Records, reply);
    }

    pub(crate) fn fetch(&self, cx: &mut Cx<'_>, ticket: Ticket, request: FetchOffsets) {
        let mut append = self.offsets_append;
        if let Membership::Consumer(consumer) = &self.members {
            append = append.max(consumer.last_append());
            if let Err(error) = consumer.admit_fetch(&request) {
                let reply = FetchReply { error, topics: Vec::new() };
                cx.reply_after(append, ticket, GroupReply::Fetch(reply));
                return;
            }
        }
        let topics = match request.topics {
            None => self.fetch_all(),
            Some(topics) => topics.into_iter().map(|t| self.fetch_topic(t)).collect(),
        };
        let topics = match request.require_stable {
            true => self.hide_unstable(topics),
            false => topics,
        };
        let reply = FetchReply { error: ErrorCode::None, topics };
        cx.reply_after(append, ticket, GroupReply::Fetch(reply));
    }

    /// Where an open transaction may yet commit another offset, nothing is told.
    fn hide_unstable(&self, mut topics: Vec<FetchedTopic>) -> Vec<FetchedTopic> {
        for FetchedTopic { topic, partitions, .. } in &mut topics {
            for told in partitions.iter_mut() {
                if self.offsets.is_pending(topic, told.partition) {
                    let error = ErrorCode::UnstableOffsetCommit;
                    *told = FetchedOffset { error, ..fetched(told.partition, None) };
                }
            }
        }
        topics
    }

    fn fetch_all(&self) -> Vec<FetchedTopic> {
        let topics = self.offsets.topics().map(|(topic, partitions)| FetchedTopic {
            topic: topic.clone(),
            topic_id: partitions.values().map(|o| o.topic_id).next_back().unwrap_or_default(),
            partitions: partitions.iter().map(|(p, o)| fetched(*p, Some(o))).collect(),
        });
        topics.collect()
    }

    fn fetch_topic(&self, asked: FetchTopic) -> FetchedTopic {
        let of_this_topic = |o: &&CommittedOffset| !o.is_of_other_topic(asked.topic_id);
        let partitions = asked
            .partitions
            .iter()
            .map(|p| fetched(*p, self.offsets.get(&asked.topic, *p).filter(of_this_topic)))
            .collect();
        FetchedTopic { topic: asked.topic, topic_id: asked.topic_id, partitions }
    }

    /// OffsetDelete: of a group without members, or of topics that its members do not read.
    pub(crate) fn delete_offsets(
        &mut self,
        cx: &mut Cx<'_>,
        ticket: Ticket,
        request: DeleteOffsets,
    ) {
        let are_known = match &self.members {
            Membership::Classic(classic) => classic.knows_subscriptions(),
            Membership::Consumer(_) => true,
        };
        if !self.is_empty() && !are_known {
            let error = ErrorCode::NonEmptyGroup;
            let reply = DeleteOffsetsReply { error, errors: Vec::new() };
            cx.reply(ticket, GroupReply::DeleteOffsets(reply));
            return;
        }
        let mut errors = Vec::with_capacity(request.partitions.len());
        let mut changes = Vec::new();
        for asked in request.partitions {
            if !self.is_empty() && self.is_subscribed(&asked.topic) {
                errors.push(ErrorCode::GroupSubscribedToTopic);
                continue;
            }
            errors.push(ErrorCode::None);
            let (topic, partition) = (&asked.topic, asked.partition);
            let is_known = self.offsets.get(topic, partition).is_some();
            if is_known || self.offsets.is_pending(topic, partition) {
                changes.push((asked.topic, asked.partition, None));
            }
        }
        let reply = DeleteOffsetsReply { error: ErrorCode::None, errors };
        self.change_offsets(cx, changes, Some((ticket, GroupReply::DeleteOffsets(reply))));
    }

    /// DeleteGroup: tombstones for everything. The caller removes the group if this says so.
    pub(crate) fn delete(&mut self, cx: &mut Cx<'_>, ticket: Ticket) {
        if !self.is_empty() {
            cx.reply(ticket, GroupReply::DeleteGroup(ErrorCode::NonEmptyGroup));
            return;
        }
        let all = self.partitions(|_, _| true);
        self.append_tombstones(cx, all);
        self.append_group_tombstone(cx, Some((ticket, GroupReply::DeleteGroup(ErrorCode::None))));
    }

    /// Removes the offsets that have expired, and the group with the last of them.
    pub(crate) fn expire_offsets(&mut self, cx: &mut Cx<'_>) {
        let expired: Vec<_> = self
            .offsets
            .iter()
            .filter(|(topic, partition, offset)| {
                self.is_expired(cx, topic, offset) && !self.offsets.is_pending(topic, *partition)
            })
            .map(|(topic, partition, _)| (topic.clone(), partition))
            .collect();
        self.append_tombstones(cx, expired);
        let is_in_log = match &self.members {
            Membership::Classic(classic) => classic.is_in_log(),
            Membership::Consumer(consumer) => !consumer.is_vacant(),
        };
        if is_in_log && self.is_deserted() && self.offsets.is_empty() {
            self.append_group_tombstone(cx, None);
        }
    }

    /// Forgets the offsets of topics that no longer exist. A new topic of the name is another: what
    /// was committed by its id stays.
    pub(crate) fn drop_topics(&mut self, cx: &mut Cx<'_>, deleted: &BTreeMap<Arc<str>, TopicId>) {
        let dropped = self.partitions(|topic, offset| {
            deleted.get(topic).is_some_and(|id| !offset.is_of_other_topic(*id))
        });
        self.append_tombstones(cx, dropped);
    }

    /// Partitions with such an offset, committed or pending.
    fn partitions(&self, is_such: impl Fn(&str, &CommittedOffset) -> bool) -> Vec<(Arc<str>, i32)> {
        let pending = self.offsets.iter_pending().map(|(_, topic, p, offset)| (topic, p, offset));
        let all = self.offsets.iter().chain(pending).filter(|(topic, _, o)| is_such(topic, o));
        let all: BTreeSet<_> =
            all.map(|(topic, partition, _)| (topic.clone(), partition)).collect();
        all.into_iter().collect()
    }

    fn is_subscribed(&self, topic: &str) -> bool {
        match &self.members {
            Membership::Classic(classic) => classic.is_subscribed(topic),
            Membership::Consumer(consumer) => consumer.is_subscribed(topic),
        }
    }

    fn is_expired(&self, cx: &Cx<'_>, topic: &str, offset: &CommittedOffset) -> bool {
        let since_ms = match &self.members {
            Membership::Classic(classic) => classic.expires_since_ms(topic, offset.commit_ms),
            Membership::Consumer(consumer) if consumer.is_subscribed(topic) => None,
            Membership::Consumer(_) => Some(offset.commit_ms),
        };
        let Some(since_ms) = since_ms else { return false };
        match offset.expire_ms {
            Some(expire_ms) => cx.expiry_ms >= expire_ms,
            None => cx.expiry_ms.saturating_sub(since_ms) >= cx.config.offsets_retention_ms,
        }
    }

    fn append_tombstones(&mut self, cx: &mut Cx<'_>, partitions: Vec<(Arc<str>, i32)>) {
        for chunk in partitions.chunks(TOMBSTONES_PER_APPEND_MAX) {
            let changes = chunk.iter().map(|(topic, p)| (topic.clone(), *p, None)).collect();
            self.change_offsets(cx, changes, None);
        }
    }
}

pub(super) fn to_store(
    cx: &mut Cx<'_>,
    asked: OffsetToCommit,
    expire_ms: Option<i64>,
) -> CommittedOffset {
    CommittedOffset {
        offset: asked.offset,
        leader_epoch: asked.leader_epoch,
        metadata: asked.metadata,
        commit_ms: cx.wall_ms,
        expire_ms,
        topic_id: asked.topic_id,
        order: cx.pending.next_order(),
    }
}

fn fetched(partition: i32, offset: Option<&CommittedOffset>) -> FetchedOffset {
    let error = ErrorCode::None;
    match offset {
        Some(o) => FetchedOffset {
            partition,
            offset: o.offset,
            leader_epoch: o.leader_epoch,
            metadata: o.metadata.clone(),
            error,
        },
        None => {
            FetchedOffset { partition, offset: -1, leader_epoch: -1, metadata: "".into(), error }
        }
    }
}

/// The reply of a group that does not exist: nothing is committed.
pub(crate) fn fetch_nothing(request: FetchOffsets) -> FetchReply {
    let nothing = |t: FetchTopic| FetchedTopic {
        partitions: t.partitions.iter().map(|p| fetched(*p, None)).collect(),
        topic: t.topic,
        topic_id: t.topic_id,
    };
    let topics = request.topics.unwrap_or_default().into_iter().map(nothing).collect();
    FetchReply { error: ErrorCode::None, topics }
}
