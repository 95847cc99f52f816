//! Background work on logs, on threads that may wait for the disk: flushing what rolled or is due,
//! the checkpoints of recovery points, log starts and high watermarks, retention, deletions.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use base::{BrokerEpoch, Offset, TopicPartition};
use commitlog::checkpoint::{self, OffsetCheckpoint};
use commitlog::{Log, LogError};

use super::hosted::{Partition, storage_error};
use super::index::Partitions;
use super::posts::Post;
use super::state::State;
use crate::clock;

/// What one checkpoint file is to say.
type Positions = Vec<(TopicPartition, Offset)>;

/// A hash of what each checkpoint file says, so that an idle broker writes none of them anew.
pub(super) type Written = HashMap<(PathBuf, &'static str), u64>;

impl Partitions {
    /// Writes the checkpoint files of every log directory.
    pub fn write_checkpoints(&self, kinds: &[OffsetCheckpoint]) -> Result<(), LogError> {
        for &kind in kinds {
            for (dir, positions) in self.positions(kind) {
                self.write_checkpoint(kind, dir, &positions)?;
            }
        }
        Ok(())
    }

    fn write_checkpoint(
        &self,
        kind: OffsetCheckpoint,
        dir: PathBuf,
        positions: &[(TopicPartition, Offset)],
    ) -> Result<(), LogError> {
        let mut hasher = DefaultHasher::new();
        positions.hash(&mut hasher);
        let hash = hasher.finish();
        let file = (dir, kind.file_name());
        let mut written = self.written.lock();
        if written.get(&file) == Some(&hash) {
            return Ok(());
        }
        written.remove(&file);
        let offsets = positions.iter().map(|(id, offset)| (id, *offset));
        kind.write(&*self.logs.fs, &file.0, offsets)?;
        written.insert(file, hash);
        Ok(())
    }

    fn positions(&self, kind: OffsetCheckpoint) -> BTreeMap<PathBuf, Positions> {
        let position = |log: &Log, high_watermark: Offset| match kind {
            OffsetCheckpoint::RecoveryPoint => Some(log.recovery_point()),
            OffsetCheckpoint::HighWatermark => Some(high_watermark),
            // As in Kafka: only where the log file names do not say it.
            OffsetCheckpoint::LogStart => Some(log.start_offset()).filter(|start| *start > 0),
            OffsetCheckpoint::Cleaner => None,
        };
        let mut by_dir: BTreeMap<PathBuf, Positions> = BTreeMap::new();
        for dir in &self.config.log_dirs {
            by_dir.insert(dir.clone(), Positions::default());
        }
        let mut note = |id: &TopicPartition, log: &Log, high_watermark: Offset| {
            let Some(dir) = log.dir().parent() else { return };
            let Some(offset) = position(log, high_watermark) else { return };
            // No copy of the path for each partition.
            match by_dir.get_mut(dir) {
                Some(positions) => positions.push((id.clone(), offset)),
                None => drop(by_dir.insert(dir.to_owned(), vec![(id.clone(), offset)])),
            }
        };
        for partition in self.all() {
            partition.look(|state| note(&partition.id, state.log(), state.core().high_watermark()));
        }
        // Logs that no image has claimed yet keep what they had.
        for (id, loaded) in &self.loaded.lock().logs {
            note(id, &loaded.log, loaded.high_watermark);
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
        let mut due = Vec::new();
        self.deleted_dirs.lock().retain(|(due_ms, dir)| {
            let keep = *due_ms > now_ms;
            if !keep {
                due.push(dir.clone());
            }
            keep
        });
        for dir in due {
            if let Err(error) = fs.remove_dir_all(&dir) {
                tracing::warn!(dir = %dir.display(), %error, "remove deleted partition");
            }
        }
    }

    /// Tells the leaders that time passed.
    pub fn tick(&self) {
        for partition in self.all() {
            if partition.leads() {
                partition.tick();
            }
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
            partition.with(|state| state.mutate_log(Log::close))?;
        }
        for loaded in self.loaded.lock().logs.values_mut() {
            loaded.log.close()?;
        }
        self.write_checkpoints(&[
            OffsetCheckpoint::RecoveryPoint,
            OffsetCheckpoint::LogStart,
            OffsetCheckpoint::HighWatermark,
        ])?;
        for dir in &self.config.log_dirs {
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
