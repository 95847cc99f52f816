//! Making the log durable, off the append path: the log hands out a work item that owns all it
//! needs, any thread runs it, and the log is told.
//!
//! Order within a full flush: data, then indexes, then the producer snapshot and the epochs, then
//! the directory. So whoever finds an intact snapshot at an offset may trust everything below it,
//! the active segment's index entries too: a torn one that looks like any other would send every
//! reader into the middle of a batch.

use std::io;
use std::path::Path;
use std::sync::Arc;

use base::{Offset, TimestampMs};
use parking_lot::Mutex;

use crate::fs::{LazyFile, SegmentFile};
use crate::index::{Entry, Index};
use crate::log::Log;
use crate::recovery::sync_dir;
use crate::segment::Segment;
use crate::{LogContext, LogError, checkpoint, producer_snapshot};

/// Snapshots kept besides those at a segment's base offset.
const SPARE_SNAPSHOTS: usize = 2;

/// Makes everything below [`FlushWork::offset`] durable. Run it on a thread that may block, then
/// tell the log by [`Log::flushed`].
#[must_use]
pub struct FlushWork {
    context: LogContext,
    dir: Arc<Path>,
    segments: Vec<Arc<Segment>>,
    active: Arc<Segment>,
    offset: Offset,
    /// A segment's name may not be durable yet.
    sync_names: bool,
    /// `None`: only the data.
    checkpoint: Option<Checkpoint>,
    epochs_version: u64,
    history: Arc<Mutex<u64>>,
    truncations: u64,
}

struct Checkpoint {
    snapshots: Vec<(Offset, Vec<u8>)>,
    epochs: Option<String>,
    stale_snapshots: Vec<Offset>,
}

/// What a [`FlushWork`] achieved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flushed {
    offset: Offset,
    named: Offset,
    checkpointed: bool,
    epochs_version: u64,
    truncations: u64,
}

impl Flushed {
    pub fn offset(&self) -> Offset {
        self.offset
    }
}

impl FlushWork {
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// [`LogError::Fsync`] is fatal to the process. A log that was deleted meanwhile is done with:
    /// nobody will ask what of it is durable.
    pub fn run(&self) -> Result<Flushed, LogError> {
        match self.make_durable() {
            Err(error) if error.is_not_found() && !self.context.fs.exists(&self.dir) => {}
            made => made?,
        }
        let checkpointed = self.checkpoint.is_some();
        let FlushWork { offset, epochs_version, truncations, .. } = *self;
        let named = self.active.base_offset;
        Ok(Flushed { offset, named, checkpointed, epochs_version, truncations })
    }

    fn make_durable(&self) -> Result<(), LogError> {
        for segment in &self.segments {
            sync(&segment.log, &self.context)?;
        }
        match &self.checkpoint {
            Some(checkpoint) => self.run_checkpoint(checkpoint)?,
            None if self.sync_names => sync_dir(&self.dir, &self.context)?,
            None => {}
        }
        Ok(())
    }

    /// Writes the segments' indexes out. `None` after a truncation: the files may be gone, or be
    /// those of other segments by now.
    fn write_indexes(&self) -> Result<Option<Vec<Written>>, LogError> {
        let history = self.history.lock();
        if *history != self.truncations {
            return Ok(None);
        }
        let mut written = Vec::with_capacity(2 * self.segments.len());
        for segment in &self.segments {
            written.extend(write_out(&segment.index, &self.context)?);
            written.extend(write_out(&segment.time_index, &self.context)?);
        }
        drop(history);
        Ok(Some(written))
    }

    fn run_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), LogError> {
        let Some(written) = self.write_indexes()? else { return Ok(()) };
        for segment in &self.segments {
            if !segment.aborted.is_empty() {
                sync(segment.aborted.file(), &self.context)?;
            }
        }
        for Written { file, open } in &written {
            sync_open(file, open)?;
        }
        for segment in &self.segments {
            if !Arc::ptr_eq(segment, &self.active) {
                segment.index.forget_tail();
                segment.time_index.forget_tail();
            }
        }
        let fs = &*self.context.fs;
        let history = self.history.lock();
        if *history != self.truncations {
            return Ok(());
        }
        if let Some(text) = &checkpoint.epochs {
            let path = self.dir.join(checkpoint::EPOCHS);
            checkpoint::replace_file(fs, &path, text.as_bytes())?;
        }
        // Last: recovery takes a snapshot for proof that all below it is durable, epochs too.
        for (offset, bytes) in &checkpoint.snapshots {
            producer_snapshot::write(fs, &self.dir, *offset, bytes)?;
        }
        sync_dir(&self.dir, &self.context)?;
        for offset in &checkpoint.stale_snapshots {
            producer_snapshot::remove(fs, &self.dir, *offset)?;
        }
        Ok(())
    }
}

fn sync(file: &Arc<LazyFile>, context: &LogContext) -> Result<(), LogError> {
    match file.get(&*context.fs, &context.files) {
        Ok(open) => sync_open(file, &open),
        // Retention removed the segment meanwhile.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(LogError::io("open", &file.path(), e)),
    }
}

fn sync_open(file: &LazyFile, open: &SegmentFile) -> Result<(), LogError> {
    open.sync().map_err(|source| LogError::Fsync { path: file.path(), source })
}

pub(crate) fn sync_index<E: Entry>(index: &Index<E>, context: &LogContext) -> Result<(), LogError> {
    if let Some(Written { file, open }) = write_out(index, context)? {
        sync_open(&file, &open)?;
    }
    index.forget_tail();
    Ok(())
}

/// An index that was written out and is to be synced.
struct Written {
    file: Arc<LazyFile>,
    open: Arc<SegmentFile>,
}

/// `None` where the segment's directory was removed meanwhile.
fn write_out<E: Entry>(
    index: &Index<E>,
    context: &LogContext,
) -> Result<Option<Written>, LogError> {
    match index.write_out(context) {
        Ok(open) => Ok(Some(Written { file: index.file().clone(), open })),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        // The recovery point must not pass an index that would then be trusted half-written.
        Err(e) => Err(LogError::io("write", &index.file().path(), e)),
    }
}

impl Log {
    /// Work that makes all that is in the log now durable, and moves the recovery point; `None`
    /// if there is nothing to do.
    pub fn flush_work(&mut self) -> Option<FlushWork> {
        self.check_whole().ok()?;
        let end = self.end_offset();
        let nothing_new = self.recovery_point >= end && self.snapshots.pending.is_empty();
        let epochs_dirty = self.epochs_version != self.epochs_flushed;
        if nothing_new && !epochs_dirty {
            return None;
        }
        let mut snapshots = std::mem::take(&mut self.snapshots.pending);
        if !self.snapshots.on_disk.contains(&end) && snapshots.last().is_none_or(|s| s.0 != end) {
            snapshots.push((end, producer_snapshot::encode(&self.producers)));
        }
        self.snapshots.on_disk.extend(snapshots.iter().map(|(offset, _)| *offset));
        let epochs = epochs_dirty.then(|| checkpoint::encode_epochs(&self.epochs));
        let stale_snapshots = self.take_stale_snapshots();
        let checkpoint = Checkpoint { snapshots, epochs, stale_snapshots };
        Some(self.work(self.recovery_point, Some(checkpoint)))
    }

    /// Work that syncs only the data, for group commit (`flush.messages=1`); `None` if all is
    /// durable already. The recovery point stays.
    pub fn sync_work(&self) -> Option<FlushWork> {
        (!self.is_torn && self.synced < self.end_offset()).then(|| self.work(self.synced, None))
    }

    fn work(&self, from: Offset, checkpoint: Option<Checkpoint>) -> FlushWork {
        let segments = self.shared.segments();
        let mut first = segments.partition_point(|segment| segment.next_offset() <= from);
        if checkpoint.is_some() {
            // A segment that was sealed with nothing unflushed still has its indexes to write.
            first =
                first.min(segments.partition_point(|segment| segment.base_offset < self.sealed));
        }
        FlushWork {
            context: self.context.clone(),
            dir: self.dir.clone(),
            segments: segments[first..].to_vec(),
            active: self.active.clone(),
            offset: self.end_offset(),
            sync_names: self.active.base_offset > self.named,
            checkpoint,
            epochs_version: self.epochs_version,
            history: self.history.clone(),
            truncations: self.truncations,
        }
    }

    /// Only the snapshots at segment bases, which truncation may need, and the newest are kept.
    fn take_stale_snapshots(&mut self) -> Vec<Offset> {
        let segments = self.shared.segments();
        let is_base = |offset: &Offset| {
            segments.binary_search_by_key(offset, |segment| segment.base_offset).is_ok()
        };
        let spare: Vec<Offset> =
            self.snapshots.on_disk.iter().copied().filter(|offset| !is_base(offset)).collect();
        let excess = spare.len().saturating_sub(SPARE_SNAPSHOTS);
        let stale = spare[..excess].to_vec();
        for offset in &stale {
            self.snapshots.on_disk.remove(offset);
        }
        stale
    }

    /// Records enough for `flush.messages` are not durable: none of them may be acknowledged before
    /// they are.
    #[inline]
    pub fn must_sync(&self) -> bool {
        let unsynced = self.end_offset() - self.synced;
        unsynced > 0 && unsynced >= self.config.flush_messages && !self.is_torn
    }

    /// A segment was sealed since the last full flush, or `flush.messages` or `flush.ms` ask for
    /// a sync now. Without the first, recovery after a crash would read the whole log.
    pub fn flush_due(&self, now_ms: TimestampMs) -> bool {
        if self.is_torn {
            return false;
        }
        if self.sealed < self.active.base_offset {
            return true;
        }
        let unsynced = self.end_offset() - self.synced;
        unsynced > 0
            && (unsynced >= self.config.flush_messages
                || now_ms.saturating_sub(self.last_sync_ms) >= self.config.flush_ms)
    }

    /// The work is done. Work from before a truncation proves nothing and is ignored.
    pub fn flushed(&mut self, done: Flushed, now_ms: TimestampMs) {
        if done.truncations != self.truncations {
            return;
        }
        self.last_sync_ms = now_ms;
        self.synced = self.synced.max(done.offset);
        self.named = self.named.max(done.named);
        if done.checkpointed {
            self.recovery_point = self.recovery_point.max(done.offset);
            self.sealed = self.sealed.max(done.named);
            self.epochs_flushed = self.epochs_flushed.max(done.epochs_version);
        }
        self.validate_after();
    }

    /// The log's directory is about to be renamed, and another log may get its name: flush work
    /// that is under way writes no file into it any more. Waits for one that is being written.
    pub fn abandon(&mut self) {
        let mut history = self.history.lock();
        *history += 1;
        self.truncations = *history;
    }

    /// Flushes, writes the producer snapshot and all indexes. After it the clean-shutdown marker
    /// may be written. Blocks.
    pub fn close(&mut self) -> Result<(), LogError> {
        self.check_whole()?;
        self.active.index_time(&self.context);
        if let Some(work) = self.flush_work() {
            let done = work.run()?;
            self.flushed(done, self.last_sync_ms);
        }
        sync_index(&self.active.index, &self.context)?;
        sync_index(&self.active.time_index, &self.context)?;
        sync_dir(&self.dir, &self.context)?;
        for segment in self.shared.segments().iter() {
            segment.log.close();
            segment.index.file().close();
            segment.time_index.file().close();
            segment.aborted.file().close();
        }
        Ok(())
    }
}
