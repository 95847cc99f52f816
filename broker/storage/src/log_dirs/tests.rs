//! Tests of what errors and missing room do to a log directory, on a file system in memory.

use std::io::IoSlice;
use std::sync::Arc;

use commitlog::fs::{Faults, MemFs, OpenMode};

use super::*;

struct Rig {
    mem: MemFs,
    dirs: Arc<LogDirs>,
    fs: WatchedFs,
}

impl Rig {
    fn new(dirs: &[&str], reserve_bytes: u64) -> Rig {
        let paths: Vec<PathBuf> = dirs.iter().map(PathBuf::from).collect();
        let mem = MemFs::default();
        for path in &paths {
            mem.create_dir_all(&path.join("t-0")).unwrap();
            mem.create_dir_all(&path.join("__consumer_offsets-0")).unwrap();
        }
        let dirs = Arc::new(LogDirs::new(&paths, &paths[0], reserve_bytes));
        let fs = WatchedFs::new(Arc::new(mem.clone()), dirs.clone());
        Rig { mem, dirs, fs }
    }

    fn write(&self, path: &str, pos: u64, bytes: usize) -> io::Result<()> {
        let file = self.fs.open(Path::new(path), OpenMode::Create)?;
        file.write_all_at(&[IoSlice::new(&vec![7; bytes])], pos)
    }

    fn fails(&self, faults: Faults) {
        self.mem.set_faults(faults);
    }
}

const A: &str = "/a/t-0/00000000000000000000.log";
const B: &str = "/b/t-0/00000000000000000000.log";

#[test]
fn a_failed_write_takes_its_directory_offline_and_no_other() {
    let rig = Rig::new(&["/a", "/b"], 0);
    let mut news = rig.dirs.news();
    rig.fails(Faults { fail_writes: 1, ..Faults::default() });
    rig.write(B, 0, 10).unwrap_err();
    assert!(news.has_changed().unwrap());
    news.mark_unchanged();
    assert!(rig.dirs.is_offline(Path::new("/b/x")) && !rig.dirs.is_offline(Path::new("/a/x")));
    assert!(rig.write(B, 0, 10).is_err(), "the disk would write, but is not asked again");
    assert!(rig.write("/b/recovery-point-offset-checkpoint", 0, 1).is_err());
    rig.write(A, 0, 10).unwrap();
    let offline = rig.dirs.offline();
    assert_eq!(offline.len(), 1);
    assert!(offline[0].1.contains(B), "it says which file: {}", offline[0].1);
    assert_eq!(rig.dirs.end_of_process(), None);
    assert!(!news.has_changed().unwrap());
}

#[test]
fn a_failed_sync_is_never_tried_again() {
    let rig = Rig::new(&["/a", "/b"], 0);
    let file = rig.fs.open(Path::new(B), OpenMode::Create).unwrap();
    rig.fails(Faults { fail_syncs: 1, ..Faults::default() });
    file.sync().unwrap_err();
    assert!(rig.dirs.is_offline(Path::new(B)));
    file.sync().unwrap_err();
    rig.fs.sync_dir(Path::new("/b")).unwrap_err();
    rig.fs.sync_dir(Path::new("/a")).unwrap();
}

#[test]
fn the_process_ends_without_the_metadata_log_or_any_directory() {
    let rig = Rig::new(&["/a", "/b"], 0);
    rig.dirs.fail(Path::new(A), "gone");
    let why = rig.dirs.end_of_process().unwrap();
    assert!(why.contains("metadata log") && why.contains("/a: gone"), "{why}");
    let elsewhere = LogDirs::new(&["/a".into(), "/b".into()], Path::new("/m"), 0);
    elsewhere.fail(Path::new("/a"), "gone");
    assert_eq!(elsewhere.end_of_process(), None);
    elsewhere.fail(Path::new("/b"), "gone too");
    assert!(elsewhere.end_of_process().unwrap().contains("no log directory"));
}

#[test]
fn errors_that_pass_and_full_disks_take_nothing_offline() {
    let rig = Rig::new(&["/a"], 0);
    rig.fs.open(Path::new("/a/t-0/none.log"), OpenMode::Read).unwrap_err();
    rig.fails(Faults { capacity_bytes: Some(5), ..Faults::default() });
    rig.write(A, 0, 10).unwrap_err();
    assert!(rig.dirs.offline().is_empty() && rig.dirs.is_full(Path::new(A)));
    for errno in [Errno::MFILE, Errno::NFILE, Errno::NOENT, Errno::INTR, Errno::AGAIN] {
        assert_eq!(judge(&errno.into()), Verdict::Passing, "{errno}");
    }
    for errno in [Errno::NOSPC, Errno::DQUOT] {
        assert_eq!(judge(&errno.into()), Verdict::Full, "{errno}");
    }
    for errno in [Errno::IO, Errno::ROFS, Errno::STALE, Errno::UCLEAN, Errno::ACCESS] {
        assert_eq!(judge(&errno.into()), Verdict::Failed, "{errno}");
    }
}

#[test]
fn the_reserve_is_kept_from_clients_then_from_the_brokers_topics() {
    let rig = Rig::new(&["/a"], 100);
    rig.fails(Faults { capacity_bytes: Some(2_000), ..Faults::default() });
    rig.dirs.measure(&rig.fs);
    rig.write(A, 0, 1_800).unwrap();
    assert!(rig.write(A, 1_800, 101).is_err(), "also between two measurements");
    assert!(rig.dirs.is_full(Path::new(A)));
    rig.write(A, 1_800, 100).unwrap();
    rig.dirs.measure(&rig.fs);
    rig.write(A, 1_900, 1).unwrap_err();
    let groups = "/a/__consumer_offsets-0/00000000000000000000.log";
    rig.write(groups, 0, 50).unwrap();
    rig.write(groups, 50, 1).unwrap_err();
    rig.write("/a/t-0/00000000000000000000.index", 0, 30).unwrap();
    rig.write("/a/recovery-point-offset-checkpoint.tmp", 0, 20).unwrap();
    assert_eq!(rig.mem.used_bytes(), 2_000);
}

#[test]
fn room_is_found_again_and_the_reserve_is_no_large_part_of_a_small_volume() {
    let rig = Rig::new(&["/a"], 1 << 40);
    rig.fails(Faults { capacity_bytes: Some(2_000), ..Faults::default() });
    rig.dirs.measure(&rig.fs);
    rig.write(A, 0, 1_900).unwrap();
    rig.write(A, 1_900, 1).unwrap_err();
    assert_eq!(rig.dirs.full_count(), 1);
    rig.fails(Faults { capacity_bytes: Some(4_000), ..Faults::default() });
    rig.dirs.measure(&rig.fs);
    assert_eq!(rig.dirs.full_count(), 0);
    rig.write(A, 1_900, 1_900).unwrap();
    rig.write(A, 3_800, 1).unwrap_err();
}
