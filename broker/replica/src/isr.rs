//! Changes of the ISR. A leader proposes, the controller decides by compare-and-set on the
//! partition epoch; one proposal is in flight at a time. Until the outcome is known for certain
//! the proposal counts as if it had been made where it adds members, and as if it had not where
//! it removes some: the high watermark is safe under either outcome.

use base::{BrokerId, ErrorCode};

use crate::effect::{Effect, IsrProposal};
use crate::event::IsrAnswer;
use crate::leader_state::PendingIsr;
use crate::partition::Partition;

/// Pause after a refusal, so that a fetch loop does not become a request loop.
const REFUSED_PAUSE_MS: i64 = 100;
/// When the image that a refusal announced does not come, the refusal is doubted: a controller
/// may have judged by what it then failed to commit.
const METADATA_WAIT_MS: i64 = 1_000;

impl Partition {
    /// Removes members that have not been caught up for the lag time.
    pub(crate) fn shrink_isr(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        let Some(leader) = self.leader_state.as_ref() else { return };
        let lag_max = self.settings.lag_time_max_ms;
        let keep = |id: BrokerId| {
            id == self.id
                || leader
                    .follower(id)
                    .is_some_and(|f| f.is_caught_up(self.log.end, now_ms, lag_max))
        };
        let isr: Vec<BrokerId> = self.isr.iter().copied().filter(|&id| keep(id)).collect();
        if isr.len() < self.isr.len() {
            self.propose(now_ms, isr, effects);
        }
    }

    /// Adds every follower that asked to join and has everything committed, and everything from
    /// before this epoch.
    pub(crate) fn expand_isr(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        let Some(leader) = self.leader_state.as_ref() else { return };
        let floor = self.high_watermark.max(leader.epoch_start);
        let joining = leader.followers.iter().filter(|f| {
            f.wants_in
                && f.eligible
                && !self.isr.contains(&f.id)
                && f.end.is_some_and(|end| end >= floor)
        });
        let mut isr = self.isr.clone();
        isr.extend(joining.map(|f| f.id));
        if isr.len() > self.isr.len() {
            self.propose(now_ms, isr, effects);
        }
    }

    fn propose(&mut self, now_ms: i64, isr: Vec<BrokerId>, effects: &mut Vec<Effect>) {
        let (leader_epoch, partition_epoch) = (self.leader_epoch, self.partition_epoch);
        let Some(leader) = self.leader_state.as_mut() else { return };
        if leader.pending.is_some() || now_ms < leader.propose_not_before_ms {
            return;
        }
        let isr = isr
            .into_iter()
            .map(|id| (id, leader.follower(id).map_or(-1, |f| f.broker_epoch)))
            .collect();
        let proposal = IsrProposal { leader_epoch, partition_epoch, isr };
        effects.push(Effect::ProposeIsr(proposal.clone()));
        leader.pending = Some(Box::new(PendingIsr { proposal, awaits_metadata_since_ms: None }));
    }

    pub(crate) fn isr_answer(&mut self, now_ms: i64, answer: IsrAnswer, effects: &mut Vec<Effect>) {
        match answer {
            IsrAnswer::Accepted { leader_epoch, partition_epoch } => {
                // An image may have overtaken the answer; then it has told the same or more. Else
                // the change waits for its image: who stays eligible outside the ISR was decided
                // by configs that this broker may not have yet, above all a raised minimum, and
                // under the old one the new ISR might commit what those lack.
                let pending = self.leader_state.as_mut().and_then(|leader| leader.pending.as_mut());
                if let Some(pending) = pending
                    && leader_epoch == self.leader_epoch
                    && partition_epoch > self.partition_epoch
                {
                    pending.awaits_metadata_since_ms = Some(now_ms);
                }
            }
            IsrAnswer::Rejected { partition_epoch, error } => {
                self.isr_refused(now_ms, partition_epoch, error);
                self.settle(now_ms, effects);
            }
            IsrAnswer::Unknown { partition_epoch } => {
                let pending = self.leader_state.as_ref().and_then(|l| l.pending.as_ref());
                if let Some(pending) = pending
                    && pending.proposal.partition_epoch == partition_epoch
                    && pending.awaits_metadata_since_ms.is_none()
                {
                    effects.push(Effect::ProposeIsr(pending.proposal.clone()));
                }
            }
        }
    }

    fn isr_refused(&mut self, now_ms: i64, partition_epoch: i32, error: ErrorCode) {
        let Some(leader) = self.leader_state.as_mut() else { return };
        let Some(pending) = leader.pending.as_mut() else { return };
        if pending.proposal.partition_epoch != partition_epoch {
            return;
        }
        match error {
            // The change was not made and never will be: the refusal has taken the partition
            // epoch, so that no copy of the proposal can be accepted any more.
            ErrorCode::IneligibleReplica => {
                let refused = leader.pending.take();
                for follower in &mut leader.followers {
                    let added = refused.as_ref().is_some_and(|p| p.contains(follower.id))
                        && !self.isr.contains(&follower.id);
                    if added {
                        follower.eligible = false;
                    }
                }
                leader.propose_not_before_ms = now_ms + REFUSED_PAUSE_MS;
            }
            // The controller knows a newer epoch, or no such partition: metadata will tell.
            _ => pending.awaits_metadata_since_ms = Some(now_ms),
        }
    }

    /// Proposes once more what was refused for an epoch that nobody told of since. By
    /// compare-and-set this is safe, however often it is done.
    pub(crate) fn doubt_refusal(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        let pending = self.leader_state.as_mut().and_then(|leader| leader.pending.as_mut());
        if let Some(pending) = pending
            && pending.awaits_metadata_since_ms.is_some_and(|at| now_ms - at >= METADATA_WAIT_MS)
        {
            pending.awaits_metadata_since_ms = None;
            effects.push(Effect::ProposeIsr(pending.proposal.clone()));
        }
    }

    /// Takes over a committed ISR; whatever was in flight is settled by it.
    pub(crate) fn adopt_isr(&mut self, isr: Vec<BrokerId>) {
        if let Some(leader) = self.leader_state.as_mut() {
            leader.pending = None;
            for follower in &mut leader.followers {
                let was = self.isr.contains(&follower.id);
                let is = isr.contains(&follower.id);
                if was && !is {
                    follower.forget_progress();
                    follower.eligible = false;
                }
                if is {
                    follower.wants_in = false;
                }
            }
        }
        self.isr = isr;
    }
}
