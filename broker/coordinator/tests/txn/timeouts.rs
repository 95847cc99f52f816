//! What the coordinator does by the clock.

use base::ErrorCode;
use coordinator::txn::*;

use crate::world::*;

const FIRST: Producer = Producer { id: FIRST_ID, epoch: 0 };

#[test]
fn a_transaction_that_stays_open_is_aborted_and_its_producer_fenced() {
    for version in [0, 2] {
        let mut world = World::new();
        world.init(None).unwrap();
        world.add(FIRST, version, 1);
        world.advance(i64::from(TIMEOUT_MS));
        assert_eq!(world.state("x").unwrap().state, TxnState::Ongoing);
        world.advance(world.config.abort_check_ms + 1);
        assert_eq!(world.state("x").unwrap().state, TxnState::PrepareAbort);
        let markers = world.write_markers();
        assert_eq!((markers.is_commit, markers.producer.epoch), (false, 1));
        let error = world.end(FIRST, version, true).unwrap_err();
        let told =
            if version == 0 { ErrorCode::ProducerFenced } else { ErrorCode::InvalidTxnState };
        assert_eq!(error, told);
        assert_eq!(world.add(FIRST, version, 1), ErrorCode::ProducerFenced);
        // Nobody else has started: it may go on.
        assert_eq!(world.init(Some(FIRST)).map(|producer| producer.epoch), Ok(1));
    }
}

#[test]
fn the_abort_is_tried_again_until_it_is_appended() {
    let mut world = World::new();
    world.init(None).unwrap();
    world.add(FIRST, 0, 1);
    world.append_error = Some(ErrorCode::NotEnoughReplicas);
    world.advance(i64::from(TIMEOUT_MS) * 2);
    assert_eq!(world.state("x").unwrap().state, TxnState::Ongoing);
    world.append_error = None;
    world.advance(world.config.abort_check_ms);
    assert_eq!(world.state("x").unwrap().state, TxnState::PrepareAbort);
}

#[test]
fn the_abort_of_the_last_epoch_waits_for_a_producer_id() {
    let last = Producer { id: 7, epoch: i16::MAX - 1 };
    let mut world = World::with_log(vec![("x", committed(last))]);
    world.add(last, 2, 1);
    world.advance(i64::from(TIMEOUT_MS) + world.config.abort_check_ms + 1);
    assert_eq!(world.state("x").unwrap().state, TxnState::Ongoing);
    world.bring_producer_id();
    assert_eq!(world.write_markers().producer, Producer { id: 7, epoch: i16::MAX });
    assert_eq!(world.state("x").unwrap().producer_id, FIRST_ID);
    // Told twice, it does nothing the second time.
    world.add(FIRST, 2, 1);
    world.ask(TxnRequest::Abort { id: "x".into(), producer: last, new_producer_id: 9 });
    assert_eq!(world.state("x").unwrap().state, TxnState::Ongoing);
}

#[test]
fn an_id_that_is_not_used_is_forgotten() {
    let mut world = World::new();
    world.init(None).unwrap();
    world.advance(world.config.id_expiration_ms - 1);
    assert!(world.state("x").is_some());
    world.advance(world.config.expiry_check_ms + 1);
    assert_eq!(world.state("x"), None);
    assert!(world.log.last().is_some_and(|(_, record)| record.value.is_none()), "a tombstone");
    assert_eq!(world.replayed().transactions().count(), 0);
    assert_eq!(world.add(FIRST, 0, 1), ErrorCode::InvalidProducerIdMapping);
    assert_ne!(world.init(None).unwrap().id, FIRST_ID);
}
