//! Which files stay open: those in use, and those that were written and not synced.

use super::*;
use crate::LogError;
use crate::fs::Faults;

fn open_with_files(fs: &MemFs, open_files_max: usize) -> (Log, LogContext) {
    let context = LogContext::new(Arc::new(fs.clone()), open_files_max);
    let (partition, config) = (TopicPartition::new("t", 0), Arc::new(config()));
    let log = Log::open(&context, &dir(), partition, config, LoadState::default(), NOW);
    (log.unwrap().0, context)
}

#[test]
fn idle_files_are_closed_and_opened_again() {
    let fs = mem_fs();
    let (mut log, context) = open_with_files(&fs, 4);
    for _ in 0..60 {
        append(&mut log, 3);
    }
    flush(&mut log);
    assert_eq!(contents(&log, 0), expected(0, 180));
    assert!(context.files.open_files() <= 4);
    context.files.close_idle().unwrap();
    context.files.close_idle().unwrap();
    assert_eq!(context.files.open_files(), 0);
    append(&mut log, 3);
    assert_eq!(contents(&log, 100), expected(100, 183));
}

/// The kernel tells of a failed write-back those who have the file open, once. A file that was
/// closed and opened again was synced without an error, and what it had lost counted as durable.
#[test]
fn written_files_stay_open_until_they_are_synced() {
    let fs = mem_fs();
    let (mut log, context) = open_with_files(&fs, 64);
    for _ in 0..3 {
        append(&mut log, 3);
    }
    for _ in 0..3 {
        context.files.close_idle().unwrap();
    }
    assert_eq!(context.files.open_files(), 1, "the log file");
    fs.set_faults(Faults { fail_syncs: 1, ..Faults::default() });
    for _ in 0..2 {
        let failed = log.flush_work().or(log.sync_work()).unwrap().run();
        assert!(matches!(failed, Err(LogError::Fsync { .. })), "also when it is tried again");
    }
    let told = (0..2).find_map(|_| context.files.close_idle().err());
    assert!(told.unwrap().is_fatal());
}

#[test]
fn where_written_files_take_too_much_room_they_are_synced_and_closed() {
    for seed in 0..20 {
        let fs = mem_fs();
        let (mut log, context) = open_with_files(&fs, 4);
        flush(&mut log);
        for _ in 0..60 {
            append(&mut log, 3);
            assert!(context.files.open_files() <= 4);
        }
        context.files.close_idle().unwrap();
        context.files.close_idle().unwrap();
        assert!(context.files.open_files() <= 2);
        fs.sync_dir(&dir()).unwrap();
        fs.crash(&mut (seed + 1));
        let (log, _) = open_with(&fs, config(), LoadState::default());
        assert!(log.end_offset() > 120, "{}: what was closed is on disk", log.end_offset());
    }
}

#[test]
fn an_error_met_when_room_is_made_is_told() {
    let fs = mem_fs();
    let (mut log, context) = open_with_files(&fs, 4);
    fs.set_faults(Faults { fail_syncs: 1, ..Faults::default() });
    for _ in 0..60 {
        append(&mut log, 3);
    }
    assert_eq!(fs.faults().fail_syncs, 0);
    assert!(log.flush_work().unwrap().run().unwrap_err().is_fatal());
    let told = (0..2).find_map(|_| context.files.close_idle().err());
    assert!(told.unwrap().is_fatal());
}
