//! Tests of registration, fencing, controlled shutdown and what each does to partitions.

use super::*;

#[test]
fn a_broker_starts_fenced_and_is_unfenced_when_it_has_caught_up() {
    let mut world = World::new(0);
    let request = world.registration(1);
    let epoch = world.register(request.clone()).unwrap();
    assert!(world.image.broker(b(1)).unwrap().fenced);
    let mut behind = world.heartbeat_of(1);
    behind.image_offset -= 1;
    let response = world.heartbeat(behind).unwrap();
    assert_eq!((response.caught_up, response.fenced), (false, true));
    let mut unready = world.heartbeat_of(1);
    unready.want_fence = true;
    assert!(world.heartbeat(unready.clone()).unwrap().fenced);
    assert!(!world.beat(1).fenced);
    // A retry of the registration changes nothing.
    let before = world.image.clone();
    assert_eq!(world.register(request.clone()), Ok(epoch));
    assert_eq!(world.image, before);
    // The same process may change its endpoints and stays what it is.
    let moved = RegisterBrokerRequest { rack: Some("b".into()), ..request };
    assert_eq!(world.register(moved), Ok(epoch));
    let broker = world.image.broker(b(1)).unwrap();
    assert!(!broker.fenced && broker.rack.as_deref() == Some("b"));
    // A broker may ask to be fenced again.
    assert!(world.heartbeat(unready).unwrap().fenced);
}

#[test]
fn the_controllers_own_broker_registers_at_once_after_a_restart() {
    let mut world = World::new(1);
    let old_epoch = world.epoch(1);
    let restarted = world.registration(1);
    let request = ControllerRequest::RegisterBroker(restarted);
    match world.ask_over(None, request) {
        ControllerResponse::RegisterBroker(response) => assert!(response.broker_epoch > old_epoch),
        other => panic!("{other:?}"),
    }
}

#[test]
fn foreign_and_duplicate_registrations_are_refused() {
    let mut world = World::new(1);
    let foreign = RegisterBrokerRequest { cluster_id: "other".into(), ..world.registration(2) };
    assert_eq!(world.register(foreign), Err(ErrorCode::InconsistentClusterId));
    let second = world.registration(1);
    assert_eq!(world.register(second.clone()), Err(ErrorCode::DuplicateBrokerRegistration));
    let old_epoch = world.epoch(1);
    world.kill(&[1]);
    let epoch = world.register(second).unwrap();
    assert!(epoch > old_epoch);
    let stale = HeartbeatRequest { broker_epoch: old_epoch, ..world.heartbeat_of(1) };
    assert_eq!(world.heartbeat(stale), Err(ErrorCode::StaleBrokerEpoch));
    let unknown = HeartbeatRequest { broker_id: b(9), ..world.heartbeat_of(1) };
    assert_eq!(world.heartbeat(unknown), Err(ErrorCode::BrokerIdNotRegistered));
}

#[test]
fn a_replacement_may_register_before_its_predecessor_is_fenced() {
    let mut world = World::new(2);
    world.topic("t", &[1, 2], &[]);
    world.controller.session_closed(1, world.now);
    world.controller.process_ended(1, world.now);
    let request = world.registration(1);
    world.register(request).unwrap();
    assert_eq!(world.state("t"), (2, vec![2], vec![]));
    assert!(world.image.broker(b(1)).unwrap().fenced);
}

#[test]
fn fencing_moves_leaderships_to_in_sync_brokers() {
    let mut world = World::new(3);
    world.topic("all", &[1, 2, 3], &[]);
    world.topic("lag", &[1, 2, 3], &[]);
    world.set_isr("lag", &[1, 3]);
    world.topic("other", &[2, 3], &[]);
    let other = world.partition("other").clone();
    world.kill(&[1]);
    assert_eq!(world.state("all"), (2, vec![2, 3], vec![]));
    assert_eq!(world.state("lag"), (3, vec![3], vec![]));
    assert_eq!(*world.partition("other"), other);
}

#[test]
fn an_isr_shrink_without_a_new_leader_keeps_the_leader_epoch() {
    let mut world = World::new(3);
    world.topic("t", &[1, 2, 3], &[]);
    let before = world.partition("t").clone();
    world.kill(&[3]);
    let after = world.partition("t");
    assert_eq!(after.leader_epoch, before.leader_epoch);
    assert_eq!(after.partition_epoch, before.partition_epoch + 1);
}

#[test]
fn silence_fences_too() {
    let mut world = World::new(2);
    world.pass(950, &[1]);
    assert!(!world.image.broker(b(2)).unwrap().fenced);
    world.pass(50, &[1]);
    assert!(world.image.broker(b(2)).unwrap().fenced);
}

#[test]
fn brokers_that_die_together_are_fenced_in_one_batch_and_equally_eligible() {
    let mut world = World::new(5);
    world.topic("t", &[1, 2, 3], &[]);
    let offset = world.image.offset();
    [1, 2].iter().for_each(|id| {
        world.beat(*id);
        world.controller.session_closed(*id as u64, world.now);
        world.controller.process_ended(*id as u64, world.now);
    });
    world.pass(100, &[3, 4, 5]);
    assert_eq!(world.image.offset(), offset + 1);
    assert_eq!(world.state("t"), (3, vec![3], vec![]));
    world.kill(&[3]);
    assert_eq!(world.state("t"), (0, vec![], vec![3]));

    let mut world = World::new(5);
    world.topic("t", &[1, 2], &[]);
    world.kill(&[1, 2]);
    assert_eq!(world.state("t"), (0, vec![], vec![1, 2]));
    assert_eq!(world.partition("t").last_known_elr, ids(&[1]));
}

#[test]
fn a_fenced_last_leader_leads_again_when_it_returns() {
    let mut world = World::new(2);
    world.topic("t", &[1, 2], &[("min.insync.replicas", "2")]);
    world.kill(&[2]);
    assert_eq!(world.state("t"), (1, vec![1], vec![2]));
    world.kill(&[1]);
    assert_eq!(world.state("t"), (0, vec![], vec![2, 1]));
    // The same process: it was only unreachable.
    assert!(!world.beat(1).fenced);
    assert_eq!(world.state("t"), (1, vec![1], vec![2]));
    assert_eq!(world.partition("t").leader_recovery_state.code(), 0);
    // Broker 2 missed nothing that is committed, so it may lead when 1 is gone.
    assert!(!world.beat(2).fenced);
    world.kill(&[1]);
    assert_eq!(world.state("t"), (2, vec![2], vec![1]));
}

#[test]
fn an_out_of_sync_replica_does_not_lead() {
    let mut world = World::new(2);
    world.topic("t", &[1, 2], &[]);
    world.kill(&[2]);
    assert!(!world.beat(2).fenced);
    world.kill(&[1]);
    assert_eq!(world.state("t"), (0, vec![], vec![1]));
    world.pass(2000, &[2]);
    assert_eq!(world.state("t"), (0, vec![], vec![1]));
}

#[test]
fn an_unclean_restart_makes_ineligible_and_a_clean_one_does_not() {
    let mut world = World::new(2);
    world.topic("t", &[1, 2], &[("min.insync.replicas", "2")]);
    world.kill(&[1, 2]);
    assert_eq!(world.state("t"), (0, vec![], vec![1, 2]));
    world.start(2);
    assert_eq!(world.state("t"), (0, vec![], vec![1]));
    let clean_shutdown_epoch = Some(world.epoch(1));
    let clean = RegisterBrokerRequest { clean_shutdown_epoch, ..world.registration(1) };
    world.register(clean).unwrap();
    assert_eq!(world.state("t"), (0, vec![], vec![1]));
    world.beat(1);
    assert_eq!(world.state("t"), (1, vec![1], vec![]));
}

#[test]
fn after_all_replicas_restarted_uncleanly_the_last_leader_recovers() {
    let mut world = World::new(3);
    world.topic("t", &[1, 2, 3], &[]);
    world.kill(&[1]);
    world.kill(&[2]);
    world.kill(&[3]);
    world.start(1);
    world.start(2);
    assert_eq!(world.state("t"), (0, vec![], vec![3]));
    world.start(3);
    assert_eq!(world.state("t"), (3, vec![3], vec![]));
    assert_eq!(world.partition("t").leader_recovery_state.code(), 1);
    // Its first ISR change ends the recovery.
    world.set_isr("t", &[3]);
    assert_eq!(world.partition("t").leader_recovery_state.code(), 0);
}

#[test]
fn a_last_leader_with_a_new_disk_does_not_lead_over_what_others_have() {
    let mut world = World::new(2);
    world.topic("two", &[1, 2], &[]);
    world.topic("one", &[1], &[]);
    world.kill(&[2]);
    world.kill(&[1]);
    world.beat(2);
    let log_dirs = vec![TopicId([77; 16])];
    let wiped = RegisterBrokerRequest { log_dirs, ..world.registration(1) };
    world.register(wiped).unwrap();
    world.beat(1);
    assert_eq!(world.state("two").0, 0, "its data may be on broker 2");
    assert_eq!(world.state("one").0, 1, "nobody else can have its data");
}

#[test]
fn a_wiped_follower_returns_to_the_isr() {
    let mut world = World::new(3);
    world.topic("t", &[1, 2, 3], &[]);
    world.kill(&[3]);
    let log_dirs = vec![TopicId([77; 16])];
    let wiped = RegisterBrokerRequest { log_dirs, ..world.registration(3) };
    world.register(wiped).unwrap();
    world.beat(3);
    world.set_isr("t", &[1, 2, 3]);
    assert_eq!(world.state("t"), (1, vec![1, 2, 3], vec![]));
}

#[test]
fn controlled_shutdown_moves_everything_and_waits_until_all_know() {
    let mut world = World::new(3);
    world.topic("t", &[1, 2, 3], &[]);
    world.topic("alone", &[1], &[]);
    (2..=3).for_each(|id| {
        world.beat(id);
    });
    let shutdown =
        |world: &World| HeartbeatRequest { want_shutdown: true, ..world.heartbeat_of(1) };
    let request = shutdown(&world);
    assert!(!world.heartbeat(request).unwrap().should_shut_down);
    assert_eq!(world.state("t"), (2, vec![2, 3], vec![]));
    assert_eq!(world.state("alone"), (0, vec![], vec![1]));
    let request = shutdown(&world);
    assert!(!world.heartbeat(request).unwrap().should_shut_down, "2 and 3 do not know yet");
    (2..=3).for_each(|id| {
        world.beat(id);
    });
    let request = shutdown(&world);
    assert!(world.heartbeat(request.clone()).unwrap().should_shut_down);
    // While it shuts down it is placed nowhere and joins no ISR.
    let p = world.proposal("t", &[1, 2, 3]);
    assert_eq!(world.alter_isr(p), Err(ErrorCode::IneligibleReplica));
    world.kill(&[1]);
    assert!(world.heartbeat(request).unwrap().should_shut_down, "nothing to wait for if fenced");
    assert!(world.image.broker(b(1)).unwrap().fenced);
    // It comes back cleanly and leads what only it has.
    world.controller.session_closed(1, world.now);
    world.controller.process_ended(1, world.now);
    let clean_shutdown_epoch = Some(world.epoch(1));
    let clean = RegisterBrokerRequest { clean_shutdown_epoch, ..world.registration(1) };
    world.register(clean).unwrap();
    world.beat(1);
    assert_eq!(world.state("alone"), (1, vec![1], vec![]));
}

#[test]
fn unregistration_removes_the_broker_but_not_from_replicas() {
    let mut world = World::new(2);
    world.topic("t", &[1, 2], &[]);
    let request = UnregisterBrokerRequest { broker_id: b(1) };
    let unregister = ControllerRequest::UnregisterBroker(request);
    assert_eq!(world.ask(unregister.clone()), ControllerResponse::UnregisterBroker);
    assert!(world.image.broker(b(1)).is_none());
    assert_eq!(world.state("t"), (2, vec![2], vec![]));
    assert_eq!(world.partition("t").replicas, ids(&[1, 2]));
    let ControllerResponse::Error(error) = world.ask(unregister) else { panic!() };
    assert_eq!(error.code, ErrorCode::BrokerIdNotRegistered);
    world.start(1);
}

#[test]
fn a_new_controller_fences_the_broker_that_was_the_controller_quickly() {
    let mut world = World::new(3);
    world.topic("t", &[1, 2, 3], &[]);
    let settings = ControllerSettings::default();
    let (controller, records) = Controller::activate(settings, b(2), 2, &world.image, world.now);
    world.controller = controller;
    world.commit(&records);
    assert_eq!(world.image.controller(), Some(b(2)));
    assert_eq!(world.image.controller_epoch(), 2);
    world.pass(100, &[2, 3]);
    assert_eq!(world.state("t").0, 1);
    world.pass(50, &[2, 3]);
    assert_eq!(world.state("t"), (2, vec![2, 3], vec![]));
}

#[test]
fn producer_id_blocks_do_not_overlap() {
    let mut world = World::new(2);
    let mut allocate = |id: i32| {
        let (broker_id, broker_epoch) = (b(id), world.epoch(id));
        let request = AllocateProducerIdsRequest { broker_id, broker_epoch };
        world.ask(ControllerRequest::AllocateProducerIds(request))
    };
    for (id, first) in [(1, 0), (2, 1000), (1, 2000)] {
        let block = ProducerIdBlock { first, len: 1000 };
        assert_eq!(allocate(id), ControllerResponse::AllocateProducerIds(block));
    }
}
