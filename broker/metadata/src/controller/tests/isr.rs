//! Tests of the compare-and-set of ISRs.

use super::*;
use crate::record::LeaderRecoveryState;

#[test]
fn a_shrink_and_an_expansion_are_accepted() {
    let mut world = World::new(3);
    world.topic("t", &[1, 2, 3], &[]);
    let request = world.proposal("t", &[1, 2]);
    let after = world.alter_isr(request).unwrap();
    assert_eq!((after.isr, after.partition_epoch, after.leader_epoch), (ids(&[1, 2]), 1, 0));
    world.set_isr("t", &[1, 2, 3]);
    assert_eq!(world.state("t"), (1, vec![1, 2, 3], vec![]));
    // Proposing what is already so is no change.
    let epoch = world.partition("t").partition_epoch;
    world.set_isr("t", &[1, 2, 3]);
    assert_eq!(world.partition("t").partition_epoch, epoch);
}

/// A proposal that a test may spoil, and the error it must lead to.
fn check(spoil: impl FnOnce(&mut World, &mut AlterIsrRequest), expected: ErrorCode) {
    let mut world = World::new(4);
    world.topic("t", &[1, 2, 3], &[]);
    world.set_isr("t", &[1, 2]);
    world.kill(&[4]);
    let mut request = world.proposal("t", &[1, 2, 3]);
    spoil(&mut world, &mut request);
    let before = world.image.clone();
    let copy = request.clone();
    assert_eq!(world.alter_isr(request), Err(expected));
    if expected != ErrorCode::IneligibleReplica {
        return assert_eq!(world.image, before);
    }
    // Refused for good: no copy of it can be accepted later, whatever becomes of the member.
    let state = |image: &Image| image.partition("t", 0).unwrap().clone();
    let (old, new) = (state(&before), state(&world.image));
    assert_eq!((&new.isr, new.leader_epoch), (&old.isr, old.leader_epoch));
    assert_eq!(new.partition_epoch, old.partition_epoch + 1);
    assert_eq!(world.alter_isr(copy), Err(ErrorCode::InvalidUpdateVersion));
}

#[test]
fn whatever_does_not_match_is_refused() {
    check(|_, r| r.broker_epoch -= 1, ErrorCode::StaleBrokerEpoch);
    check(|_, r| r.broker_id = b(9), ErrorCode::BrokerIdNotRegistered);
    check(|_, r| r.partitions[0].topic_id = TopicId([9; 16]), ErrorCode::UnknownTopicId);
    check(|_, r| r.partitions[0].partition = 1, ErrorCode::UnknownTopicOrPartition);
    check(|_, r| r.partitions[0].partition = -1, ErrorCode::UnknownTopicOrPartition);
    check(|_, r| r.partitions[0].leader_epoch -= 1, ErrorCode::FencedLeaderEpoch);
    check(|_, r| r.partitions[0].leader_epoch += 1, ErrorCode::NotController);
    check(|_, r| r.partitions[0].partition_epoch -= 1, ErrorCode::InvalidUpdateVersion);
    check(|_, r| r.partitions[0].partition_epoch += 1, ErrorCode::NotController);
    check(|_, r| r.partitions[0].isr.clear(), ErrorCode::InvalidRequest);
    check(|_, r| r.partitions[0].isr.retain(|m| m.broker_id != b(1)), ErrorCode::InvalidRequest);
    check(|_, r| r.partitions[0].isr[2] = r.partitions[0].isr[1], ErrorCode::InvalidRequest);
    check(|_, r| r.partitions[0].isr[2].broker_id = b(4), ErrorCode::InvalidRequest);
    let not_leader = |world: &mut World, r: &mut AlterIsrRequest| {
        r.broker_id = b(2);
        r.broker_epoch = world.epoch(2);
    };
    check(not_leader, ErrorCode::InvalidRequest);
    let recovering = LeaderRecoveryState::Recovering;
    check(|_, r| r.partitions[0].leader_recovery_state = recovering, ErrorCode::InvalidRequest);
}

#[test]
fn a_new_member_must_be_active_in_the_incarnation_that_caught_up() {
    check(|world, _| world.kill(&[3]), ErrorCode::IneligibleReplica);
    check(
        |world, _| {
            world.kill(&[3]);
            world.start(3);
        },
        ErrorCode::IneligibleReplica,
    );
    check(
        |world, _| {
            let request = UnregisterBrokerRequest { broker_id: b(3) };
            world.ask(ControllerRequest::UnregisterBroker(request));
        },
        ErrorCode::IneligibleReplica,
    );
    // A leader that does not know the epoch leaves the check to the controller's own state.
    let mut world = World::new(2);
    world.topic("t", &[1, 2], &[]);
    world.set_isr("t", &[1]);
    let mut request = world.proposal("t", &[1, 2]);
    request.partitions[0].isr[1].broker_epoch = -1;
    assert!(world.alter_isr(request).is_ok());
}

#[test]
fn a_fenced_leader_cannot_change_the_isr() {
    let mut world = World::new(3);
    world.topic("t", &[1, 2, 3], &[]);
    let request = world.proposal("t", &[1]);
    world.kill(&[1]);
    assert_eq!(world.alter_isr(request), Err(ErrorCode::FencedLeaderEpoch));
    assert_eq!(world.state("t"), (2, vec![2, 3], vec![]));
}

#[test]
fn whoever_leaves_an_isr_below_its_minimum_stays_eligible() {
    let mut world = World::new(3);
    world.topic("t", &[1, 2, 3], &[("min.insync.replicas", "2")]);
    world.set_isr("t", &[1, 2]);
    assert_eq!(world.state("t"), (1, vec![1, 2], vec![]));
    world.set_isr("t", &[1]);
    assert_eq!(world.state("t"), (1, vec![1], vec![2]));
    world.kill(&[1]);
    assert_eq!(world.state("t"), (2, vec![2], vec![1]));
    world.set_isr("t", &[2, 3]);
    assert_eq!(world.state("t"), (2, vec![2, 3], vec![]));
}

#[test]
fn a_lower_minimum_ends_eligibility() {
    let mut world = World::new(3);
    world.topic("t", &[1, 2, 3], &[("min.insync.replicas", "3")]);
    world.set_isr("t", &[1, 2]);
    assert_eq!(world.state("t"), (1, vec![1, 2], vec![3]));
    world.set_config(ConfigResource::Topic("t".into()), "min.insync.replicas", "2");
    assert_eq!(world.state("t"), (1, vec![1, 2], vec![]));
    // The cluster-wide default counts for topics without their own.
    world.topic("u", &[1, 2, 3], &[]);
    world.set_config(ConfigResource::BrokerDefault, "min.insync.replicas", "3");
    world.set_isr("u", &[1, 2]);
    assert_eq!(world.state("u"), (1, vec![1, 2], vec![3]));
    world.set_config(ConfigResource::BrokerDefault, "min.insync.replicas", "1");
    assert_eq!(world.state("u"), (1, vec![1, 2], vec![]));
}

#[test]
fn what_was_decided_on_an_older_image_is_never_applied() {
    let mut world = World::new(3);
    world.topic("t", &[1, 2, 3], &[]);
    let stale = world.image.clone();
    let allocation = AllocateProducerIdsRequest { broker_id: b(1), broker_epoch: world.epoch(1) };
    let requests = [
        ControllerRequest::AlterIsr(world.proposal("t", &[1, 2])),
        ControllerRequest::AllocateProducerIds(allocation),
        ControllerRequest::RegisterBroker(world.registration(4)),
    ];
    for request in requests {
        let mut decide = |image: &Image| {
            let (now, caller) = (world.now, Caller::default());
            let controller = &mut world.controller;
            controller.handle(image, now, caller, &mut world.entropy, request.clone()).records
        };
        // The same request is decided twice on one image, the second time after a lost answer.
        let (first, second) = (decide(&stale), decide(&stale));
        let mut image = stale.clone();
        image.apply(100, &first).unwrap();
        let before = image.clone();
        assert!(image.apply(101, &second).is_err(), "{request:?}");
        assert_eq!(image, before, "an entry applies as a whole or not at all");
    }
}

/// The files of two brokers differ. Whatever leads, its minimum is the one by which the controller
/// judges, and a lower one ends eligibility as it ends the standstill.
#[test]
fn everybody_goes_by_the_minimum_in_the_active_controllers_file() {
    let file = |min_isr: &str| ControllerSettings {
        static_config: Arc::new(BTreeMap::from([(
            "min.insync.replicas".to_owned(),
            min_isr.to_owned(),
        )])),
        ..ControllerSettings::default()
    };
    let mut world = World::with_settings(file("2"));
    (1..=3).for_each(|id| world.start(id));
    world.topic("t", &[1, 2, 3], &[]);
    let leaders = |world: &World| {
        let (own_file, own) = (Default::default(), Some(b(3)));
        let layers = ConfigLayers::of_topic(&world.image, "t", own, &own_file);
        config::TopicSettings::resolve(&layers).min_insync_replicas
    };
    assert_eq!(leaders(&world), 2, "broker 3 has nothing in its file");
    world.set_isr("t", &[1]);
    assert_eq!(world.state("t"), (1, vec![1], vec![2, 3]));
    let (controller, records) = Controller::activate(file("1"), b(2), 2, &world.image, world.now);
    world.controller = controller;
    let before = world.image.clone();
    world.commit(&records);
    assert_eq!((leaders(&world), world.state("t")), (1, (1, vec![1], vec![])));
    let changes = crate::changes_between(&before, &world.image);
    assert!(changes.configs.contains(&ConfigResource::BrokerDefault), "brokers take it up");
    assert_eq!(Image::decode(&world.image.encode()).unwrap(), world.image);
}
