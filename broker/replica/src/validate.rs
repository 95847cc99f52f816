//! The invariants of one replica, asserted after every event in tests and simulations. They are
//! the ones listed at the head of the crate.

use crate::partition::Partition;

impl Partition {
    /// Panics when an invariant of this replica is broken.
    pub fn validate(&self) {
        let log = self.log;
        assert!(log.start <= self.high_watermark, "log start above high watermark: {self:?}");
        assert!(self.high_watermark <= log.end, "high watermark above log end: {self:?}");
        let stable = self.last_stable_offset();
        assert!(log.start <= stable, "last stable offset below log start: {self:?}");
        assert!(stable <= self.high_watermark, "last stable offset above high watermark: {self:?}");
        for member in &self.isr {
            assert!(self.replicas.contains(member), "ISR is not a subset of replicas: {self:?}");
        }
        assert!(!self.is_offline() || self.leader().is_none(), "a role without a log: {self:?}");
        assert_eq!(self.is_leader(), self.leader_state.is_some(), "role and state: {self:?}");
        let Some(leader) = self.leader_state.as_ref() else { return };
        assert!(self.isr.contains(&self.id), "the leader is in its ISR: {self:?}");
        assert!(leader.epoch_start <= log.end, "epoch starts beyond the log end: {self:?}");
        assert_eq!(leader.followers.len() + 1, self.replicas.len(), "one per follower: {self:?}");
        if let Some(pending) = &leader.pending {
            let proposal = &pending.proposal;
            assert_eq!(proposal.partition_epoch, self.partition_epoch, "stale proposal: {self:?}");
            assert_eq!(proposal.leader_epoch, self.leader_epoch, "stale proposal: {self:?}");
        }
        if let Some(required) = leader.waiters.first_required() {
            assert!(required > self.high_watermark, "a commit was not told: {self:?}");
        }
    }
}
