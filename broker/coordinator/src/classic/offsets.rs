//! What a classic group's members have to do with its committed offsets.

use base::ErrorCode;

use super::{ClassicGroup, Cx, GroupState};
use crate::CommitOffsets;

impl ClassicGroup {
    /// Whether the commit may be made; the member that makes it is alive.
    pub(crate) fn admit_commit(
        &self,
        cx: &mut Cx<'_>,
        request: &CommitOffsets,
    ) -> Result<(), ErrorCode> {
        self.check_commit(request)?;
        if matches!(self.state, GroupState::Stable | GroupState::PreparingRebalance) {
            self.restart_session(cx, &request.member_id);
        }
        Ok(())
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

    /// Who may commit within a transaction. Producers of old say nothing of the group's membership;
    /// a generation that is not stable yet may be resumed by the transaction's offsets.
    pub(crate) fn check_transactional_commit(
        &self,
        request: &CommitOffsets,
    ) -> Result<(), ErrorCode> {
        let claims = request.generation >= 0
            || !request.member_id.is_empty()
            || request.instance_id.is_some();
        if !claims || request.generation < 0 && self.is_empty() {
            return Ok(());
        }
        self.check_member(&request.member_id, request.instance_id.as_deref())?;
        match request.generation == self.generation {
            true => Ok(()),
            false => Err(ErrorCode::IllegalGeneration),
        }
    }

    /// Since when an offset ages; `None` while it does not.
    pub(crate) fn expires_since_ms(&self, topic: &str, commit_ms: i64) -> Option<i64> {
        match (&self.protocol_type, self.state) {
            // Offsets of a consumer without membership age from their commit.
            (None, _) => Some(commit_ms),
            // Those of a group age from the moment that its last member left.
            (Some(_), GroupState::Empty) => Some(self.state_since_ms.unwrap_or(commit_ms)),
            // Topics that the group no longer reads age from their last commit.
            (Some(_), GroupState::Stable) if self.knows_topics() && !self.is_subscribed(topic) => {
                Some(commit_ms)
            }
            _ => None,
        }
    }
}
