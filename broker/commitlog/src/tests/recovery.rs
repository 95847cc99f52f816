//! The decision table at the head of `recovery.rs`, row by row.

use super::*;
use crate::recovery::{Action, decide};

fn filled(fs: &MemFs) -> Log {
    let mut log = open(fs);
    for i in 0..40 {
        append_at(&mut log, 3, i / 10, NOW + i64::from(i));
    }
    log
}

fn closed(fs: &MemFs) {
    let mut log = filled(fs);
    log.close().unwrap();
}

fn path(name: &str) -> PathBuf {
    dir().join(name)
}

fn damage(fs: &MemFs, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs.contents(&path(name)).unwrap();
    change(&mut bytes);
    fs.put(&path(name), &bytes).unwrap();
}

#[test]
fn the_table_is_as_written() {
    assert_eq!(decide(true, false, false, true), Action::Trust, "A");
    assert_eq!(decide(true, true, false, true), Action::FindEnd, "B");
    assert_eq!(decide(true, true, false, false), Action::Rebuild, "C");
    assert_eq!(decide(true, false, true, false), Action::Rebuild, "C");
    assert_eq!(decide(false, false, true, false), Action::Rebuild, "C");
    assert_eq!(decide(false, false, true, true), Action::Trust, "D");
    for sane in [false, true] {
        assert_eq!(decide(false, true, false, sane), Action::ScanFromPoint, "F");
        assert_eq!(decide(false, false, false, sane), Action::ScanFromPoint, "F");
    }
}

#[test]
fn a_b_after_a_clean_shutdown_nothing_is_scanned() {
    let fs = mem_fs();
    closed(&fs);
    let (mut log, report) = reopen(&fs, true, 120);
    assert_eq!((report.segments_scanned, report.bytes_scanned), (0, 0));
    assert_eq!(report.findings, Vec::<String>::new());
    assert_eq!((log.end_offset(), log.recovery_point()), (120, 120));
    assert_eq!(log.latest_epoch(), Some(3));
    append(&mut log, 3);
    assert_eq!(contents(&log, 0), expected(0, 123));
}

#[test]
fn c_a_missing_or_damaged_index_is_rebuilt() {
    for (name, bytes) in [
        (".index", None),
        (".timeindex", None),
        (".index", Some(vec![0u8; 7])),
        (".index", Some(vec![0u8; 80])),
        (".timeindex", Some(vec![0u8; 24])),
    ] {
        let fs = mem_fs();
        closed(&fs);
        let before = files(&fs, ".index").iter().map(|n| fs.contents(&path(n))).collect::<Vec<_>>();
        let victim = files(&fs, name)[1].clone();
        match bytes {
            None => fs.remove_file(&path(&victim)).unwrap(),
            Some(bytes) => fs.put(&path(&victim), &bytes).unwrap(),
        }
        let (mut log, report) = reopen(&fs, true, 120);
        assert_eq!((report.segments_scanned, report.indexes_rebuilt), (1, 1));
        assert_eq!(contents(&log, 0), expected(0, 120));
        log.close().unwrap();
        let after = files(&fs, ".index").iter().map(|n| fs.contents(&path(n))).collect::<Vec<_>>();
        assert_eq!(before, after);
    }
}

#[test]
fn d_f_only_what_lies_beyond_the_recovery_point_is_scanned() {
    let fs = mem_fs();
    let mut log = filled(&fs);
    flush(&mut log);
    let flushed = log.size();
    for _ in 0..3 {
        append_at(&mut log, 3, 3, NOW);
    }
    let added = log.size() - flushed;
    drop(log);
    fs.kill();
    let (log, report) = reopen(&fs, false, 120);
    assert!(report.segments_scanned <= 2, "{report:?}");
    assert!(report.bytes_scanned >= added && report.bytes_scanned < 1500, "{report:?}");
    assert_eq!(contents(&log, 0), expected(0, 129));
    assert_eq!(log.recovery_point(), 120);
    let (log, report) = reopen(&fs, false, 0);
    assert_eq!(report.bytes_scanned, log.size(), "without a recovery point all is scanned");
    assert_eq!(contents(&log, 0), expected(0, 129));
}

#[test]
fn f_a_recovery_point_without_an_intact_snapshot_is_not_trusted() {
    let fs = mem_fs();
    let mut log = filled(&fs);
    flush(&mut log);
    drop(log);
    for name in files(&fs, ".snapshot") {
        damage(&fs, &name, |bytes| bytes[3] ^= 1);
    }
    let (log, report) = reopen(&fs, false, 120);
    assert_eq!(report.bytes_scanned, log.size());
    assert_eq!((log.end_offset(), log.recovery_point()), (120, 0));
}

#[test]
fn g_the_first_bad_batch_cuts_the_log() {
    let fs = mem_fs();
    drop(filled(&fs));
    fs.kill();
    let second = files(&fs, ".log")[1].clone();
    damage(&fs, &second, |bytes| {
        let at = bytes.len() - 10;
        bytes[at] ^= 1;
    });
    let (mut log, report) = reopen(&fs, false, 0);
    assert!(report.bytes_truncated > 1000, "{report:?}");
    assert!(report.findings[0].contains("CRC"), "{report:?}");
    assert_eq!(files(&fs, ".log").len(), 2, "later segments are gone");
    let end = log.end_offset();
    assert!(end > 33 && end < 66, "cut within the second segment: {end}");
    assert_eq!(contents(&log, 0), expected(0, end));
    append(&mut log, 3);
    assert_eq!(contents(&log, 0), expected(0, end + 3));
}

#[test]
fn g_a_cut_off_batch_garbage_and_an_older_epoch_are_bad_batches() {
    let cases: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes.truncate(bytes.len() - 1),
        |bytes| bytes.extend([0; 100]),
        |bytes| bytes.extend([0xff; 10]),
        |bytes| {
            let mut old = batch(120, 3);
            old[..8].copy_from_slice(&120i64.to_be_bytes());
            old[12..16].copy_from_slice(&1i32.to_be_bytes());
            bytes.extend(old);
        },
    ];
    for (i, change) in cases.into_iter().enumerate() {
        let fs = mem_fs();
        drop(filled(&fs));
        fs.kill();
        let last = files(&fs, ".log").last().unwrap().clone();
        damage(&fs, &last, change);
        let (mut log, report) = reopen(&fs, false, 0);
        let end = if i == 0 { 117 } else { 120 };
        assert_eq!(log.end_offset(), end, "{i} {report:?}");
        assert!(report.bytes_truncated > 0);
        append_at(&mut log, 3, 3, NOW);
        assert_eq!(contents(&log, 0), expected(0, end + 3));
    }
}

#[test]
fn b_a_clean_log_with_garbage_at_its_end_is_scanned() {
    let fs = mem_fs();
    closed(&fs);
    let last = files(&fs, ".log").last().unwrap().clone();
    damage(&fs, &last, |bytes| bytes.extend([0; 100]));
    let (log, report) = reopen(&fs, true, 120);
    assert_eq!((report.segments_scanned, report.bytes_truncated), (1, 100));
    assert_eq!(log.end_offset(), 120);
}

#[test]
fn h_leftovers_are_removed_and_orphans_too() {
    let fs = mem_fs();
    closed(&fs);
    for name in [
        "00000000000000000000.log.deleted",
        "00000000000000000000.log.cleaned",
        "00000000000000000777.index",
        "leader-epoch-checkpoint.tmp",
    ] {
        fs.put(&path(name), b"x").unwrap();
    }
    let first = "00000000000000000000.log";
    fs.rename(&path(first), &path("00000000000000000000.log.swap")).unwrap();
    let (log, report) = reopen(&fs, true, 120);
    assert_eq!(contents(&log, 0), expected(0, 120));
    assert_eq!(report.findings.len(), 2, "{report:?}");
    for suffix in [".deleted", ".cleaned", "777.index", ".tmp", ".swap"] {
        assert_eq!(files(&fs, suffix), Vec::<String>::new());
    }
}

#[test]
fn i_a_log_that_ends_below_its_start_begins_anew() {
    let fs = mem_fs();
    closed(&fs);
    let state = LoadState { clean_shutdown: true, recovery_point: 120, log_start: 500, cleaned: 0 };
    let (mut log, report) = open_with(&fs, config(), state);
    assert_eq!((log.start_offset(), log.end_offset()), (500, 500));
    assert!(!report.findings.is_empty());
    assert_eq!(log.latest_epoch(), None);
    append(&mut log, 3);
    assert_eq!(contents(&log, 500), expected(500, 503));
}

#[test]
fn j_missing_or_damaged_epochs_come_from_the_batches() {
    for damaged in [false, true] {
        let fs = mem_fs();
        closed(&fs);
        let name = path("leader-epoch-checkpoint");
        if damaged {
            fs.put(&name, b"").unwrap();
        } else {
            fs.remove_file(&name).unwrap();
        }
        let (log, _) = reopen(&fs, true, 120);
        for epoch in 0..4 {
            let end = i64::from(epoch + 1) * 30;
            assert_eq!(log.epoch_end_offset(epoch).end_offset, end);
        }
    }
}

#[test]
fn k_producers_are_the_snapshot_and_the_batches_after_it() {
    let fs = mem_fs();
    let mut log = open(&fs);
    let options = |sequence| BatchOptions {
        producer_id: 5,
        producer_epoch: 1,
        base_sequence: sequence,
        ..BatchOptions::default()
    };
    let send = |log: &mut Log, sequence: i32| {
        let bytes = batch_with(options(sequence), NOW, log.end_offset(), 2);
        log.append_as_leader(&bytes, 0, Origin::Client, NOW)
    };
    for i in 0..20 {
        send(&mut log, i * 2).unwrap();
    }
    flush(&mut log);
    for i in 20..25 {
        send(&mut log, i * 2).unwrap();
    }
    let before = log.producers();
    drop(log);
    fs.kill();
    for (clean, point) in [(false, 40), (false, 0), (true, 40)] {
        let (mut log, _) = reopen(&fs, clean, point);
        assert_eq!(log.producers(), before);
        assert!(send(&mut log, 48).unwrap().duplicate);
        assert!(send(&mut log, 60).is_err());
    }
}

#[test]
fn an_empty_directory_is_a_new_log() {
    let fs = mem_fs();
    let state = LoadState { log_start: 40, ..LoadState::default() };
    let (mut log, report) = open_with(&fs, config(), state);
    assert_eq!((log.start_offset(), log.end_offset(), report.segments), (40, 40, 1));
    append(&mut log, 1);
    assert_eq!(files(&fs, ".log"), ["00000000000000000040.log"]);
}
