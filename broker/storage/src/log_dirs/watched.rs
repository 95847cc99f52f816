//! A file system whose errors are heard of. It passes everything on to another one, tells
//! [`LogDirs`] what failed, and refuses to write where a directory is offline or a segment would
//! grow into the reserve.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::topic_name;
use commitlog::fs::{File, Fs, OpenDir, OpenMode, Room};

use super::{LogDir, LogDirs, Owner, Verdict, judge};

#[derive(Clone, Debug)]
pub struct WatchedFs {
    fs: Arc<dyn Fs>,
    dirs: Arc<LogDirs>,
}

impl WatchedFs {
    pub fn new(fs: Arc<dyn Fs>, dirs: Arc<LogDirs>) -> WatchedFs {
        WatchedFs { fs, dirs }
    }
}

impl LogDirs {
    /// Hears of the result of anything but a sync.
    fn heard<T>(&self, path: &Path, what: &str, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            match judge(error) {
                Verdict::Failed => {
                    self.fail(path, format_args!("{what} {}: {error}", path.display()))
                }
                Verdict::Full => {
                    if let Some(dir) = self.of(path) {
                        dir.filled();
                    }
                }
                Verdict::Passing => {}
            }
        }
        result
    }

    /// Whatever the reason, what is on the disk is unknown.
    fn synced(&self, path: &Path, result: io::Result<()>) -> io::Result<()> {
        if let Err(error) = &result {
            self.fail(path, format_args!("sync {}: {error}", path.display()));
        }
        result
    }

    fn check(&self, path: &Path) -> io::Result<()> {
        self.of(path).map_or(Ok(()), LogDir::check)
    }
}

impl Fs for WatchedFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        if mode != OpenMode::Read {
            self.dirs.check(path)?;
        }
        let file = self.dirs.heard(path, "open", self.fs.open(path, mode))?;
        let (segment, dir) = (owner(path), self.dirs.position(path));
        let (path, dirs) = (path.into(), self.dirs.clone());
        Ok(Arc::new(WatchedFile { file, path, segment, dirs, dir }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.dirs.heard(dir, "list", self.fs.list(dir))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.dirs.check(dir)?;
        self.dirs.heard(dir, "create", self.fs.create_dir_all(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.dirs.check(from)?;
        self.dirs.heard(from, "rename", self.fs.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.dirs.check(path)?;
        self.dirs.heard(path, "remove", self.fs.remove_file(path))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.dirs.check(dir)?;
        self.dirs.heard(dir, "remove", self.fs.remove_dir(dir))
    }

    fn open_dir(&self, dir: &Path) -> io::Result<Box<dyn OpenDir>> {
        self.dirs.check(dir)?;
        let open = self.dirs.heard(dir, "open", self.fs.open_dir(dir))?;
        Ok(Box::new(WatchedDir { open, path: dir.into(), dirs: self.dirs.clone() }))
    }

    fn exists(&self, path: &Path) -> bool {
        self.fs.exists(path)
    }

    fn modified_ms(&self, path: &Path) -> io::Result<i64> {
        self.dirs.heard(path, "look at", self.fs.modified_ms(path))
    }

    fn room(&self, dir: &Path) -> io::Result<Option<Room>> {
        self.fs.room(dir)
    }
}

struct WatchedDir {
    open: Box<dyn OpenDir>,
    path: PathBuf,
    dirs: Arc<LogDirs>,
}

impl OpenDir for WatchedDir {
    fn sync(&self) -> io::Result<()> {
        self.dirs.check(&self.path)?;
        self.dirs.synced(&self.path, self.open.sync())
    }
}

#[derive(Debug)]
struct WatchedFile {
    file: Arc<dyn File>,
    path: PathBuf,
    /// Of a segment, whose it is.
    segment: Option<Owner>,
    dirs: Arc<LogDirs>,
    /// Which of them the file is in: looked up once, for every write asks.
    dir: Option<usize>,
}

/// Whose records a file holds, if it is a segment.
fn owner(path: &Path) -> Option<Owner> {
    if path.extension().is_none_or(|extension| extension != "log") {
        return None;
    }
    let dir = path.parent()?.file_name()?.to_str()?;
    let topic = dir.rsplit_once('-').map_or(dir, |(topic, _)| topic);
    Some(if topic_name::is_internal(topic) { Owner::Broker } else { Owner::Clients })
}

impl WatchedFile {
    fn dir(&self) -> Option<&LogDir> {
        self.dirs.dirs.get(self.dir?)
    }

    fn check(&self) -> io::Result<()> {
        self.dir().map_or(Ok(()), LogDir::check)
    }

    fn heard<T>(&self, what: &str, result: io::Result<T>) -> io::Result<T> {
        self.dirs.heard(&self.path, what, result)
    }
}

impl File for WatchedFile {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        self.heard("read", self.file.read_at(buf, pos))
    }

    fn read_at_nowait(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        self.heard("read", self.file.read_at_nowait(buf, pos))
    }

    fn write_all_at(&self, slices: &[IoSlice<'_>], pos: u64) -> io::Result<()> {
        self.check()?;
        if let (Some(owner), Some(dir)) = (self.segment, self.dir()) {
            dir.admit(slices.iter().map(|slice| slice.len()).sum(), owner)?;
        }
        self.heard("write", self.file.write_all_at(slices, pos))
    }

    fn len(&self) -> io::Result<u64> {
        self.heard("look at", self.file.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.heard("cut", self.file.set_len(len))
    }

    fn sync(&self) -> io::Result<()> {
        self.check()?;
        self.dirs.synced(&self.path, self.file.sync())
    }

    fn is_resident(&self, pos: u64, len: usize) -> bool {
        self.file.is_resident(pos, len)
    }

    fn will_need(&self, pos: u64, len: usize) {
        self.file.will_need(pos, len);
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_fd()
    }
}
