//! Background work on logs, on threads that may wait for the disk: flushing what rolled or is due,
//! the checkpoints of recovery points, log starts and high watermarks, retention, deletions.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use base::{BrokerEpoch, Offset, TopicId};
use commitlog::checkpoint::{self, OffsetCheckpoint};
use commitlog::{Log, LogError, Position};

use super::hosted::{Partition, storage_error};
use super::index::Partitions;
use super::load::position;
use super::posts::Post;
use super::state::State;
use process::clock;

impl Partitions {
    /// Writes the checkpoint files of every log directory.
    pub fn write_checkpoints(&self, kinds: &[OffsetCheckpoint]) -> Result<(), LogError> {
        if kinds.is_empty() {
            return Ok(());
        }
        let mut written = self.written.lock();
        let mut result = Ok(());
        for (dir, positions) in self.positions() {
            if self.dirs.is_offline(&dir) {
                continue;
            }
            let writer = written.entry(dir.clone()).or_default();
            // One disk that fails keeps no other from its checkpoints.
            if let Err(error) = writer.write(&*self.logs.fs, &dir, kinds, &positions) {
                result = Err(error);
            }
        }
        result
    }

    fn positions(&self) -> BTreeMap<PathBuf, Vec<Position>> {
        let mut by_dir: BTreeMap<PathBuf, Vec<Position>> = BTreeMap::new();
        for dir in &self.config.log_dirs {
            by_dir.insert(dir.clone(), Vec::new());
        }
        let mut note = |log: &Log, topic_id: TopicId, high_watermark: Offset| {
            let Some(dir) = log.dir().parent() else { return };
            // No copy of the path for each partition.
            if let Some(positions) = by_dir.get_mut(dir) {
                positions.push(position(log, topic_id, high_watermark));
            }
        };
        for partition in self.all() {
            partition.look(|state| {
                note(state.log(), partition.topic_id, state.core().high_watermark());
            });
        }
        // Logs that no image has claimed yet keep what they had.
        for ((_, topic_id), loaded) in &self.loaded.lock().logs {
            note(&loaded.log, *topic_id, loaded.high_watermark);
        }
        by_dir
    }

    /// Rolls by time, flushes where it is due, removes what retention allows.
    pub fn retain(&self) {
        let now_ms = clock::expiry_ms();
        for partition in self.all() {
            partition.retain(now_ms);
        }
    }

    /// Makes durable what rolled since the last time, or what flush.ms and flush.messages ask for.
    pub fn flush_due(&self) {
        let now_ms = clock::wall_ms();
        for partition in self.all() {
            if partition.look(|state| !state.is_closed() && state.log().flush_due(now_ms)) {
                partition.flush();
            } else if partition.look(State::is_offline) {
                // It could not be opened at once. An error is logged, and it is tried again.
                let _ = partition.sync();
            }
        }
    }

    /// Unlinks files and directories whose delay is over.
    pub fn remove_deleted(&self) {
        let now_ms = clock::expiry_ms();
        let fs = &*self.logs.fs;
        for partition in self.all() {
            for path in partition.take_due_deletions(now_ms) {
                if let Err(error) = fs.remove_file(&path) {
                    storage_error(&partition.id, &LogError::io("remove", &path, error));
                }
            }
        }
        self.remove_discarded(now_ms);
    }

    /// Tells the leaders that time passed.
    pub fn tick(&self) {
        for partition in self.all() {
            if partition.leads() {
                partition.tick();
            }
        }
    }

    /// Where the log's directory is offline, the other directories are closed in order.
    pub(super) fn close_log(&self, partition: &Arc<Partition>) -> Result<(), LogError> {
        match partition.with(|state| state.mutate_log(Log::close)) {
            Err(_) if self.dirs.is_offline(partition.dir()) => Ok(()),
            closed => closed,
        }
    }

    /// Closes every log; with all of them closed, writes the checkpoints and the clean-shutdown
    /// markers. Whoever is late finds a replica that leads and follows nobody: nothing is appended
    /// or cut behind the markers.
    pub fn close(&self, broker_epoch: BrokerEpoch) -> Result<(), LogError> {
        for partition in self.all() {
            if partition.look(State::is_offline) {
                // Not to be vouched for while it is torn; then closing it fails.
                let _ = partition.sync();
            }
            partition.post(Post::Removed);
            self.close_log(&partition)?;
        }
        for loaded in self.loaded.lock().logs.values_mut() {
            loaded.log.close()?;
        }
        self.close_leftovers()?;
        self.write_checkpoints(&OffsetCheckpoint::ALL)?;
        let is_whole =
            |dir: &&PathBuf| !self.dirs.is_offline(dir) && !self.offline.has_unopened(dir);
        for dir in self.config.log_dirs.iter().filter(is_whole) {
            checkpoint::write_clean_shutdown(&*self.logs.fs, dir, broker_epoch)?;
        }
        Ok(())
    }
}

impl Partition {
    fn take_due_deletions(self: &Arc<Self>, now_ms: i64) -> Vec<PathBuf> {
        self.with(|state| state.mutate_log(|log| log.take_due_deletions(now_ms)))
    }

    fn retain(self: &Arc<Self>, now_ms: i64) {
        let rolled = self.with(|state| {
            if state.is_closed() {
                return Ok(false);
            }
            state.mutate_log(|log| {
                log.expire_producers(now_ms);
                log.roll_if_needed(now_ms)?;
                Ok::<_, LogError>(log.flush_due(now_ms))
            })
        });
        match rolled {
            // Or deleting the segments would wait for their snapshots, under the lock.
            Ok(true) => self.flush(),
            Ok(false) => {}
            Err(error) => {
                storage_error(&self.id, &error);
            }
        }
        let result = self.with(|state| {
            if state.is_closed() {
                return Ok(0);
            }
            let high_watermark = state.core().high_watermark();
            state.mutate_log(|log| log.retention(now_ms, high_watermark))
        });
        if let Err(error) = result {
            storage_error(&self.id, &error);
        }
    }

    /// Makes what is in the log now durable, without holding the lock meanwhile. One at a time: of
    /// two, the older could be the last to write the epochs.
    pub fn flush(self: &Arc<Self>) {
        let work = self.with(|state| {
            if state.is_flushing || state.is_closed() {
                return None;
            }
            let work = state.mutate_log(Log::flush_work);
            state.is_flushing = work.is_some();
            work
        });
        let Some(work) = work else { return };
        let result = work.run();
        self.with(|state| {
            state.is_flushing = false;
            match result {
                Ok(done) => state.flushed(done),
                Err(error) => {
                    storage_error(&self.id, &error);
                }
            }
        });
    }
}
