//! What a log knows of its producers when it is cut or begins anew.

use super::*;

fn of_producer(producer_id: i64, sequence: i32) -> Vec<u8> {
    let options = BatchOptions {
        producer_id,
        producer_epoch: 1,
        base_sequence: sequence,
        ..BatchOptions::default()
    };
    batch_with(options, NOW, 0, 1)
}

fn sequences(log: &Log) -> Vec<(i64, i32)> {
    let known = log.producers();
    known.iter().map(|entry| (entry.producer_id, entry.last_sequence)).collect()
}

/// The snapshot that holds the producers of deleted segments lies at the base of the first one.
#[test]
fn a_truncation_keeps_producers_of_before_the_first_segment() {
    let fs = mem_fs();
    let mut log = open(&fs);
    log.append_as_leader(&of_producer(1, 0), 0, Origin::Client, NOW).unwrap();
    log.roll(NOW).unwrap();
    flush(&mut log);
    log.delete_records(1, 1).unwrap();
    assert_eq!(log.retention(NOW, 1).unwrap(), 1);
    for sequence in 0..3 {
        log.append_as_leader(&of_producer(2, sequence), 0, Origin::Client, NOW).unwrap();
    }
    log.truncate_to(3).unwrap();
    assert_eq!(sequences(&log), [(1, 0), (2, 1)]);
}

/// Kafka Streams deletes what it has read; a follower began anew there, and forgot producers whose
/// batches its leader, and Kafka's followers, still knew.
#[test]
fn a_restart_at_its_own_end_keeps_producers() {
    for crashed in [false, true] {
        let fs = mem_fs();
        let mut log = open(&fs);
        for sequence in 0..5 {
            log.append_as_leader(&of_producer(1, sequence), 0, Origin::Client, NOW).unwrap();
        }
        // The last two were never committed, and are cut off by the way.
        log.truncate_fully_and_start_at(3, NOW).unwrap();
        log.validate();
        assert_eq!((log.start_offset(), log.end_offset(), log.size()), (3, 3, 0));
        if crashed {
            let recovery_point = log.recovery_point();
            fs.kill();
            let state = LoadState { recovery_point, log_start: 3, ..LoadState::default() };
            log = open_with(&fs, config(), state).0;
        }
        assert_eq!(sequences(&log), [(1, 2)]);
        let retried = log.append_as_leader(&of_producer(1, 2), 1, Origin::Client, NOW).unwrap();
        assert_eq!((retried.duplicate, retried.first_offset), (true, 2));
        let next = log.append_as_leader(&of_producer(1, 3), 1, Origin::Client, NOW).unwrap();
        assert_eq!((next.duplicate, next.first_offset), (false, 3));
        log.truncate_fully_and_start_at(10, NOW).unwrap();
        assert_eq!(sequences(&log), [], "records are missing: who wrote last is unknown");
    }
}
