//! Opening a log: from files of unknown state to a log whose invariants hold.
//!
//! The recovery point is trusted only as far as an intact producer snapshot vouches for it (see
//! `flush.rs`); call that the point. Per segment, in order:
//!
//! | row | shutdown | segment        | indexes | action                                          |
//! |-----|----------|----------------|---------|-------------------------------------------------|
//! | A   | clean    | sealed         | sane    | trust: nothing is read                          |
//! | B   | clean    | last           | sane    | find the end: walk headers from the last entry  |
//! | C   | any      | any but F      | bad     | rebuild: scan it all                            |
//! | D   | unclean  | below point    | sane    | trust                                           |
//! | F   | unclean  | reaches beyond | any     | scan from the point, rebuild what lies beyond   |
//!
//! Legend. *sane*: present, whole entries, the last one inside the log file. *below point*: the
//! next segment begins below it. *scan*: CRC, offsets and epochs of every batch.
//!
//! Then, for the log: a scan that stops early cuts the segment there and drops all later ones, as
//! does a segment beyond the point that does not begin where its predecessor ends; garbage behind
//! a segment that ends just where the next one begins is cut and nothing is dropped (G). Files of
//! deletions and rewrites that were cut short are removed or finished (H). A log that ends below
//! its start offset begins anew there (I). Missing or damaged epochs are read from the batches
//! (J). Producer state is the newest intact snapshot plus the batches after it (K).

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use base::{Offset, TimestampMs, TopicId, TopicPartition};
use parking_lot::Mutex;
use record::BatchHeader;

use crate::access::{Access, into_log_error};
use crate::epoch_cache::EpochCache;
use crate::flush::sync_index;
use crate::inventory::{SnapshotMap, create_dir, list, usable_snapshots};
use crate::log::{Log, RollState, Snapshots, create_log_file, new_shared};
use crate::producer_state::ProducerState;
use crate::replay::replay;
use crate::scan::{ScanRange, scan};
use crate::segment::Segment;
use crate::verification::Verifications;
use crate::{
    LoadState, LogConfig, LogContext, LogError, RecoveryReport, checkpoint, directory,
    producer_snapshot,
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    Trust,
    FindEnd,
    Rebuild,
    ScanFromPoint,
}

/// The table at the head of this file.
pub(crate) fn decide(clean: bool, last: bool, below_point: bool, indexes_sane: bool) -> Action {
    match (clean, last, below_point, indexes_sane) {
        (true, false, _, true) => Action::Trust,
        (true, true, _, true) => Action::FindEnd,
        (true, _, _, false) => Action::Rebuild,
        (false, false, true, true) => Action::Trust,
        (false, false, true, false) => Action::Rebuild,
        (false, _, _, _) => Action::ScanFromPoint,
    }
}

struct Recovery<'a> {
    context: &'a LogContext,
    dir: Arc<Path>,
    config: &'a LogConfig,
    clean: bool,
    /// All data below is durable.
    point: Offset,
    epochs: EpochCache,
    report: RecoveryReport,
    bytes_since_index: u64,
}

impl Log {
    /// Creates the log of a new partition, with `partition.metadata`. Durable once `log_dir` is
    /// synced (see [`checkpoint::sync_dir`]), which serves any number of new logs. Blocks.
    pub fn create(
        context: &LogContext,
        log_dir: &Path,
        partition: TopicPartition,
        topic_id: TopicId,
        config: Arc<LogConfig>,
        now_ms: TimestampMs,
    ) -> Result<Log, LogError> {
        let fs = &*context.fs;
        let dir = directory::create(fs, log_dir, &partition, topic_id)?;
        let state = LoadState::default();
        let (log, _) = Log::open(context, &dir, partition, config, state, now_ms)?;
        checkpoint::sync_dir(fs, &dir)?;
        Ok(log)
    }

    /// Opens or creates the log in `dir` (`<log dir>/<topic>-<partition>`), recovering it as the
    /// table in `recovery.rs` says. Blocks.
    pub fn open(
        context: &LogContext,
        dir: &Path,
        partition: TopicPartition,
        config: Arc<LogConfig>,
        state: LoadState,
        now_ms: TimestampMs,
    ) -> Result<(Log, RecoveryReport), LogError> {
        let dir: Arc<Path> = Arc::from(dir);
        create_dir(context, &dir)?;
        let mut files = list(context, &dir)?;
        let mut snapshots = usable_snapshots(context, &dir, &files.snapshots, &state)?;
        let newest = snapshots.last_key_value().map(|(offset, _)| *offset);
        let point = if state.clean_shutdown { Offset::MAX } else { newest.unwrap_or(0) };
        let saved_epochs = checkpoint::read_epochs(&*context.fs, &dir)?;
        let findings = std::mem::take(&mut files.findings);
        let mut recovery = Recovery {
            context,
            dir,
            config: &config,
            clean: state.clean_shutdown,
            point,
            epochs: saved_epochs.clone().unwrap_or_default(),
            report: RecoveryReport { findings, ..Default::default() },
            bytes_since_index: 0,
        };
        // Beyond the point the file may tell of epochs that the log has dropped since; the batches
        // tell the truth. Where the log begins beyond the point, nothing else would say so.
        recovery.epochs.truncate_from_end(point);
        let mut segments = recovery.segments(&files.bases)?;
        let active = recovery.begin_anew_if_needed(&mut segments, &mut snapshots, &state)?;
        let first = segments.first().map_or(0, |segment| segment.base_offset);
        let (start, end) = (first.max(state.log_start), active.next_offset());
        recovery.settle_epochs(&segments, saved_epochs.is_some(), start, end)?;
        let (producers, on_disk) = recovery.replay(&segments, snapshots, end)?;
        let roll = recovery.roll_state(&active, now_ms)?;
        let Recovery { dir, epochs, mut report, .. } = recovery;
        let epochs_saved = saved_epochs.as_ref() == Some(&epochs);
        report.segments = segments.len();
        // Not raised to the start: segments that lie partly below it are still needed whole.
        let durable = if state.clean_shutdown { end } else { point.min(end) };
        let sealed = first_not_durable(&segments, &active, durable);
        let log = Log {
            partition,
            sealed_bytes: segments.iter().rev().skip(1).map(|segment| segment.size()).sum(),
            shared: new_shared(context, segments, start, end),
            dir,
            context: context.clone(),
            active,
            roll,
            recovery_point: durable,
            synced: durable,
            sealed,
            named: -1,
            last_sync_ms: now_ms,
            epochs,
            // Whatever recovery changed in them is written by the first flush.
            epochs_version: 1,
            epochs_flushed: u64::from(state.clean_shutdown && epochs_saved),
            producers,
            verifications: Verifications::default(),
            snapshots: Snapshots { on_disk, pending: Vec::new() },
            deletions: Vec::new(),
            // Beyond the end it speaks of what was lost.
            cleaned: if state.cleaned <= end { state.cleaned } else { 0 },
            replacements: 0,
            history: Arc::new(Mutex::new(0)),
            truncations: 0,
            is_torn: false,
            config,
        };
        Ok((log, report))
    }
}

/// Base offset of the first segment that is not durable to its end.
fn first_not_durable(segments: &[Arc<Segment>], active: &Arc<Segment>, durable: Offset) -> Offset {
    let segment = segments.iter().find(|segment| segment.next_offset() > durable);
    segment.unwrap_or(active).base_offset
}

/// What is known of a segment before it is read.
#[derive(Clone, Copy)]
struct Extent {
    len: u64,
    /// `None` for the last segment.
    next_base: Option<Offset>,
    /// Durable before the start: clean shutdown, or below the point.
    trusted: bool,
}

impl Recovery<'_> {
    fn segments(&mut self, bases: &[Offset]) -> Result<Vec<Arc<Segment>>, LogError> {
        let mut segments: Vec<Arc<Segment>> = Vec::with_capacity(bases.len());
        for (i, &base) in bases.iter().enumerate() {
            let next_base = bases.get(i + 1).copied();
            let ended = segments.last().map_or(base, |previous| previous.next_offset());
            let segment = Arc::new(Segment::new(&self.dir, base));
            // Beyond the point a gap is a predecessor that lost its end with its unsynced pages:
            // a segment begins exactly where the one before it was sealed. (Below, compaction
            // may have made gaps.)
            let gap = ended < base && !segments.is_empty() && base > self.point;
            let stopped = if ended > base || gap {
                Some(format!("begins at {base}, but its predecessor ends at {ended}"))
            } else {
                let stopped = self.segment(&segment, next_base)?;
                segments.push(segment);
                stopped
            };
            if let Some(reason) = stopped {
                self.report.findings.push(format!("segment {base}: {reason}"));
                let first_dropped = segments
                    .last()
                    .map_or(0, |last| bases.partition_point(|b| *b <= last.base_offset));
                self.drop_segments(&bases[first_dropped..])?;
                break;
            }
        }
        Ok(segments)
    }

    /// Handles one segment; `Some(reason)` if it was cut, so that no later one can follow.
    fn segment(
        &mut self,
        segment: &Segment,
        next_base: Option<Offset>,
    ) -> Result<Option<String>, LogError> {
        let context = self.context;
        let len = segment
            .open(context)?
            .len()
            .map_err(|e| LogError::io("stat", &segment.log.path(), e))?;
        let last = next_base.is_none();
        // Strictly below: a roll right at the point came after the flush that set it, so the
        // indexes of the segment that it sealed may not be complete.
        let below_point = next_base.is_some_and(|next| next < self.point);
        let trusted = self.clean || below_point;
        let sane = trusted && load_indexes(segment, len, context)?;
        let extent = Extent { len, next_base, trusted };
        match decide(self.clean, last, below_point, sane) {
            Action::Trust => {
                segment.set_end(len, next_base.unwrap_or(segment.base_offset));
                Ok(None)
            }
            Action::FindEnd => match find_end(segment, len, context)? {
                Some(since_index) => {
                    self.bytes_since_index = since_index;
                    Ok(None)
                }
                None => self.scan(segment, extent, None),
            },
            Action::Rebuild => self.scan(segment, extent, None),
            Action::ScanFromPoint => {
                let start = self.start_at_point(segment, len)?;
                self.scan(segment, extent, start)
            }
        }
    }

    /// Row F: the last index entry below the point, if the indexes and the batch there agree.
    fn start_at_point(
        &mut self,
        segment: &Segment,
        len: u64,
    ) -> Result<Option<ScanRange>, LogError> {
        if self.point <= segment.base_offset {
            return Ok(None);
        }
        let context = self.context;
        let point = segment.relative(self.point);
        segment.index.load_checked(context, |e| {
            e.position > 0 && u64::from(e.position) < len && e.offset < point
        })?;
        let Some(entry) = segment.index.last() else { return Ok(None) };
        let at = u64::from(entry.position);
        let mut base_offset = None;
        let read = segment.walk_from(at, len, context, Access::Blocking, |header| {
            base_offset = (segment.relative(header.last_offset()) == entry.offset)
                .then_some(header.base_offset);
            true
        });
        let Some(offset) = base_offset.filter(|_| read.is_ok()) else { return Ok(None) };
        segment
            .time_index
            .load_checked(context, |e| e.timestamp >= 0 && e.offset <= entry.offset)?;
        Ok(Some(ScanRange { position: at, offset, limit: Offset::MAX }))
    }

    fn scan(
        &mut self,
        segment: &Segment,
        extent: Extent,
        start: Option<ScanRange>,
    ) -> Result<Option<String>, LogError> {
        let context = self.context;
        let base = segment.base_offset;
        let start = match start {
            Some(start) => {
                if let Some(last) = segment.time_index.last() {
                    segment.set_max_timestamp(last.timestamp, base + i64::from(last.offset));
                }
                start
            }
            None => {
                segment.index.clear(context)?;
                segment.time_index.clear(context)?;
                self.report.indexes_rebuilt += 1;
                ScanRange { position: 0, offset: base, limit: Offset::MAX }
            }
        };
        // Up to the point the checkpoint file knows the epochs, of later segments too.
        let mut known = EpochCache::default();
        self.bytes_since_index = 0;
        let epochs = if extent.trusted {
            &mut known
        } else {
            self.epochs.truncate_from_end(start.offset);
            &mut self.epochs
        };
        if !extent.trusted {
            segment.open(context)?.note_written();
        }
        let limit = extent.next_base.unwrap_or(Offset::MAX);
        let found = scan(segment, ScanRange { limit, ..start }, epochs, self.config, context)?;
        self.report.segments_scanned += 1;
        self.report.bytes_scanned += found.bytes;
        self.bytes_since_index = found.bytes_since_index;
        if extent.next_base.is_some() {
            // A rebuilt index below the point is written by no later flush.
            segment.index_time(context);
            sync_index(&segment.index, context)?;
            sync_index(&segment.time_index, context)?;
        }
        if found.end_position < extent.len {
            self.report.bytes_truncated += extent.len - found.end_position;
            let file = segment.open(context)?;
            let path = segment.log.path();
            file.set_len(found.end_position).map_err(|e| LogError::io("truncate", &path, e))?;
            file.sync().map_err(|source| LogError::Fsync { path, source })?;
        }
        if extent.next_base == Some(found.end_offset) {
            // Nothing is missing before the next segment: what was cut is a leftover of a write
            // that failed, and was not removed durably.
            let base = segment.base_offset;
            self.report.findings.extend(found.stopped.map(|why| format!("segment {base}: {why}")));
            return Ok(None);
        }
        Ok(found.stopped)
    }

    /// Removes segments that follow a cut, the last one first, so that a crash in between leaves
    /// a prefix. Durable on return: they must not come back behind what is appended next.
    fn drop_segments(&mut self, bases: &[Offset]) -> Result<(), LogError> {
        for &base in bases.iter().rev() {
            let segment = Segment::new(&self.dir, base);
            let len = segment.open(self.context)?.len().unwrap_or(0);
            self.report.bytes_truncated += len;
            self.report.findings.push(format!("dropped segment {base} of {len} bytes"));
            remove_segment(&segment, self.context)?;
        }
        sync_dir(&self.dir, self.context)
    }

    /// Row I, and a directory without a log. Returns the active segment.
    fn begin_anew_if_needed(
        &mut self,
        segments: &mut Vec<Arc<Segment>>,
        snapshots: &mut SnapshotMap,
        state: &LoadState,
    ) -> Result<Arc<Segment>, LogError> {
        let start = state.log_start.max(0);
        if let Some(active) = segments.last() {
            let end = active.next_offset();
            if end >= start {
                return Ok(active.clone());
            }
            let finding = format!("ends at {end}, below its start {start}: begun anew");
            self.report.findings.push(finding);
        }
        let is_new = segments.is_empty() && snapshots.is_empty();
        // What is known of producers goes first: it may be older than what was lost.
        for (offset, _) in std::mem::take(snapshots) {
            producer_snapshot::remove(&*self.context.fs, &self.dir, offset)?;
        }
        let bases: Vec<Offset> = segments.drain(..).map(|segment| segment.base_offset).collect();
        self.bytes_since_index = 0;
        self.epochs.clear();
        if !is_new {
            self.drop_segments(&bases)?;
        }
        let segment = Arc::new(Segment::new(&self.dir, start));
        create_log_file(&segment, self.context)?;
        segments.push(segment.clone());
        Ok(segment)
    }

    /// The epochs of what is left of the log; read out of its batches where no file told them.
    fn settle_epochs(
        &mut self,
        segments: &[Arc<Segment>],
        are_known: bool,
        start: Offset,
        end: Offset,
    ) -> Result<(), LogError> {
        if !are_known {
            self.rebuild_epochs(segments)?;
        }
        self.epochs.truncate_from_end(end);
        self.epochs.truncate_from_start(start);
        Ok(())
    }

    /// Row J.
    fn rebuild_epochs(&mut self, segments: &[Arc<Segment>]) -> Result<(), LogError> {
        let mut epochs = EpochCache::default();
        for segment in segments {
            walk(segment, self.context, |header| {
                epochs.assign(header.leader_epoch, header.base_offset);
            })?;
        }
        self.epochs = epochs;
        Ok(())
    }

    /// Row K.
    fn replay(
        &mut self,
        segments: &[Arc<Segment>],
        mut snapshots: SnapshotMap,
        end: Offset,
    ) -> Result<(ProducerState, BTreeSet<Offset>), LogError> {
        let fs = &*self.context.fs;
        // A snapshot below the first segment lacks the batches between: it says less than nothing.
        let first = segments.first().map_or(end, |segment| segment.base_offset);
        let beyond = snapshots.split_off(&(end + 1));
        let usable = snapshots.split_off(&first);
        for offset in std::mem::replace(&mut snapshots, usable).keys().chain(beyond.keys()) {
            producer_snapshot::remove(fs, &self.dir, *offset)?;
        }
        let on_disk = snapshots.keys().copied().collect();
        let mut from = first;
        let mut state = ProducerState::default();
        while let Some((offset, loaded)) = snapshots.pop_last() {
            let loaded = match loaded {
                Some(state) => Some(state),
                None => producer_snapshot::read(fs, &self.dir, offset)?,
            };
            if let Some(loaded) = loaded {
                state = loaded;
                from = from.max(offset);
                break;
            }
        }
        replay(segments, &mut state, from, self.context)?;
        Ok((state, on_disk))
    }

    fn roll_state(&self, active: &Segment, now_ms: TimestampMs) -> Result<RollState, LogError> {
        let mut roll = RollState::new(now_ms);
        roll.first_timestamp = active.first_timestamp(self.context)?;
        roll.bytes_since_index = self.bytes_since_index;
        Ok(roll)
    }
}

fn walk(
    segment: &Segment,
    context: &LogContext,
    mut visit: impl FnMut(&BatchHeader),
) -> Result<(), LogError> {
    let all = segment.walk_from(0, segment.size(), context, Access::Blocking, |header| {
        visit(header);
        false
    });
    all.map(|_| ()).map_err(into_log_error)
}

/// Whether both indexes are sane; what they say of the largest timestamp is taken over.
fn load_indexes(segment: &Segment, len: u64, context: &LogContext) -> Result<bool, LogError> {
    let error = |e| LogError::io("read", &segment.index.file().path(), e);
    let offsets = segment
        .index
        .load(context, |e| e.position > 0 && u64::from(e.position) < len)
        .map_err(error)?;
    let times = segment.time_index.load(context, |e| e.timestamp >= 0).map_err(error)?;
    if let Some(last) = segment.time_index.last().filter(|_| times) {
        let offset = segment.base_offset + i64::from(last.offset);
        segment.set_max_timestamp(last.timestamp, offset);
    }
    // An empty log file needs no index; it never got one if nothing was ever appended.
    Ok((offsets && times) || len == 0)
}

/// Row B: walks the headers from the last index entry. `None` if the file does not end with a
/// whole batch; else the bytes after that entry.
fn find_end(segment: &Segment, len: u64, context: &LogContext) -> Result<Option<u64>, LogError> {
    let from = segment.index.last().map_or(0, |entry| u64::from(entry.position));
    let mut next_offset = segment.base_offset;
    let mut position = from;
    let walked = segment.walk_from(from, len, context, Access::Blocking, |header| {
        segment.note_timestamp(header.max_timestamp, header.last_offset());
        next_offset = header.next_offset();
        position += header.size() as u64;
        false
    });
    if walked.is_err() || position != len || next_offset < segment.base_offset {
        return Ok(None);
    }
    segment.set_end(len, next_offset);
    Ok(Some(len - from))
}

pub(crate) fn remove_segment(segment: &Segment, context: &LogContext) -> Result<(), LogError> {
    let files =
        [&segment.log, segment.index.file(), segment.time_index.file(), segment.aborted.file()];
    for file in files {
        file.remove(&*context.fs).map_err(|e| LogError::io("remove", &file.path(), e))?;
    }
    Ok(())
}

pub(crate) fn sync_dir(dir: &Path, context: &LogContext) -> Result<(), LogError> {
    checkpoint::sync_dir(&*context.fs, dir)
}
