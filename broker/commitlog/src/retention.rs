//! Forgetting the old end of the log: by age, by size, and below a start offset that was moved.
//! Whole segments only, oldest first, never the active one unless it is empty of live data.
//! Files are renamed to `.deleted` at once and unlinked after `file.delete.delay.ms`, so that a
//! reader who found the segment just before can still send it.

use std::path::PathBuf;
use std::sync::Arc;

use base::{Offset, TimestampMs};

use crate::format::{Suffix, file_name};
use crate::log::{DeletedFiles, Log};
use crate::segment::{NO_TIMESTAMP, Segment};
use crate::{LogError, producer_snapshot};

impl Log {
    /// Deletes old segments by time, size and log start; returns how many. Only what lies below
    /// `high_watermark` goes. Files are renamed now and unlinked by
    /// [`Log::take_due_deletions`].
    pub fn retention(
        &mut self,
        now_ms: TimestampMs,
        high_watermark: Offset,
    ) -> Result<usize, LogError> {
        self.check_whole()?;
        let config = self.config.clone();
        let mut deleted = 0;
        if config.delete {
            if config.retention_ms >= 0 {
                deleted += self.delete_while(now_ms, high_watermark, |log, segment, _| {
                    let newest = log.newest_timestamp(segment);
                    now_ms.saturating_sub(newest) > config.retention_ms
                })?;
            }
            if config.retention_bytes >= 0 {
                let retained = config.retention_bytes as u64;
                deleted += self.delete_while(now_ms, high_watermark, |log, segment, _| {
                    log.size().saturating_sub(segment.size()) >= retained
                })?;
            }
        }
        let start = self.start_offset();
        deleted += self.delete_while(now_ms, high_watermark, |_, _, next| {
            next.is_some_and(|next| next.base_offset <= start)
        })?;
        self.validate_after();
        Ok(deleted)
    }

    fn newest_timestamp(&self, segment: &Segment) -> TimestampMs {
        match segment.max_timestamp() {
            NO_TIMESTAMP => self.context.fs.modified_ms(&segment.log.path()).unwrap_or(i64::MAX),
            timestamp => timestamp,
        }
    }

    /// Deletes segments from the oldest on while `old` holds and they end at or below the high
    /// watermark. If even the active one is to go, a new one takes its place.
    fn delete_while(
        &mut self,
        now_ms: TimestampMs,
        high_watermark: Offset,
        old: impl Fn(&Log, &Segment, Option<&Segment>) -> bool,
    ) -> Result<usize, LogError> {
        let mut deleted = 0;
        loop {
            let segments = self.shared.segments();
            let Some(segment) = segments.first() else { return Ok(deleted) };
            let next = segments.get(1);
            let end = next.map_or(self.end_offset(), |next| next.base_offset);
            let empty_active = next.is_none() && segment.size() == 0;
            if empty_active || end > high_watermark || !old(self, segment, next.map(|n| &**n)) {
                return Ok(deleted);
            }
            if next.is_none() {
                self.roll(now_ms)?;
            }
            self.delete_first(now_ms)?;
            deleted += 1;
        }
    }

    fn delete_first(&mut self, now_ms: TimestampMs) -> Result<(), LogError> {
        let segments = self.shared.segments();
        let Some((segment, rest)) = segments.split_first() else { return Ok(()) };
        let Some(next) = rest.first() else { return Ok(()) };
        self.save_snapshot(next.base_offset);
        self.move_start(next.base_offset.max(self.start_offset()));
        self.publish(rest.to_vec());
        self.sealed_bytes = self.sealed_bytes.saturating_sub(segment.size());
        let mut paths = self.rename_deleted(segment)?;
        self.snapshots.on_disk.remove(&segment.base_offset);
        let snapshot = self.dir.join(file_name(segment.base_offset, Suffix::ProducerSnapshot));
        if self.context.fs.exists(&snapshot) {
            paths.push(snapshot);
        }
        self.snapshots.pending.retain(|(offset, _)| *offset > segment.base_offset);
        let due_ms = now_ms.saturating_add(self.config.file_delete_delay_ms);
        self.deletions.push(DeletedFiles { due_ms, paths });
        Ok(())
    }

    /// Writes the producer state at the new first segment, if no flush has done so yet: what it
    /// was made of goes now. On a disk that is too full for it the state is lost with the next
    /// crash, which makes producers unknown; deleting must go on.
    fn save_snapshot(&mut self, offset: Offset) {
        let pending = self.snapshots.pending.iter().position(|(at, _)| *at == offset);
        let Some(at) = pending else { return };
        let (_, bytes) = self.snapshots.pending.remove(at);
        if producer_snapshot::write(&*self.context.fs, &self.dir, offset, &bytes).is_ok() {
            self.snapshots.on_disk.insert(offset);
        }
    }

    fn rename_deleted(&self, segment: &Arc<Segment>) -> Result<Vec<PathBuf>, LogError> {
        let files =
            [&segment.log, segment.index.file(), segment.time_index.file(), segment.aborted.file()];
        let mut paths = Vec::new();
        for file in files {
            let renamed = file.rename_deleted(&*self.context.fs);
            paths.extend(renamed.map_err(|e| LogError::io("rename", &file.path(), e))?);
        }
        Ok(paths)
    }

    /// Moves the start up; epochs and producers below it are forgotten.
    fn move_start(&mut self, start: Offset) {
        if start > self.start_offset() {
            self.set_start(start);
            self.epochs_version += u64::from(self.epochs.truncate_from_start(start));
            self.producers.truncate_from_start(start);
        }
    }

    /// DeleteRecords, and a follower's catch-up with its leader's log start: moves the start up
    /// to `offset`, which is at most the high watermark. Segments wholly below go with the next
    /// [`Log::retention`].
    pub fn delete_records(
        &mut self,
        offset: Offset,
        high_watermark: Offset,
    ) -> Result<(), LogError> {
        self.check_whole()?;
        let end = high_watermark.min(self.end_offset());
        if offset > end {
            return Err(LogError::OffsetOutOfRange { offset, start: self.start_offset(), end });
        }
        self.move_start(offset);
        self.validate_after();
        Ok(())
    }

    /// Files whose delay is over; unlink them on a thread that may block. What is lost by a crash
    /// is removed by the next start.
    pub fn take_due_deletions(&mut self, now_ms: TimestampMs) -> Vec<PathBuf> {
        let due = self.deletions.partition_point(|deletion| deletion.due_ms <= now_ms);
        self.deletions.drain(..due).flat_map(|deletion| deletion.paths).collect()
    }
}
