//! A torn log: a cut failed after its first change, so that segments, epochs, producers and files
//! may each tell another story. Such a log takes nothing more. What the disk holds is found as
//! after the death of the process, by recovery, and takes the place of what was in memory; readers
//! keep their view of the log.
//!
//! Recovery may take long, so that it runs without the log's owner ([`ReopenWork`]), which is told
//! of what was found ([`Log::reopened`]).

use std::path::Path;
use std::sync::Arc;

use base::{Offset, TimestampMs, TopicPartition};
use parking_lot::Mutex;

use crate::log::Log;
use crate::{LoadState, LogConfig, LogContext, LogError, RecoveryReport};

/// Opens a torn log again. Run it on a thread that may block, then tell the log.
#[must_use]
pub struct ReopenWork {
    context: LogContext,
    dir: Arc<Path>,
    partition: TopicPartition,
    config: Arc<LogConfig>,
    state: LoadState,
    history: Arc<Mutex<u64>>,
    truncations: u64,
}

/// What a [`ReopenWork`] found.
pub struct Reopened {
    log: Log,
    pub report: RecoveryReport,
    truncations: u64,
}

impl ReopenWork {
    /// `None` for a log that was deleted meanwhile. One whose deletion begins now waits until this
    /// is done, or it would find files that came back.
    pub fn run(self, now_ms: TimestampMs) -> Result<Option<Reopened>, LogError> {
        let history = self.history.lock();
        if *history != self.truncations {
            return Ok(None);
        }
        let ReopenWork { partition, config, state, .. } = &self;
        let opened =
            Log::open(&self.context, &self.dir, partition.clone(), config.clone(), *state, now_ms);
        let (log, report) = opened?;
        let truncations = self.truncations;
        drop(history);
        Ok(Some(Reopened { log, report, truncations }))
    }
}

impl Log {
    /// A cut failed half-way: nothing that the log says of itself can be relied upon.
    pub fn is_torn(&self) -> bool {
        self.is_torn
    }

    pub(crate) fn check_whole(&self) -> Result<(), LogError> {
        if self.is_torn {
            return Err(LogError::Torn { dir: self.dir.to_path_buf() });
        }
        Ok(())
    }

    /// Work that opens a torn log again; `None` if it is whole.
    pub fn reopen_work(&mut self) -> Option<ReopenWork> {
        if !self.is_torn {
            return None;
        }
        // Also where the cut failed before it said so: what was promised before counts no more.
        self.abandon();
        let state = LoadState {
            clean_shutdown: false,
            recovery_point: self.recovery_point,
            log_start: self.start_offset(),
            cleaned: self.cleaned,
        };
        Some(ReopenWork {
            context: self.context.clone(),
            dir: self.dir.clone(),
            partition: self.partition.clone(),
            config: self.config.clone(),
            state,
            history: self.history.clone(),
            truncations: self.truncations,
        })
    }

    /// Takes over what was found on disk. False if the log was abandoned since.
    pub fn reopened(&mut self, found: Reopened) -> bool {
        if found.truncations != self.truncations {
            return false;
        }
        self.verifications.clear();
        let verifications = std::mem::take(&mut self.verifications);
        let (start, end) = (found.log.start_offset(), found.log.end_offset());
        self.show(&found.log, start, end);
        *self = Log {
            shared: self.shared.clone(),
            history: self.history.clone(),
            truncations: self.truncations,
            // Old readers may still open what was replaced before.
            replacements: self.replacements,
            config: self.config.clone(),
            // Their guards are never given out twice.
            verifications,
            ..found.log
        };
        self.validate_after();
        true
    }

    /// Shows readers another log: never an end for which there are no segments.
    fn show(&self, found: &Log, start: Offset, end: Offset) {
        self.set_end(self.end_offset().min(end));
        let segments = found.shared.segments();
        self.publish(segments.to_vec());
        self.set_start(start);
        self.set_end(end);
    }
}
