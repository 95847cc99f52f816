//! Sequences on which the property test of `model` once failed, by the fault they showed.

use super::model::Op::{self, *};
use super::model::run;

fn add(n: usize) -> Vec<Op> {
    vec![Append { count: 1 }; n]
}

fn produce(producer: i64) -> Op {
    Produce { producer, count: 1 }
}

#[test]
fn a_sealed_segment_lost_its_end_and_the_next_one_survived() {
    let ops = [
        vec![PowerLoss, Append { count: 2 }, Append { count: 4 }, Append { count: 1 }, Flush],
        add(2),
        vec![PowerLoss, PowerLoss, PowerLoss, Append { count: 2 }, PowerLoss],
        vec![Append { count: 4 }, Produce { producer: 0, count: 3 }],
        vec![Append { count: 5 }, Append { count: 2 }, PowerLoss],
    ];
    run(17_404_203_932_477_099_134, ops.concat());
}

#[test]
fn truncation_below_the_start() {
    let cut = vec![DeleteRecords { forward: 4 }, Truncate { back: 3 }];
    let ops = [vec![Produce { producer: 0, count: 3 }, Append { count: 4 }], add(1), cut];
    run(0, ops.concat());
}

#[test]
fn producers_older_than_what_a_log_begun_anew_had_lost() {
    let ops = [
        vec![Flush, produce(0), CleanRestart],
        add(2),
        vec![DeleteRecords { forward: 2 }, PowerLoss, PowerLoss],
    ];
    run(3_450_500_189_190_271_242, ops.concat());
}

#[test]
fn a_snapshot_that_a_failed_flush_left_behind() {
    let ops = [
        add(1),
        vec![Flush, produce(0), CleanRestart, produce(1), Full { room: 0 }, Flush],
        vec![Truncate { back: 3 }, produce(0), Kill],
    ];
    run(0, ops.concat());
}

#[test]
fn a_roll_right_at_the_recovery_point() {
    run(181_925_805_909_482_347, [add(6), vec![CleanRestart, Kill, Roll, Kill]].concat());
}

#[test]
fn a_snapshot_below_the_first_segment() {
    let deleted = [DeleteRecords { forward: 2 }, Roll, Retention, Kill];
    let ops = [vec![produce(1), CleanRestart, produce(1)], deleted.to_vec()];
    run(0, ops.concat());
}

#[test]
fn a_rebuilt_index_took_the_epochs_of_later_segments() {
    let ops = [
        vec![Flush],
        add(3),
        vec![DeleteRecords { forward: 3 }, PowerLoss],
        add(1),
        vec![NewEpoch, Roll],
        add(1),
        vec![CleanRestart],
    ];
    run(3_993_326_361_352_579_051, ops.concat());
}

#[test]
fn a_truncated_segment_was_sealed_again() {
    let ops = [
        add(3),
        vec![Append { count: 2 }, Produce { producer: 0, count: 3 }, Append { count: 2 }],
        vec![Append { count: 3 }, Append { count: 2 }, Append { count: 2 }],
        vec![Flush, Truncate { back: 5 }, Roll, CleanRestart],
    ];
    run(0, ops.concat());
}

#[test]
fn a_flush_that_began_at_the_start_and_not_at_the_segment() {
    let ops = [
        vec![Append { count: 1 }, Truncate { back: 1 }],
        add(4),
        vec![Append { count: 2 }, Append { count: 3 }, Append { count: 1 }, Sync],
        vec![DeleteRecords { forward: 1 }],
        add(3),
        vec![DeleteRecords { forward: 11 }, Append { count: 1 }, Kill, Flush, PowerLoss],
    ];
    run(402_151_997_384_796, ops.concat());
}

#[test]
fn the_leftover_of_a_failed_write_behind_a_sealed_segment() {
    let leftover = vec![Full { room: 1 }, Append { count: 1 }, Roll, Kill];
    let ops = [
        add(6),
        vec![Flush, DeleteRecords { forward: 1 }, Flush, CheckpointRecoveryPoint],
        leftover,
        vec![Append { count: 1 }, Flush, PowerLoss],
    ];
    run(456_150_816_612_698_036, ops.concat());
}
