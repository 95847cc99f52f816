//! The file system as the log sees it. Two implementations: [`DiskFs`] and, for simulation and
//! tests, [`MemFs`] with a fault model.
//!
//! Contract: `write_at` is not atomic (a crash may leave any part of it), nothing is durable
//! before `sync`, and names (create, rename, remove) are not durable before `sync_dir`.

mod cache;
mod disk;
mod memory;
mod resident;

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

pub(crate) use cache::LazyFile;
pub use cache::{FileCache, SegmentFile};
pub use disk::DiskFs;
pub use memory::{Faults, MemFs};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// Must exist.
    Read,
    /// Must exist; may be written.
    Write,
    /// Created empty where missing; may be written.
    Create,
}

/// The room on a volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    pub total_bytes: u64,
    /// What is left for us: some systems keep a part for the superuser.
    pub free_bytes: u64,
}

pub trait Fs: Send + Sync + Debug {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// Names (not paths) in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Replaces `to` atomically.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory that is empty. There is no way to remove a tree.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
    /// Opens a directory to sync it.
    fn open_dir(&self, dir: &Path) -> io::Result<Box<dyn OpenDir>>;
    /// Makes creations, renames and removals in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.open_dir(dir)?.sync()
    }
    fn exists(&self, path: &Path) -> bool;
    /// The room on the volume that a directory is on; `None` where the system does not tell.
    fn room(&self, dir: &Path) -> io::Result<Option<Room>>;
    /// Milliseconds since the epoch of the last write; 0 where the file system keeps none.
    fn modified_ms(&self, path: &Path) -> io::Result<i64>;
}

/// An open directory. Opening and syncing are two steps because their errors differ: a directory
/// that cannot be opened (it was deleted, descriptors ran out) lost nothing, while after a failed
/// sync nobody knows what is on disk.
pub trait OpenDir {
    /// Returns once creations, renames and removals in the directory are durable.
    fn sync(&self) -> io::Result<()>;
}

#[expect(clippy::len_without_is_empty, reason = "a file is not a collection")]
/// An open file. All access is positional, so one handle serves any number of readers.
pub trait File: Send + Sync + Debug {
    /// Fills `buf` from `pos`; fewer bytes only at the end of the file.
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize>;
    /// As `read_at`, but fails with `WouldBlock` rather than wait for the disk.
    fn read_at_nowait(&self, buf: &mut [u8], pos: u64) -> io::Result<usize>;
    /// Writes all slices, one after the other, at `pos`.
    fn write_all_at(&self, slices: &[IoSlice<'_>], pos: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    /// Cuts the file to `len`, or extends it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Returns once data (and the size) are durable.
    fn sync(&self) -> io::Result<()>;
    /// Whether the byte range could be read without waiting for the disk.
    fn is_resident(&self, pos: u64, len: usize) -> bool;
    /// Asks the kernel to read the range ahead.
    fn will_need(&self, pos: u64, len: usize);
    /// The descriptor for sendfile; `None` for files that live in memory.
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;
}
