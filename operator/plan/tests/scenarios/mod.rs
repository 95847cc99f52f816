//! What users do, step by step, and what they see of it.

use std::collections::BTreeSet;

use base::BrokerId;
use plan::{BrokerState, Phase, Plan, PodPhase, Step};

use crate::model::execute::Fate;
use crate::model::{Blind, Fault, Lie, World};

/// A cluster at rest, with a topic of eight partitions.
fn cluster(replicas: i32, voters: i32, racks: i32) -> World {
    let mut world = World::new(replicas, voters, racks);
    world.template.revision = 1;
    rest(&mut world);
    world.create_topic("orders", 8, replicas.min(3) as usize, replicas.min(2) as usize);
    rest(&mut world);
    world
}

fn pass(world: &mut World) -> Plan {
    let plan = world.pass(Blind::default(), Lie::None, Fate::Done);
    world.tick();
    assert_eq!(world.violations, Vec::<String>::new());
    plan
}

/// Passes until nothing is done any more; the steps that were taken.
fn rest(world: &mut World) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut quiet = 0;
    for _ in 0..400 {
        let plan = pass(world);
        quiet = if plan.step == Step::Nothing { quiet + 1 } else { 0 };
        steps.extend(Some(plan.step).filter(|step| *step != Step::Nothing));
        if quiet == 12 {
            return steps;
        }
    }
    panic!("no rest: {:#?}", world.log);
}

fn edit(world: &mut World, fault: Option<Fault>) {
    world.template.revision += 1;
    world.template.fault = fault;
}

fn restarted(steps: &[Step]) -> Vec<Vec<i32>> {
    let restarts = steps.iter().filter_map(|step| match step {
        Step::Restart { brokers, .. } => Some(brokers.iter().map(|id| id.0).collect()),
        _ => None,
    });
    restarts.collect()
}

fn hosted(world: &World, id: i32) -> usize {
    world.partitions().filter(|(_, _, _, p)| p.replicas.contains(&BrokerId(id))).count()
}

#[test]
fn a_cluster_at_rest_needs_no_pass() {
    let mut world = cluster(3, 3, 3);
    let plan = pass(&mut world);
    assert_eq!((plan.phase, plan.requeue_ms), (Phase::Ready, None));
    assert_eq!((plan.needs, plan.rebalancing), (vec![], false));
    assert!(plan.brokers.values().all(|broker| broker.state == BrokerState::Running));
}

#[test]
fn a_roll_goes_one_by_one_with_the_active_controller_last() {
    let mut world = cluster(5, 3, 0);
    world.controller = Some(BrokerId(1));
    edit(&mut world, None);
    assert_eq!(restarted(&rest(&mut world)), [[0], [2], [3], [4], [1]]);
}

#[test]
fn brokers_of_one_rack_roll_together_where_that_is_safe() {
    let mut world = cluster(6, 3, 3);
    world.spec.rolling.same_rack_parallel = true;
    edit(&mut world, None);
    let restarts = restarted(&rest(&mut world));
    // Racks are 0 and 3, 1 and 4, 2 and 5; broker 0 is the active controller.
    assert_eq!(restarts, [vec![1, 4], vec![2, 5], vec![3], vec![0]]);
}

#[test]
fn partitions_that_need_their_broker_hold_it_only_if_the_user_says_so() {
    let mut world = cluster(3, 3, 0);
    world.create_topic("alone", 3, 1, 1);
    world.spec.rolling.allow_unavailable = plan::AllowUnavailable::Wait;
    edit(&mut world, None);
    assert_eq!(restarted(&rest(&mut world)), Vec::<Vec<i32>>::new());
    let plan = pass(&mut world);
    assert!(plan.message.contains("alone-"), "{}", plan.message);
    world.spec.rolling.allow_unavailable = plan::AllowUnavailable::Proceed;
    assert_eq!(restarted(&rest(&mut world)).len(), 3);
}

#[test]
fn a_bad_spec_takes_one_broker_down_and_its_repair_brings_it_back() {
    for fault in [Fault::Unschedulable, Fault::Image, Fault::Crash, Fault::Unready] {
        let mut world = cluster(3, 3, 0);
        edit(&mut world, Some(fault));
        let restarts = restarted(&rest(&mut world));
        assert_eq!(restarts, [[1]], "{fault:?}");
        let plan = pass(&mut world);
        assert!(plan.message.contains("broker 1"), "{}", plan.message);
        let broken = fault != Fault::Unready;
        assert_eq!(plan.phase, if broken { Phase::Degraded } else { Phase::Rolling });
        assert_eq!(plan.degraded.is_some(), broken);
        edit(&mut world, None);
        pass(&mut world);
        let repair = pass(&mut world);
        assert_eq!(restarted(&[repair.step]), [[1]], "at once: {fault:?}");
        rest(&mut world);
        assert_eq!(pass(&mut world).phase, Phase::Ready);
    }
}

#[test]
fn a_slow_follower_is_waited_for_and_named() {
    let mut world = cluster(3, 3, 0);
    world.slow.insert(BrokerId(1));
    edit(&mut world, None);
    while world.pods[&BrokerId(1)].template.revision == 1 || !world.is_active(BrokerId(1)) {
        pass(&mut world);
    }
    let plan = pass(&mut world);
    assert_eq!((plan.phase, plan.step), (Phase::Rolling, Step::Nothing));
    assert!(plan.message.contains("broker 1 is catching up: 8"), "{}", plan.message);
    assert_eq!(plan.brokers[&BrokerId(1)].state, BrokerState::CatchingUp);
    assert_eq!(restarted(&rest(&mut world)).len(), 2);
}

#[test]
fn new_brokers_get_replicas_and_lose_them_before_they_go() {
    let mut world = cluster(3, 3, 0);
    world.spec.replicas = 5;
    rest(&mut world);
    let counts: Vec<usize> = (0..5).map(|id| hosted(&world, id)).collect();
    assert!(counts.iter().all(|n| [4, 5].contains(n)), "24 replicas: {counts:?}");
    world.spec.replicas = 3;
    let steps = rest(&mut world);
    let shrinks = steps.iter().filter(|step| matches!(step, Step::Shrink { .. })).count();
    let unregistered: Vec<&Step> =
        steps.iter().filter(|step| matches!(step, Step::Unregister(_))).collect();
    assert_eq!(shrinks, 2);
    assert_eq!(unregistered, [&Step::Unregister(BrokerId(4)), &Step::Unregister(BrokerId(3))]);
    assert!(restarted(&steps).is_empty(), "who stays is not restarted");
    assert_eq!(world.claims.len(), 5, "volumes are kept");
    assert_eq!(world.set.as_ref().unwrap().replicas, 3);
}

#[test]
fn nothing_moves_by_itself_where_the_user_moves() {
    let mut world = cluster(3, 3, 0);
    world.spec.rebalance.auto = false;
    world.spec.replicas = 4;
    assert_eq!(rest(&mut world), []);
    let plan = pass(&mut world);
    assert_eq!(plan.phase, Phase::Ready);
    assert!(plan.message.contains("Manual"), "{}", plan.message);
}

#[test]
fn too_few_brokers_are_refused_while_all_else_goes_on() {
    let mut world = cluster(4, 3, 0);
    world.create_topic("wide", 2, 4, 2);
    world.spec.replicas = 3;
    assert_eq!(rest(&mut world), []);
    edit(&mut world, None);
    assert_eq!(restarted(&rest(&mut world)).len(), 4, "a roll goes on");
    let plan = pass(&mut world);
    let refused = plan.refused.clone().unwrap();
    assert_eq!((plan.phase, plan.set_replicas), (Phase::Waiting, 4));
    assert!(refused.message.contains("wide (4)"), "{}", refused.message);
    assert!(plan.requeue_ms.is_some(), "nobody tells when it is allowed");
    world.topics.remove("wide");
    rest(&mut world);
    assert_eq!(world.set.as_ref().unwrap().replicas, 3);
}

#[test]
fn a_drain_is_taken_back_half_way() {
    let mut world = cluster(5, 3, 0);
    world.slow.extend((0..5).map(BrokerId));
    world.spec.rebalance.moves_per_broker = 1;
    world.spec.replicas = 4;
    while !matches!(pass(&mut world).step, Step::StartMoves { .. }) {}
    let before = hosted(&world, 4);
    world.spec.replicas = 5;
    let steps = rest(&mut world);
    assert!(matches!(steps[0], Step::CancelMoves(_)), "{steps:?}");
    assert_eq!(steps[1], Step::Uncordon(vec![BrokerId(4)]));
    assert_eq!(hosted(&world, 4), before, "what had not moved yet stays");
    assert_eq!(pass(&mut world).phase, Phase::Ready);
}

#[test]
fn a_broker_that_cannot_start_can_be_removed() {
    let mut world = cluster(4, 3, 0);
    edit(&mut world, Some(Fault::Unschedulable));
    world.kill(BrokerId(3));
    for _ in 0..5 {
        pass(&mut world);
    }
    assert_eq!(world.pods[&BrokerId(3)].phase, PodPhase::Unschedulable);
    world.spec.replicas = 3;
    rest(&mut world);
    assert_eq!(hosted(&world, 3), 0);
    assert_eq!(world.set.as_ref().unwrap().replicas, 3);
}

#[test]
fn voters_change_one_at_a_time() {
    let mut world = cluster(5, 1, 0);
    for (voters, steps) in [(3, 2), (5, 2), (3, 2), (1, 2)] {
        world.spec.voters = voters;
        let taken = rest(&mut world);
        let change = |step: &Step| matches!(step, Step::AddVoter(_) | Step::RemoveVoter(_));
        assert_eq!(taken.len(), steps, "{taken:?}");
        assert!(taken.iter().all(change), "{taken:?}");
        assert_eq!(world.voters, (0..voters).map(BrokerId).collect::<BTreeSet<_>>());
    }
}

#[test]
fn a_paused_cluster_is_left_alone() {
    let mut world = cluster(3, 3, 0);
    world.spec.paused = true;
    world.spec.replicas = 5;
    edit(&mut world, None);
    let plan = pass(&mut world);
    assert_eq!((plan.phase, plan.step, plan.set_replicas), (Phase::Paused, Step::Nothing, 3));
    world.spec.paused = false;
    rest(&mut world);
    assert_eq!(pass(&mut world).phase, Phase::Ready);
}

#[test]
fn a_set_that_somebody_else_shrank_grows_back_before_it_is_drained() {
    let mut world = cluster(5, 3, 0);
    world.spec.replicas = 3;
    world.set.as_mut().unwrap().replicas = 3;
    world.tick();
    let plan = pass(&mut world);
    assert_eq!(plan.set_replicas, 5, "{}", plan.message);
    rest(&mut world);
    assert_eq!(world.set.as_ref().unwrap().replicas, 3);
    assert_eq!(world.brokers.len(), 3);
}

#[test]
fn moves_are_throttled_and_the_throttle_ends_with_them() {
    let mut world = cluster(3, 3, 0);
    world.spec.rebalance.throttle = Some(1_000_000);
    world.spec.replicas = 4;
    let steps = rest(&mut world);
    let throttled = |step: &Step| match step {
        Step::StartMoves { throttle, .. } => throttle.is_some(),
        _ => false,
    };
    assert!(steps.iter().any(throttled), "{steps:?}");
    assert!(steps.iter().any(|step| matches!(step, Step::ClearThrottle(_))), "{steps:?}");
    assert!(world.throttled.is_empty() && world.throttled_topics.is_empty());
}
