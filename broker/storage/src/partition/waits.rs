//! What waits for a partition: produces with acks=all for the high watermark, fetches for data.
//! Both are values that partitions hold and complete; nobody polls and no timer belongs to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI16, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use base::ErrorCode;
use futures::task::AtomicWaker;
use parking_lot::Mutex;

/// The wait of one produce request for all its partitions at once.
#[derive(Debug)]
pub struct ProduceWait {
    /// Partitions that are not committed yet, plus one while the request still registers.
    remaining: AtomicUsize,
    results: Box<[AtomicI16]>,
    waker: AtomicWaker,
}

/// Result of a partition that has none yet: the code of a request that timed out.
const UNDECIDED: i16 = ErrorCode::RequestTimedOut as i16;

impl ProduceWait {
    /// A wait with one slot per partition of the request.
    pub fn new(slots: usize) -> Arc<ProduceWait> {
        Arc::new(ProduceWait {
            remaining: AtomicUsize::new(1),
            results: (0..slots).map(|_| AtomicI16::new(UNDECIDED)).collect(),
            waker: AtomicWaker::new(),
        })
    }

    /// One more partition will call [`ProduceWait::complete`].
    pub(super) fn expect_one(&self) {
        self.remaining.fetch_add(1, Ordering::Relaxed);
    }

    /// All partitions are registered: the wait may end.
    pub fn registered(&self) {
        self.release();
    }

    pub(super) fn complete(&self, slot: usize, result: Result<(), ErrorCode>) {
        let code = result.err().unwrap_or(ErrorCode::None).code();
        self.results[slot].store(code, Ordering::Release);
        self.release();
    }

    fn release(&self) {
        if self.remaining.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waker.wake();
        }
    }

    /// Ready when every partition has its result.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_over() {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        // The last release may have come between the check and the registration.
        if self.is_over() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Every partition has its result.
    pub fn is_over(&self) -> bool {
        self.remaining.load(Ordering::Acquire) == 0
    }

    /// The result of a slot; `RequestTimedOut` while it has none.
    pub fn result(&self, slot: usize) -> ErrorCode {
        ErrorCode::from_i16(self.results[slot].load(Ordering::Acquire))
            .unwrap_or(ErrorCode::UnknownServerError)
    }
}

/// The wait of one fetch request. Partitions note by index that they have news.
#[derive(Debug, Default)]
pub struct FetchWait {
    /// No other wait has it; later ones have larger ones.
    id: u64,
    news: Mutex<Vec<u32>>,
    waker: AtomicWaker,
    done: AtomicBool,
}

impl FetchWait {
    pub fn new() -> Arc<FetchWait> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Arc::new(FetchWait { id, ..FetchWait::default() })
    }

    /// The fetch was answered: registrations that are left over are dropped when met.
    pub fn finish(&self) {
        self.done.store(true, Ordering::Release);
    }

    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Notes news for a partition that moved before it was registered with.
    pub fn tell(&self, index: u32) {
        self.notify(index);
    }

    pub(super) fn notify(&self, index: u32) {
        self.news.lock().push(index);
        self.waker.wake();
    }

    /// Ready with the indexes of the partitions that have news (maybe repeated).
    pub fn poll(&self, cx: &mut Context<'_>, news: &mut Vec<u32>) -> Poll<()> {
        self.waker.register(cx.waker());
        let mut noted = self.news.lock();
        if noted.is_empty() {
            return Poll::Pending;
        }
        news.append(&mut noted);
        Poll::Ready(())
    }
}

/// Fetches registered with one partition. A registration serves once.
#[derive(Debug, Default)]
pub(super) struct FetchWaiters {
    waiting: Vec<(Arc<FetchWait>, u32)>,
    /// Length at which left-over registrations are swept out.
    sweep_at: usize,
}

const SWEEP_MIN: usize = 16;

impl FetchWaiters {
    pub(super) fn add(&mut self, wait: &Arc<FetchWait>, index: u32) {
        if self.waiting.len() >= self.sweep_at {
            self.waiting.retain(|(wait, _)| !wait.is_done());
            // A session that names an idle partition again registers again. Looking for that here
            // costs little; looking at every registration would cost busy partitions much.
            let key = |(wait, index): &(Arc<FetchWait>, u32)| (wait.id, *index);
            self.waiting.sort_unstable_by_key(key);
            self.waiting.dedup_by_key(|entry| key(entry));
            self.sweep_at = (self.waiting.len() * 2).max(SWEEP_MIN);
        }
        self.waiting.push((wait.clone(), index));
    }

    pub(super) fn take(&mut self, into: &mut Vec<(Arc<FetchWait>, u32)>) {
        into.append(&mut self.waiting);
    }
}

/// Wake-ups collected under the partition's lock, given out after it is released.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Wakes {
    pub(super) fetches: Vec<(Arc<FetchWait>, u32)>,
    pub(super) produces: Vec<(Arc<ProduceWait>, usize, Result<(), ErrorCode>)>,
}

impl Wakes {
    pub(super) fn give_out(self) {
        for (wait, slot, result) in self.produces {
            wait.complete(slot, result);
        }
        for (wait, index) in self.fetches {
            wait.notify(index);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_produce_ends_with_its_last_partition() {
        let wait = ProduceWait::new(2);
        let mut cx = Context::from_waker(Waker::noop());
        wait.expect_one();
        wait.complete(0, Ok(()));
        assert!(wait.poll(&mut cx).is_pending(), "registration is under way");
        wait.expect_one();
        wait.registered();
        assert!(wait.poll(&mut cx).is_pending());
        assert_eq!(wait.result(1), ErrorCode::RequestTimedOut);
        wait.complete(1, Err(ErrorCode::NotLeaderOrFollower));
        assert!(wait.poll(&mut cx).is_ready());
        assert_eq!(wait.result(0), ErrorCode::None);
        assert_eq!(wait.result(1), ErrorCode::NotLeaderOrFollower);
    }

    #[test]
    fn answered_fetches_do_not_pile_up() {
        let mut waiters = FetchWaiters::default();
        for _ in 0..1000 {
            let wait = FetchWait::new();
            waiters.add(&wait, 0);
            wait.finish();
        }
        assert!(waiters.waiting.len() <= SWEEP_MIN + 1);
    }

    #[test]
    fn repeated_registrations_do_not_pile_up() {
        let mut waiters = FetchWaiters::default();
        let waits = [FetchWait::new(), FetchWait::new()];
        for _ in 0..1000 {
            for wait in &waits {
                waiters.add(wait, 0);
                waiters.add(wait, 1);
            }
        }
        assert!(waiters.waiting.len() <= SWEEP_MIN + 1);
        let mut told = Vec::new();
        waiters.take(&mut told);
        for (wait, index) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            assert!(told.iter().any(|(w, i)| Arc::ptr_eq(w, &waits[wait]) && *i == index));
        }
    }

    #[test]
    fn news_before_the_first_poll_are_not_lost() {
        let wait = FetchWait::new();
        wait.notify(3);
        let mut news = Vec::new();
        assert!(wait.poll(&mut Context::from_waker(Waker::noop()), &mut news).is_ready());
        assert_eq!(news, [3]);
    }
}
