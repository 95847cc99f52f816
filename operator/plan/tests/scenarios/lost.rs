//! Nodes that are lost: for a while, and for good.

use plan::{Lost, LostWhy, Replacement};

use super::*;
use crate::model::Loss;

#[test]
fn a_voter_that_is_lost_for_long_is_replaced() {
    let mut world = cluster(4, 3, 0);
    world.lose(BrokerId(1), Loss::Gone);
    let begun = world.now;
    while world.voters.contains(&BrokerId(1)) {
        pass(&mut world);
        assert!(world.now - begun < plan::VOTER_LOST_MS + 60_000, "{:#?}", world.log);
    }
    assert!(world.now - begun >= plan::VOTER_LOST_MS, "it might have come back");
    assert_eq!(world.voters, BTreeSet::from([0, 2, 3].map(BrokerId)));
    // It comes back, and votes no more: nothing would be won.
    world.lost.clear();
    rest(&mut world);
    assert_eq!(world.voters, BTreeSet::from([0, 2, 3].map(BrokerId)));
    assert_eq!(pass(&mut world).phase, Phase::Ready);
}

fn replaced(steps: &[Step]) -> Vec<(i32, bool)> {
    let replaced = steps.iter().filter_map(|step| match step {
        Step::Replace { broker, volume } => Some((broker.0, *volume)),
        _ => None,
    });
    replaced.collect()
}

/// A broker of a cluster at rest whose node is lost, and so it stays for a while.
fn broker_lost(loss: Loss, after_ms: Option<i64>) -> World {
    let mut world = cluster(4, 3, 0);
    world.spec.node_loss_ms = after_ms;
    world.lose(BrokerId(1), loss);
    for _ in 0..30 {
        assert_eq!(replaced(&[pass(&mut world).step]), []);
    }
    world
}

fn why(world: &mut World) -> LostWhy {
    match pass(world).lost.as_slice() {
        [Lost { broker: BrokerId(1), why }] => why.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_broker_whose_node_is_lost_is_replaced_after_the_time_that_the_user_sets() {
    for (loss, volume) in [(Loss::Gone, true), (Loss::Silent, true), (Loss::Detached, false)] {
        let mut world = broker_lost(loss, Some(300_000));
        assert_eq!(why(&mut world), LostWhy::NotYet, "{loss:?}");
        assert_eq!(replaced(&rest(&mut world)), []);
        while replaced(&[pass(&mut world).step]).is_empty() {
            assert!(world.now < 2_000_000, "{loss:?}: {:#?}", world.log);
        }
        let replaced = world.log.iter().filter(|line| line.contains("ReplaceBroker"));
        let (first, what) = (replaced.clone().next().unwrap(), ["its pod", "and its volume"]);
        assert!(first.contains(what[0]) && first.contains(what[1]) == volume, "{first}");
        rest(&mut world);
        let plan = pass(&mut world);
        assert_eq!((plan.phase, plan.lost), (Phase::Ready, vec![]), "{loss:?}");
    }
}

#[test]
fn nothing_is_given_up_that_the_user_did_not_ask_for() {
    let mut world = broker_lost(Loss::Silent, None);
    for _ in 0..400 {
        assert_eq!(replaced(&[pass(&mut world).step]), []);
    }
    assert_eq!(why(&mut world), LostWhy::TimeNotSet);
    let mut seen = asked(&world, Replacement::Safe);
    let plan = plan_with_partitions(&world, &mut seen);
    assert_eq!(plan.step, Step::Replace { broker: BrokerId(1), volume: true });
}

/// What the operator sees where the pod of broker 1 is marked.
fn asked(world: &World, how: Replacement) -> plan::Observed {
    let mut seen = world.observe(&[plan::Need::Partitions], Blind::default(), Lie::None);
    seen.pods.get_mut(&BrokerId(1)).unwrap().replace = Some(how);
    seen
}

fn plan_with_partitions(world: &World, seen: &mut plan::Observed) -> Plan {
    let plan = plan::next_step(seen);
    assert!(plan.needs.is_empty(), "{:#?}", world.log);
    plan
}

#[test]
fn the_last_copy_of_a_partition_is_given_up_only_by_name() {
    let mut world = cluster(4, 3, 0);
    world.spec.node_loss_ms = Some(60_000);
    world.create_topic("alone", 4, 1, 1);
    let only = |world: &World| {
        let alone = &world.topics["alone"].partitions;
        alone.iter().position(|p| p.replicas == [BrokerId(1)]).unwrap()
    };
    let name = format!("alone-{}", only(&world));
    world.lose(BrokerId(1), Loss::Silent);
    for _ in 0..200 {
        assert_eq!(replaced(&[pass(&mut world).step]), []);
    }
    let LostWhy::LastCopy { what, given_up: true } = why(&mut world) else { panic!() };
    assert!(what.contains(&format!("only replica of {name}")), "{what}");
    let plan = plan_with_partitions(&world, &mut asked(&world, Replacement::Safe));
    assert_eq!(plan.step, Step::Nothing);
    let plan = plan_with_partitions(&world, &mut asked(&world, Replacement::LoseData));
    assert_eq!(plan.step, Step::Replace { broker: BrokerId(1), volume: true });
    // What others have in part would be emptied by an empty leader.
    let mut seen = asked(&world, Replacement::LoseData);
    for p in seen.partitions.iter_mut().flatten().filter(|p| p.replicas.contains(&BrokerId(1))) {
        p.isr = vec![BrokerId(1)];
    }
    let plan = plan_with_partitions(&world, &mut seen);
    assert_eq!(plan.step, Step::Nothing);
    let [Lost { why: LostWhy::LastCopy { what, given_up: false }, .. }] = &plan.lost[..] else {
        panic!("{:?}", plan.lost)
    };
    assert!(what.contains("unclean election"), "{what}");
}

#[test]
fn of_several_lost_brokers_one_is_replaced_at_a_time() {
    let mut world = cluster(5, 3, 0);
    world.spec.node_loss_ms = Some(60_000);
    world.slow.extend((0..5).map(BrokerId));
    world.topics.get_mut("orders").unwrap().min_isr = 1;
    world.lose(BrokerId(3), Loss::Silent);
    world.lose(BrokerId(4), Loss::Gone);
    let steps = rest(&mut world);
    assert_eq!(replaced(&steps), []);
    let mut order = Vec::new();
    for _ in 0..200 {
        let plan = pass(&mut world);
        order.extend(replaced(&[plan.step]));
        if order.len() == 1 && plan.phase != Phase::Ready && !world.pods[&BrokerId(3)].ready {
            assert_eq!(world.replaced.len(), 1, "the second waits for the first");
        }
    }
    assert_eq!(order, [(3, true), (4, true)]);
    assert_eq!(pass(&mut world).phase, Phase::Ready);
}

#[test]
fn a_broker_that_the_controller_hears_from_is_not_lost() {
    let mut world = cluster(4, 3, 0);
    world.spec.node_loss_ms = Some(60_000);
    world.lose(BrokerId(1), Loss::Mute(world.now));
    for _ in 0..100 {
        assert_eq!(pass(&mut world).step, Step::Nothing);
    }
    assert_eq!(why(&mut world), LostWhy::Waits("the active controller hears from it".into()));
}

/// Found by the property: what none of the others could do for want of their nodes, the only broker
/// that runs was restarted for, and with it went the last copy that is up.
#[test]
fn nobody_is_restarted_for_a_quorum_whose_voters_are_mostly_on_lost_nodes() {
    for losses in [[Loss::Silent, Loss::Silent], [Loss::Gone, Loss::Silent]] {
        let mut world = cluster(3, 3, 0);
        world.lose(BrokerId(1), losses[0]);
        world.lose(BrokerId(0), losses[1]);
        pass(&mut world);
        edit(&mut world, None);
        for _ in 0..30 {
            let plan = pass(&mut world);
            let restarts = restarted(&[plan.step]);
            assert!(!restarts.contains(&vec![2]), "{losses:?}: {}", plan.message);
        }
        // Their nodes are back, and nobody has had the time to elect anybody.
        (0..2).for_each(|id| world.find(BrokerId(id)));
        let plan = world.pass(Blind::default(), Lie::None, Fate::Done);
        assert_eq!(restarted(&[plan.step]), Vec::<Vec<i32>>::new(), "{losses:?}: {}", plan.message);
        rest(&mut world);
        assert_eq!(pass(&mut world).phase, Phase::Ready, "{losses:?}");
        assert!(world.violations.is_empty(), "{losses:?}: {:#?}", world.violations);
    }
}

/// Found by the property: by the voters that were known last, two of three were there. One had just
/// been removed, and of the other two one's node was lost: no restart could have helped.
#[test]
fn nobody_is_restarted_for_a_quorum_of_which_a_voter_may_have_been_removed() {
    let mut world = cluster(3, 3, 0);
    world.replicas = 1;
    world.spec.voters = 1;
    while world.voters.len() == 3 {
        pass(&mut world);
    }
    assert_eq!(world.voters, BTreeSet::from([0, 1].map(BrokerId)));
    world.strict = true;
    world.lose(BrokerId(0), Loss::Silent);
    edit(&mut world, None);
    for _ in 0..60 {
        let plan = pass(&mut world);
        assert_eq!(restarted(&[plan.step]), Vec::<Vec<i32>>::new(), "{}", plan.message);
    }
    world.find(BrokerId(0));
    rest(&mut world);
    assert!(world.controller.is_some(), "{:#?}", world.log);
}

/// Found by the property: with a node lost, a broker that came back on a spec that never gets ready
/// took the quorum with it, and the last one that still served was to get that spec as well.
#[test]
fn nobody_gets_a_spec_that_took_the_quorum_away() {
    let mut world = cluster(3, 3, 0);
    world.lose(BrokerId(1), Loss::Silent);
    pass(&mut world);
    edit(&mut world, Some(Fault::Unready));
    world.kill(BrokerId(0));
    for _ in 0..60 {
        let plan = pass(&mut world);
        assert_eq!(restarted(&[plan.step]), Vec::<Vec<i32>>::new(), "{}", plan.message);
    }
    edit(&mut world, None);
    assert_eq!(restarted(&rest(&mut world)).first(), Some(&vec![0]));
    world.find(BrokerId(1));
    rest(&mut world);
    assert_eq!(pass(&mut world).phase, Phase::Ready);
}
