//! The same log over the real file system.

use record::{Compression, end_transaction_marker};

use super::*;
use crate::fs::DiskFs;

/// Writes with every codec, two producers and an aborted transaction into real files.
fn fill(log: &mut Log) {
    let mut sequence = 0;
    for i in 0..400i64 {
        let transactional = (100..110).contains(&i);
        let options = BatchOptions {
            compression: Compression::ALL[(i % 5) as usize],
            producer_id: if transactional { 8 } else { 7 },
            producer_epoch: 0,
            base_sequence: if transactional { (i as i32 - 100) * 3 } else { sequence },
            transactional,
            ..BatchOptions::default()
        };
        sequence += if transactional { 0 } else { 3 };
        let bytes = batch_with(options, NOW + i, log.end_offset(), 3);
        log.append_as_leader(&bytes, (i / 100) as i32, Origin::Client, NOW).unwrap();
        if i == 120 {
            let marker = end_transaction_marker(8, 0, 0, false, NOW + i);
            log.append_as_leader(&marker, 1, Origin::Coordinator, NOW).unwrap();
        }
    }
}

fn open_disk(dir: &Path, state: LoadState) -> (Log, RecoveryReport) {
    let context = LogContext::new(Arc::new(DiskFs), 6);
    let config = LogConfig { segment_bytes: 16 * 1024, index_interval_bytes: 512, ..config() };
    let partition = TopicPartition::new("t", 0);
    Log::open(&context, dir, partition, Arc::new(config), state, NOW).unwrap()
}

#[test]
fn a_log_on_disk_reads_back_after_clean_and_unclean_restarts() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("t-0");
    let mut log = open_disk(&dir, LoadState::default()).0;
    fill(&mut log);
    let end = log.end_offset();
    let all = fetch_all(&log, 0);
    flush(&mut log);
    drop(log);
    let unclean = LoadState { recovery_point: end, ..LoadState::default() };
    let (mut log, report) = open_disk(&dir, unclean);
    assert!(report.bytes_scanned < 2048, "{report:?}");
    assert_eq!(fetch_all(&log, 0), all);
    log.close().unwrap();
    let clean = LoadState { clean_shutdown: true, ..unclean };
    let (mut log, report) = open_disk(&dir, clean);
    assert_eq!(report.segments_scanned, 0);
    assert_eq!(fetch_all(&log, 0), all);
    assert_eq!(aborted(&log, 0, end).len(), 1);
    assert_eq!(log.producers().len(), 2);
    let slice = log.reader().read(0, 4096, end, true, Access::Resident);
    assert!(slice.is_ok() || matches!(slice, Err(crate::ReadError::WouldBlock)));
    let slice = log.reader().read(0, 4096, end, true, Access::Blocking).unwrap().unwrap();
    assert!(slice.file.as_fd().is_some());
    assert!(slice.file.is_resident(slice.position, slice.len), "just written");
    log.truncate_to(500).unwrap();
    log.validate();
    log.truncate_fully_and_start_at(9, NOW).unwrap();
    assert_eq!(log.end_offset(), 9);
}

/// Found by the simulator: an index entry of the active segment, written and not synced, was torn
/// by the loss of power and trusted, since the flush's snapshot vouched for the data.
#[test]
fn torn_index_entries_below_the_recovery_point_are_not_trusted() {
    let config = || LogConfig { segment_bytes: 1 << 20, ..config() };
    for seed in 0..300 {
        let fs = mem_fs();
        let mut log = open_with(&fs, config(), LoadState::default()).0;
        for _ in 0..12 {
            for _ in 0..5 {
                append(&mut log, 1);
            }
            flush(&mut log);
        }
        let end = log.end_offset();
        drop(log);
        fs.crash(&mut (seed + 1));
        let state = LoadState { recovery_point: end, ..LoadState::default() };
        let log = open_with(&fs, config(), state).0;
        assert_eq!(log.end_offset(), end, "seed {seed}");
        for offset in 0..end {
            assert_eq!(contents(&log, offset), expected(offset, end), "seed {seed}");
        }
    }
}

/// Found by the simulator: a leader of epoch 2 appended nothing, stopped cleanly and followed one
/// whose records were older. Its file still had the epoch when the process was killed, and since
/// the log began beyond the recovery point by then, recovery cut off all that contradicted it.
#[test]
fn an_epoch_beyond_the_recovery_point_is_not_believed() {
    let fs = mem_fs();
    let mut log = open(&fs);
    append_at(&mut log, 10, 1, NOW);
    log.assign_epoch(2, 10).unwrap();
    log.close().unwrap();
    drop(log);
    let (mut log, _) = reopen(&fs, true, 10);
    assert_eq!(log.latest_epoch(), Some(1));
    for _ in 0..40 {
        append_at(&mut log, 1, 1, NOW);
    }
    log.delete_records(45, 50).unwrap();
    log.retention(NOW, 50).unwrap();
    drop(log);
    fs.kill();
    let state = LoadState { recovery_point: 10, log_start: 45, ..LoadState::default() };
    let (log, report) = open_with(&fs, config(), state);
    assert_eq!((log.start_offset(), log.end_offset()), (45, 50), "{report:?}");
    assert_eq!(log.latest_epoch(), Some(1));
}

/// What opening changed in the epochs reaches the disk before a recovery point vouches for it.
#[test]
fn an_epoch_that_opening_drops_is_dropped_on_disk() {
    let fs = mem_fs();
    let mut log = open(&fs);
    append_at(&mut log, 10, 1, NOW);
    log.assign_epoch(2, 10).unwrap();
    log.close().unwrap();
    drop(log);
    let (mut log, _) = reopen(&fs, true, 10);
    append_at(&mut log, 30, 1, NOW);
    flush(&mut log);
    drop(log);
    fs.kill();
    let (log, _) = reopen(&fs, false, 40);
    assert_eq!((log.end_offset(), log.latest_epoch()), (40, Some(1)));
}
