//! Which producers a transaction coordinator is asked about (KIP-890). The first batch of a
//! transaction is appended only with the guard of a verification that nothing ended since: a
//! marker, or a first batch, does. So a batch that comes late, after its transaction was ended,
//! opens none that nobody would end.

use std::collections::BTreeMap;

use base::{ProducerId, TimestampMs};

/// Stands for one verification; never given out twice by one log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct VerificationGuard(u64);

impl VerificationGuard {
    pub fn number(self) -> u64 {
        self.0
    }

    /// For those who keep only its number.
    pub fn from_number(number: u64) -> VerificationGuard {
        VerificationGuard(number)
    }
}

/// A verification under way, or done and not used yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verification {
    guard: VerificationGuard,
    started_ms: TimestampMs,
    /// Of the batches that were to be verified: none above it may be appended first.
    pub lowest_sequence: i32,
    epoch: i16,
    /// The producer gets a new epoch with each transaction (`transaction.version` 2).
    pub bumps_epoch: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Verifications {
    last: u64,
    pending: BTreeMap<ProducerId, Verification>,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerificationStart {
    pub producer_id: ProducerId,
    pub epoch: i16,
    /// Of the batch that waits for it; -1 for batches of coordinators, which have none.
    pub sequence: i32,
    /// As the version of the request says: the producer speaks `transaction.version` 2.
    pub bumps_epoch: bool,
}

impl Verifications {
    /// Batches of one producer that wait at the same time share a verification.
    pub fn start(&mut self, start: VerificationStart, now_ms: TimestampMs) -> VerificationGuard {
        let VerificationStart { producer_id, epoch, sequence, bumps_epoch } = start;
        let last = &mut self.last;
        let verification = self.pending.entry(producer_id).or_insert_with(|| {
            *last += 1;
            let guard = VerificationGuard(*last);
            let (started_ms, lowest_sequence) = (now_ms, sequence);
            Verification { guard, started_ms, lowest_sequence, epoch, bumps_epoch }
        });
        let is_lower = epoch == verification.epoch && sequence < verification.lowest_sequence;
        if epoch > verification.epoch || is_lower {
            verification.epoch = epoch;
            verification.lowest_sequence = sequence;
        }
        verification.guard
    }

    pub fn get(&self, producer_id: ProducerId) -> Option<&Verification> {
        self.pending.get(&producer_id)
    }

    /// Something of the producer's transaction is in the log now, or its end.
    pub fn end(&mut self, producer_id: ProducerId) {
        if !self.pending.is_empty() {
            self.pending.remove(&producer_id);
        }
    }

    /// The log is another one now.
    pub fn clear(&mut self) {
        self.pending.clear();
    }

    pub fn expire(&mut self, now_ms: TimestampMs, expiration_ms: i64) {
        self.pending.retain(|_, v| now_ms.saturating_sub(v.started_ms) < expiration_ms);
    }
}

/// What an append can say of the verification of its transaction.
#[derive(Clone, Copy, Default)]
pub(crate) struct Proof<'a> {
    /// Without one, nothing opens a transaction.
    pub is_required: bool,
    pub verification: Option<&'a Verification>,
    /// The guard that the append came with.
    pub guard: Option<VerificationGuard>,
}

impl Proof<'_> {
    pub fn is_missing(&self) -> bool {
        let known = self.verification.map(|verification| verification.guard);
        self.is_required && (known.is_none() || known != self.guard)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn start(epoch: i16, sequence: i32, bumps_epoch: bool) -> VerificationStart {
        VerificationStart { producer_id: 7, epoch, sequence, bumps_epoch }
    }

    #[test]
    fn a_verification_is_shared_until_it_is_ended() {
        let mut all = Verifications::default();
        let first = all.start(start(0, 5, false), 0);
        assert_eq!(all.start(start(0, 3, false), 1), first);
        assert_eq!(all.get(7).unwrap().lowest_sequence, 3);
        assert_eq!(all.start(start(0, 9, false), 1), first);
        assert_eq!(all.get(7).unwrap().lowest_sequence, 3);
        all.end(7);
        assert_ne!(all.start(start(0, 5, false), 2), first);
    }

    #[test]
    fn a_new_epoch_begins_its_sequences() {
        for bumps_epoch in [false, true] {
            let mut all = Verifications::default();
            all.start(start(0, 3, bumps_epoch), 0);
            all.start(start(1, 6, bumps_epoch), 0);
            all.start(start(0, 1, bumps_epoch), 0);
            assert_eq!(all.get(7).unwrap().lowest_sequence, 6);
        }
    }

    #[test]
    fn a_proof_is_the_guard_of_the_verification_at_hand() {
        let mut all = Verifications::default();
        let guard = Some(all.start(start(0, 0, false), 0));
        let proof = |all: &Verifications, guard| {
            let verification = all.get(7);
            Proof { is_required: true, verification, guard }.is_missing()
        };
        assert!(!proof(&all, guard));
        assert!(proof(&all, None));
        all.end(7);
        assert!(proof(&all, guard), "a marker ended it");
        all.start(start(0, 0, false), 0);
        assert!(proof(&all, guard), "that is another one");
        all.expire(100, 50);
        assert!(all.get(7).is_none());
    }
}
