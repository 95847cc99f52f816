//! Truncation, retention, timestamps, flush.

use super::*;
use crate::fs::Faults;
use crate::{EpochEndOffset, LogError, TimestampOffset};

fn filled(fs: &MemFs) -> Log {
    let mut log = open(fs);
    for i in 0..40 {
        append_at(&mut log, 3, i / 10, NOW + i64::from(i));
    }
    log
}

#[test]
fn truncation_cuts_at_batches_and_appends_go_on_from_there() {
    for offset in [119, 117, 100, 60, 31, 3, 1, 0] {
        let fs = mem_fs();
        let mut log = filled(&fs);
        let end = offset / 3 * 3;
        let info = log.truncate_to(offset).unwrap();
        log.validate();
        assert_eq!((info.end_offset, info.removed_records), (end, 120 - end));
        assert_eq!(contents(&log, 0), expected(0, end));
        append_at(&mut log, 5, 9, NOW);
        assert_eq!(contents(&log, 0), expected(0, end + 5));
        assert_eq!(log.epoch_of(end), Some(9));
        assert_eq!(log.epoch_of(end - 1), (end > 0).then(|| ((end - 1) / 30) as i32));
        let (log, report) = reopen(&fs, false, 0);
        assert_eq!(report.bytes_truncated, 0);
        assert_eq!(contents(&log, 0), expected(0, end + 5));
    }
}

#[test]
fn truncation_at_or_above_the_end_drops_only_an_epoch_without_records() {
    let fs = mem_fs();
    let mut log = filled(&fs);
    log.assign_epoch(7, 120).unwrap();
    assert_eq!(log.latest_epoch(), Some(7));
    assert_eq!(log.truncate_to(500).unwrap().removed_records, 0);
    assert_eq!(log.latest_epoch(), Some(3));
    assert_eq!(log.epoch_end_offset(3), EpochEndOffset { epoch: 3, end_offset: 120 });
}

/// A broker that came back led by metadata from before its last records: their epoch was erased,
/// and followers cut committed records off.
#[test]
fn an_epoch_that_is_over_does_not_begin_again() {
    let fs = mem_fs();
    let mut log = filled(&fs);
    log.assign_epoch(2, 120).unwrap();
    assert_eq!(log.latest_epoch(), Some(3));
    assert_eq!(log.epoch_end_offset(3), EpochEndOffset { epoch: 3, end_offset: 120 });
}

#[test]
fn a_flush_from_before_a_truncation_proves_nothing() {
    let fs = mem_fs();
    let mut log = filled(&fs);
    let work = log.flush_work().unwrap();
    log.truncate_to(60).unwrap();
    append_at(&mut log, 30, 5, NOW);
    let done = work.run().unwrap();
    log.flushed(done, NOW);
    assert!(log.recovery_point() <= 60, "{}", log.recovery_point());
    assert!(files(&fs, ".snapshot").iter().all(|name| name.as_str() <= "00000000000000000060"));
    log.validate();
}

#[test]
fn a_log_can_start_anew_elsewhere() {
    let fs = mem_fs();
    let mut log = filled(&fs);
    flush(&mut log);
    let reader = log.reader();
    let slice = reader.read(30, 100, 120, true, Access::Blocking).unwrap().unwrap();
    log.truncate_fully_and_start_at(500, NOW).unwrap();
    log.validate();
    assert_eq!((log.start_offset(), log.end_offset(), log.size()), (500, 500, 0));
    assert_eq!(bytes_of(&slice).len(), slice.len, "who holds a slice may finish");
    append_at(&mut log, 3, 8, NOW);
    assert_eq!(contents(&log, 500), expected(500, 503));
    let state = LoadState { log_start: 500, ..LoadState::default() };
    let (log, _) = open_with(&fs, config(), state);
    assert_eq!((log.start_offset(), log.end_offset()), (500, 503));
}

#[test]
fn retention_by_time_keeps_what_is_young_and_what_is_not_committed() {
    let fs = mem_fs();
    let mut log = filled(&fs);
    log.update_config(Arc::new(LogConfig { retention_ms: 1000, ..config() }));
    assert_eq!(log.retention(NOW + 1000, 120).unwrap(), 0);
    assert_eq!(log.retention(NOW + 2000, 0).unwrap(), 0, "nothing is below the high watermark");
    let some = log.retention(NOW + 1020, 120).unwrap();
    assert!(some > 0 && log.start_offset() > 0 && log.start_offset() < 120);
    log.validate();
    assert_eq!(contents(&log, log.start_offset()), expected(log.start_offset(), 120));
    log.retention(NOW + 5000, 120).unwrap();
    log.validate();
    assert_eq!((log.start_offset(), log.end_offset(), log.size()), (120, 120, 0));
    let reopened = open_with(&fs, config(), LoadState { log_start: 120, ..LoadState::default() });
    assert_eq!(reopened.0.end_offset(), 120);
}

#[test]
fn deleted_files_are_renamed_then_unlinked_after_the_delay() {
    let fs = mem_fs();
    let mut log = filled(&fs);
    flush(&mut log);
    let reader = log.reader();
    let slice = reader.read(0, 100, 120, true, Access::Blocking).unwrap().unwrap();
    log.update_config(Arc::new(LogConfig { retention_bytes: 1500, ..config() }));
    assert!(log.retention(NOW, 120).unwrap() > 0);
    assert!(log.size() >= 1500 && log.size() < 2600);
    let renamed = files(&fs, ".deleted");
    assert!(renamed.iter().any(|name| name.ends_with(".log.deleted")));
    assert!(renamed.iter().any(|name| name.ends_with(".timeindex.deleted")));
    assert_eq!(bytes_of(&slice).len(), slice.len);
    assert_eq!(log.take_due_deletions(NOW + 59_999), Vec::<PathBuf>::new());
    for path in log.take_due_deletions(NOW + 60_000) {
        fs.remove_file(&path).unwrap();
    }
    assert_eq!(files(&fs, ".deleted"), Vec::<String>::new());
    assert_eq!(log.take_due_deletions(NOW + 90_000), Vec::<PathBuf>::new());
}

#[test]
fn deleted_records_are_gone_and_their_segments_follow() {
    let fs = mem_fs();
    let mut log = filled(&fs);
    log.delete_records(70, 120).unwrap();
    assert_eq!(log.start_offset(), 70);
    assert_eq!(log.epoch_end_offset(1), EpochEndOffset { epoch: 1, end_offset: 70 });
    assert!(log.retention(NOW, 120).unwrap() > 1);
    log.validate();
    assert_eq!(contents(&log, 70), expected(70, 120));
    let error = log.delete_records(121, 120).unwrap_err();
    assert!(matches!(error, LogError::OffsetOutOfRange { .. }));
    log.delete_records(10, 120).unwrap();
    assert_eq!(log.start_offset(), 70, "the start never moves back");
}

#[test]
fn timestamps_lead_to_the_first_record_at_or_after_them() {
    let fs = mem_fs();
    let mut log = filled(&fs);
    append_at(&mut log, 3, 4, NOW - 50);
    for reopened in [false, true] {
        if reopened {
            log.close().unwrap();
            log = reopen(&fs, true, 123).0;
        }
        let find = |log: &Log, t| log.offset_for_timestamp(t).unwrap().map(|found| found.offset);
        assert_eq!(find(&log, 0), Some(0));
        assert_eq!(find(&log, NOW - 50), Some(0));
        for i in 0..40 {
            assert_eq!(find(&log, NOW + i), Some(i * 3), "{i}");
        }
        assert_eq!(find(&log, NOW + 40), None);
        let max = TimestampOffset { timestamp: NOW + 39, offset: 117, leader_epoch: 3 };
        assert_eq!(log.offset_of_max_timestamp().unwrap(), Some(max));
    }
    log.delete_records(50, 123).unwrap();
    assert_eq!(log.offset_for_timestamp(NOW).unwrap().unwrap().offset, 50);
}

#[test]
fn the_newest_record_is_one_that_is_still_there() {
    let fs = mem_fs();
    let mut log = open_with(&fs, config(), LoadState::default()).0;
    let newest = |log: &Log| {
        log.offset_of_max_timestamp().unwrap().map(|found| (found.offset, found.timestamp))
    };
    assert_eq!(newest(&log), None);
    // The newest record comes first, in the same batch and in the same segment as older ones.
    let mut mixed = BatchBuilder::new(BatchOptions::default());
    for timestamp in [NOW + 90, NOW + 7, NOW + 8] {
        mixed.append(timestamp, Some(b"k"), Some(b"v"), &[]);
    }
    log.append_as_leader(&mixed.finish(), 0, Origin::Client, NOW).unwrap();
    append_at(&mut log, 2, 0, NOW + 5);
    append_at(&mut log, 1, 0, NOW + 6);
    assert_eq!(newest(&log), Some((0, NOW + 90)));
    log.delete_records(1, 6).unwrap();
    assert_eq!(newest(&log), Some((2, NOW + 8)), "within the batch");
    log.delete_records(3, 6).unwrap();
    assert_eq!(newest(&log), Some((5, NOW + 6)), "in batches after it");
    log.delete_records(6, 6).unwrap();
    assert_eq!(newest(&log), None);
    append_at(&mut log, 1, 0, NOW + 1);
    assert_eq!(newest(&log), Some((6, NOW + 1)));
}

#[test]
fn a_lookup_by_timestamp_needs_no_hold_of_the_log() {
    let fs = mem_fs();
    let mut log = filled(&fs);
    let reader = log.reader();
    let owner = &mut log;
    let found = reader.offset_for_timestamp(NOW + 1).unwrap();
    append_at(owner, 3, 4, NOW + 100);
    assert_eq!(found.map(|found| found.offset), Some(3));
    let found = reader.offset_for_timestamp(NOW + 100).unwrap();
    assert_eq!(found.map(|found| found.offset), Some(120), "the reader sees what came since");
}

#[test]
fn segments_roll_by_age() {
    let fs = mem_fs();
    let config = LogConfig { segment_ms: 1000, segment_jitter_ms: 100, ..config() };
    let mut log = open_with(&fs, config, LoadState::default()).0;
    assert!(!log.roll_if_needed(NOW + 5000).unwrap(), "an empty segment does not age");
    assert!(!append_at(&mut log, 1, 0, NOW).rolled);
    assert!(!append_at(&mut log, 1, 0, NOW + 900).rolled);
    assert!(append_at(&mut log, 1, 0, NOW + 901).rolled);
    assert!(!log.roll_if_needed(NOW + 1801).unwrap());
    assert!(log.roll_if_needed(NOW + 1802).unwrap());
    assert_eq!(files(&fs, ".log").len(), 3);
    assert_eq!(contents(&log, 0), expected(0, 3));
}

#[test]
fn a_roll_makes_a_flush_due_by_default() {
    let fs = mem_fs();
    let mut log = open_with(&fs, config(), LoadState::default()).0;
    append(&mut log, 3);
    assert!(!log.flush_due(NOW + 1_000_000), "nobody asked for it");
    while !append_at(&mut log, 1, 0, NOW).rolled {}
    assert!(log.flush_due(NOW), "or recovery would read the whole log");
    flush(&mut log);
    assert!(!log.flush_due(NOW));
}

#[test]
fn flush_work_moves_the_recovery_point_and_sync_work_only_the_synced_offset() {
    let fs = mem_fs();
    let config = LogConfig { flush_messages: 6, flush_ms: 1000, ..config() };
    let mut log = open_with(&fs, config, LoadState::default()).0;
    assert!(log.sync_work().is_none());
    append(&mut log, 3);
    assert!(!log.flush_due(NOW));
    assert!(log.flush_due(NOW + 1000));
    append(&mut log, 3);
    assert!(log.flush_due(NOW));
    let done = log.sync_work().unwrap().run().unwrap();
    log.flushed(done, NOW);
    assert_eq!((log.synced_offset(), log.recovery_point()), (6, 0));
    flush(&mut log);
    assert_eq!(log.recovery_point(), 6);
    assert!(log.flush_work().is_none());
    append(&mut log, 3);
    fs.set_faults(Faults { fail_syncs: 1, ..Faults::default() });
    let error = log.flush_work().unwrap().run().unwrap_err();
    assert!(error.is_fatal(), "{error}");
}

#[test]
fn a_log_that_is_deleted_while_it_is_flushed_stops_nobody() {
    let fs = mem_fs();
    let mut log = open(&fs);
    append(&mut log, 3);
    let sync = log.sync_work().unwrap();
    let flush = log.flush_work().unwrap();
    log.abandon();
    fs.rename(&dir(), &dir().with_file_name("t-0.1234-delete")).unwrap();
    assert!(sync.run().is_ok(), "a directory that is gone is no failed fsync");
    assert!(flush.run().is_ok());
    // The topic is created again: what the old log had to say must not reach the new one.
    fs.create_dir_all(&dir()).unwrap();
    assert!(flush.run().is_ok());
    assert_eq!(files(&fs, ""), [] as [String; 0]);
}
