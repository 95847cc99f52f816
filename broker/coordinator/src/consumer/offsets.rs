//! What a consumer group's members have to do with its committed offsets.

use base::ErrorCode;

use super::ConsumerGroup;
use super::value::Current;
use crate::group::Cx;
use crate::{AppendId, CommitOffsets, FetchOffsets};

impl ConsumerGroup {
    /// Whether the commit may be made: by a member in its epoch, or in an older one for partitions
    /// that it has had since (KIP-1251); by anybody while there are no members.
    pub(crate) fn admit_commit(
        &self,
        cx: &Cx<'_>,
        request: &CommitOffsets,
    ) -> Result<(), ErrorCode> {
        if request.generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        let Some(member) = self.members.get(&request.member_id) else {
            return Err(ErrorCode::UnknownMemberId);
        };
        let subscription = member.subscription.as_ref();
        let is_classic = subscription.is_some_and(|s| s.classic.is_some());
        if !is_classic && !request.knows_epochs {
            return Err(ErrorCode::UnsupportedVersion);
        }
        let stale = match is_classic {
            true => ErrorCode::IllegalGeneration,
            false => ErrorCode::StaleMemberEpoch,
        };
        match &member.current {
            _ if request.generation == member.epoch() => Ok(()),
            Some(current)
                if request.generation < current.epoch && has_had_since(cx, current, request) =>
            {
                Ok(())
            }
            _ => Err(stale),
        }
    }

    /// The same within a transaction, where producers of old say nothing of a member.
    pub(crate) fn admit_transactional_commit(
        &self,
        cx: &Cx<'_>,
        request: &CommitOffsets,
    ) -> Result<(), ErrorCode> {
        let says_nothing = request.generation == -1
            && request.member_id.is_empty()
            && request.instance_id.is_none();
        if says_nothing { Ok(()) } else { self.admit_commit(cx, request) }
    }

    /// Whether the fetch may be made: by a member in its epoch, or by who claims no membership.
    pub(crate) fn admit_fetch(&self, request: &FetchOffsets) -> Result<(), ErrorCode> {
        let Some(member_id) = &request.member_id else { return Ok(()) };
        match self.members.get(member_id) {
            None => Err(ErrorCode::UnknownMemberId),
            Some(member) if member.epoch() == request.member_epoch => Ok(()),
            Some(_) => Err(ErrorCode::StaleMemberEpoch),
        }
    }

    /// The newest append that says who the members are.
    pub(crate) fn last_append(&self) -> AppendId {
        self.last_append
    }
}

/// Whether the member has had all these partitions since the epoch that it names.
fn has_had_since(cx: &Cx<'_>, current: &Current, request: &CommitOffsets) -> bool {
    request.offsets.iter().all(|asked| {
        let named = || cx.view.topic(&asked.topic).map(|shape| shape.id);
        let id = Some(asked.topic_id).filter(|id| !id.is_zero()).or_else(named);
        let Some(id) = id else { return false };
        let since =
            |owned: &super::value::OwnedPartitions| Some(*owned.get(&id)?.get(&asked.partition)?);
        let since = since(&current.assigned).or_else(|| since(&current.revoking));
        since.is_some_and(|since| since <= request.generation)
    })
}
