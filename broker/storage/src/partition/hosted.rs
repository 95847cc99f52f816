//! `Partition`: one replica hosted here, its log and its core behind one lock.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use base::topic_name;
use base::{BrokerId, ErrorCode, LeaderEpoch, Offset, TopicId, TopicPartition};
use commitlog::{Log, LogConfig, LogReader};
use parking_lot::Mutex;
use replica::{Event, Settings};

use super::outbox::{Outbox, Settled};
use super::posts::{Post, Posts};
use super::state::State;
use super::waits::Wakes;
use process::clock;

/// One replica hosted on this broker.
pub struct Partition {
    pub id: TopicPartition,
    pub topic_id: TopicId,
    /// Of a topic that coordinators keep their state in.
    pub(super) is_internal: bool,
    /// Reads segments without the lock.
    pub(super) reader: LogReader,
    /// The log's settings, for validation without the lock.
    pub(super) log_config: ArcSwap<LogConfig>,
    pub(super) outbox: Arc<Outbox>,
    /// Where the log is.
    dir: Box<Path>,
    /// Whether this replica leads, and cannot commit, for the threads that go through all
    /// partitions: a lock may be held for as long as a disk takes.
    leads: AtomicBool,
    is_under_min_isr: AtomicBool,
    /// High watermark and log start as of the last change, for sessions that look whether any of
    /// their many partitions moved.
    high_watermark: AtomicI64,
    log_start: AtomicI64,
    pub(super) posts: Posts,
    this: Weak<Partition>,
    pub(super) state: Mutex<State>,
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Partition({})", self.id)
    }
}

/// Where a partition stands, for ListOffsets, metrics and the coordinators.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offsets {
    pub log_start: Offset,
    pub last_stable: Offset,
    pub high_watermark: Offset,
    pub log_end: Offset,
}

impl Partition {
    pub(super) fn new(
        broker: BrokerId,
        topic_id: TopicId,
        log: Log,
        settings: Settings,
        high_watermark: Offset,
        outbox: Arc<Outbox>,
    ) -> Arc<Partition> {
        let (id, reader) = (log.partition().clone(), log.reader());
        let log_config = ArcSwap::new(log.config().clone());
        let dir = Box::from(log.dir());
        let state = Mutex::new(State::new(broker, settings, log, high_watermark));
        let is_internal = topic_name::is_internal(&id.topic);
        Arc::new_cyclic(|this| Partition {
            is_internal,
            id,
            topic_id,
            reader,
            log_config,
            outbox,
            dir,
            leads: AtomicBool::new(false),
            is_under_min_isr: AtomicBool::new(false),
            high_watermark: AtomicI64::new(-1),
            log_start: AtomicI64::new(-1),
            posts: Posts::default(),
            this: this.clone(),
            state,
        })
    }

    /// Runs `work` under the lock, carries out the effects it led to, and wakes whoever waits
    /// after the lock is released.
    pub(super) fn with<T>(self: &Arc<Self>, work: impl FnOnce(&mut State) -> T) -> T {
        self.with_locked(self.state.lock(), work)
    }

    /// What follows from a change of the state, under the lock.
    pub(super) fn settle(self: &Arc<Self>, state: &mut State, wakes: &mut Wakes) {
        self.leads.store(state.core().is_leader(), Ordering::Relaxed);
        self.is_under_min_isr.store(state.core().is_under_min_isr(), Ordering::Relaxed);
        self.high_watermark.store(state.core().high_watermark(), Ordering::Relaxed);
        self.log_start.store(state.core().log().start, Ordering::Relaxed);
        if state.has_effects() {
            self.carry_out(state, wakes);
        }
        let has_to_wait = state.log().must_sync() || state.follow_after_sync.is_some();
        if has_to_wait || state.is_offline() {
            self.arrange_sync(state);
        }
        if let Some(observer) = &self.outbox.observer {
            let (core, log, is_removed) = (state.core(), state.log(), state.is_removed);
            observer.settled(self, &Settled { core, log, is_removed });
        }
    }

    /// Whether this replica leads, by the assignments that it has acted upon.
    pub(super) fn leads(&self) -> bool {
        self.leads.load(Ordering::Relaxed)
    }

    /// It leads and cannot commit for want of in-sync replicas.
    pub(super) fn is_under_min_isr(&self) -> bool {
        self.leads() && self.is_under_min_isr.load(Ordering::Relaxed)
    }

    /// High watermark and log start, maybe a moment old; -1 before the first assignment. Takes no
    /// lock.
    pub fn last_told(&self) -> (Offset, Offset) {
        let load = |offset: &AtomicI64| offset.load(Ordering::Relaxed);
        (load(&self.high_watermark), load(&self.log_start))
    }

    /// How many produce requests wait for a commit here.
    #[cfg(any(test, feature = "testing"))]
    pub fn commits_awaited(&self) -> usize {
        self.look(|state| state.commits.waiting())
    }

    /// Looks at the state without changing it.
    pub(super) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.look_mut(|state| look(state))
    }

    /// As `look`, for what changes registrations only and has no effects.
    pub(super) fn look_mut<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        if self.posts.is_any()
            && let Some(this) = self.this.upgrade()
        {
            return this.with_locked(state, look);
        }
        let result = look(&mut state);
        debug_assert!(!state.has_effects(), "{:?}: nobody would carry them out", self.id);
        drop(state);
        if self.posts.is_left()
            && let Some(this) = self.this.upgrade()
        {
            this.take_left_posts();
        }
        result
    }

    /// Tells the core of an event. Does not wait for the lock.
    pub(super) fn on(self: &Arc<Self>, event: Event) {
        self.post(Post::Event(event));
    }

    pub fn offsets(&self) -> Offsets {
        self.look(|state| {
            let core = state.core();
            let log = core.log();
            Offsets {
                log_start: log.start,
                last_stable: core.last_stable_offset(),
                high_watermark: core.high_watermark(),
                log_end: log.end,
            }
        })
    }

    /// The epoch in which this replica leads.
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        self.look(|state| state.core().is_leader().then(|| state.core().leader_epoch()))
    }

    /// The high watermark, while this replica leads in this epoch. In another one what was
    /// appended in this epoch may be gone, with something else in its place.
    pub fn committed_in(&self, epoch: LeaderEpoch) -> Option<Offset> {
        self.look(|state| {
            let core = state.core();
            (core.is_leader() && core.leader_epoch() == epoch).then(|| core.high_watermark())
        })
    }

    /// The leader that this replica knows of and its epoch, for KIP-951 hints.
    pub fn current_leader(&self) -> (Option<BrokerId>, LeaderEpoch) {
        self.look(|state| (state.core().leader(), state.core().leader_epoch()))
    }

    /// The log's own directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The `log.dirs` entry that the log is in.
    pub fn log_dir(&self) -> Option<PathBuf> {
        self.dir.parent().map(PathBuf::from)
    }

    /// Bytes of the log's segments.
    pub fn size(&self) -> u64 {
        self.look(|state| state.log().size())
    }

    /// Time passed: lagging followers may have to leave the ISR. They are judged by this moment,
    /// whenever the lock is free: what a leader waits for its own disk is not their lag.
    pub fn tick(self: &Arc<Self>) {
        if !self.posts.is_any() {
            self.post(Post::Tick(clock::monotonic_ms()));
        }
    }
}

/// Logs an error of the log. What it says about the disk was heard where it came up (`log_dirs`).
pub(super) fn storage_error(id: &TopicPartition, error: &commitlog::LogError) -> ErrorCode {
    if error.is_full() {
        // Every producer tries again and again; the directory is told of once.
        tracing::debug!(partition = %id, %error, "log");
    } else {
        tracing::error!(partition = %id, %error, "log");
    }
    error.code()
}
