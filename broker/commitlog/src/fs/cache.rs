//! Files that are opened when used and closed when idle, so that a broker with tens of thousands
//! of partitions holds descriptors only for those in use. A second-chance sweep bounds their
//! number; no lock is shared by hits on different files.
//!
//! What was written is synced before it is closed: the kernel tells of a failed write-back once, to
//! those who have the file open, and a file that is opened afterwards may know nothing of it. So
//! written files stay open until their flush; only where they take too much room are they synced
//! for it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::{File, Fs, OpenMode};
use crate::LogError;
use crate::format::{self, Suffix};

/// Bounds the number of open files of all logs of a broker.
#[derive(Debug)]
pub struct FileCache {
    open_files_max: usize,
    /// Open files, oldest first. At most `open_files_max`, plus dead entries until a sweep.
    open: Mutex<VecDeque<Weak<LazyFile>>>,
}

impl FileCache {
    pub fn new(open_files_max: usize) -> Arc<FileCache> {
        Arc::new(FileCache { open_files_max: open_files_max.max(1), open: Mutex::default() })
    }

    /// Closes files that nobody used since the last call. Call it every minute or so, where waiting
    /// for the disk may be: an idle partition then holds no descriptor at all, once it is flushed.
    /// The error is that of a file whose sync failed, here or when room was made for another one.
    pub fn close_idle(&self) -> Result<(), LogError> {
        let mut written = Vec::new();
        self.open.lock().retain(|file| match file.upgrade() {
            Some(file) if file.used.swap(false, Ordering::Relaxed) => true,
            Some(file) if file.close_if_synced() => false,
            Some(file) => {
                written.push(file);
                true
            }
            None => false,
        });
        let excess = self.open_files().saturating_sub(self.open_files_max / 2);
        for (at, file) in written.iter().enumerate() {
            if at < excess || file.has_failed() {
                file.sync_and_close()?;
            }
        }
        self.open.lock().retain(|file| file.upgrade().is_some_and(|file| file.is_open()));
        Ok(())
    }

    pub fn open_files(&self) -> usize {
        let open = self.open.lock();
        open.iter().filter_map(Weak::upgrade).filter(|file| file.is_open()).count()
    }

    fn opened(&self, file: &Arc<LazyFile>) {
        if let Some(written) = self.make_room(file) {
            // Without any other the descriptors would run out. An error is told by `close_idle`,
            // and by the next flush of that file.
            let _ = written.sync_and_close();
        }
    }

    /// Closes others until there is room. Returns one that is to be synced first, if only that
    /// makes room.
    fn make_room(&self, file: &Arc<LazyFile>) -> Option<Arc<LazyFile>> {
        let mut open = self.open.lock();
        let mut written = None;
        // Two rounds suffice: the first may only clear the marks.
        let mut chances = 2 * open.len();
        while open.len() >= self.open_files_max && chances > 0 {
            chances -= 1;
            let Some(weak) = open.pop_front() else { break };
            let Some(victim) = weak.upgrade() else { continue };
            if victim.used.swap(false, Ordering::Relaxed) {
                open.push_back(weak);
            } else if !victim.close_if_synced() {
                open.push_back(weak);
                written.get_or_insert(victim);
            }
        }
        let is_full = open.len() >= self.open_files_max;
        open.push_back(Arc::downgrade(file));
        written.filter(|_| is_full)
    }
}

/// An open file of a segment. Stays readable after the segment was deleted or the cache let go
/// of it, for as long as somebody holds it.
#[derive(Debug)]
pub struct SegmentFile {
    file: Arc<dyn File>,
    /// Written, and not synced since.
    is_written: AtomicBool,
    /// A sync failed: that a later one succeeds says nothing.
    has_failed: AtomicBool,
}

impl SegmentFile {
    fn new(file: Arc<dyn File>) -> SegmentFile {
        let (is_written, has_failed) = Default::default();
        SegmentFile { file, is_written, has_failed }
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    pub(crate) fn write_all_at(&self, slices: &[IoSlice<'_>], pos: u64) -> io::Result<()> {
        self.is_written.store(true, Ordering::Release);
        self.file.write_all_at(slices, pos)
    }

    pub(crate) fn set_len(&self, len: u64) -> io::Result<()> {
        self.is_written.store(true, Ordering::Release);
        self.file.set_len(len)
    }

    /// Somebody else wrote it, and did not sync it: the process before this one.
    pub(crate) fn note_written(&self) {
        self.is_written.store(true, Ordering::Release);
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        if self.has_failed.load(Ordering::Acquire) {
            return Err(io::Error::other("an earlier sync failed"));
        }
        // First: what is written meanwhile is not covered.
        self.is_written.store(false, Ordering::Release);
        self.file.sync().inspect_err(|_| {
            self.has_failed.store(true, Ordering::Release);
            self.is_written.store(true, Ordering::Release);
        })
    }

    /// Fills `buf` from `pos`; fewer bytes only at the end.
    pub fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        self.file.read_at(buf, pos)
    }

    /// As `read_at`, but fails with `WouldBlock` rather than wait for the disk.
    pub fn read_at_nowait(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        self.file.read_at_nowait(buf, pos)
    }

    /// Whether sendfile of the range would not wait for the disk.
    pub fn is_resident(&self, pos: u64, len: usize) -> bool {
        self.file.is_resident(pos, len)
    }

    /// Asks the kernel to read the range ahead.
    pub fn will_need(&self, pos: u64, len: usize) {
        self.file.will_need(pos, len);
    }

    /// For sendfile. `None` on [`crate::fs::MemFs`].
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_fd()
    }
}

/// States of a file.
const LIVE: u32 = 0;
const DELETED: u32 = 1;

/// One file of a segment, open or not. Its path is made from the segment's base offset when it is
/// needed: an idle file costs no string.
#[derive(Debug)]
pub(crate) struct LazyFile {
    dir: Arc<Path>,
    base_offset: AtomicI64,
    suffix: Suffix,
    /// [`LIVE`], [`DELETED`], or one more than the number of the replacement.
    state: AtomicU32,
    used: AtomicBool,
    open: Mutex<Option<Arc<SegmentFile>>>,
}

impl LazyFile {
    pub fn new(dir: &Arc<Path>, base_offset: i64, suffix: Suffix) -> Arc<LazyFile> {
        Arc::new(LazyFile {
            dir: dir.clone(),
            base_offset: AtomicI64::new(base_offset),
            suffix,
            state: AtomicU32::new(LIVE),
            used: AtomicBool::new(false),
            open: Mutex::new(None),
        })
    }

    pub fn path(&self) -> PathBuf {
        let base_offset = self.base_offset.load(Ordering::Relaxed);
        let mut name = format::file_name(base_offset, self.suffix);
        match self.state.load(Ordering::Relaxed) {
            LIVE => {}
            DELETED => name.push_str(format::DELETED),
            replaced => name.push_str(&format!(".{}{}", replaced - DELETED, format::DELETED)),
        }
        self.dir.join(name)
    }

    /// The open file; opened (never created) if it is not.
    pub fn get(
        self: &Arc<LazyFile>,
        fs: &dyn Fs,
        cache: &FileCache,
    ) -> io::Result<Arc<SegmentFile>> {
        self.get_mode(fs, cache, OpenMode::Write)
    }

    /// The file if it is open.
    pub fn get_open(&self) -> Option<Arc<SegmentFile>> {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        self.open.lock().clone()
    }

    /// The open file; created empty where missing.
    pub fn create(
        self: &Arc<LazyFile>,
        fs: &dyn Fs,
        cache: &FileCache,
    ) -> io::Result<Arc<SegmentFile>> {
        self.get_mode(fs, cache, OpenMode::Create)
    }

    fn get_mode(
        self: &Arc<LazyFile>,
        fs: &dyn Fs,
        cache: &FileCache,
        mode: OpenMode,
    ) -> io::Result<Arc<SegmentFile>> {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        let opened = {
            let mut open = self.open.lock();
            if let Some(file) = &*open {
                return Ok(file.clone());
            }
            let file = Arc::new(SegmentFile::new(fs.open(&self.path(), mode)?));
            *open = Some(file.clone());
            file
        };
        // Outside the file's lock: making room closes other files, under their locks.
        cache.opened(self);
        Ok(opened)
    }

    pub fn close(&self) {
        self.open.lock().take();
    }

    fn is_open(&self) -> bool {
        self.open.lock().is_some()
    }

    fn has_failed(&self) -> bool {
        self.open.lock().as_ref().is_some_and(|file| file.has_failed.load(Ordering::Acquire))
    }

    /// False if it has to be synced first.
    fn close_if_synced(&self) -> bool {
        let mut open = self.open.lock();
        if open.as_ref().is_some_and(|file| file.is_written.load(Ordering::Acquire)) {
            return false;
        }
        open.take();
        true
    }

    /// May be written again meanwhile, and stays open then.
    fn sync_and_close(&self) -> Result<(), LogError> {
        let Some(file) = self.open.lock().clone() else { return Ok(()) };
        file.sync().map_err(|source| LogError::Fsync { path: self.path(), source })?;
        self.close_if_synced();
        Ok(())
    }

    /// Renames to `.deleted`. An open handle stays valid. A missing file is fine.
    pub fn rename_deleted(&self, fs: &dyn Fs) -> io::Result<Option<PathBuf>> {
        self.rename_to(fs, DELETED)
    }

    /// As `rename_deleted`, for a file that another one takes the place of. Its new name has the
    /// number of the replacement: whoever opens it later must not find a still older one's.
    pub fn rename_replaced(&self, fs: &dyn Fs, number: u32) -> io::Result<Option<PathBuf>> {
        self.rename_to(fs, DELETED.saturating_add(number.max(1)))
    }

    fn rename_to(&self, fs: &dyn Fs, state: u32) -> io::Result<Option<PathBuf>> {
        let open = self.open.lock();
        let from = self.path();
        self.state.store(state, Ordering::Relaxed);
        let to = self.path();
        let result = fs.rename(&from, &to);
        drop(open);
        match result {
            Ok(()) => Ok(Some(to)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Unlinks at once. A missing file is fine.
    pub fn remove(&self, fs: &dyn Fs) -> io::Result<()> {
        self.close();
        match fs.remove_file(&self.path()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}
