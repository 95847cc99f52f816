//! Idempotence and transactions, rule by rule.
#![allow(clippy::unwrap_used)]

use record::{Attributes, Compression, TimestampType};

use super::*;

fn header(epoch: i16, sequence: i32, count: i32, base_offset: Offset) -> BatchHeader {
    BatchHeader {
        base_offset,
        length: 100,
        leader_epoch: 0,
        crc: 0,
        attributes: Attributes::new(Compression::None, TimestampType::CreateTime),
        last_offset_delta: count - 1,
        base_timestamp: 0,
        max_timestamp: 1,
        producer_id: 7,
        producer_epoch: epoch,
        base_sequence: sequence,
        record_count: count,
    }
}

fn transactional(mut header: BatchHeader) -> BatchHeader {
    header.attributes = header.attributes.with_transactional(true);
    header
}

fn check(state: &ProducerState, header: &BatchHeader) -> Result<Sequence, ErrorCode> {
    state.check(header, Origin::Client, &Proof::default()).map_err(|e| e.code())
}

#[test]
fn retries_within_five_batches_are_found_older_ones_are_out_of_order() {
    let mut state = ProducerState::default();
    for i in 0..6 {
        let header = header(0, i * 10, 10, i64::from(i) * 10);
        assert_eq!(check(&state, &header), Ok(Sequence::Next));
        state.appended(&header);
    }
    for i in 1..6 {
        let found = check(&state, &header(0, i * 10, 10, 0)).unwrap();
        let Sequence::Duplicate(batch) = found else { panic!("{i} is a retry") };
        assert_eq!(batch.first_offset(), i64::from(i) * 10);
    }
    let out_of_order = Err(ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(check(&state, &header(0, 0, 10, 0)), out_of_order, "forgotten");
    assert_eq!(check(&state, &header(0, 50, 5, 0)), out_of_order, "other range");
    assert_eq!(check(&state, &header(0, 61, 1, 0)), out_of_order, "a gap");
    assert_eq!(check(&state, &header(0, 60, 1, 0)), Ok(Sequence::Next));
}

#[test]
fn epochs_fence_and_start_at_zero() {
    let mut state = ProducerState::default();
    state.appended(&header(3, 17, 1, 0));
    assert_eq!(check(&state, &header(2, 18, 1, 0)), Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(check(&state, &header(4, 18, 1, 0)), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(check(&state, &header(4, 0, 1, 0)), Ok(Sequence::Next));
    assert_eq!(check(&ProducerState::default(), &header(0, 99, 1, 0)), Ok(Sequence::Next));
}

#[test]
fn sequences_wrap_to_zero() {
    let mut state = ProducerState::default();
    state.appended(&header(0, i32::MAX - 1, 2, 0));
    assert_eq!(check(&state, &header(0, 0, 1, 0)), Ok(Sequence::Next));
    let wrapping = header(0, i32::MAX, 3, 2);
    let mut state = ProducerState::default();
    state.appended(&wrapping);
    assert_eq!(check(&state, &header(0, 2, 1, 0)), Ok(Sequence::Next));
    assert!(matches!(check(&state, &wrapping), Ok(Sequence::Duplicate(_))));
}

#[test]
fn a_transaction_holds_the_stable_offset_until_its_marker_is_replicated() {
    let mut state = ProducerState::default();
    state.appended(&transactional(header(0, 0, 5, 10)));
    state.appended(&transactional(header(0, 5, 5, 15)));
    assert_eq!(state.first_unstable_offset(), Some(10));
    let plain = header(0, 10, 1, 0);
    assert_eq!(check(&state, &plain), Err(ErrorCode::InvalidTxnState));
    let marker = ControlRecord { kind: ControlType::Abort, coordinator_epoch: 4 };
    let at = transactional(header(0, -1, 1, 20));
    let txn = state.aborted_by(&at, &marker).unwrap();
    assert_eq!((txn.first_offset, txn.last_offset, txn.last_stable_offset), (10, 20, 21));
    state.marker(&at, &marker);
    assert_eq!(state.first_unstable_offset(), Some(10), "not replicated yet");
    state.on_high_watermark(20);
    assert_eq!(state.first_unstable_offset(), Some(10), "the marker itself is not");
    state.on_high_watermark(21);
    assert_eq!(state.first_unstable_offset(), None);
    assert!(state.aborted_by(&at, &marker).is_none(), "nothing is open any more");
    let old = ControlRecord { kind: ControlType::Commit, coordinator_epoch: 3 };
    let fenced = state.check_marker(&at, &old, 0).unwrap_err();
    assert_eq!(fenced.code(), ErrorCode::TransactionCoordinatorFenced);
}

#[test]
fn idle_producers_expire_open_transactions_do_not() {
    let mut state = ProducerState::default();
    state.appended(&header(0, 0, 1, 0));
    let mut open = transactional(header(0, 0, 1, 1));
    open.producer_id = 8;
    state.appended(&open);
    assert_eq!(state.expire(50, 100), 0);
    assert_eq!(state.expire(1000, 100), 1);
    assert_eq!(state.describe().iter().map(|p| p.producer_id).collect::<Vec<_>>(), [8]);
}

#[test]
fn a_transaction_begins_only_with_the_guard_of_its_verification() {
    let mut verifications = crate::verification::Verifications::default();
    let mut state = ProducerState::default();
    let first = transactional(header(0, 0, 1, 10));
    let start =
        crate::VerificationStart { producer_id: 7, epoch: 0, sequence: 0, bumps_epoch: false };
    let guard = Some(verifications.start(start, 0));
    let check = |state: &ProducerState, header: &BatchHeader, verified, origin| {
        let verification = verifications.get(7);
        let proof = Proof { is_required: true, verification, guard: verified };
        state.check(header, origin, &proof).map_err(|e| e.code())
    };
    for origin in [Origin::Client, Origin::Coordinator] {
        assert_eq!(check(&state, &first, None, origin), Err(ErrorCode::InvalidTxnState));
        assert_eq!(check(&state, &first, guard, origin), Ok(Sequence::Next));
    }
    let second = transactional(header(0, 1, 1, 11));
    let overtaking = check(&state, &second, guard, Origin::Client);
    assert_eq!(overtaking, Err(ErrorCode::OutOfOrderSequenceNumber), "the first one failed");
    state.appended(&first);
    assert_eq!(state.check(&second, Origin::Client, &Proof::default()).ok(), Some(Sequence::Next));
    let required = Proof { is_required: true, ..Proof::default() };
    assert!(state.check(&second, Origin::Client, &required).is_ok(), "it is open here");
    let next_epoch = transactional(header(1, 0, 1, 11));
    let code = state.check(&next_epoch, Origin::Client, &required).map_err(|e| e.code());
    assert_eq!(code, Err(ErrorCode::InvalidTxnState), "that of another epoch is open");
}

/// As decided by Kafka 4.4's `ProducerAppendInfo.checkProducerEpoch`.
#[test]
fn markers_of_the_second_version_have_a_new_epoch_or_end_nothing() {
    let marker = ControlRecord { kind: ControlType::Commit, coordinator_epoch: 0 };
    let mut state = ProducerState::default();
    state.appended(&transactional(header(4, 0, 1, 0)));
    let check = |state: &ProducerState, epoch, version| {
        let at = transactional(header(epoch, -1, 1, 1));
        state.check_marker(&at, &marker, version).map_err(|e| e.code())
    };
    let fenced = Err(ErrorCode::InvalidProducerEpoch);
    assert_eq!([3, 4, 5].map(|epoch| check(&state, epoch, 0)), [fenced, Ok(()), Ok(())]);
    assert_eq!([3, 4, 5].map(|epoch| check(&state, epoch, 2)), [fenced, fenced, Ok(())]);
    state.marker(&transactional(header(5, -1, 1, 1)), &marker);
    assert_eq!([4, 5].map(|epoch| check(&state, epoch, 2)), [fenced, Ok(())], "a retry");
    state.appended(&transactional(header(i16::MAX, 0, 1, 2)));
    assert_eq!(check(&state, i16::MAX, 2), Ok(()), "there is no higher epoch");
}
