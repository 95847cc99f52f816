//! A cleaned segment takes the place of those that it was made of: renames under the log's owner,
//! no write and no sync. A crash between any two of them is finished by `redo.rs`; a failure
//! leaves the log torn, and it is opened again (`reopen.rs`).

use std::sync::Arc;

use base::{Offset, TimestampMs};

use crate::LogError;
use crate::clean::redo::{rename_swap, take_back};
use crate::clean::write::{KINDS, Written};
use crate::log::{DeletedFiles, Log};
use crate::segment::Segment;

/// A cleaned segment that is durable under its `.swap` names.
#[must_use]
pub struct CleanedGroup {
    pub(crate) old: Vec<Arc<Segment>>,
    pub(crate) written: Written,
    pub(crate) truncations: u64,
}

impl CleanedGroup {
    pub fn bytes_before(&self) -> u64 {
        self.old.iter().map(|segment| segment.size()).sum()
    }

    pub fn bytes_after(&self) -> u64 {
        self.written.bytes
    }
}

impl Log {
    /// Puts a cleaned segment in the place of what it was made of. False if that is not in the log
    /// any more, as it was cut or deleted: what was cleaned is dropped then.
    pub fn swap(&mut self, group: &CleanedGroup, now_ms: TimestampMs) -> Result<bool, LogError> {
        if group.truncations != self.truncations || self.is_torn {
            // A cut removed its files, or the directory is another log's.
            return Ok(false);
        }
        let fs = self.context.fs.clone();
        let segments = self.shared.segments();
        let Some(at) = find(&segments, &group.old) else {
            take_back(&*fs, &self.dir, group.old[0].base_offset)?;
            return Ok(false);
        };
        let base = group.old[0].base_offset;
        self.is_torn = true;
        self.replacements += 1;
        let mut paths = Vec::new();
        for segment in &group.old {
            let files = [
                &segment.log,
                segment.index.file(),
                segment.time_index.file(),
                segment.aborted.file(),
            ];
            for file in files {
                let renamed = file.rename_replaced(&*fs, self.replacements);
                paths.extend(renamed.map_err(|e| LogError::io("rename", &file.path(), e))?);
            }
        }
        for kind in KINDS {
            rename_swap(&*fs, &self.dir, base, kind)?;
        }
        let new = Arc::new(segment_of(&self.dir, base, &group.written));
        let mut list = segments.to_vec();
        list.splice(at..at + group.old.len(), [new]);
        self.publish(list);
        self.sealed_bytes =
            self.sealed_bytes.saturating_sub(group.bytes_before()) + group.written.bytes;
        let due_ms = now_ms.saturating_add(self.config.file_delete_delay_ms);
        self.deletions.push(DeletedFiles { due_ms, paths });
        self.is_torn = false;
        self.validate_after();
        Ok(true)
    }

    /// Everything below `end` was cleaned, and the names of it are durable.
    pub fn cleaned(&mut self, end: Offset, truncations: u64) {
        if truncations == self.truncations {
            self.cleaned = self.cleaned.max(end.min(self.end_offset()));
        }
    }

    /// Where the part of the log begins that was never cleaned (`cleaner-offset-checkpoint`).
    pub fn cleaned_offset(&self) -> Offset {
        self.cleaned
    }
}

fn segment_of(dir: &Arc<std::path::Path>, base: Offset, written: &Written) -> Segment {
    let segment = Segment::new(dir, base);
    segment.index.adopt(written.index.0, written.index.1);
    segment.time_index.adopt(written.time_index.0, written.time_index.1);
    segment.aborted.adopt(written.aborted);
    let (timestamp, offset) = written.max_timestamp;
    segment.set_max_timestamp(timestamp, offset);
    segment.set_end(written.bytes, written.next_offset);
    segment
}

/// Where the run is in the list; never at its end, which is the active segment.
fn find(segments: &[Arc<Segment>], run: &[Arc<Segment>]) -> Option<usize> {
    let first = run.first()?;
    let at = segments.iter().position(|segment| Arc::ptr_eq(segment, first))?;
    let there = segments.get(at..at + run.len()).filter(|_| at + run.len() < segments.len())?;
    there.iter().zip(run).all(|(a, b)| Arc::ptr_eq(a, b)).then_some(at)
}
