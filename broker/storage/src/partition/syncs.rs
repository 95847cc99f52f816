//! Group commit for topics with `flush.messages`. What such a log has beyond its last sync counts
//! for nothing: the leader's high watermark stops there, a follower does not report it, a produce
//! with acks=1 waits. Who appends posts the partition here; threads of their own sync it, one sync
//! of a partition at a time, so that everything appended during one shares the next.

use std::collections::VecDeque;
use std::sync::Arc;

use base::ErrorCode;
use commitlog::Flushed;
use parking_lot::{Condvar, Mutex};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::hosted::{Partition, storage_error};
use super::outbox::FetchOrder;
use super::state::State;
use process::clock;

/// Partitions with records that wait for a sync. Each is in here once at most.
#[derive(Default)]
pub struct SyncQueue {
    waiting: Mutex<Waiting>,
    posted: Condvar,
}

#[derive(Default)]
struct Waiting {
    partitions: VecDeque<Arc<Partition>>,
    is_closed: bool,
}

impl SyncQueue {
    fn post(&self, partition: Arc<Partition>) {
        self.waiting.lock().partitions.push_back(partition);
        self.posted.notify_one();
    }

    /// Waits for a partition; `None` once the queue is closed.
    fn next(&self) -> Option<Arc<Partition>> {
        let mut waiting = self.waiting.lock();
        loop {
            if waiting.is_closed {
                return None;
            }
            match waiting.partitions.pop_front() {
                Some(partition) => return Some(partition),
                None => self.posted.wait(&mut waiting),
            }
        }
    }

    /// Syncs what is posted until the queue is closed. Any number of threads may run this.
    pub fn run(&self) {
        while let Some(partition) = self.next() {
            // An error is logged; the next append, or the flush that comes by the clock, tries
            // again.
            let _ = partition.sync();
        }
    }

    /// Syncs on this thread what is posted.
    pub fn run_posted(&self) {
        loop {
            let next = self.waiting.lock().partitions.pop_front();
            let Some(partition) = next else { return };
            // As above.
            let _ = partition.sync();
        }
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.lock().partitions.is_empty()
    }

    pub fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.is_closed = true;
        waiting.partitions.clear();
        self.posted.notify_all();
    }
}

impl Partition {
    /// Makes the records that are in the log now durable, without holding the lock meanwhile.
    /// A torn log is opened again first.
    pub(super) fn sync(self: &Arc<Self>) -> Result<(), ErrorCode> {
        if self.look(State::is_offline) {
            self.reopen()?;
        }
        let work = self.look_mut(|state| {
            let work = if state.is_closed() { None } else { state.log().sync_work() };
            state.is_sync_posted &= work.is_some();
            work
        });
        let Some(work) = work else { return Ok(()) };
        match work.run() {
            Ok(done) => {
                self.with(|state| {
                    state.is_sync_posted = false;
                    state.flushed(done);
                });
                Ok(())
            }
            Err(error) => {
                self.look_mut(|state| state.is_sync_posted = false);
                Err(storage_error(&self.id, &error))
            }
        }
    }

    /// Opens a torn log again, if nobody is at it.
    fn reopen(self: &Arc<Self>) -> Result<(), ErrorCode> {
        let Some(work) = self.with(State::reopen_work) else { return Ok(()) };
        let found = work.run(clock::wall_ms());
        if let Ok(Some(found)) = &found {
            tracing::warn!(partition = %self.id, report = ?found.report, "opened a torn log again");
        }
        let error = found.as_ref().err().map(|error| storage_error(&self.id, error));
        self.with(|state| state.reopened(found.ok().flatten()));
        error.map_or(Ok(()), Err)
    }

    /// As `sync`, on a thread that serves connections: those go on elsewhere meanwhile.
    pub(super) fn sync_in_place(self: &Arc<Self>) -> Result<(), ErrorCode> {
        in_place(|| self.sync())
    }

    /// Posts the partition if its log must be synced and nobody is at it. A follower's log is
    /// synced by whoever appended to it, before the next fetch reports its end; one that begins to
    /// follow with a log to be synced starts to fetch afterwards.
    #[cold]
    pub(super) fn arrange_sync(self: &Arc<Self>, state: &mut State) {
        if state.is_newly_torn() && !state.is_sync_posted {
            state.is_sync_posted = true;
            return self.outbox.syncs.post(self.clone());
        }
        if !state.log().must_sync() {
            if let Some((leader, epoch)) = state.follow_after_sync.take() {
                let order = FetchOrder::Follow { partition: self.clone(), leader, epoch };
                self.outbox.fetch_orders.post(&self.id, order);
            }
            return;
        }
        let is_wanted = state.core().is_leader() || state.follow_after_sync.is_some();
        if is_wanted && !state.is_sync_posted && !state.is_removed {
            state.is_sync_posted = true;
            self.outbox.syncs.post(self.clone());
        }
    }
}

impl State {
    /// A flush or sync is done.
    pub(super) fn flushed(&mut self, done: Flushed) {
        self.mutate_log(|log| log.flushed(done, clock::wall_ms()));
    }
}

/// Runs what may take long on a thread of the data plane, whose other tasks move to another one.
pub(super) fn in_place<T>(work: impl FnOnce() -> T) -> T {
    let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
    match flavor {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
