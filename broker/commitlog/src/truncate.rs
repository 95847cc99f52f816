//! Cutting the log's end off: what a follower does with records its leader does not have.
//!
//! Everything here is durable before it returns. Were a removed segment or an overwritten tail
//! to come back after a crash, behind or between newer records, the log would hold a history
//! that never was. Truncations are rare, so their fsyncs are cheap.
//!
//! A cut that fails after its first change leaves the log torn: it takes nothing more until it was
//! opened again (`reopen.rs`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::{Offset, TimestampMs};

use crate::access::{Access, into_log_error};
use crate::format::{Entry, Suffix, classify, is_unfinished};
use crate::log::{DeletedFiles, Log, RollState, TruncateInfo, create_log_file};
use crate::producer_state::ProducerState;
use crate::recovery::{remove_segment, sync_dir};
use crate::replay::replay;
use crate::segment::Segment;
use crate::{LogError, producer_snapshot};

impl Log {
    /// Removes everything at and above `offset`. Batches are whole: one that spans `offset` goes,
    /// so the end may be below `offset`. Blocks.
    pub fn truncate_to(&mut self, offset: Offset) -> Result<TruncateInfo, LogError> {
        self.check_whole()?;
        let end = self.end_offset();
        if offset >= end {
            // A leader that appended nothing leaves its epoch at the end: it must not stay.
            self.epochs_version += u64::from(self.epochs.truncate_from_end(end));
            return Ok(TruncateInfo { end_offset: end, removed_records: 0 });
        }
        if offset <= self.start_offset() {
            self.restart_at(offset)?;
        } else {
            self.truncate_within(offset)?;
        }
        self.validate_after();
        let end_offset = self.end_offset();
        Ok(TruncateInfo { end_offset, removed_records: end - end_offset })
    }

    /// Drops all data and starts at `offset` (a follower whose leader has nothing older). Blocks.
    /// The files are gone at once, for they must not come back; nothing is left to unlink later.
    ///
    /// Where the log reaches up to `offset` it keeps what it knows of producers: the leader deleted
    /// records (Kafka Streams does so every 30 s), and a batch of before may yet be sent again.
    pub fn truncate_fully_and_start_at(
        &mut self,
        offset: Offset,
        now_ms: TimestampMs,
    ) -> Result<Option<DeletedFiles>, LogError> {
        self.check_whole()?;
        if offset > self.start_offset() && offset < self.end_offset() {
            self.truncate_within(offset)?;
        }
        let goes_on = self.end_offset() == offset;
        let producers = std::mem::take(&mut self.producers);
        self.restart_at(offset)?;
        self.roll = RollState::new(now_ms);
        if goes_on {
            self.keep_producers(producers);
        }
        self.validate_after();
        Ok(None)
    }

    /// On a disk that is too full for the snapshot, producers are unknown after the next crash.
    fn keep_producers(&mut self, producers: ProducerState) {
        self.producers = producers;
        if self.producers.entries().is_empty() {
            return;
        }
        let (offset, bytes) = (self.end_offset(), producer_snapshot::encode(&self.producers));
        if producer_snapshot::write(&*self.context.fs, &self.dir, offset, &bytes).is_ok() {
            self.snapshots.on_disk.insert(offset);
            // There is nothing below that could be lost.
            self.recovery_point = offset;
            self.synced = offset;
        }
    }

    fn truncate_within(&mut self, offset: Offset) -> Result<(), LogError> {
        let segments = self.shared.segments();
        let keep = segments.partition_point(|segment| segment.base_offset < offset).max(1);
        let (kept, dropped) = segments.split_at(keep);
        let Some(active) = kept.last().cloned() else { return Ok(()) };
        // Readers see the new end first, then fewer segments, then the files go.
        let found =
            active.locate(offset, &self.context, Access::Blocking).map_err(into_log_error)?;
        let (size, end) = match found {
            Some(batch) => (batch.position, batch.base_offset),
            None => (active.size(), active.next_offset().min(offset)),
        };
        if end < self.start_offset() {
            // The batch that spans the start went too: nothing that counts is left.
            return self.restart_at(end);
        }
        self.is_torn = true;
        self.set_end(end);
        self.publish(kept.to_vec());
        self.begin_history(end, end)?;
        for segment in dropped.iter().rev() {
            remove_segment(segment, &self.context)?;
        }
        if !dropped.is_empty() {
            // Were they to come back after the cut, there would be a hole in front of them.
            sync_dir(&self.dir, &self.context)?;
        }
        self.cut_segment(&active, size, end)?;
        sync_dir(&self.dir, &self.context)?;
        self.sealed = self.sealed.min(active.base_offset);
        self.named = self.named.min(active.base_offset);
        self.active = active;
        self.sealed_bytes = kept.iter().rev().skip(1).map(|segment| segment.size()).sum();
        // The age of a reopened segment counts from its first batch, as after a restart.
        let created_ms = self.roll.created_ms;
        self.roll = RollState { bytes_since_index: u64::MAX / 2, ..RollState::new(created_ms) };
        self.roll.first_timestamp = self.active.first_timestamp(&self.context)?;
        self.rebuild_producers()?;
        self.is_torn = false;
        Ok(())
    }

    fn cut_segment(&self, segment: &Segment, size: u64, end: Offset) -> Result<(), LogError> {
        segment.set_end(size, end);
        let context = &self.context;
        let path = segment.log.path();
        let file = segment.open(context)?;
        file.set_len(size).map_err(|e| LogError::io("truncate", &path, e))?;
        file.sync().map_err(|source| LogError::Fsync { path, source })?;
        let below = segment.relative(end);
        segment.index.truncate(context, |entry| entry.offset < below)?;
        segment.time_index.truncate(context, |entry| entry.offset < below)?;
        segment.aborted.load(end, context)?;
        self.restore_max_timestamp(segment)
    }

    /// The largest timestamp of what is left: that of the time index, or of a batch behind it.
    fn restore_max_timestamp(&self, segment: &Segment) -> Result<(), LogError> {
        let base = segment.base_offset;
        let (timestamp, offset) = match segment.time_index.last() {
            Some(entry) => (entry.timestamp, base + i64::from(entry.offset)),
            None => (crate::segment::NO_TIMESTAMP, base),
        };
        segment.set_max_timestamp(timestamp, offset);
        let context = &self.context;
        let from = segment.locate(offset, context, Access::Blocking).map_err(into_log_error)?;
        let Some(from) = from else { return Ok(()) };
        let size = segment.size();
        segment
            .walk_from(from.position, size, context, Access::Blocking, |header| {
                segment.note_timestamp(header.max_timestamp, header.last_offset());
                false
            })
            .map_err(into_log_error)?;
        Ok(())
    }

    pub(crate) fn restart_at(&mut self, offset: Offset) -> Result<(), LogError> {
        let segments = self.shared.segments();
        let segment = Arc::new(Segment::new(&self.dir, offset));
        self.is_torn = true;
        // Old readers keep what they hold; new ones find an empty log.
        self.set_end(offset);
        self.set_start(offset);
        self.begin_history(offset, -1)?;
        for old in segments.iter().rev() {
            remove_segment(old, &self.context)?;
        }
        create_log_file(&segment, &self.context)?;
        self.publish(vec![segment.clone()]);
        sync_dir(&self.dir, &self.context)?;
        self.sealed = offset;
        self.named = offset;
        self.active = segment;
        self.sealed_bytes = 0;
        self.epochs.clear();
        self.epochs_version += 1;
        self.producers.clear();
        self.roll = RollState::new(self.roll.created_ms);
        self.is_torn = false;
        Ok(())
    }

    /// What was promised or is being written beyond `end` counts no more.
    fn begin_history(&mut self, end: Offset, snapshots_up_to: Offset) -> Result<(), LogError> {
        self.verifications.clear();
        let mut history = self.history.lock();
        *history += 1;
        self.truncations = *history;
        self.recovery_point = self.recovery_point.min(end);
        self.synced = self.synced.min(end);
        self.cleaned = self.cleaned.min(end);
        self.epochs_version += u64::from(self.epochs.truncate_from_end(end));
        self.snapshots.pending.retain(|(offset, _)| *offset <= snapshots_up_to);
        self.snapshots.on_disk.retain(|offset| *offset <= snapshots_up_to);
        // By what the directory holds: a failed flush may have left more than is remembered.
        let names =
            self.context.fs.list(&self.dir).map_err(|e| LogError::io("list", &self.dir, e))?;
        for name in names {
            if let Entry::Data(offset, Suffix::ProducerSnapshot) = classify(&name)
                && offset > snapshots_up_to
            {
                producer_snapshot::remove(&*self.context.fs, &self.dir, offset)?;
            }
            // A cleaning of what is cut must not come back behind the cut.
            if is_unfinished(&name) {
                let path = self.dir.join(&name);
                let removed = self.context.fs.remove_file(&path);
                removed.map_err(|e| LogError::io("remove", &path, e))?;
            }
        }
        drop(history);
        Ok(())
    }

    fn rebuild_producers(&mut self) -> Result<(), LogError> {
        let mut state = ProducerState::default();
        let segments = self.shared.segments();
        let mut from = segments.first().map_or(0, |segment| segment.base_offset);
        for (offset, bytes) in self.snapshots.pending.iter().rev() {
            if let Some(snapshot) = producer_snapshot::decode(bytes) {
                (state, from) = (snapshot, (*offset).max(from));
                break;
            }
        }
        for &offset in self.snapshots.on_disk.iter().rev().take_while(|offset| **offset >= from) {
            let fs = &*self.context.fs;
            if let Some(snapshot) = producer_snapshot::read(fs, &self.dir, offset)? {
                (state, from) = (snapshot, offset);
                break;
            }
        }
        replay(&segments, &mut state, from, &self.context)?;
        self.producers = state;
        debug_assert!(self.shared.end.load(Ordering::Relaxed) >= from);
        Ok(())
    }
}
