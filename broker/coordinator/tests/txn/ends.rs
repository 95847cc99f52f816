//! EndTxn, in both generations of the protocol.

use base::ErrorCode;
use coordinator::txn::*;

use crate::world::*;

const FIRST: Producer = Producer { id: FIRST_ID, epoch: 0 };

fn next(producer: Producer) -> Producer {
    Producer { epoch: producer.epoch + 1, ..producer }
}

#[test]
fn an_end_is_answered_once_it_is_decided_and_completes_with_its_markers() {
    let mut world = World::new();
    world.init(None).unwrap();
    assert_eq!(world.end(FIRST, 0, true), Err(ErrorCode::InvalidTxnState), "nothing is open");
    world.add(FIRST, 0, 1);
    assert_eq!(world.end(FIRST, 0, true), Ok(FIRST));
    assert_eq!(world.state("x").unwrap().state, TxnState::PrepareCommit);
    for busy in [true, false] {
        assert_eq!(world.end(FIRST, 0, busy), Err(ErrorCode::ConcurrentTransactions));
    }
    assert_eq!(world.add(FIRST, 0, 1), ErrorCode::ConcurrentTransactions);
    let markers = world.write_markers();
    assert_eq!((markers.is_commit, markers.producer, markers.version), (true, FIRST, 0));
    let value = world.state("x").unwrap();
    assert_eq!((value.state, value.partitions.len()), (TxnState::CompleteCommit, 0));
    assert_eq!(world.end(FIRST, 0, true), Ok(FIRST), "a repetition");
    assert_eq!(world.end(FIRST, 0, false), Err(ErrorCode::InvalidTxnState));
    world.add(FIRST, 0, 2);
    assert_eq!(world.end(FIRST, 0, false), Ok(FIRST));
    assert!(!world.write_markers().is_commit);
    assert_eq!(world.end(FIRST, 0, true), Err(ErrorCode::InvalidTxnState));
}

#[test]
fn the_markers_of_one_transaction_do_not_complete_the_next() {
    let mut world = World::new();
    world.init(None).unwrap();
    world.add(FIRST, 0, 1);
    world.end(FIRST, 0, true).unwrap();
    let first = world.write_markers();
    world.add(FIRST, 0, 2);
    world.end(FIRST, 0, false).unwrap();
    let report = TxnRequest::MarkersWritten { id: first.id, number: first.number };
    world.ask(report);
    assert_eq!(world.state("x").unwrap().state, TxnState::PrepareAbort);
    world.write_markers();
    assert_eq!(world.state("x").unwrap().state, TxnState::CompleteAbort);
}

#[test]
fn each_end_raises_the_epoch_from_version_two_on() {
    let mut world = World::new();
    world.init(None).unwrap();
    world.add(FIRST, 2, 1);
    let second = world.end(FIRST, 2, true).unwrap();
    assert_eq!(second, next(FIRST));
    assert_eq!(world.end(FIRST, 2, true), Err(ErrorCode::ConcurrentTransactions), "markers");
    let markers = world.write_markers();
    assert_eq!((markers.producer, markers.version), (second, 2));
    assert_eq!(world.end(FIRST, 2, true), Ok(second), "a repetition");
    assert_eq!(world.end(FIRST, 2, false), Err(ErrorCode::InvalidTxnState));
    assert_eq!(world.add(FIRST, 2, 1), ErrorCode::ProducerFenced);
    assert_eq!(world.end(second, 2, true), Err(ErrorCode::InvalidTxnState), "nothing was added");
    world.add(second, 2, 1);
    assert_eq!(world.end(FIRST, 2, true), Err(ErrorCode::ProducerFenced));
    assert_eq!(world.end(second, 2, false), Ok(next(second)));
    world.write_markers();
    assert_eq!(world.end(second, 2, false), Ok(next(second)));
    assert_eq!(world.end(FIRST, 2, false), Err(ErrorCode::ProducerFenced));
}

#[test]
fn an_abort_of_nothing_raises_the_epoch_and_writes_no_markers() {
    let mut world = World::new();
    world.init(None).unwrap();
    let second = world.end(FIRST, 2, false).unwrap();
    assert_eq!((second, world.markers.len()), (next(FIRST), 0));
    let value = world.state("x").unwrap();
    assert_eq!((value.state, value.producer_epoch), (TxnState::CompleteAbort, 1));
    assert_eq!(world.end(FIRST, 2, false), Ok(second), "a repetition");
    assert_eq!(world.end(second, 2, false), Ok(next(second)));
}

#[test]
fn the_last_epoch_ends_with_a_new_producer_id() {
    let last = Producer { id: 7, epoch: i16::MAX - 1 };
    let mut world = World::with_log(vec![("x", committed(last))]);
    world.add(last, 2, 1);
    assert_eq!(world.end(last, 2, true), Ok(FIRST));
    let prepared = world.state("x").unwrap();
    assert_eq!((prepared.producer_id, prepared.next_producer_id), (7, Some(FIRST_ID)));
    assert_eq!(world.add(FIRST, 2, 1), ErrorCode::ConcurrentTransactions);
    world.fail_over();
    assert_eq!(world.write_markers().producer, Producer { id: 7, epoch: i16::MAX });
    assert_eq!(world.end(last, 2, true), Ok(FIRST), "a repetition");
    assert_eq!(world.add(FIRST, 2, 1), ErrorCode::None);
    assert_eq!(world.end(last, 2, true), Err(ErrorCode::InvalidProducerIdMapping));
}

#[test]
fn a_completion_that_cannot_be_appended_is_appended_later() {
    let mut world = World::new();
    world.init(None).unwrap();
    world.add(FIRST, 0, 1);
    world.end(FIRST, 0, true).unwrap();
    world.append_error = Some(ErrorCode::NotEnoughReplicas);
    world.write_markers();
    world.advance(10 * world.config.retry_ms);
    assert_eq!(world.state("x").unwrap().state, TxnState::PrepareCommit);
    world.append_error = None;
    world.advance(world.config.retry_ms);
    assert_eq!(world.state("x").unwrap().state, TxnState::CompleteCommit);
}

/// Kafka 4.4 tells it that its commit succeeded.
#[test]
fn a_producer_that_an_older_client_has_fenced_has_not_committed() {
    let mut world = World::new();
    world.init(None).unwrap();
    world.add(FIRST, 2, 1);
    assert_eq!(world.init(None), Err(ErrorCode::ConcurrentTransactions));
    world.write_markers();
    let second = world.init(None).unwrap();
    let between = Producer { epoch: second.epoch - 1, ..second };
    world.add(second, 0, 2);
    world.end(second, 0, true).unwrap();
    world.write_markers();
    assert_eq!(world.end(between, 2, true), Err(ErrorCode::ProducerFenced));
}
