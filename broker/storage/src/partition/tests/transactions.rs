//! Transactions at their leader: who may begin one, and what its end waits for.

use commitlog::{TransactionMarker, VerificationStart};
use record::{BatchBuilder, BatchOptions};
use replica::{ConsumerFetch, FollowerFetch, Isolation};

use super::*;

const PRODUCER: i64 = 9;

fn batch_of(sequence: i32) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        producer_id: PRODUCER,
        producer_epoch: 0,
        base_sequence: sequence,
        transactional: true,
        ..BatchOptions::default()
    });
    builder.append(process::clock::wall_ms(), None, Some(b"v"), &[]);
    builder.finish()
}

fn marker(coordinator_epoch: i32) -> TransactionMarker {
    TransactionMarker {
        producer_id: PRODUCER,
        producer_epoch: 0,
        coordinator_epoch,
        commit: true,
        transaction_version: 0,
    }
}

const START: VerificationStart =
    VerificationStart { producer_id: PRODUCER, epoch: 0, sequence: 0, bumps_epoch: false };

fn replicated_up_to(rig: &Rig, offset: Offset) {
    let fetch = FollowerFetch {
        replica: OTHER,
        broker_epoch: -1,
        eligible: true,
        current_leader_epoch: 1,
        fetch_offset: offset,
        last_fetched_epoch: 1,
        log_start: 0,
    };
    rig.partition.note_follower(&fetch).unwrap();
}

#[test]
fn a_transaction_begins_with_a_guard_and_ends_when_its_marker_is_committed() {
    let rig = Rig::new(i64::MAX);
    rig.assign_in(ME, 1, &[ME, OTHER]);
    let effort = &mut { Effort::UNLIMITED };
    let first = batch_of(0);
    let refused = rig.partition.append_within(&first, 1, None, None, effort).unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidTxnState);
    let guard = rig.partition.start_verification(START).unwrap();
    assert!(guard.is_some());
    rig.partition.append_within(&first, 1, None, guard, effort).unwrap().unwrap();
    assert_eq!(rig.partition.start_verification(START).unwrap(), None, "it has begun");
    rig.partition.append_within(&batch_of(1), 1, None, None, effort).unwrap().unwrap();
    replicated_up_to(&rig, 2);
    let at = |rig: &Rig| {
        let offsets = rig.partition.offsets();
        (offsets.last_stable, offsets.high_watermark)
    };
    assert_eq!(at(&rig), (0, 2));
    let fetch = ConsumerFetch {
        current_leader_epoch: -1,
        fetch_offset: 0,
        last_fetched_epoch: -1,
        isolation: Isolation::ReadCommitted,
        any_replica: false,
    };
    assert_eq!(rig.partition.plan_consumer(&fetch, None).unwrap().max_offset, 0);

    let wait = ProduceWait::new(2);
    let commit = |slot| Some((&wait, slot));
    rig.partition.append_marker(&marker(3), None, commit(0)).unwrap();
    let old = rig.partition.append_marker(&marker(2), None, commit(1)).unwrap_err();
    assert_eq!(old.code, ErrorCode::TransactionCoordinatorFenced);
    wait.registered();
    assert!(!wait.is_over());
    assert_eq!(at(&rig), (0, 2), "its end may yet be lost");
    replicated_up_to(&rig, 3);
    assert!(wait.is_over() && wait.result(0) == ErrorCode::None);
    assert_eq!(at(&rig), (3, 3));
    assert_eq!(rig.partition.plan_consumer(&fetch, None).unwrap().max_offset, 3);
    let known = rig.partition.producers();
    assert_eq!((known[0].coordinator_epoch, known[0].current_txn_first_offset), (3, None));
    rig.agree();
}

#[test]
fn a_marker_is_the_leaders_to_write_in_its_epoch() {
    let rig = Rig::new(i64::MAX);
    rig.assign(ME, 2);
    let code = |epoch| rig.partition.append_marker(&marker(1), epoch, None).map_err(|e| e.code);
    assert_eq!(code(Some(1)).unwrap_err(), ErrorCode::NotLeaderOrFollower);
    assert!(code(Some(2)).is_ok() && code(None).is_ok());
    rig.assign(OTHER, 3);
    assert_eq!(code(None).unwrap_err(), ErrorCode::NotLeaderOrFollower);
    let started = rig.partition.start_verification(START);
    assert_eq!(started.unwrap_err(), ErrorCode::NotLeaderOrFollower);
}
