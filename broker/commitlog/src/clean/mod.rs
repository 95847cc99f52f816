//! Cleaning a log by keys (`cleanup.policy=compact`), as Kafka's cleaner does it, without the log's
//! owner: [`Log::clean_work`] names what may be cleaned, [`CleanWork::begin`] reads the part that
//! was never cleaned into a map of last offsets, [`Cleaning::next_group`] writes segments anew, and
//! [`Log::swap`] puts each in its place. Readers and appends go on meanwhile.
//!
//! - Only what is below the last stable offset and durable with its indexes is cleaned, never the
//!   active segment.
//! - Segments are put in place from the oldest on, each durably before the next: a tombstone never
//!   goes before what it deletes.
//! - A new segment ends with the batch that the old one ended with, maybe empty, so that recovery
//!   still tells a lost end from a gap.
//! - Whatever is done by the name of a file is done under the lock of the log's history: a cut, or
//!   a deletion of the partition, comes before or after it.

mod filter;
mod offset_map;
mod plan;
mod read;
pub(crate) mod redo;
mod swap;
mod transactions;
mod write;

use std::path::Path;
use std::sync::Arc;

use base::{Offset, TimestampMs};
use parking_lot::{Mutex, MutexGuard};

use crate::aborted_index::AbortedTxn;
use crate::access::{Access, into_log_error};
use crate::log::Log;
use crate::segment::Segment;
use crate::{LogConfig, LogContext, LogError};
use filter::{Filter, Outcome, ProducerEnds, marker_of};
use offset_map::OffsetMap;
use plan::{Bounds, Facts};
use read::BatchReader;
use transactions::Decided;
use write::SegmentWriter;

pub use filter::ProducerEnd;
pub use plan::Dirt;
pub use swap::CleanedGroup;

/// What one cleaning may use.
#[derive(Clone, Copy, Debug)]
pub struct CleanLimits {
    /// Memory for keys, and the share of it that is used.
    pub map_bytes: usize,
    pub load_factor: f64,
    /// Memory for reading, and the same for writing; more for a batch that is larger.
    pub io_bytes: usize,
    /// What the hashes of keys are seeded with.
    pub seeds: [u64; 2],
    pub now_ms: TimestampMs,
}

/// Is told how many bytes were read or written, and may wait; false ends the cleaning.
pub type Pace<'a> = &'a mut dyn FnMut(u64) -> bool;

#[derive(thiserror::Error, Debug)]
pub enum CleanError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("it was told to stop")]
    Stopped,
    #[error("the log was cut or removed meanwhile")]
    Superseded,
}

/// What of a log may be cleaned.
pub struct CleanWork {
    context: LogContext,
    dir: Arc<Path>,
    config: Arc<LogConfig>,
    /// Those that may be cleaned, from the first of the log on.
    segments: Vec<Arc<Segment>>,
    facts: Vec<Facts>,
    /// All of the log's.
    all: Arc<Vec<Arc<Segment>>>,
    dirty_from: Offset,
    end: Offset,
    ends: ProducerEnds,
    history: Arc<Mutex<u64>>,
    truncations: u64,
}

/// What a cleaning did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CleanStats {
    pub keys: usize,
    pub bytes_read: u64,
    pub bytes_written: u64,
}

/// A cleaning under way.
pub struct Cleaning {
    work: CleanWork,
    limits: CleanLimits,
    map: OffsetMap,
    decided: Decided,
    groups: Vec<usize>,
    /// How many groups, and of how many segments, are done.
    done: (usize, usize),
    pub stats: CleanStats,
}

impl Log {
    /// What may be cleaned now; `None` if the log is not compacted, or takes nothing. Cheap: reads
    /// no disk.
    pub fn clean_work(&self, last_stable: Offset, now_ms: TimestampMs) -> Option<CleanWork> {
        if !self.config.compact || self.is_torn {
            return None;
        }
        let all = self.shared.segments();
        let (start, end) = (self.start_offset(), self.end_offset());
        // The log was cut, or its start moved up: nothing is known of what is there.
        let is_known = (start..=end).contains(&self.cleaned);
        let dirty_from = if is_known { self.cleaned } else { start };
        let durable = all.partition_point(|segment| segment.base_offset < self.sealed);
        let sealed = &all[..durable.min(all.len() - 1)];
        let mut facts: Vec<Facts> = sealed.iter().zip(&all[1..]).map(facts_of).collect();
        let bounds = Bounds {
            dirty_from,
            stable: last_stable.min(self.recovery_point),
            min_lag_ms: self.config.min_compaction_lag_ms,
            now_ms,
        };
        facts.truncate(plan::cleanable(&facts, &bounds));
        let segments = sealed[..facts.len()].to_vec();
        Some(CleanWork {
            context: self.context.clone(),
            dir: self.dir.clone(),
            config: self.config.clone(),
            end: facts.last().map_or(dirty_from, |last| last.next_base),
            segments,
            facts,
            all: all.clone(),
            dirty_from,
            ends: ProducerEnds::new(),
            history: self.history.clone(),
            truncations: self.truncations,
        })
    }

    /// What a cleaning must leave of each producer. Costs with their number, for the log that is
    /// going to be cleaned.
    pub fn note_producers(&self, work: &mut CleanWork) {
        let end = |entry: &crate::producer_state::ProducerEntry| ProducerEnd {
            last_offset: entry.last_batch().map(|batch| batch.last_offset),
            epoch: entry.epoch,
        };
        work.ends = self.producers.entries().iter().map(|(id, entry)| (*id, end(entry))).collect();
    }
}

fn facts_of((segment, next): (&Arc<Segment>, &Arc<Segment>)) -> Facts {
    Facts {
        base: segment.base_offset,
        next_base: next.base_offset,
        bytes: segment.size(),
        index_bytes: (segment.index.count() * 8).max(segment.time_index.count() * 12),
        max_timestamp: segment.max_timestamp(),
    }
}

impl CleanWork {
    pub fn dirt(&self) -> Dirt {
        Dirt::of(&self.facts, self.dirty_from)
    }

    /// Worth it by the log's own settings: dirty enough, or dirty for too long. May wait for the
    /// disk where `max.compaction.lag.ms` is set.
    pub fn is_due(&self, now_ms: TimestampMs) -> Result<bool, LogError> {
        let dirt = self.dirt();
        if dirt.dirty_bytes == 0 {
            return Ok(false);
        }
        let threshold = f64::from(self.config.min_cleanable_ratio_ppm) / 1e6;
        Ok(dirt.ratio() > threshold || self.overdue_ms(now_ms)? > 0)
    }

    /// For how long the oldest dirty record has been there beyond `max.compaction.lag.ms`.
    pub fn overdue_ms(&self, now_ms: TimestampMs) -> Result<i64, LogError> {
        let lag_ms = self.config.max_compaction_lag_ms;
        if lag_ms == i64::MAX {
            return Ok(0);
        }
        let mut overdue_ms = 0;
        for (segment, facts) in self.segments.iter().zip(&self.facts) {
            if facts.next_base > self.dirty_from
                && let Some(first) = segment.first_timestamp(&self.context)?.filter(|at| *at > 0)
            {
                overdue_ms = overdue_ms.max(now_ms.saturating_sub(first).saturating_sub(lag_ms));
            }
        }
        Ok(overdue_ms)
    }

    /// Reads what was never cleaned. Blocks.
    pub fn begin(self, limits: CleanLimits, pace: Pace<'_>) -> Result<Cleaning, CleanError> {
        let records = (self.end - self.dirty_from).max(0).unsigned_abs();
        let mut map = OffsetMap::new(limits.map_bytes, limits.load_factor, records, limits.seeds);
        map.note_end(self.dirty_from);
        let mut stats = CleanStats::default();
        let mut decided = Decided::new(self.aborted(self.dirty_from, self.end)?);
        for (segment, facts) in self.segments.iter().zip(&self.facts) {
            if facts.next_base <= self.dirty_from {
                continue;
            }
            if !self.map_segment(segment, &limits, &mut map, &mut decided, pace, &mut stats)? {
                break;
            }
            map.note_end(facts.next_base);
        }
        if map.end() <= self.dirty_from && self.end > self.dirty_from {
            let reason = "log.cleaner.dedupe.buffer.size is too small for one batch".to_owned();
            return Err(LogError::Corrupt { path: self.dir.to_path_buf(), reason }.into());
        }
        stats.keys = map.keys();
        let is_reached = |facts: &&Facts| facts.base < map.end();
        let reached = self.facts.iter().take_while(is_reached).count();
        let facts = &self.facts[..reached];
        let (first, end) = match (facts.first(), facts.last()) {
            (Some(first), Some(last)) => (first.base, last.next_base),
            _ => (self.dirty_from, self.dirty_from),
        };
        let (bytes_max, index_max) =
            (u64::from(self.config.segment_bytes), self.config.segment_index_bytes as usize);
        let groups = plan::groups(facts, bytes_max, index_max);
        let decided = Decided::new(self.aborted(first, end)?);
        Ok(Cleaning { work: self, limits, map, decided, groups, done: (0, 0), stats })
    }

    /// False once there is no room for another key.
    fn map_segment(
        &self,
        segment: &Segment,
        limits: &CleanLimits,
        map: &mut OffsetMap,
        decided: &mut Decided,
        pace: Pace<'_>,
        stats: &mut CleanStats,
    ) -> Result<bool, CleanError> {
        let from = self.dirty_from.max(segment.base_offset);
        let located = segment.locate(from, &self.context, Access::Blocking);
        let Some(first) = located.map_err(into_log_error)? else { return Ok(true) };
        let mut reader = BatchReader::new(segment, first.position, limits.io_bytes, &self.context)?;
        while let Some((batch, _)) = reader.next()? {
            let header = batch.header;
            let corrupt = |reason: String| LogError::Corrupt { path: segment.log.path(), reason };
            let records = record::records(&batch, record::DECOMPRESSED_BYTES_MAX)
                .map_err(|e| corrupt(e.to_string()))?;
            if header.is_control() {
                decided.control(&header, marker_of(&records).map_err(corrupt)?.as_ref());
            } else if !decided.is_aborted(&header) {
                for record in records.iter() {
                    let record = record.map_err(|e| corrupt(e.to_string()))?;
                    let Some(key) = record.key.filter(|_| record.offset >= from) else { continue };
                    if !map.put(key, record.offset) {
                        return Ok(false);
                    }
                }
            }
            map.note_end(header.next_offset());
            stats.bytes_read += header.size() as u64;
            if !pace(header.size() as u64) {
                return Err(CleanError::Stopped);
            }
        }
        Ok(true)
    }

    /// The aborted transactions with records in a range.
    fn aborted(&self, from: Offset, end: Offset) -> Result<Vec<AbortedTxn>, LogError> {
        let mut found = Vec::new();
        'all: for segment in self.all.iter() {
            if segment.next_offset() <= from {
                continue;
            }
            let entries = segment.aborted.read(&self.context, Access::Blocking);
            for txn in entries.map_err(into_log_error)? {
                if txn.last_offset >= from && txn.first_offset < end {
                    found.push(txn);
                }
                if txn.last_stable_offset >= end {
                    break 'all;
                }
            }
        }
        Ok(found)
    }

    /// The log's history, if it is still the one that is being cleaned.
    fn history(&self) -> Result<MutexGuard<'_, u64>, CleanError> {
        let history = self.history.lock();
        if *history == self.truncations { Ok(history) } else { Err(CleanError::Superseded) }
    }
}

impl Cleaning {
    /// Cleans the next segments into one and makes it durable under `.swap` names; `None` once all
    /// is done. Blocks.
    pub fn next_group(&mut self, pace: Pace<'_>) -> Result<Option<CleanedGroup>, CleanError> {
        let (group, at) = self.done;
        let Some(&length) = self.groups.get(group) else { return Ok(None) };
        let old = self.work.segments[at..at + length].to_vec();
        self.done = (group + 1, at + length);
        let base = old[0].base_offset;
        let made = self.write(&old, pace);
        if made.is_err()
            && let Ok(history) = self.work.history()
        {
            // What is left of it is removed with the next start at the latest.
            let _ = redo::take_back(&*self.work.context.fs, &self.work.dir, base);
            drop(history);
        }
        made.map(Some)
    }

    fn write(&mut self, old: &[Arc<Segment>], pace: Pace<'_>) -> Result<CleanedGroup, CleanError> {
        let work = &self.work;
        let (fs, base) = (&*work.context.fs, old[0].base_offset);
        let mut writer = {
            let _history = work.history()?;
            let interval = u64::from(work.config.index_interval_bytes);
            SegmentWriter::create(fs, &work.dir, base, interval, self.limits.io_bytes)?
        };
        let mut filter = Filter {
            map: &self.map,
            decided: &mut self.decided,
            ends: &work.ends,
            now_ms: self.limits.now_ms,
            delete_retention_ms: work.config.delete_retention_ms,
        };
        for (i, segment) in old.iter().enumerate() {
            let mut reader = BatchReader::new(segment, 0, self.limits.io_bytes, &work.context)?;
            while let Some((batch, ends_segment)) = reader.next()? {
                let is_last = ends_segment && i + 1 == old.len();
                let outcome = filter.batch(&batch, is_last, &mut writer.aborted);
                let outcome = outcome.map_err(|reason| LogError::Corrupt {
                    path: segment.log.path(),
                    reason: format!("offset {}: {reason}", batch.header.base_offset),
                })?;
                let read = batch.bytes.len() as u64;
                let written = put(&mut writer, &batch, &outcome)?;
                self.stats.bytes_read += read;
                self.stats.bytes_written += written;
                if !pace(read + written) {
                    return Err(CleanError::Stopped);
                }
            }
        }
        let written = writer.finish()?;
        let history = work.history()?;
        for kind in write::KINDS {
            let name = crate::format::file_name(base, kind);
            let from = work.dir.join(format!("{name}{}", crate::format::CLEANED));
            let to = work.dir.join(format!("{name}{}", crate::format::SWAP));
            fs.rename(&from, &to).map_err(|e| LogError::io("rename", &to, e))?;
        }
        crate::checkpoint::sync_dir(fs, &work.dir)?;
        drop(history);
        Ok(CleanedGroup { old: old.to_vec(), written, truncations: work.truncations })
    }

    /// All groups are in place: makes their names durable. Returns what [`Log::cleaned`] is to be
    /// told. Blocks.
    pub fn finish(&self) -> Result<(Offset, u64), CleanError> {
        let history = self.work.history()?;
        crate::checkpoint::sync_dir(&*self.work.context.fs, &self.work.dir)?;
        drop(history);
        Ok((self.map.end(), self.work.truncations))
    }
}

/// Returns the bytes written.
fn put(
    writer: &mut SegmentWriter,
    batch: &record::Batch<'_>,
    outcome: &Outcome,
) -> Result<u64, LogError> {
    let bytes = match outcome {
        Outcome::Keep => batch.bytes,
        Outcome::Rewrite(bytes) => bytes,
        Outcome::Drop => return Ok(0),
    };
    // What it says of timestamps may have changed.
    let header = record::BatchHeader::parse(bytes).map_err(|e| LogError::Corrupt {
        path: std::path::PathBuf::from("batch"),
        reason: e.to_string(),
    })?;
    writer.append(&header, bytes)?;
    Ok(bytes.len() as u64)
}
