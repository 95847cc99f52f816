//! What has been appended and is not committed yet. The state already shows it; the replies that
//! tell of it wait here, and so does what is needed to take it back if the append failed.

use std::collections::VecDeque;

use base::ErrorCode;
use bytes::Bytes;

use crate::classic::Member;
use crate::{AppendId, Effect, GroupId, GroupRecord, GroupReply, MemberId, Ticket};

/// What an append does beyond its replies.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Nothing: the records alone matter.
    Records,
    /// The leader's assignments; once committed the members get theirs and the group is stable.
    Assign { group: GroupId, assignments: Vec<(MemberId, Bytes)> },
    /// A static member took the place of its former self.
    Replace { group: GroupId, new_member_id: MemberId, old: Box<Member> },
}

#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) id: AppendId,
    /// When the waiting replies give up; the records stay pending.
    deadline_ms: i64,
    pub(crate) outcome: Outcome,
    /// Records that restore what these replaced, to be applied in this order.
    pub(crate) undo: Vec<GroupRecord>,
    pub(crate) replies: Vec<(Ticket, GroupReply)>,
    timed_out: bool,
}

/// Invariant: ids grow from front to back, and so do deadlines.
#[derive(Debug, Default)]
pub(crate) struct PendingAppends {
    queue: VecDeque<Pending>,
    last_id: AppendId,
    last_order: u64,
}

impl PendingAppends {
    pub(crate) fn push(
        &mut self,
        deadline_ms: i64,
        outcome: Outcome,
        undo: Vec<GroupRecord>,
        reply: Option<(Ticket, GroupReply)>,
    ) -> AppendId {
        self.last_id.0 += 1;
        let id = self.last_id;
        let replies = reply.into_iter().collect();
        let timed_out = false;
        self.queue.push_back(Pending { id, deadline_ms, outcome, undo, replies, timed_out });
        id
    }

    /// The place of one more commit among all of the shard.
    pub(crate) fn next_order(&mut self) -> u64 {
        self.last_order += 1;
        self.last_order
    }

    /// Holds a reply until the append is committed; gives it back if it already is, or as a
    /// failure if that append has kept others waiting for too long.
    pub(crate) fn hold(
        &mut self,
        id: AppendId,
        ticket: Ticket,
        reply: GroupReply,
    ) -> Option<GroupReply> {
        match self.queue.binary_search_by_key(&id, |p| p.id) {
            Ok(i) if self.queue[i].timed_out => Some(reply.into_error(TIMED_OUT)),
            Ok(i) => {
                self.queue[i].replies.push((ticket, reply));
                None
            }
            Err(_) => Some(reply),
        }
    }

    /// The next append that is committed when everything up to `id` is.
    pub(crate) fn pop_committed(&mut self, id: AppendId) -> Option<Pending> {
        if self.queue.front()?.id > id {
            return None;
        }
        self.queue.pop_front()
    }

    /// The newest append, if it is `first` or later: failures are undone newest first.
    pub(crate) fn pop_failed(&mut self, first: AppendId) -> Option<Pending> {
        if self.queue.back()?.id < first {
            return None;
        }
        self.queue.pop_back()
    }

    /// When the next waiting reply gives up.
    pub(crate) fn next_deadline(&self) -> Option<i64> {
        self.queue.iter().find(|p| !p.timed_out).map(|p| p.deadline_ms)
    }

    /// Answers what has waited too long, and returns the assignments that did.
    pub(crate) fn time_out(
        &mut self,
        now_ms: i64,
        effects: &mut Vec<Effect>,
    ) -> Vec<(GroupId, AppendId)> {
        let mut late_assignments = Vec::new();
        let due = self.queue.iter_mut().take_while(|p| p.deadline_ms <= now_ms);
        for pending in due.filter(|p| !p.timed_out) {
            pending.timed_out = true;
            for (ticket, reply) in pending.replies.drain(..) {
                effects.push(Effect::Reply { ticket, reply: reply.into_error(TIMED_OUT) });
            }
            if let Outcome::Assign { group, .. } = &pending.outcome {
                late_assignments.push((group.clone(), pending.id));
            }
        }
        late_assignments
    }

    pub(crate) fn drain_replies(&mut self) -> impl Iterator<Item = (Ticket, GroupReply)> + '_ {
        self.queue.drain(..).flat_map(|p| p.replies)
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Panics when the invariant above is broken.
    pub(crate) fn validate(&self) {
        let ids = || self.queue.iter().map(|pending| pending.id);
        assert!(ids().is_sorted_by(|a, b| a < b), "appends are in order: {:?}", self.queue);
        assert!(ids().all(|id| id <= self.last_id), "an append of the future: {:?}", self.queue);
        let deadlines = self.queue.iter().map(|pending| pending.deadline_ms);
        assert!(deadlines.is_sorted(), "deadlines are in order: {:?}", self.queue);
    }

    pub(crate) fn last_id(&self) -> AppendId {
        self.last_id
    }
}

/// What a client hears whose records were appended but not committed in time: they may still be.
pub(crate) const TIMED_OUT: ErrorCode = ErrorCode::CoordinatorNotAvailable;

/// How clients are told of an append that failed, as Kafka translates it for groups.
pub(crate) fn client_error(append: ErrorCode) -> ErrorCode {
    use ErrorCode::*;
    match append {
        UnknownTopicOrPartition
        | NotEnoughReplicas
        | NotEnoughReplicasAfterAppend
        | RequestTimedOut => CoordinatorNotAvailable,
        NotLeaderOrFollower | FencedLeaderEpoch | KafkaStorageError => NotCoordinator,
        MessageTooLarge | RecordListTooLarge | InvalidFetchSize => UnknownServerError,
        other => other,
    }
}
