//! Another broker becomes the coordinator.

use base::ErrorCode;
use coordinator::txn::*;

use crate::world::*;

const FIRST: Producer = Producer { id: FIRST_ID, epoch: 0 };

#[test]
fn a_new_coordinator_writes_the_markers_of_what_is_decided() {
    for is_commit in [true, false] {
        let mut world = World::new();
        world.init(None).unwrap();
        world.add(FIRST, 0, 1);
        world.end(FIRST, 0, is_commit).unwrap();
        let before = world.markers.remove(0);
        world.fail_over();
        assert_eq!(world.end(FIRST, 0, is_commit), Err(ErrorCode::ConcurrentTransactions));
        let again = world.write_markers();
        assert_eq!(Markers { number: again.number, ..before }, again);
        assert_eq!(world.end(FIRST, 0, is_commit), Ok(FIRST));
        world.fail_over();
        assert!(world.markers.is_empty());
        assert_eq!(world.end(FIRST, 0, is_commit), Ok(FIRST));
    }
}

#[test]
fn a_decision_without_partitions_is_completed_by_the_new_coordinator() {
    let mut world = World::new();
    world.init(None).unwrap();
    world.auto_commit = false;
    let ended = world.send(end("x", FIRST, 2, false));
    world.fail_over();
    assert_eq!(world.take(ended), Some(TxnReply::End(Err(ErrorCode::NotCoordinator))));
    world.commit_all();
    assert_eq!(world.state("x").unwrap().state, TxnState::CompleteAbort);
}

#[test]
fn who_waits_is_sent_on_when_the_leadership_is_lost() {
    let mut world = World::new();
    world.init(None).unwrap();
    world.auto_commit = false;
    let added = world.send(add("x", FIRST, 0, 1));
    world.log.truncate(world.committed);
    world.fail_over();
    assert_eq!(world.take(added), Some(TxnReply::Add(ErrorCode::NotCoordinator)));
    assert_eq!(world.state("x").unwrap().state, TxnState::Empty);
}

#[test]
fn an_open_transaction_goes_on_at_the_new_coordinator() {
    let mut world = World::new();
    world.init(None).unwrap();
    world.add(FIRST, 2, 1);
    world.fail_over();
    world.add(FIRST, 2, 2);
    world.end(FIRST, 2, true).unwrap();
    assert_eq!(world.write_markers().partitions, partitions(&[1, 2]));
}
