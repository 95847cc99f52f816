//! Background work on logs, on threads that may wait for the disk: flushing what rolled or is due,
//! the checkpoints of recovery points, log starts and high watermarks, retention, deletions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{BrokerEpoch, Offset, TopicPartition};
use commitlog::LogError;
use commitlog::checkpoint::{self, OffsetCheckpoint};

use super::hosted::{Partition, storage_error};
use super::index::Partitions;
use crate::clock;

/// The checkpoint files of all log directories, written as wholes.
#[derive(Debug, Default)]
struct Positions {
    recovery_points: Vec<(TopicPartition, Offset)>,
    log_starts: Vec<(TopicPartition, Offset)>,
    high_watermarks: Vec<(TopicPartition, Offset)>,
}

impl Partitions {
    /// Writes the checkpoint files of every log directory.
    pub fn write_checkpoints(&self, kinds: &[OffsetCheckpoint]) -> Result<(), LogError> {
        for (dir, positions) in self.positions() {
            for &kind in kinds {
                let offsets = match kind {
                    OffsetCheckpoint::RecoveryPoint => &positions.recovery_points,
                    OffsetCheckpoint::LogStart => &positions.log_starts,
                    OffsetCheckpoint::HighWatermark => &positions.high_watermarks,
                    OffsetCheckpoint::Cleaner => continue,
                };
                let offsets = offsets.iter().map(|(id, offset)| (id, *offset));
                kind.write(&*self.logs.fs, &dir, offsets)?;
            }
        }
        Ok(())
    }

    fn positions(&self) -> BTreeMap<PathBuf, Positions> {
        let mut by_dir: BTreeMap<PathBuf, Positions> = BTreeMap::new();
        for dir in &self.config.log_dirs {
            by_dir.insert(dir.clone(), Positions::default());
        }
        for partition in self.all() {
            partition.look(|state| {
                let Some(dir) = state.log.dir().parent().map(Path::to_path_buf) else { return };
                let positions = by_dir.entry(dir).or_default();
                let id = &partition.id;
                positions.recovery_points.push((id.clone(), state.log.recovery_point()));
                positions.high_watermarks.push((id.clone(), state.core.high_watermark()));
                // As in Kafka: only where the log file names do not say it.
                if state.log.start_offset() > 0 {
                    positions.log_starts.push((id.clone(), state.log.start_offset()));
                }
            });
        }
        // Logs that no image has claimed yet keep what they had.
        for (id, loaded) in &self.loaded.lock().logs {
            let Some(dir) = loaded.log.dir().parent().map(Path::to_path_buf) else { continue };
            let positions = by_dir.entry(dir).or_default();
            positions.recovery_points.push((id.clone(), loaded.log.recovery_point()));
            positions.high_watermarks.push((id.clone(), loaded.high_watermark));
            if loaded.log.start_offset() > 0 {
                positions.log_starts.push((id.clone(), loaded.log.start_offset()));
            }
        }
        by_dir
    }

    /// Rolls by time, flushes where it is due, removes what retention allows.
    pub fn retain(&self) {
        let now_ms = clock::wall_ms();
        for partition in self.all() {
            partition.retain(now_ms);
        }
    }

    /// Makes durable what rolled since the last time, or what flush.ms and flush.messages ask for.
    pub fn flush_due(&self) {
        let now_ms = clock::wall_ms();
        for partition in self.all() {
            if partition.look(|state| !state.is_removed && state.log.flush_due(now_ms)) {
                partition.flush();
            }
        }
    }

    /// Unlinks files and directories whose delay is over.
    pub fn remove_deleted(&self) {
        let now_ms = clock::wall_ms();
        let fs = &*self.logs.fs;
        for partition in self.all() {
            for path in partition.look_mut(|state| state.log.take_due_deletions(now_ms)) {
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
            if partition.look(|state| state.core.is_leader()) {
                partition.tick();
            }
        }
    }

    /// Closes every log; with all of them closed, writes the checkpoints and the clean-shutdown
    /// markers.
    pub fn close(&self, broker_epoch: BrokerEpoch) -> Result<(), LogError> {
        for partition in self.all() {
            partition.look_mut(|state| state.log.close())?;
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
    fn retain(self: &Arc<Self>, now_ms: i64) {
        let result = self.with(|state| {
            if state.is_removed {
                return Ok(());
            }
            state.log.roll_if_needed(now_ms)?;
            state.log.expire_producers(now_ms);
            let high_watermark = state.core.high_watermark();
            if state.log.retention(now_ms, high_watermark)? > 0 {
                state.log_changed();
            }
            Ok(())
        });
        if let Err(error) = result {
            storage_error(&self.id, &error);
        }
    }

    /// Makes what is in the log now durable, without holding the lock meanwhile.
    pub fn flush(self: &Arc<Self>) {
        let Some(work) = self.look_mut(|state| state.log.flush_work()) else { return };
        match work.run() {
            Ok(done) => self.with(|state| state.flushed(done)),
            Err(error) => {
                storage_error(&self.id, &error);
            }
        }
    }
}
