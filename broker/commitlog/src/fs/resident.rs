//! What of a file is in memory, asked in two ways that order nothing of it: a look by a read that
//! does not wait would order the page that it does not find.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use memmap2::MmapOptions;

/// Pages of the range that are in the page cache, or on their way into it. `None` where the kernel
/// cannot tell (cachestat, Linux 6.5; containers may forbid it).
pub(super) fn cached(file: &File, pos: u64, len: usize) -> Option<u64> {
    const SYS_CACHESTAT: libc::c_long = 451;
    let range = [pos, len as u64];
    // Cached, dirty, in writeback, evicted, recently evicted.
    let mut pages = [0u64; 5];
    let fd = file.as_raw_fd();
    // SAFETY: the descriptor is open as long as `file`; the kernel reads two and writes five
    // numbers of 64 bits (struct cachestat_range, struct cachestat), and keeps no pointer.
    let status = unsafe { libc::syscall(SYS_CACHESTAT, fd, range.as_ptr(), pages.as_mut_ptr(), 0) };
    (status == 0).then_some(pages[0])
}

/// Whether all of the range is there to be sent: exact and known to every kernel, and some times as
/// long as `cached`, for the range is mapped to be asked about (mincore). It is not touched.
pub(super) fn in_core(file: &File, pos: u64, len: usize) -> io::Result<bool> {
    let page = rustix::param::page_size();
    // A mapping begins with a page.
    let before = (pos % page as u64) as usize;
    let len = len + before;
    let map = MmapOptions::new().offset(pos - before as u64).len(len).map_raw_read_only(file)?;
    let mut pages = vec![0u8; len.div_ceil(page)];
    // SAFETY: the range is mapped as long as `map`, and the kernel writes a byte for each of its
    // pages.
    let status = unsafe { libc::mincore(map.as_mut_ptr().cast(), len, pages.as_mut_ptr()) };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(pages.iter().all(|flags| flags & 1 == 1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::FileExt;

    use super::*;

    /// A hole of a file is in memory nowhere, whatever keeps the file.
    #[test]
    fn a_page_that_is_missing_is_seen_by_both_ways() {
        let file = tempfile::tempfile().unwrap();
        let page = rustix::param::page_size() as u64;
        file.set_len(20 * page).unwrap();
        for number in (0..20).filter(|number| *number != 7) {
            file.write_all_at(&vec![1; page as usize], number * page).unwrap();
        }
        let whole = |from: u64, to: u64| {
            let (pos, len) = (from * page + 9, ((to - from) * page - 18) as usize);
            let exact = in_core(&file, pos, len).unwrap();
            if let Some(cached) = cached(&file, pos, len) {
                assert_eq!(cached == to - from, exact, "pages {from} to {to}");
            }
            exact
        };
        assert!(whole(0, 7));
        assert!(!whole(0, 20));
        assert!(!whole(7, 8));
        assert!(whole(8, 20));
        file.write_all_at(&[1], 7 * page).unwrap();
        assert!(whole(0, 20));
    }
}
