//! The one number that bounds the memory of requests and replies, in two parts: what holds records
//! to append, and everything else (other requests, what they are decoded into, their replies). So
//! clients that keep the one part used up do not keep the others from producing.
//!
//! Whoever needs memory before it has it (a large frame that arrives) waits, and its socket is not
//! read meanwhile. What is there already (a reply) is booked as a debt, which is paid before anyone
//! else gets any. Of each part a share is set aside, whose one holder may take what its frame
//! needs: so there is always somebody who comes to an end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

const PERMIT_BYTES: usize = 1024;
/// The part of everything that is not records is one in so many of the whole.
const OTHERS_SHARE: usize = 4;

/// The memory that all connections share.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Produce requests.
    pub(super) records: Ledger,
    /// Everything else.
    pub(super) others: Ledger,
}

impl Budget {
    pub fn new(bytes: usize, frame_bytes_max: usize) -> Budget {
        let others = bytes / OTHERS_SHARE;
        Budget {
            records: Ledger::new(bytes - others, frame_bytes_max),
            others: Ledger::new(others, frame_bytes_max),
        }
    }

    /// Whether replies are to be kept small.
    pub fn is_scarce(&self) -> bool {
        self.others.is_scarce()
    }
}

/// One part of the budget.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    accounts: Arc<Accounts>,
}

#[derive(Debug)]
struct Accounts {
    shared: Arc<Semaphore>,
    permits: usize,
    /// Used beyond `permits`; what comes back pays this first.
    debt: AtomicUsize,
    /// One permit each: for a frame that may take what it needs, and for a request that is handled
    /// although its reply has no place.
    last: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

/// Permits of a ledger, given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    ledger: Ledger,
    permits: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.ledger.release(self.permits);
    }
}

impl Share {
    pub(super) fn bytes(&self) -> usize {
        self.permits * PERMIT_BYTES
    }

    pub(super) fn is_of_same(&self, other: &Share) -> bool {
        Arc::ptr_eq(&self.ledger.accounts, &other.ledger.accounts)
    }

    /// Takes another share of the same ledger in.
    pub(super) fn merge(&mut self, mut other: Share) {
        self.permits += std::mem::take(&mut other.permits);
    }
}

/// What a frame that arrives may use.
#[derive(Debug)]
pub(super) enum Grant {
    Shared(Share),
    Last(OwnedSemaphorePermit),
}

impl Ledger {
    /// Of which one frame of the largest size, but no more than half, is set aside.
    pub(super) fn new(bytes: usize, frame_bytes_max: usize) -> Ledger {
        let shared = bytes - frame_bytes_max.min(bytes / 2);
        let permits = (shared / PERMIT_BYTES).clamp(1, u32::MAX as usize >> 3);
        let one = || Arc::new(Semaphore::new(1));
        let (shared, debt) = (Arc::new(Semaphore::new(permits)), AtomicUsize::new(0));
        let accounts = Accounts { shared, permits, debt, last: one(), turn: one() };
        Ledger { accounts: Arc::new(accounts) }
    }

    /// Less than a quarter is left: idle buffers should be given back.
    pub(super) fn is_scarce(&self) -> bool {
        self.accounts.shared.available_permits() < self.accounts.permits / 4
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.accounts.shared.available_permits() == 0
    }

    fn share(&self, permits: usize) -> Share {
        Share { ledger: self.clone(), permits }
    }

    pub(super) fn try_acquire(&self, bytes: usize) -> Option<Share> {
        let permits = bytes.div_ceil(PERMIT_BYTES);
        let count = u32::try_from(permits).ok()?;
        let taken = self.accounts.shared.try_acquire_many(count).ok()?;
        taken.forget();
        Some(self.share(permits))
    }

    /// Waits for so many bytes beside those held, if there can be as many, or for the right to go
    /// without.
    pub(super) async fn acquire(self, bytes: usize, held: usize) -> Result<Grant, AcquireError> {
        let last = self.accounts.last.clone().acquire_owned();
        let permits = bytes.div_ceil(PERMIT_BYTES);
        match u32::try_from(permits) {
            Ok(count) if permits + held / PERMIT_BYTES <= self.accounts.permits => tokio::select! {
                biased;
                shared = self.acquire_shared(count) => shared.map(Grant::Shared),
                last = last => last.map(Grant::Last),
            },
            _ => last.await.map(Grant::Last),
        }
    }

    async fn acquire_shared(&self, count: u32) -> Result<Share, AcquireError> {
        self.accounts.shared.acquire_many(count).await?.forget();
        Ok(self.share(count as usize))
    }

    /// Waits until some memory is free, or for the right to go on although there is none.
    pub(super) async fn turn(self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            biased;
            _ = self.accounts.shared.acquire() => None,
            turn = self.accounts.turn.clone().acquire_owned() => turn.ok(),
        }
    }

    /// Books what is used already.
    fn force(&self, permits: usize) {
        let accounts = &self.accounts;
        let mut missing = permits;
        while missing > 0 {
            let count = missing.min(accounts.shared.available_permits());
            match u32::try_from(count).map(|count| accounts.shared.try_acquire_many(count)) {
                Ok(Ok(taken)) if count > 0 => {
                    taken.forget();
                    missing -= count;
                }
                // Somebody was faster.
                Ok(Err(_)) => {}
                _ => break,
            }
        }
        if missing > 0 {
            accounts.debt.fetch_add(missing, Ordering::AcqRel);
        }
    }

    fn release(&self, permits: usize) {
        let accounts = &self.accounts;
        let pay = |debt: usize| (debt > 0).then(|| debt.saturating_sub(permits));
        let before = accounts.debt.fetch_update(Ordering::AcqRel, Ordering::Acquire, pay);
        let rest = permits - before.unwrap_or(0).min(permits);
        if rest > 0 {
            accounts.shared.add_permits(rest);
        }
    }

    #[cfg(test)]
    pub(super) fn is_untouched(&self) -> bool {
        let Accounts { shared, permits, debt, last, turn } = &*self.accounts;
        (shared.available_permits(), debt.load(Ordering::Acquire)) == (*permits, 0)
            && (last.available_permits(), turn.available_permits()) == (1, 1)
    }
}

/// What a connection keeps in memory beside its read buffer, as it changes.
#[derive(Debug)]
pub(super) struct Charge {
    ledger: Ledger,
    permits: usize,
}

impl Charge {
    pub(super) fn new(ledger: Ledger) -> Charge {
        Charge { ledger, permits: 0 }
    }

    /// Books so many bytes in place of those before.
    pub(super) fn set(&mut self, bytes: usize) {
        let permits = bytes.div_ceil(PERMIT_BYTES);
        if permits > self.permits {
            self.ledger.force(permits - self.permits);
        } else if permits < self.permits {
            self.ledger.release(self.permits - permits);
        }
        self.permits = permits;
    }

    pub(super) fn is_zero(&self) -> bool {
        self.permits == 0
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::FutureExt;

    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn a_debt_is_paid_before_anybody_gets_more() {
        let ledger = Ledger::new(4 * MIB, MIB);
        let held = ledger.try_acquire(2 * MIB).unwrap();
        let mut reply = Charge::new(ledger.clone());
        reply.set(5 * MIB);
        assert!(ledger.is_exhausted());
        drop(held);
        assert!(ledger.try_acquire(1).is_none(), "4 MiB are owed");
        reply.set(3 * MIB);
        assert!(ledger.is_exhausted(), "all that there is is used");
        reply.set(2 * MIB);
        assert!(ledger.try_acquire(MIB).is_some());
        drop(reply);
        assert!(ledger.is_untouched());
    }

    #[test]
    fn one_goes_on_without_room_and_the_next_when_it_is_done() {
        let ledger = Ledger::new(4 * MIB, MIB);
        assert!(ledger.clone().turn().now_or_never().unwrap().is_none(), "there is room");
        let mut replies = Charge::new(ledger.clone());
        replies.set(8 * MIB);
        let turn = ledger.clone().turn().now_or_never().unwrap();
        assert!(turn.is_some());
        assert!(ledger.clone().turn().now_or_never().is_none());
        drop(turn);
        assert!(ledger.clone().turn().now_or_never().unwrap().is_some());
    }

    #[test]
    fn what_is_no_record_leaves_the_records_their_part() {
        let budget = Budget::new(64 * MIB, 8 * MIB);
        let mut replies = Charge::new(budget.others.clone());
        replies.set(100 * MIB);
        assert!(budget.is_scarce() && !budget.records.is_scarce());
        assert!(budget.records.try_acquire(40 * MIB).is_some());
    }
}
