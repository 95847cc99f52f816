//! InitProducerId and the partitions of a transaction: epochs, fencing, and their limits.

use base::ErrorCode;
use coordinator::txn::*;

use crate::world::*;

const FIRST: Producer = Producer { id: FIRST_ID, epoch: 0 };

fn next(producer: Producer) -> Producer {
    Producer { epoch: producer.epoch + 1, ..producer }
}

#[test]
fn each_start_gets_a_higher_epoch_and_fences_the_one_before() {
    let mut world = World::new();
    assert_eq!(world.init(None), Ok(FIRST));
    let second = world.init(None).unwrap();
    assert_eq!(second, next(FIRST));
    assert_eq!(world.add(FIRST, 0, 1), ErrorCode::ProducerFenced);
    assert_eq!(world.add(second, 0, 1), ErrorCode::None);
    let stranger = Producer { id: 5, ..second };
    assert_eq!(world.add(stranger, 0, 1), ErrorCode::InvalidProducerIdMapping);
    assert_eq!(world.end(FIRST, 0, true), Err(ErrorCode::ProducerFenced));
    assert_eq!(world.end(stranger, 0, true), Err(ErrorCode::InvalidProducerIdMapping));
}

#[test]
fn a_start_aborts_what_the_producer_before_left_open() {
    for version in [0, 2] {
        let mut world = World::new();
        world.init(None).unwrap();
        world.add(FIRST, version, 1);
        assert_eq!(world.init(None), Err(ErrorCode::ConcurrentTransactions));
        assert_eq!(world.init(None), Err(ErrorCode::ConcurrentTransactions), "markers are missing");
        let markers = world.write_markers();
        assert_eq!((markers.is_commit, markers.producer), (false, next(FIRST)));
        assert_eq!(markers.partitions, partitions(&[1]));
        assert_eq!(world.init(None), Ok(next(next(FIRST))));
        assert_eq!(world.add(FIRST, version, 1), ErrorCode::ProducerFenced);
    }
}

#[test]
fn a_producer_that_goes_on_says_who_it_is() {
    let mut world = World::new();
    world.init(None).unwrap();
    let second = world.init(Some(FIRST)).unwrap();
    assert_eq!(second, next(FIRST));
    assert_eq!(world.init(Some(FIRST)), Ok(second), "a repetition gets the same again");
    let third = world.init(None).unwrap();
    assert_eq!(world.init(Some(second)), Err(ErrorCode::ProducerFenced), "another has started");
    let stranger = Producer { id: 5, ..third };
    assert_eq!(world.init(Some(stranger)), Err(ErrorCode::ProducerFenced));
    assert_eq!(world.init(Some(third)), Ok(next(third)));
    // A producer whose transactional id has expired goes on with a new id.
    let mut world = World::new();
    assert_eq!(world.init(Some(stranger)), Ok(FIRST));
}

#[test]
fn used_up_epochs_lead_to_a_new_producer_id() {
    let last = Producer { id: 7, epoch: i16::MAX - 1 };
    let mut world = World::with_log(vec![("x", committed(last))]);
    assert_eq!(world.init(Some(last)), Ok(FIRST));
    assert_eq!(world.init(Some(last)), Ok(FIRST), "a repetition gets the same again");
    assert_eq!(world.init(None), Ok(next(FIRST)));
    assert_eq!(world.init(Some(last)), Err(ErrorCode::ProducerFenced));

    let mut world = World::with_log(vec![("x", committed(last))]);
    let older = Producer { epoch: 3, ..last };
    assert_eq!(world.init(Some(older)), Err(ErrorCode::ProducerFenced));
    assert_eq!(world.init(None), Ok(FIRST));
}

#[test]
fn a_timeout_is_bounded() {
    let mut world = World::new();
    for (timeout_ms, error) in [
        (0, Some(ErrorCode::InvalidTransactionTimeout)),
        (900_001, Some(ErrorCode::InvalidTransactionTimeout)),
        (900_000, None),
    ] {
        let TxnRequest::Init(request) = init("x", None) else { unreachable!() };
        let reply = world.ask(TxnRequest::Init(InitProducer { timeout_ms, ..request }));
        let TxnReply::Init(result) = reply else { panic!("{reply:?}") };
        assert_eq!(result.err(), error, "{timeout_ms}");
    }
}

#[test]
fn partitions_are_verified_against_what_was_added() {
    let mut world = World::new();
    world.init(None).unwrap();
    let unknown = TxnReply::Verify(Err(ErrorCode::InvalidProducerIdMapping));
    assert_eq!(world.ask(verify(Producer { id: 5, epoch: 0 }, &[1])), unknown);
    world.add(FIRST, 0, 1);
    let verified =
        |one, two| TxnReply::Verify(Ok(vec![("t".into(), 1, one), ("t".into(), 2, two)]));
    let both = verified(ErrorCode::None, ErrorCode::TransactionAbortable);
    assert_eq!(world.ask(verify(FIRST, &[1, 2])), both);
    let fenced = TxnReply::Verify(Err(ErrorCode::ProducerFenced));
    assert_eq!(world.ask(verify(next(FIRST), &[1])), fenced);
    world.end(FIRST, 0, true).unwrap();
    let ending = TxnReply::Verify(Err(ErrorCode::ConcurrentTransactions));
    assert_eq!(world.ask(verify(FIRST, &[1])), ending);
    world.write_markers();
    let none = verified(ErrorCode::TransactionAbortable, ErrorCode::TransactionAbortable);
    assert_eq!(world.ask(verify(FIRST, &[1, 2])), none);
}

#[test]
fn partitions_gather_until_the_end() {
    let mut world = World::new();
    world.init(None).unwrap();
    world.now_ms += 5;
    world.add(FIRST, 0, 1);
    world.now_ms += 5;
    assert_eq!(world.add(FIRST, 0, 2), ErrorCode::None);
    let written = world.log.len();
    assert_eq!(world.add(FIRST, 0, 1), ErrorCode::None);
    assert_eq!(world.log.len(), written, "what is added is not written again");
    let value = world.state("x").unwrap();
    assert_eq!((value.state, &value.partitions), (TxnState::Ongoing, &partitions(&[1, 2])));
    assert_eq!(value.started_ms, Some(WALL_MS + 1_005));
    assert_eq!(value.updated_ms, WALL_MS + 1_010);
}

#[test]
fn nothing_is_answered_before_its_record_is_committed() {
    let mut world = World::new();
    world.auto_commit = false;
    let first = world.send(init("x", None));
    let meanwhile = TxnReply::Init(Err(ErrorCode::ConcurrentTransactions));
    assert_eq!(world.ask(init("x", None)), meanwhile);
    assert_eq!((world.take(first), world.state("x")), (None, None));
    world.commit_all();
    assert_eq!(world.take(first), Some(TxnReply::Init(Ok(FIRST))));

    let added = world.send(add("x", FIRST, 0, 1));
    assert_eq!(world.add(FIRST, 0, 1), ErrorCode::ConcurrentTransactions);
    assert_eq!(world.end(FIRST, 0, true), Err(ErrorCode::ConcurrentTransactions));
    world.advance(world.config.append_timeout_ms);
    let late = TxnReply::Add(ErrorCode::CoordinatorNotAvailable);
    assert_eq!(world.take(added), Some(late), "it may be committed yet");
    assert_eq!(world.add(FIRST, 0, 1), ErrorCode::ConcurrentTransactions);
    world.commit_all();
    assert_eq!(world.add(FIRST, 0, 1), ErrorCode::None);
}

#[test]
fn a_record_that_is_not_appended_changes_nothing() {
    let mut world = World::new();
    world.append_error = Some(ErrorCode::NotEnoughReplicas);
    assert_eq!(world.init(None), Err(ErrorCode::CoordinatorNotAvailable));
    assert_eq!(world.shard.transactions().count(), 0);
    world.append_error = None;
    let producer = world.init(None).unwrap();
    world.append_error = Some(ErrorCode::NotLeaderOrFollower);
    assert_eq!(world.add(producer, 0, 1), ErrorCode::NotCoordinator);
    world.append_error = None;
    assert_eq!(world.end(producer, 0, true), Err(ErrorCode::InvalidTxnState));
}

#[test]
fn what_is_known_can_be_listed_and_described() {
    let mut world = World::new();
    let unknown = TxnReply::Describe(Err(ErrorCode::TransactionalIdNotFound));
    assert_eq!(world.ask(TxnRequest::Describe("x".into())), unknown);
    world.init(None).unwrap();
    world.add(FIRST, 0, 1);
    world.ask(init("y", None));
    let TxnReply::Describe(Ok(described)) = world.ask(TxnRequest::Describe("x".into())) else {
        panic!("described")
    };
    assert_eq!((described.producer, described.state), (FIRST, TxnState::Ongoing));
    assert_eq!(described.partitions, partitions(&[1]));
    let mut list = |filter: TxnFilter| match world.ask(TxnRequest::List(filter)) {
        TxnReply::List(Ok(listed)) => listed.iter().map(|t| t.id.to_string()).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(list(TxnFilter::default()), ["x", "y"]);
    let states = vec![TxnState::Ongoing];
    assert_eq!(list(TxnFilter { states, ..TxnFilter::default() }), ["x"]);
    let producer_ids = [FIRST_ID + 1].into();
    assert_eq!(list(TxnFilter { producer_ids, ..TxnFilter::default() }), ["y"]);
    let longer_than_ms = Some(10);
    assert_eq!(list(TxnFilter { longer_than_ms, ..TxnFilter::default() }), ["y"]);
}
