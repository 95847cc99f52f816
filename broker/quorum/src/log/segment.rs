//! The log's files: frames of entries, appended to the last file, removed by whole files.
//!
//! A file is named `<index of its first entry, 20 digits>.entries`. It starts with a header of 16
//! bytes (magic, version, 4 reserved bytes), then frames: length of the payload (u32), CRC-32C of
//! index and payload (u32), index (u64), payload; little-endian. Indexes are consecutive.
//!
//! | found at open                              | done                                   |
//! |--------------------------------------------|----------------------------------------|
//! | last file: a frame cut off or a wrong CRC  | cut there: it was never acknowledged,  |
//! |                                            | because acknowledged means synced      |
//! | earlier file: the same                     | refused: it was synced before the next |
//! |                                            | file was made                          |
//! | last file: no whole header                 | removed: its creation was not finished |
//! | a hole between the files                   | refused                                |

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::atomic_file::{crc32c, sync_dir_of};
use crate::fatal::{fatal_fsync, fatal_write};
use crate::formats::Unreadable;
use crate::persist::persist;

const MAGIC: [u8; 8] = *b"BNBSRAFT";
const VERSION: u32 = 1;
const FILE_HEADER_BYTES: u64 = 16;
const FRAME_HEADER_BYTES: usize = 16;
/// A new file is begun when the last one has reached this size.
const SEGMENT_BYTES: u64 = 8 << 20;
/// Largest payload of a frame; larger proposals are refused long before.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 20;
const SUFFIX: &str = "entries";

/// One file. `positions[i]` is where the frame of entry `first + i` begins.
#[derive(Debug)]
struct Segment {
    first: u64,
    path: PathBuf,
    positions: Vec<u64>,
    end: u64,
}

impl Segment {
    fn next_index(&self) -> u64 {
        self.first + self.positions.len() as u64
    }
}

/// All files of the log. Owned by the writer thread.
#[derive(Debug)]
pub struct Segments {
    dir: PathBuf,
    segments: VecDeque<Segment>,
    /// The last segment's file; opened when there is a segment.
    active: Option<File>,
    dirty: bool,
    segment_bytes: u64,
}

fn invalid(path: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()))
}

impl Segments {
    /// Opens the log and hands every entry's payload to `each`, in order.
    pub fn open(
        dir: &Path,
        each: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<Segments> {
        let mut firsts = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == SUFFIX) {
                let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
                let first = stem.parse().map_err(|_| invalid(&path, "the name is not a number"))?;
                firsts.push((first, path));
            }
        }
        firsts.sort();
        let mut log = Segments {
            dir: dir.to_owned(),
            segments: VecDeque::new(),
            active: None,
            dirty: false,
            segment_bytes: SEGMENT_BYTES,
        };
        let count = firsts.len();
        for (at, (first, path)) in firsts.into_iter().enumerate() {
            log.open_segment(first, path, at + 1 == count, each)?;
        }
        log.open_active()?;
        Ok(log)
    }

    fn open_segment(
        &mut self,
        first: u64,
        path: PathBuf,
        is_last: bool,
        each: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.segments.back().is_some_and(|s| s.next_index() != first) {
            return Err(invalid(&path, "entries are missing before this file"));
        }
        let mut bytes = Vec::new();
        File::open(&path)?.read_to_end(&mut bytes)?;
        if bytes.len() < FILE_HEADER_BYTES as usize && is_last {
            std::fs::remove_file(&path)?;
            sync_dir_of(&path);
            return Ok(());
        }
        if bytes.get(..8) != Some(MAGIC.as_slice()) {
            return Err(invalid(&path, "the magic is wrong"));
        }
        if bytes.get(8..12) != Some(VERSION.to_le_bytes().as_slice()) {
            let why = "the version of its format is not known";
            return Err(Unreadable::new(path.display(), why).into());
        }
        let mut segment = Segment { first, path, positions: Vec::new(), end: FILE_HEADER_BYTES };
        let mut rest = &bytes[FILE_HEADER_BYTES as usize..];
        while !rest.is_empty() {
            let Some((index, payload, next)) = parse_frame(rest) else { break };
            if index != segment.next_index() {
                return Err(invalid(&segment.path, "the indexes are not consecutive"));
            }
            each(index, payload)?;
            segment.positions.push(segment.end);
            segment.end += (rest.len() - next.len()) as u64;
            rest = next;
        }
        if !rest.is_empty() {
            if !is_last {
                return Err(invalid(&segment.path, "a frame in the middle of the log is damaged"));
            }
            tracing::warn!(
                path = %segment.path.display(),
                bytes = rest.len(),
                "the torn tail of the metadata log is cut off"
            );
            let file = OpenOptions::new().write(true).open(&segment.path)?;
            file.set_len(segment.end)?;
            file.sync_all().unwrap_or_else(|e| fatal_fsync(&segment.path, &e));
        }
        self.segments.push_back(segment);
        Ok(())
    }

    fn open_active(&mut self) -> io::Result<()> {
        self.active = match self.segments.back() {
            Some(segment) => Some(OpenOptions::new().write(true).open(&segment.path)?),
            None => None,
        };
        Ok(())
    }

    /// Appends one entry. Its bytes are in the page cache afterwards, not on the disk.
    pub fn append(&mut self, index: u64, payload: &[u8]) {
        let full = match self.segments.back() {
            None => true,
            // A hole appears only after a snapshot replaced the whole log.
            Some(last) => last.end >= self.segment_bytes || last.next_index() != index,
        };
        if full {
            self.roll(index);
        }
        let segment = self.segments.back_mut().expect("invariant: roll made a segment");
        let file = self.active.as_ref().expect("invariant: the last segment is open");
        let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + payload.len());
        frame.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(&index.to_le_bytes());
        frame.extend_from_slice(payload);
        let crc = crc32c(&frame[8..]);
        frame[4..8].copy_from_slice(&crc.to_le_bytes());
        persist(&segment.path, || file.write_all_at(&frame, segment.end));
        segment.positions.push(segment.end);
        segment.end += frame.len() as u64;
        debug_assert_eq!(segment.next_index(), index + 1, "an entry is where its index says");
        self.dirty = true;
        self.validate();
    }

    /// Panics where debug assertions are on and the last files are not what is said of them.
    fn validate(&self) {
        let mut last = self.segments.iter().rev();
        let Some(active) = last.next() else { return };
        debug_assert!(self.active.is_some(), "the last segment is not open: {:?}", active.path);
        debug_assert!(active.positions.last() < Some(&active.end), "an entry beyond the end");
        if let Some(before) = last.next() {
            debug_assert!(before.next_index() <= active.first, "two files have one entry");
        }
    }

    fn roll(&mut self, first: u64) {
        self.sync();
        let path = self.dir.join(format!("{first:020}.{SUFFIX}"));
        let mut header = [0u8; FILE_HEADER_BYTES as usize];
        header[..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let file = persist(&path, || {
            let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
            file.write_all_at(&header, 0)?;
            Ok(file)
        });
        file.sync_all().unwrap_or_else(|e| fatal_fsync(&path, &e));
        sync_dir_of(&path);
        self.active = Some(file);
        let positions = Vec::new();
        self.segments.push_back(Segment { first, path, positions, end: FILE_HEADER_BYTES });
    }

    /// Everything appended so far is on the disk afterwards.
    pub fn sync(&mut self) {
        if !self.dirty {
            return;
        }
        if let (Some(file), Some(segment)) = (&self.active, self.segments.back()) {
            file.sync_data().unwrap_or_else(|e| fatal_fsync(&segment.path, &e));
        }
        self.dirty = false;
    }

    /// Removes the entries from `from` on, durably, before anything is appended in their place.
    pub fn truncate_from(&mut self, from: u64) {
        while self.segments.back().is_some_and(|s| s.first >= from) {
            let segment = self.segments.pop_back().expect("invariant: just seen");
            remove(&segment.path);
        }
        self.reopen_active();
        let Some(segment) = self.segments.back_mut() else { return };
        if segment.next_index() <= from {
            return;
        }
        let keep = (from - segment.first) as usize;
        segment.end = segment.positions[keep];
        segment.positions.truncate(keep);
        let file = self.active.as_ref().expect("invariant: the last segment is open");
        persist(&segment.path, || file.set_len(segment.end));
        file.sync_all().unwrap_or_else(|e| fatal_fsync(&segment.path, &e));
        self.dirty = false;
        self.validate();
    }

    /// Removes the files that hold no entry after `upto`.
    pub fn purge(&mut self, upto: u64) {
        while self.segments.front().is_some_and(|s| s.next_index() <= upto + 1) {
            let segment = self.segments.pop_front().expect("invariant: just seen");
            remove(&segment.path);
        }
        self.reopen_active();
    }

    fn reopen_active(&mut self) {
        let dir = self.dir.clone();
        persist(&dir, || self.open_active());
        self.dirty = self.dirty && self.active.is_some();
    }

    #[cfg(test)]
    pub fn set_segment_bytes(&mut self, bytes: u64) {
        self.segment_bytes = bytes;
    }
}

fn remove(path: &Path) {
    std::fs::remove_file(path).unwrap_or_else(|e| fatal_write(path, &e));
    sync_dir_of(path);
}

/// The first frame: index, payload, and what follows; `None` if it is not whole.
fn parse_frame(bytes: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let header = bytes.get(..FRAME_HEADER_BYTES)?;
    let len = u32::from_le_bytes(header[..4].try_into().ok()?) as usize;
    let crc = u32::from_le_bytes(header[4..8].try_into().ok()?);
    let index = u64::from_le_bytes(header[8..16].try_into().ok()?);
    if len > PAYLOAD_BYTES_MAX {
        return None;
    }
    let end = FRAME_HEADER_BYTES + len;
    let checked = bytes.get(8..end)?;
    (crc32c(checked) == crc).then(|| (index, &bytes[FRAME_HEADER_BYTES..end], &bytes[end..]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    type Payloads = Vec<(u64, Vec<u8>)>;

    fn open(dir: &Path) -> io::Result<(Segments, Payloads)> {
        let mut seen = Payloads::new();
        let log = Segments::open(dir, &mut |index, payload| {
            seen.push((index, payload.to_vec()));
            Ok(())
        })?;
        Ok((log, seen))
    }

    #[test]
    #[should_panic(expected = "two files have one entry")]
    fn files_that_overlap_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path()).unwrap();
        log.set_segment_bytes(1);
        (1..4).for_each(|index| log.append(index, b"x"));
        log.segments[2].first = 2;
        log.validate();
    }

    fn indexes(dir: &Path) -> Vec<u64> {
        open(dir).unwrap().1.into_iter().map(|(i, _)| i).collect()
    }

    fn files(dir: &Path) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        files
    }

    #[test]
    fn entries_survive_a_reopen_across_files() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, seen) = open(dir.path()).unwrap();
        assert!(seen.is_empty());
        log.set_segment_bytes(64);
        for i in 5..15u64 {
            log.append(i, &i.to_le_bytes());
        }
        log.sync();
        let (_, seen) = open(dir.path()).unwrap();
        assert_eq!(seen.len(), 10);
        assert_eq!(seen[0], (5, 5u64.to_le_bytes().to_vec()));
        assert!(files(dir.path()).len() > 2);
    }

    #[test]
    fn a_torn_tail_is_cut_wherever_it_tears() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path()).unwrap();
        log.append(0, b"first");
        log.append(1, b"second");
        log.sync();
        let path = files(dir.path())[0].clone();
        let whole = std::fs::read(&path).unwrap();
        let second_at = whole.len() - (FRAME_HEADER_BYTES + 6);
        for cut in second_at + 1..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(indexes(dir.path()), [0], "cut at {cut}");
            assert_eq!(std::fs::metadata(&path).unwrap().len(), second_at as u64);
        }
        let mut damaged = whole.clone();
        *damaged.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        let (mut log, _) = open(dir.path()).unwrap();
        log.append(1, b"other");
        log.sync();
        assert_eq!(open(dir.path()).unwrap().1[1], (1, b"other".to_vec()));
    }

    #[test]
    fn damage_in_an_earlier_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path()).unwrap();
        log.set_segment_bytes(32);
        for i in 0..6u64 {
            log.append(i, b"0123456789");
        }
        log.sync();
        let first = files(dir.path())[0].clone();
        let mut bytes = std::fs::read(&first).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&first, &bytes).unwrap();
        assert!(open(dir.path()).is_err());
    }

    #[test]
    fn an_unfinished_new_file_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path()).unwrap();
        log.append(0, b"x");
        log.sync();
        std::fs::write(dir.path().join("00000000000000000001.entries"), b"BNBS").unwrap();
        assert_eq!(indexes(dir.path()), [0]);
        assert_eq!(files(dir.path()).len(), 1);
    }

    #[test]
    fn truncate_and_purge_keep_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path()).unwrap();
        log.set_segment_bytes(64);
        for i in 0..20u64 {
            log.append(i, &i.to_le_bytes());
        }
        log.truncate_from(13);
        assert_eq!(indexes(dir.path()), (0..13).collect::<Vec<_>>());
        log.append(13, b"new");
        log.sync();
        log.purge(6);
        let left = indexes(dir.path());
        assert!(left[0] > 0 && left[0] <= 7, "{left:?}");
        assert_eq!(*left.last().unwrap(), 13);
        log.purge(13);
        assert!(indexes(dir.path()).is_empty());
        log.append(40, b"after a snapshot");
        log.sync();
        assert_eq!(indexes(dir.path()), [40]);
        log.truncate_from(0);
        assert!(indexes(dir.path()).is_empty());
    }
}
