//! The invariants of one replica, asserted after every event where debug assertions are on: in
//! tests and simulations. They are the ones listed at the head of the crate.

use std::collections::BTreeSet;

use base::{LeaderEpoch, Offset, PartitionEpoch};

use crate::partition::Partition;

/// What only grows from event to event.
#[derive(Clone, Copy)]
pub(crate) struct Marks {
    leader_epoch: LeaderEpoch,
    partition_epoch: PartitionEpoch,
    /// Of a leader; a follower's goes back where its log is cut.
    high_watermark: Option<Offset>,
    is_offline: bool,
}

impl Partition {
    pub(crate) fn marks(&self) -> Marks {
        Marks {
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            high_watermark: self.is_leader().then_some(self.high_watermark),
            is_offline: self.is_offline(),
        }
    }

    /// After an event: its invariants, and that nothing went back. In release builds nothing.
    pub(crate) fn validate_after(&self, before: Marks) {
        if !cfg!(debug_assertions) {
            return;
        }
        self.validate();
        // A replica that comes back with a log begins as after a start of its broker.
        if before.is_offline {
            return;
        }
        assert!(self.leader_epoch >= before.leader_epoch, "a leader epoch went back: {self:?}");
        assert!(self.partition_epoch >= before.partition_epoch, "metadata went back: {self:?}");
        if let Some(high_watermark) = before.high_watermark.filter(|_| self.is_leader()) {
            assert!(self.high_watermark >= high_watermark, "a commit was taken back: {self:?}");
        }
    }

    /// Panics when an invariant of this replica is broken.
    pub fn validate(&self) {
        let log = self.log;
        assert!(log.start <= self.high_watermark, "log start above high watermark: {self:?}");
        assert!(self.high_watermark <= log.end, "high watermark above log end: {self:?}");
        let stable = self.last_stable_offset();
        assert!(log.start <= stable, "last stable offset below log start: {self:?}");
        assert!(stable <= self.high_watermark, "last stable offset above high watermark: {self:?}");
        let replicas: BTreeSet<_> = self.replicas.iter().collect();
        assert_eq!(replicas.len(), self.replicas.len(), "a replica is listed twice: {self:?}");
        for member in &self.isr {
            assert!(self.replicas.contains(member), "ISR is not a subset of replicas: {self:?}");
        }
        assert!(!self.is_offline() || self.leader().is_none(), "a role without a log: {self:?}");
        assert_eq!(self.is_leader(), self.leader_state.is_some(), "role and state: {self:?}");
        self.validate_leader();
    }

    fn validate_leader(&self) {
        let Some(leader) = self.leader_state.as_ref() else { return };
        assert!(self.isr.contains(&self.id), "the leader is in its ISR: {self:?}");
        assert!(leader.epoch_start <= self.log.end, "epoch starts beyond the log end: {self:?}");
        assert_eq!(leader.followers.len() + 1, self.replicas.len(), "one per follower: {self:?}");
        if let Some(pending) = &leader.pending {
            let proposal = &pending.proposal;
            assert_eq!(proposal.partition_epoch, self.partition_epoch, "stale proposal: {self:?}");
            assert_eq!(proposal.leader_epoch, self.leader_epoch, "stale proposal: {self:?}");
            for (id, _) in &proposal.isr {
                assert!(self.replicas.contains(id), "a stranger in a proposal: {self:?}");
            }
        }
        assert!(leader.waiters.is_sorted(), "waits are in the order of offsets: {self:?}");
        if let Some(required) = leader.waiters.first_required() {
            assert!(required > self.high_watermark, "a commit was not told: {self:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use base::BrokerId;
    use base::testing::panic_of;

    use super::*;
    use crate::tests::{Replica, ids};

    /// What `validate_after` says of a leader of 1, 2 and 3 in which something is broken.
    fn said(fault: impl FnOnce(&mut Partition)) -> String {
        let mut replica = Replica::leader(2, &[1, 2, 3]);
        replica.append(5);
        let before = replica.core.marks();
        fault(&mut replica.core);
        panic_of(|| replica.core.validate_after(before))
    }

    #[test]
    fn a_planted_fault_is_seen() {
        assert!(said(|core| core.high_watermark = 6).contains("high watermark above log end"));
        assert!(said(|core| core.isr.push(BrokerId(9))).contains("not a subset of replicas"));
        assert!(said(|core| core.isr = ids(&[2, 3])).contains("the leader is in its ISR"));
        assert!(said(|core| core.replicas = ids(&[1, 2, 2])).contains("listed twice"));
        assert!(said(|core| core.leader_epoch -= 1).contains("a leader epoch went back"));
        assert!(said(|core| core.leader_state = None).contains("role and state"));
    }

    #[test]
    fn a_commit_that_is_taken_back_is_seen() {
        let mut replica = Replica::leader(1, &[1]);
        replica.append(5);
        assert_eq!(replica.hw(), 5);
        let before = replica.core.marks();
        replica.core.high_watermark = 4;
        panic_of(|| replica.core.validate_after(before));
    }
}
