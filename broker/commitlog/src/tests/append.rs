//! Appending and reading.

use base::{ErrorCode, TopicPartition};
use record::{
    BatchBuilder, BatchOptions, Compression, Effort, Origin, TargetCompression, TimestampType,
    end_transaction_marker,
};

use super::*;
use crate::fs::Faults;
use crate::{AbortedTransaction, AppendError, LogError, ReadError, Validated};

fn code(result: Result<AppendInfo, AppendError>) -> ErrorCode {
    result.unwrap_err().code()
}

#[test]
fn appended_batches_read_back_across_segments() {
    let fs = mem_fs();
    let mut log = open(&fs);
    for _ in 0..40 {
        append(&mut log, 3);
    }
    assert_eq!(log.end_offset(), 120);
    assert!(files(&fs, ".log").len() > 3);
    for from in [0, 1, 7, 60, 119] {
        assert_eq!(contents(&log, from), expected(from, 120));
    }
    let info = append(&mut log, 2);
    assert_eq!((info.first_offset, info.last_offset, info.records), (120, 121, 2));
}

#[test]
fn a_read_stops_at_the_limit_it_is_given() {
    let fs = mem_fs();
    let mut log = open(&fs);
    for _ in 0..30 {
        append(&mut log, 2);
    }
    let reader = log.reader();
    for limit in (0..=60).step_by(2) {
        let mut offset = 0;
        while let Some(slice) = reader.read(offset, 1 << 20, limit, true, Access::Blocking).unwrap()
        {
            for batch in batches(&bytes_of(&slice)) {
                offset = batch.unwrap().header.next_offset();
            }
        }
        assert_eq!(offset, limit);
    }
}

#[test]
fn the_first_batch_comes_whole_and_the_rest_may_be_cut() {
    let fs = mem_fs();
    let mut log = open(&fs);
    append(&mut log, 5);
    append(&mut log, 5);
    let size = batch(0, 5).len();
    let reader = log.reader();
    let read = |max, one| reader.read(3, max, 10, one, Access::Blocking).unwrap();
    assert_eq!(read(1, true).unwrap().len, size);
    for max in [0, 1, size - 1] {
        assert!(read(max, false).is_none(), "{max}: a piece of one batch is of no use");
    }
    assert_eq!(read(size, false).unwrap().len, size);
    assert_eq!(read(size + 10, false).unwrap().len, size + 10);
    let slice = read(size + 10, true).unwrap();
    assert_eq!((slice.len, slice.base_offset, slice.position), (size + 10, 0, 0));
}

#[test]
fn reads_outside_the_log_are_out_of_range() {
    let fs = mem_fs();
    let mut log = open(&fs);
    append(&mut log, 5);
    log.delete_records(2, 5).unwrap();
    let reader = log.reader();
    for offset in [0, 1, 6, -1] {
        let error = reader.read(offset, 100, 5, true, Access::Blocking).unwrap_err();
        assert_eq!(error.code(), ErrorCode::OffsetOutOfRange, "{offset}");
    }
    assert!(reader.read(5, 100, 5, true, Access::Blocking).unwrap().is_none());
    assert!(reader.read(4, 100, 3, true, Access::Blocking).unwrap().is_none());
}

#[test]
fn a_reader_that_may_not_wait_is_told_so() {
    let fs = mem_fs();
    let mut log = open(&fs);
    for _ in 0..40 {
        append(&mut log, 3);
    }
    fs.set_faults(Faults { cold: true, ..Faults::default() });
    let reader = log.reader();
    let tail = reader.read(117, 1000, 120, true, Access::Resident).unwrap().unwrap();
    assert_eq!(tail.base_offset, 117, "the newest batches need no disk to be found");
    assert!(!tail.file.is_resident(tail.position, tail.len));
    let cold = reader.read(1, 1000, 120, true, Access::Resident).unwrap_err();
    assert!(matches!(cold, ReadError::WouldBlock), "{cold}");
    assert!(reader.read(1, 1000, 120, true, Access::Blocking).unwrap().is_some());
}

#[test]
fn sizes_are_limited() {
    let fs = mem_fs();
    let mut log = open(&fs);
    let big = batch(0, 400);
    assert_eq!(
        code(log.append_as_leader(&big, 0, Origin::Client, NOW)),
        ErrorCode::MessageTooLarge
    );
    log.update_config(Arc::new(LogConfig { max_message_bytes: 1 << 20, ..config() }));
    assert_eq!(
        code(log.append_as_leader(&big, 0, Origin::Client, NOW)),
        ErrorCode::RecordListTooLarge
    );
    assert_eq!(
        code(log.append_as_leader(&big[..50], 0, Origin::Client, NOW)),
        ErrorCode::CorruptMessage
    );
    assert_eq!(code(log.append_as_leader(&[], 0, Origin::Client, NOW)), ErrorCode::CorruptMessage);
    assert_eq!(log.end_offset(), 0);
}

#[test]
fn topics_stamp_and_recompress() {
    let fs = mem_fs();
    let config = LogConfig {
        message_timestamp_type: TimestampType::LogAppendTime,
        compression: TargetCompression::Codec(Compression::Lz4, None),
        ..config()
    };
    let mut log = open_with(&fs, config, LoadState::default()).0;
    let info = log.append_as_leader(&batch(0, 3), 7, Origin::Client, NOW + 5).unwrap();
    assert_eq!(info.log_append_time, NOW + 5);
    let stored = fetch_all(&log, 0);
    let stored = Batch::parse(&stored[0]).unwrap();
    assert_eq!(stored.header.compression().unwrap(), Compression::Lz4);
    assert_eq!((stored.header.max_timestamp, stored.header.leader_epoch), (NOW + 5, 7));
    assert_eq!(contents(&log, 0), expected(0, 3));
}

#[test]
fn a_retried_batch_is_answered_with_its_old_offset() {
    let fs = mem_fs();
    let mut log = open(&fs);
    append(&mut log, 4);
    let options = BatchOptions {
        producer_id: 9,
        producer_epoch: 0,
        base_sequence: 0,
        ..BatchOptions::default()
    };
    let bytes = batch_with(options.clone(), NOW, 4, 2);
    let first = log.append_as_leader(&bytes, 0, Origin::Client, NOW).unwrap();
    append(&mut log, 1);
    let size = log.size();
    let retry = log.append_as_leader(&bytes, 0, Origin::Client, NOW).unwrap();
    assert_eq!((retry.first_offset, retry.last_offset, retry.duplicate), (4, 5, true));
    assert_eq!((first.duplicate, log.size()), (false, size));
    let gap = batch_with(BatchOptions { base_sequence: 5, ..options }, NOW, 0, 1);
    let refused = log.append_as_leader(&gap, 0, Origin::Client, NOW);
    assert_eq!(code(refused), ErrorCode::OutOfOrderSequenceNumber);
}

#[test]
fn aborted_transactions_are_reported_to_committed_readers() {
    let fs = mem_fs();
    let mut log = open(&fs);
    let in_txn = BatchOptions {
        producer_id: 9,
        producer_epoch: 0,
        base_sequence: 0,
        transactional: true,
        ..BatchOptions::default()
    };
    append(&mut log, 4);
    log.append_as_leader(&batch_with(in_txn, NOW, 4, 2), 0, Origin::Client, NOW).unwrap();
    append(&mut log, 2);
    assert_eq!(log.first_unstable_offset(), Some(4));
    let marker = end_transaction_marker(9, 0, 1, false, NOW);
    let info = log.append_as_leader(&marker, 0, Origin::Coordinator, NOW).unwrap();
    assert_eq!(info.first_offset, 8);
    log.on_high_watermark(9);
    assert_eq!(log.first_unstable_offset(), None);
    let expected = [AbortedTransaction { producer_id: 9, first_offset: 4 }];
    assert_eq!(aborted(&log, 0, 9), expected);
    assert_eq!(aborted(&log, 8, 9), expected, "the marker counts");
    assert_eq!(aborted(&log, 0, 4), [], "it begins behind what was read");
    append(&mut log, 1);
    assert_eq!(aborted(&log, 9, 10), []);
    let client = log.append_as_leader(&marker, 0, Origin::Client, NOW);
    assert_eq!(code(client), ErrorCode::InvalidRecord);
    let mut follower = open_with(&mem_fs(), config(), LoadState::default()).0;
    follower.append_as_follower(&fetch_all(&log, 0).concat(), NOW).unwrap();
    assert_eq!(aborted(&follower, 0, 9), expected);
    assert_eq!(follower.producers(), log.producers());
}

/// The index of aborted transactions was written after the marker was published.
#[test]
fn a_marker_that_cannot_be_indexed_is_not_in_the_log() {
    for (as_leader, step) in (0..8).flat_map(|step| [(true, step), (false, step)]) {
        let fs = mem_fs();
        let mut log = open(&fs);
        let in_txn = BatchOptions {
            producer_id: 9,
            producer_epoch: 0,
            base_sequence: 0,
            transactional: true,
            ..BatchOptions::default()
        };
        log.append_as_leader(&batch_with(in_txn, NOW, 0, 2), 0, Origin::Client, NOW).unwrap();
        let marker = end_transaction_marker(9, 0, 1, false, NOW);
        let mut from_leader = open(&mem_fs());
        from_leader.append_as_leader(&batch(0, 2), 0, Origin::Client, NOW).unwrap();
        append(&mut from_leader, 1);
        from_leader.append_as_leader(&marker, 0, Origin::Coordinator, NOW).unwrap();
        let fetched = fetch_all(&from_leader, 2).concat();
        let (producers, before) = (log.producers(), log.end_offset());
        fs.set_faults(Faults { fail_step: Some(step), ..Faults::default() });
        let bytes = if as_leader {
            let appended = log.append_as_leader(&marker, 0, Origin::Coordinator, NOW);
            appended.map_or(0, |info| info.bytes)
        } else {
            log.append_as_follower(&fetched, NOW).map_or(0, |info| info.bytes)
        };
        fs.set_faults(Faults::default());
        log.validate();
        let has_marker = !aborted(&log, 0, 9).is_empty();
        let end = before + i64::from(has_marker) + i64::from(!as_leader && bytes > 0);
        assert_eq!(log.end_offset(), end, "step {step}");
        assert_eq!(log.producers() != producers, has_marker, "step {step}");
        assert_eq!(bytes > 0, end > before, "what is in the log is told");
        let path = dir().join("00000000000000000000.log");
        assert_eq!(fs.contents(&path).unwrap().len() as u64, log.size(), "step {step}");
    }
}

#[test]
fn one_append_is_one_batch() {
    let mut log = open(&mem_fs());
    let two = [batch(0, 1), batch(1, 1)].concat();
    let refused = log.append_as_leader(&two, 0, Origin::Client, NOW);
    assert_eq!(code(refused), ErrorCode::InvalidRecord);
    assert_eq!(log.end_offset(), 0);
}

#[test]
fn a_follower_takes_whole_batches_only_and_in_order() {
    let fs = mem_fs();
    let mut leader = open(&fs);
    for i in 0..30 {
        append_at(&mut leader, 3, i / 10, NOW);
    }
    let all = fetch_all(&leader, 0).concat();
    let follower_fs = mem_fs();
    let mut follower = open(&follower_fs);
    let info = follower.append_as_follower(&all[..all.len() - 1], NOW).unwrap();
    assert_eq!((info.end_offset, info.last_epoch), (87, 2));
    follower.validate();
    let rest = fetch_all(&leader, 87).concat();
    follower.append_as_follower(&rest, NOW).unwrap();
    assert_eq!(fetch_all(&follower, 0), fetch_all(&leader, 0));
    for suffix in [".log", ".index", ".timeindex"] {
        assert_eq!(files(&follower_fs, suffix), files(&fs, suffix));
    }
    assert_eq!(follower.epoch_end_offset(1), leader.epoch_end_offset(1));
    let again = follower.append_as_follower(&rest, NOW).unwrap_err();
    assert!(matches!(again, LogError::Discontinuous { expected: 90, found: 87 }), "{again}");
    let mut bad = batch(0, 1);
    bad[..8].copy_from_slice(&90i64.to_be_bytes());
    let last = bad.len() - 1;
    bad[last] ^= 1;
    assert!(matches!(follower.append_as_follower(&bad, NOW), Err(LogError::Corrupt { .. })));
    assert_eq!(follower.end_offset(), 90);
}

#[test]
fn a_follower_says_how_far_it_came_when_the_disk_filled_up() {
    let mut leader = open(&mem_fs());
    for _ in 0..30 {
        append(&mut leader, 3);
    }
    let all = fetch_all(&leader, 0).concat();
    let fs = mem_fs();
    let mut follower = open(&fs);
    // Room for more than the first segment, and for less than the second.
    let capacity_bytes = Some(fs.used_bytes() + 1_500);
    fs.set_faults(Faults { capacity_bytes, ..Faults::default() });
    let info = follower.append_as_follower(&all, NOW).unwrap();
    follower.validate();
    assert!(info.end_offset > 0 && info.end_offset < leader.end_offset());
    assert_eq!(info.end_offset, follower.end_offset());
    assert_eq!(info.bytes as u64, follower.size());
    let rest = fetch_all(&leader, info.end_offset).concat();
    let error = follower.append_as_follower(&rest, NOW).unwrap_err();
    assert!(matches!(error, LogError::Io { .. }), "{error}");
    assert_eq!(follower.end_offset(), info.end_offset);
    fs.set_faults(Faults::default());
    follower.append_as_follower(&rest, NOW).unwrap();
    assert_eq!(fetch_all(&follower, 0), fetch_all(&leader, 0));
}

#[test]
fn a_follower_may_start_in_the_middle_of_a_batch() {
    let mut leader = open(&mem_fs());
    append(&mut leader, 3);
    append(&mut leader, 5);
    let fs = mem_fs();
    let state = LoadState { log_start: 4, ..LoadState::default() };
    let mut follower = open_with(&fs, config(), state).0;
    follower.append_as_follower(&fetch_all(&leader, 4).concat(), NOW).unwrap();
    follower.validate();
    assert_eq!((follower.start_offset(), follower.end_offset()), (3, 8));
    follower.delete_records(4, 8).unwrap();
    assert_eq!(contents(&follower, 4), expected(4, 8));
}

#[test]
fn a_failed_write_leaves_the_log_as_it_was() {
    let fs = mem_fs();
    let mut log = open(&fs);
    append(&mut log, 3);
    let size = log.size();
    for faults in [
        Faults { fail_writes: 1, ..Faults::default() },
        Faults { capacity_bytes: Some(size + 20), ..Faults::default() },
    ] {
        fs.set_faults(faults);
        let refused = log.append_as_leader(&batch(3, 3), 0, Origin::Client, NOW);
        assert_eq!(code(refused), ErrorCode::KafkaStorageError);
        assert_eq!((log.end_offset(), log.size()), (3, size));
        log.validate();
    }
    fs.set_faults(Faults::default());
    append(&mut log, 3);
    assert_eq!(contents(&log, 0), expected(0, 6));
}

#[test]
fn what_was_validated_before_is_appended_in_any_order() {
    let fs = mem_fs();
    let log_config = LogConfig {
        message_timestamp_type: TimestampType::LogAppendTime,
        compression: TargetCompression::Codec(Compression::Lz4, None),
        ..config()
    };
    let mut log = open_with(&fs, log_config, LoadState::default()).0;
    let (config, partition) = (log.config().clone(), log.partition().clone());
    let batches = [batch(2, 1), batch(0, 2)];
    let at = |i: usize| {
        let now_ms = NOW + i as i64;
        Validated::new(&batches[i], &config, &partition, Origin::Client, now_ms).unwrap()
    };
    let (early, late) = (at(0), at(1));
    let info = log.append_validated(&late, 1, NOW + 5).unwrap();
    assert_eq!((info.first_offset, info.log_append_time), (0, NOW + 1));
    let info = log.append_validated(&early, 1, NOW + 5).unwrap();
    assert_eq!((info.first_offset, info.log_append_time), (2, NOW + 1), "time does not go back");
    assert_eq!(contents(&log, 0), expected(0, 3));
}

/// A caller with little time goes by what comes out of a batch: 8 MiB fit into a few KiB.
#[test]
fn what_expands_takes_long_however_small_it_is() {
    let of = |compression, mib: usize| {
        let mut builder = BatchBuilder::new(BatchOptions { compression, ..Default::default() });
        for _ in 0..mib {
            builder.append(NOW, None, Some(&vec![0; 1 << 20]), &[]);
        }
        builder.finish()
    };
    let config = LogConfig { max_message_bytes: 16 << 20, ..LogConfig::kafka_defaults() };
    let fits = |bytes: &[u8]| {
        let effort = &mut Effort::of(4 << 20);
        let (id, origin) = (TopicPartition::new("t", 0), Origin::Client);
        Validated::within(bytes, &config, &id, origin, NOW, effort).unwrap().is_some()
    };
    assert!(fits(&of(Compression::None, 8)));
    for codec in [Compression::Gzip, Compression::Zstd] {
        let bytes = of(codec, 8);
        assert!(bytes.len() < 64 << 10);
        assert!(!fits(&bytes), "{codec:?}");
        assert!(fits(&of(codec, 2)), "{codec:?}");
    }
}
