//! `State`: what a partition's lock guards. Its log and its core always agree: nothing reaches the
//! log to change it but [`State::mutate_log`], which tells the core afterwards what is true, also
//! where the change failed half-way.
//!
//! A log that a failed cut has torn takes its replica offline, until it was opened again from disk.

use base::{BrokerId, ErrorCode, LeaderEpoch, Offset};
use commitlog::{Log, ReopenWork, Reopened};
use replica::{Effect, Event, FollowerFetch, LogOffsets, ReadPlan, Settings};

use super::commits::{CommitTickets, epoch_end};
use super::waits::FetchWaiters;
use process::clock;

pub(super) struct State {
    core: replica::Partition,
    log: Log,
    effects: Vec<Effect>,
    /// The log is torn, and nobody was asked to open it again.
    is_newly_torn: bool,
    is_reopening: bool,
    pub(super) commits: CommitTickets,
    pub(super) consumers: FetchWaiters,
    pub(super) followers: FetchWaiters,
    /// DeleteRecords that wait for the followers' log starts.
    pub(super) deletions: FetchWaiters,
    /// A flush of the log is under way.
    pub(super) is_flushing: bool,
    /// A sync of the log is posted or under way.
    pub(super) is_sync_posted: bool,
    /// Whom to follow, in which epoch, once the log is synced.
    pub(super) follow_after_sync: Option<(BrokerId, LeaderEpoch)>,
    /// Deleted or moved away: the log is closed and must not be touched.
    pub(super) is_removed: bool,
}

impl State {
    pub(super) fn new(
        broker: BrokerId,
        settings: Settings,
        log: Log,
        high_watermark: Offset,
    ) -> State {
        let core = replica::Partition::new(broker, settings, log_offsets(&log), high_watermark);
        let mut state = State {
            core,
            log,
            effects: Vec::new(),
            is_newly_torn: false,
            is_reopening: false,
            commits: CommitTickets::default(),
            consumers: FetchWaiters::default(),
            followers: FetchWaiters::default(),
            deletions: FetchWaiters::default(),
            is_flushing: false,
            is_sync_posted: false,
            follow_after_sync: None,
            is_removed: false,
        };
        state.note_durable();
        state
    }

    pub(super) fn core(&self) -> &replica::Partition {
        &self.core
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    /// Changes the log, and tells the core what is true of it afterwards: after an error, too.
    pub(super) fn mutate_log<T>(&mut self, change: impl FnOnce(&mut Log) -> T) -> T {
        let result = change(&mut self.log);
        self.agree();
        result
    }

    /// As `mutate_log`, with what a leader sent.
    pub(super) fn replicate<T, E>(
        &mut self,
        leader_high_watermark: Offset,
        change: impl FnOnce(&mut Log) -> Result<T, E>,
    ) -> Result<T, E> {
        let result = self.mutate_log(change);
        if result.is_ok() {
            let log = log_offsets(&self.log);
            self.on(Event::Replicated { log, leader_high_watermark });
        }
        result
    }

    fn agree(&mut self) {
        self.note_durable();
        let offsets = log_offsets(&self.log);
        if offsets != self.core.log() {
            self.on(Event::LogChanged(offsets));
        }
        if self.log.is_torn() && !self.is_offline() {
            self.on(Event::LogTorn);
            self.is_newly_torn = true;
        }
    }

    /// What of the log is durable; before the core hears of a new log end.
    fn note_durable(&mut self) {
        let end = if self.log.must_sync() { self.log.synced_offset() } else { Offset::MAX };
        if end != self.core.durable_end() {
            self.on(Event::Durable(end));
        }
    }

    /// Tells the core of an event.
    pub(super) fn on(&mut self, event: Event) {
        self.on_at(clock::monotonic_ms(), event);
    }

    pub(super) fn on_at(&mut self, now_ms: i64, event: Event) {
        self.core.on(now_ms, event, &mut self.effects);
    }

    /// Notes where a follower is, and says what it may read.
    pub(super) fn note_follower(&mut self, fetch: &FollowerFetch) -> Result<ReadPlan, ErrorCode> {
        let State { core, log, effects, .. } = self;
        let now_ms = clock::monotonic_ms();
        core.follower_fetch(now_ms, fetch, &|epoch| epoch_end(log, epoch), effects)
    }

    // ---- effects --------------------------------------------------------------------------

    pub(super) fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    pub(super) fn effect(&self, at: usize) -> Option<Effect> {
        self.effects.get(at).cloned()
    }

    /// All are carried out.
    pub(super) fn clear_effects(&mut self) {
        self.effects.clear();
    }

    // ---- torn logs ------------------------------------------------------------------------

    /// The replica's log is torn: it does nothing until that was opened again.
    pub(super) fn is_offline(&self) -> bool {
        self.core.is_offline()
    }

    /// The log must not be touched, or takes nothing.
    pub(super) fn is_closed(&self) -> bool {
        self.is_removed || self.is_offline()
    }

    /// Whether the log was torn since this was asked last.
    pub(super) fn is_newly_torn(&mut self) -> bool {
        std::mem::take(&mut self.is_newly_torn)
    }

    /// What opens a torn log again; `None` while somebody is at it. Tell the outcome by `reopened`.
    pub(super) fn reopen_work(&mut self) -> Option<ReopenWork> {
        if self.is_reopening || self.is_removed {
            return None;
        }
        let work = self.log.reopen_work();
        self.is_reopening = work.is_some();
        work
    }

    /// `None`: it could not be opened, or is gone.
    pub(super) fn reopened(&mut self, found: Option<Reopened>) {
        self.is_reopening = false;
        if found.is_some_and(|found| self.log.reopened(found)) {
            self.note_durable();
            self.on(Event::LogReopened(log_offsets(&self.log)));
        }
    }
}

fn log_offsets(log: &Log) -> LogOffsets {
    LogOffsets {
        start: log.start_offset(),
        end: log.end_offset(),
        first_unstable: log.first_unstable_offset(),
    }
}
