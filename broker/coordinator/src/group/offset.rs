//! Committed offsets of a group: commit, fetch, delete and expiry. A change shows in the state at
//! once; whoever is told of it waits until it is committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{ErrorCode, TopicId};

use super::subscription::CONSUMER;
use super::{Cx, Group, GroupState};
use crate::offsets::CommittedOffset;
use crate::pending::Outcome;
use crate::{
    CommitOffsets, CommitReply, DeleteOffsets, DeleteOffsetsReply, FetchOffsets, FetchReply,
    FetchTopic, FetchedOffset, FetchedTopic, GroupRecord, GroupReply, OffsetToCommit, Ticket,
};

/// Tombstones of one append: a large group's expiry must not become one huge batch.
const TOMBSTONES_PER_APPEND_MAX: usize = 1000;

impl Group {
    pub(crate) fn commit(&mut self, cx: &mut Cx<'_>, ticket: Ticket, request: CommitOffsets) {
        if let Err(error) = self.check_commit(&request) {
            let errors = vec![error; request.offsets.len()];
            cx.reply(ticket, GroupReply::Commit(CommitReply { errors }));
            return;
        }
        if matches!(self.state, GroupState::Stable | GroupState::PreparingRebalance) {
            self.restart_session(cx, &request.member_id);
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
            changes.push((topic, partition, Some(to_store(asked, cx.wall_ms, expire_ms))));
        }
        let reply = GroupReply::Commit(CommitReply { errors });
        self.change_offsets(cx, changes, Some((ticket, reply)));
    }

    /// Who may commit: members of the current generation, and, while there are no members,
    /// anybody who claims no membership.
    fn check_commit(&self, request: &CommitOffsets) -> Result<(), ErrorCode> {
        if request.generation < 0 && self.is_empty() {
            return Ok(());
        }
        let claims = request.generation >= 0
            || !request.member_id.is_empty()
            || request.instance_id.is_some();
        if !claims {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_member(&request.member_id, request.instance_id.as_deref())?;
        if request.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        match self.state {
            // A member that has joined this generation must synchronise before it commits.
            GroupState::CompletingRebalance => Err(ErrorCode::RebalanceInProgress),
            _ => Ok(()),
        }
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
        let topics = match request.topics {
            None => self.fetch_all(),
            Some(topics) => topics.into_iter().map(|t| self.fetch_topic(t)).collect(),
        };
        let reply = FetchReply { error: ErrorCode::None, topics };
        cx.reply_after(self.offsets_append, ticket, GroupReply::Fetch(reply));
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
        if !self.is_empty() && self.protocol_type.as_deref() != Some(CONSUMER) {
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
            if self.offsets.get(&asked.topic, asked.partition).is_some() {
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
        let all = self.offsets.iter().map(|(t, p, _)| (t.clone(), p)).collect();
        self.append_tombstones(cx, all);
        self.append_group_tombstone(cx, Some((ticket, GroupReply::DeleteGroup(ErrorCode::None))));
    }

    /// Removes the offsets that have expired, and the group with the last of them.
    pub(crate) fn expire_offsets(&mut self, cx: &mut Cx<'_>) {
        let expired: Vec<_> = self
            .offsets
            .iter()
            .filter(|(topic, _, offset)| self.is_expired(cx, topic, offset))
            .map(|(topic, partition, _)| (topic.clone(), partition))
            .collect();
        self.append_tombstones(cx, expired);
        let gone = self.is_empty() && self.pending_members.is_empty() && self.offsets.is_empty();
        if gone && self.in_log {
            self.append_group_tombstone(cx, None);
        }
    }

    /// Forgets the offsets of topics that no longer exist. A new topic of the name is another: what
    /// was committed by its id stays.
    pub(crate) fn drop_topics(&mut self, cx: &mut Cx<'_>, deleted: &BTreeMap<Arc<str>, TopicId>) {
        let dropped: Vec<_> = self
            .offsets
            .iter()
            .filter(|(topic, _, offset)| {
                deleted.get(*topic).is_some_and(|id| !offset.is_of_other_topic(*id))
            })
            .map(|(topic, partition, _)| (topic.clone(), partition))
            .collect();
        self.append_tombstones(cx, dropped);
    }

    fn is_expired(&self, cx: &Cx<'_>, topic: &str, offset: &CommittedOffset) -> bool {
        let since_ms = match (&self.protocol_type, self.state) {
            // Offsets of a consumer without membership age from their commit.
            (None, _) => offset.commit_ms,
            // Those of a group age from the moment that its last member left.
            (Some(_), GroupState::Empty) => self.state_since_ms.unwrap_or(offset.commit_ms),
            // Topics that the group no longer reads age from their last commit.
            (Some(_), GroupState::Stable)
                if self.knows_subscriptions() && !self.is_subscribed(topic) =>
            {
                offset.commit_ms
            }
            _ => return false,
        };
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

    fn append_group_tombstone(&mut self, cx: &mut Cx<'_>, reply: Option<(Ticket, GroupReply)>) {
        let undo = match self.in_log {
            true => vec![self.record(|m| m.assignment.clone())],
            false => Vec::new(),
        };
        let record = GroupRecord::Group { group: self.id.clone(), value: None };
        self.offsets_append = cx.append(vec![record], undo, Outcome::Records, reply);
        self.forget_membership();
    }
}

fn to_store(asked: OffsetToCommit, commit_ms: i64, expire_ms: Option<i64>) -> CommittedOffset {
    CommittedOffset {
        offset: asked.offset,
        leader_epoch: asked.leader_epoch,
        metadata: asked.metadata,
        commit_ms,
        expire_ms,
        topic_id: asked.topic_id,
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
