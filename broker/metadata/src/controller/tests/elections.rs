//! Tests of elections on request and of rebalancing.

use super::*;

fn elect(
    world: &mut World,
    election: ElectionType,
    topic: Option<(&str, i32)>,
) -> Vec<(String, ErrorCode)> {
    let partitions = topic
        .map(|(name, index)| vec![TopicPartitions { topic: name.into(), partitions: vec![index] }]);
    let request = ElectLeadersRequest { election, partitions };
    let response = world.ask(ControllerRequest::ElectLeaders(request));
    let ControllerResponse::ElectLeaders(results) = response else { panic!() };
    let code = |r: &PartitionResult| r.result.as_ref().map_or_else(|e| e.code, |_| ErrorCode::None);
    results.iter().map(|r| (r.topic.to_string(), code(r))).collect()
}

fn one(world: &mut World, election: ElectionType, topic: &str) -> ErrorCode {
    elect(world, election, Some((topic, 0))).remove(0).1
}

/// Broker 1 lost its leadership and is in sync again.
fn after_return(settings: ControllerSettings) -> World {
    let mut world = World::with_settings(settings);
    (1..=3).for_each(|id| world.start(id));
    world.topic("t", &[1, 2, 3], &[]);
    world.kill(&[1]);
    world.start(1);
    world
}

#[test]
fn the_preferred_replica_is_elected_when_it_is_in_sync() {
    let mut world = after_return(ControllerSettings::default());
    let preferred = ElectionType::Preferred;
    assert_eq!(one(&mut world, preferred, "t"), ErrorCode::PreferredLeaderNotAvailable);
    world.set_isr("t", &[2, 3, 1]);
    assert_eq!(one(&mut world, preferred, "t"), ErrorCode::None);
    assert_eq!(world.state("t").0, 1);
    assert_eq!(one(&mut world, preferred, "t"), ErrorCode::ElectionNotNeeded);
    assert_eq!(one(&mut world, preferred, "x"), ErrorCode::UnknownTopicOrPartition);
    let none = elect(&mut world, preferred, Some(("t", 7))).remove(0).1;
    assert_eq!(none, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(elect(&mut world, preferred, None), []);
}

#[test]
fn all_partitions_means_those_that_need_it() {
    let mut world = after_return(ControllerSettings::default());
    world.topic("fine", &[2], &[]);
    world.set_isr("t", &[2, 3, 1]);
    let expected = [("t".to_owned(), ErrorCode::None)];
    assert_eq!(elect(&mut world, ElectionType::Preferred, None), expected);
    assert_eq!(elect(&mut world, ElectionType::Unclean, None), []);
}

#[test]
fn an_unclean_election_takes_any_replica_and_only_on_demand() {
    let mut world = World::new(3);
    world.topic("t", &[1, 2, 3], &[]);
    assert_eq!(one(&mut world, ElectionType::Unclean, "t"), ErrorCode::ElectionNotNeeded);
    world.set_isr("t", &[1]);
    world.kill(&[1]);
    assert_eq!(world.state("t"), (0, vec![], vec![1]));
    assert_eq!(one(&mut world, ElectionType::Unclean, "t"), ErrorCode::None);
    assert_eq!(world.state("t"), (2, vec![2], vec![]));
    assert_eq!(world.partition("t").leader_recovery_state.code(), 1);
    world.kill(&[2, 3]);
    let none = ErrorCode::EligibleLeadersNotAvailable;
    assert_eq!(one(&mut world, ElectionType::Unclean, "t"), none);
}

#[test]
fn a_topic_may_allow_unclean_elections() {
    let mut world = World::new(2);
    world.topic("t", &[1, 2], &[("unclean.leader.election.enable", "true")]);
    world.topic("later", &[1, 2], &[]);
    world.set_isr("t", &[1]);
    world.set_isr("later", &[1]);
    world.kill(&[1]);
    assert_eq!(world.state("t"), (2, vec![2], vec![]));
    assert_eq!(world.state("later").0, 0);
    let resource = ConfigResource::Topic("later".into());
    world.set_config(resource, "unclean.leader.election.enable", "true");
    assert_eq!(world.state("later").0, 2);
    // A replica that returns leads too, if nobody else does.
    world.set_isr("t", &[2]);
    world.kill(&[2]);
    assert_eq!(world.state("t").0, 0);
    world.beat(1);
    assert_eq!(world.state("t"), (1, vec![1], vec![]));
}

#[test]
fn leadership_returns_by_itself() {
    let mut world = after_return(ControllerSettings::default());
    world.set_isr("t", &[2, 3, 1]);
    world.pass(1000, &[1, 2, 3]);
    assert_eq!(world.state("t").0, 2);
    world.pass(300_000, &[1, 2, 3]);
    assert_eq!(world.state("t").0, 1);
}

#[test]
fn a_small_imbalance_or_a_disabled_rebalance_changes_nothing() {
    let off = ControllerSettings { auto_leader_rebalance: false, ..Default::default() };
    let mut world = after_return(off);
    world.set_isr("t", &[2, 3, 1]);
    world.pass(301_000, &[1, 2, 3]);
    assert_eq!(world.state("t").0, 2);

    let tolerant = ControllerSettings { leader_imbalance_percent: 50, ..Default::default() };
    let mut world = after_return(tolerant);
    world.set_isr("t", &[2, 3, 1]);
    world.topic("u", &[1], &[]);
    world.pass(301_000, &[1, 2, 3]);
    assert_eq!(world.state("t").0, 2, "one of two is half, not more");
}
