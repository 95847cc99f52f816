//! The real file system. Reads and writes are `pread` and `pwrite`; nothing is read or written by a
//! mapping, so a full disk is an error value and never a signal.

use std::fs::OpenOptions;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rustix::fs::Advice;
use rustix::io::{Errno, ReadWriteFlags};

use super::{File, Fs, OpenDir, OpenMode, Room, resident};

/// Files of the operating system.
#[derive(Clone, Copy, Default, Debug)]
pub struct DiskFs;

impl Fs for DiskFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new()
            .read(true)
            .write(mode != OpenMode::Read)
            .create(mode == OpenMode::Create)
            .truncate(false)
            .open(path)?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            // A name that is not UTF-8 is not ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::remove_dir(dir)
    }

    fn open_dir(&self, dir: &Path) -> io::Result<Box<dyn OpenDir>> {
        Ok(Box::new(DiskDir(std::fs::File::open(dir)?)))
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn room(&self, dir: &Path) -> io::Result<Option<Room>> {
        let stat = rustix::fs::statvfs(dir)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Some(Room { total_bytes: bytes(stat.f_blocks), free_bytes: bytes(stat.f_bavail) }))
    }

    fn modified_ms(&self, path: &Path) -> io::Result<i64> {
        let modified = std::fs::metadata(path)?.modified()?;
        let since_epoch = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}

struct DiskDir(std::fs::File);

impl OpenDir for DiskDir {
    fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

#[derive(Debug)]
struct DiskFile(std::fs::File);

impl File for DiskFile {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.0.read_at(&mut buf[done..], pos + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    fn read_at_nowait(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            let mut slices = [IoSliceMut::new(&mut buf[done..])];
            let at = pos + done as u64;
            match rustix::io::preadv2(&self.0, &mut slices, at, ReadWriteFlags::NOWAIT) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                // File systems in memory do not know the flag, and never wait.
                Err(Errno::OPNOTSUPP) => return self.read_at(buf, pos),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(done)
    }

    fn write_all_at(&self, slices: &[IoSlice<'_>], mut pos: u64) -> io::Result<()> {
        let mut storage = [IoSlice::new(&[]); 2];
        let Some(slots) = storage.get_mut(..slices.len()) else {
            for slice in slices {
                self.0.write_all_at(slice, pos)?;
                pos += slice.len() as u64;
            }
            return Ok(());
        };
        slots.copy_from_slice(slices);
        let mut rest: &mut [IoSlice<'_>] = slots;
        while rest.iter().any(|slice| !slice.is_empty()) {
            match rustix::io::pwritev(&self.0, rest, pos) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    pos += n as u64;
                    IoSlice::advance_slices(&mut rest, n);
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn is_resident(&self, pos: u64, len: usize) -> bool {
        const PROBES_MAX: u64 = 16;
        let Some(last) = (len as u64).checked_sub(1).map(|n| pos + n) else { return true };
        let page = rustix::param::page_size() as u64;
        // A look orders the page that it does not find, and a quick disk has it there for the next
        // look, so that looks alone may find all of a range that has nothing but them.
        match resident::cached(&self.0, pos, len) {
            Some(cached) if cached > last / page - pos / page => {}
            Some(_) => return false,
            None => return resident::in_core(&self.0, pos, len).unwrap_or(false),
        }
        // Pages arrive by read-ahead windows and leave by age: a few probes spread over the
        // range see a hole of any size that matters. The last page goes first: it is the one
        // that read-ahead brings last.
        let step = ((last - pos) / PROBES_MAX).max(page);
        let mut byte = [0u8; 1];
        let mut at = last;
        loop {
            if matches!(self.read_at_nowait(&mut byte, at), Err(_) | Ok(0)) {
                return false;
            }
            if at == pos {
                return true;
            }
            at = at.saturating_sub(step).max(pos);
        }
    }

    fn will_need(&self, pos: u64, len: usize) {
        let len = std::num::NonZeroU64::new(len as u64);
        // Advice: the read that follows waits if the kernel did not take it.
        let _ = rustix::fs::fadvise(&self.0, pos, len, Advice::WillNeed);
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}
