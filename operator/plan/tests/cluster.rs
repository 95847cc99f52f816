//! Properties of the planner against a model cluster: whatever happens around it, no step of the
//! planner breaks a rule, and once nothing happens any more it comes to rest in what is wanted,
//! or in a refusal that says why. And the judge is not asleep: a planner that is lied to is caught.

#![allow(clippy::unwrap_used)]

mod model;
mod scenarios;

use std::cell::RefCell;
use std::collections::BTreeSet;

use base::BrokerId;
use model::execute::Fate;
use model::{Blind, Fault, Lie, Loss, World};
use plan::{AllowUnavailable, Desired, Phase, Plan, Step};
use proptest::prelude::*;
use proptest::test_runner::{
    Config, RngAlgorithm, RngSeed, TestCaseError, TestError, TestRng, TestRunner,
};

/// Passes after which a cluster that is left alone has come to rest.
const PASSES_MAX: usize = 600;
/// Histories in which a planner that is lied to has to be caught.
const HISTORIES_MAX: u32 = 4_000;

#[derive(Clone, Debug)]
enum Event {
    Replicas(i32),
    Voters(i32),
    Template(Option<Fault>),
    Kill(i32),
    Slow(i32, bool),
    Mark(i32),
    Grow(i32),
    /// The node of a broker is lost, or found again.
    Lose(i32, Option<Loss>),
    /// Somebody deletes the volume claims of brokers: they go with their pods.
    DeleteVolumes(i32, i32),
    Create {
        name: u8,
        partitions: usize,
        rf: usize,
        min_isr: usize,
    },
    Drop(u8),
    Rolling {
        max_unavailable: Option<i32>,
        same_rack: bool,
        wait: bool,
    },
    Rebalance {
        auto: bool,
        throttle: bool,
        per_broker: i32,
    },
    DeleteClaims(bool),
    Pause(bool),
    /// Another operator is to look after the cluster.
    HandOver,
    /// Somebody else scales the StatefulSet.
    Steal(i32),
    Nothing,
}

#[derive(Clone, Debug)]
struct Turn {
    event: Event,
    passes: usize,
    blind: Blind,
    fate: Fate,
}

fn fault() -> impl Strategy<Value = Option<Fault>> {
    prop_oneof![
        3 => Just(None),
        1 => prop_oneof![
            Just(Fault::Unschedulable), Just(Fault::Image), Just(Fault::Crash),
            Just(Fault::Unready), Just(Fault::Mount), Just(Fault::Lags), Just(Fault::Flaps),
        ].prop_map(Some),
    ]
}

fn loss() -> impl Strategy<Value = Loss> {
    prop_oneof![Just(Loss::Gone), Just(Loss::Silent), Just(Loss::Detached), Just(Loss::Mute(0))]
}

fn event() -> impl Strategy<Value = Event> {
    let id = 0..6i32;
    prop_oneof![
        5 => (1..=6i32).prop_map(Event::Replicas),
        3 => prop_oneof![Just(1), Just(3), Just(5)].prop_map(Event::Voters),
        5 => fault().prop_map(Event::Template),
        3 => id.clone().prop_map(Event::Kill),
        2 => (id.clone(), any::<bool>()).prop_map(|(id, slow)| Event::Slow(id, slow)),
        2 => id.clone().prop_map(Event::Mark),
        1 => id.clone().prop_map(Event::Grow),
        3 => (id.clone(), prop::option::weighted(0.7, loss()))
            .prop_map(|(id, loss)| Event::Lose(id, loss)),
        2 => (id.clone(), 1..=6i32).prop_map(|(id, n)| Event::DeleteVolumes(id, n)),
        6 => (0..4u8, 1..=8usize, 1..=3usize, 1..=2usize).prop_map(
            |(name, partitions, rf, min_isr)| Event::Create { name, partitions, rf, min_isr }
        ),
        1 => (0..4u8).prop_map(Event::Drop),
        1 => (prop::option::of(1..=3i32), any::<bool>(), prop::bool::weighted(0.2)).prop_map(
            |(max_unavailable, same_rack, wait)|
            Event::Rolling { max_unavailable, same_rack, wait }
        ),
        1 => (any::<bool>(), any::<bool>(), 1..=3i32).prop_map(
            |(auto, throttle, per_broker)| Event::Rebalance { auto, throttle, per_broker }
        ),
        1 => any::<bool>().prop_map(Event::DeleteClaims),
        1 => any::<bool>().prop_map(Event::Pause),
        1 => (1..=5i32).prop_map(Event::Steal),
        1 => Just(Event::HandOver),
        3 => Just(Event::Nothing),
    ]
}

fn blind() -> impl Strategy<Value = Blind> {
    let rare = || prop::bool::weighted(0.05);
    (prop::bool::weighted(0.15), rare(), rare(), rare(), rare(), rare()).prop_map(
        |(cluster, quorum, moves, risk, settings, missing)| Blind {
            cluster,
            quorum,
            moves,
            risk,
            settings,
            missing,
        },
    )
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![8 => Just(Fate::Done), 1 => Just(Fate::Skipped), 1 => Just(Fate::Half)]
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = (event(), 0..12usize, blind(), fate())
        .prop_map(|(event, passes, blind, fate)| Turn { event, passes, blind, fate });
    prop::collection::vec(turn, 1..30)
}

/// A new cluster.
fn start() -> impl Strategy<Value = World> {
    let voters = prop_oneof![Just(1), Just(3), Just(5)];
    let voter = prop_oneof![Just(60_000), Just(900_000)];
    let node = prop::option::of(prop_oneof![Just(60_000), Just(300_000)]);
    let lost = (voter, node, prop::bool::weighted(0.2));
    (1..=6i32, voters, 0..=3i32, 1..=2i32, lost, any::<bool>(), any::<bool>()).prop_map(
        |(
            replicas,
            voters,
            racks,
            rack_of,
            (voter_lost_ms, node_loss_ms, rivals),
            strict,
            vague,
        )| World {
            strict,
            vague,
            rivals,
            rack_of,
            level: Some(0),
            replicas,
            spec: Desired {
                voters: fitting(voters, replicas),
                voter_lost_ms,
                node_loss_ms,
                ..Desired::default()
            },
            racks,
            ..World::default()
        },
    )
}

/// What the resource's rules allow.
fn fitting(voters: i32, replicas: i32) -> i32 {
    if voters <= replicas {
        voters
    } else if replicas >= 3 {
        3
    } else {
        1
    }
}

fn happen(world: &mut World, event: &Event) {
    world.note(format!("-- {event:?}"));
    match event.clone() {
        Event::Replicas(n) => {
            world.replicas = n;
            world.spec.voters = fitting(world.spec.voters, n);
        }
        Event::Voters(n) => world.spec.voters = fitting(n, world.replicas),
        Event::Template(fault) => {
            world.template.revision += 1;
            world.template.fault = fault;
        }
        Event::Kill(id) => world.kill(BrokerId(id)),
        Event::Slow(id, true) => {
            world.slow.insert(BrokerId(id));
        }
        Event::Slow(id, false) => {
            world.slow.remove(&BrokerId(id));
        }
        Event::Mark(id) => {
            if let Some(pod) = world.pods.get_mut(&BrokerId(id)) {
                pod.marked = true;
            }
        }
        Event::Lose(id, Some(loss)) if world.pods.contains_key(&BrokerId(id)) => {
            let mute = matches!(loss, Loss::Mute(_));
            world.lose(BrokerId(id), if mute { Loss::Mute(world.now) } else { loss });
        }
        Event::Lose(id, _) => world.find(BrokerId(id)),
        Event::Grow(id) => {
            let now = world.now;
            if let Some(resize) = world.claims.get_mut(&BrokerId(id)) {
                *resize = Some(now);
            }
        }
        Event::DeleteVolumes(first, n) => {
            let ids = (first..first + n).map(BrokerId);
            world.going.extend(ids.filter(|id| world.pods.contains_key(id)));
        }
        Event::Create { name, partitions, rf, min_isr } => {
            world.create_topic(&format!("t{name}"), partitions, rf, min_isr);
        }
        Event::Drop(name) => {
            world.topics.remove(&format!("t{name}"));
        }
        Event::Rolling { max_unavailable, same_rack, wait } => {
            let rolling = &mut world.spec.rolling;
            rolling.max_unavailable = max_unavailable;
            rolling.same_rack_parallel = same_rack;
            rolling.allow_unavailable =
                if wait { AllowUnavailable::Wait } else { AllowUnavailable::Proceed };
        }
        Event::Rebalance { auto, throttle, per_broker } => {
            world.spec.rebalance.auto = auto;
            world.spec.rebalance.throttle = throttle.then_some(1_000_000);
            world.spec.rebalance.moves_per_broker = per_broker;
        }
        Event::DeleteClaims(delete) => world.spec.delete_claims = delete,
        Event::Pause(paused) => world.spec.paused = paused,
        Event::HandOver => world.owner = None,
        Event::Steal(by) => {
            if let Some(set) = &mut world.set {
                set.replicas = (set.replicas - by).max(1);
            }
        }
        Event::Nothing => {}
    }
}

fn run(world: &mut World, turns: &[Turn], lie: Lie) {
    for turn in turns {
        happen(world, &turn.event);
        world.pass(turn.blind, lie, turn.fate);
        world.tick();
        for _ in 0..turn.passes {
            world.pass(Blind::default(), lie, Fate::Done);
            world.tick();
        }
    }
}

/// Nothing happens any more; the user's last edits are sound.
fn settle(world: &mut World, lie: Lie) -> Plan {
    world.note("-- left alone".into());
    world.template.revision += u32::from(world.template.fault.is_some());
    world.template.fault = None;
    world.spec.paused = false;
    world.spec.rolling.allow_unavailable = AllowUnavailable::Proceed;
    world.slow.clear();
    // Nodes that never come back are done without, unless what they hold is nowhere else.
    let kept = world.partitions().all(|(_, _, _, p)| p.isr.iter().any(|id| world.is_active(*id)));
    let heals = world.spec.node_loss_ms.is_some() && kept && world.has_majority();
    let mute = |loss: &Loss| matches!(loss, Loss::Mute(_));
    let found = world.lost.iter().filter(|(_, loss)| !heals || mute(loss)).map(|(id, _)| *id);
    found.collect::<Vec<_>>().into_iter().for_each(|id| world.find(id));
    // What has one copy only is waited for until its user keeps the volume, or makes another copy.
    let single = world.partitions().any(|(_, _, _, p)| p.replicas.len() == 1);
    let votes = world.spec.voters.min(world.voters.len() as i32);
    let sole = world.going.iter().any(|id| world.is_sole(*id));
    if single || sole || votes == 1 || !world.has_majority() {
        world.going.clear();
    }
    let mut quiet = 0;
    let mut plan = world.pass(Blind::default(), lie, Fate::Done);
    for _ in 0..PASSES_MAX {
        world.tick();
        plan = world.pass(Blind::default(), lie, Fate::Done);
        let grown = world.pods.keys().all(|id| world.claims[id].is_none());
        let rests = plan.step == Step::Nothing
            && plan.needs.is_empty()
            && grown
            && plan.lost.is_empty()
            && (plan.phase == Phase::Ready || plan.refused.is_some());
        quiet = if rests { quiet + 1 } else { 0 };
        if quiet == 20 {
            break;
        }
    }
    plan
}

fn tail(world: &World) -> String {
    let from = world.log.len().saturating_sub(80);
    let rest = World { log: Vec::new(), ..world.clone() };
    format!("{}\n{rest:?}", world.log[from..].join("\n"))
}

fn check(world: &World, plan: &Plan) -> Result<(), TestCaseError> {
    prop_assert!(world.violations.is_empty(), "{:?}\n{}", world.violations, tail(world));
    let set = world.set.as_ref().unwrap();
    let widest = world.partitions().map(|(_, _, _, p)| p.replicas.len()).max().unwrap_or(0);
    let refused = widest > world.replicas as usize;
    if refused {
        prop_assert!(plan.refused.is_some(), "{}", tail(world));
        prop_assert!(plan.refused.as_ref().unwrap().message.contains('('));
        prop_assert!(set.replicas >= widest as i32, "{}", tail(world));
    } else {
        prop_assert_eq!(plan.phase, Phase::Ready, "{}", tail(world));
        prop_assert_eq!(set.replicas, world.replicas, "{}", tail(world));
    }
    let ids: Vec<BrokerId> = (0..set.replicas).map(BrokerId).collect();
    prop_assert_eq!(world.pods.keys().copied().collect::<Vec<_>>(), ids.clone());
    prop_assert_eq!(world.brokers.keys().copied().collect::<Vec<_>>(), ids.clone());
    for (id, pod) in &world.pods {
        let newest = pod.template.revision == world.template.revision;
        prop_assert!(pod.ready && newest && !pod.marked, "broker {}\n{}", id, tail(world));
        prop_assert!(
            world.claims[id].is_none(),
            "broker {} was not restarted\n{}",
            id,
            tail(world)
        );
    }
    check_voters(world)?;
    check_racks(world, plan)?;
    prop_assert!(world.cordoned.iter().all(|id| id.0 >= set.replicas), "{}", tail(world));
    prop_assert!(world.moves(Lie::None).is_empty(), "{}", tail(world));
    let throttled = world.throttled.iter().any(|id| world.brokers.contains_key(id));
    prop_assert!(!throttled && world.throttled_topics.is_empty(), "{}", tail(world));
    let in_sync = world.partitions().all(|(_, _, _, p)| p.isr.len() == p.replicas.len());
    prop_assert!(in_sync, "{}", tail(world));
    if world.spec.delete_claims {
        prop_assert_eq!(world.claims.len(), ids.len(), "{}", tail(world));
    }
    Ok(())
}

/// As many as are wanted, of those that stay, and of as many racks as can be.
fn check_voters(world: &World) -> Result<(), TestCaseError> {
    let stay: Vec<BrokerId> = (0..world.replicas).map(BrokerId).collect();
    prop_assert_eq!(world.voters.len() as i32, world.spec.voters, "{}", tail(world));
    prop_assert!(world.voters.iter().all(|id| stay.contains(id)), "{}", tail(world));
    let of = |rack: Option<String>| world.voters.iter().filter(|v| world.rack(**v) == rack).count();
    for other in stay.iter().filter(|id| !world.voters.contains(id)) {
        let fewer = of(world.rack(*other)) + 1;
        let uneven = world.voters.iter().any(|id| of(world.rack(*id)) > fewer);
        prop_assert!(!uneven, "{} is of another rack\n{}", other, tail(world));
    }
    Ok(())
}

/// Where brokers are even by themselves, no partition has two replicas in one rack and none in
/// another that has a broker.
fn check_racks(world: &World, plan: &Plan) -> Result<(), TestCaseError> {
    if !world.spec.rebalance.auto || plan.refused.is_some() {
        return Ok(());
    }
    let racks = |ids: &[BrokerId]| ids.iter().map(|id| world.rack(*id)).collect::<BTreeSet<_>>();
    let all: Vec<BrokerId> = (0..world.replicas).map(BrokerId).collect();
    let wide = world
        .partitions()
        .all(|(_, _, _, p)| racks(&p.replicas).len() >= racks(&all).len().min(p.replicas.len()));
    prop_assert!(wide, "replicas share a rack\n{}", tail(world));
    Ok(())
}

/// A failure prints its history; it becomes a test of its own, not a file of seeds. The gate tries
/// the same histories each time, `PROPTEST_RNG_SEED=N` others.
fn config() -> Config {
    let random = Config::default();
    let rng_seed = match random.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        asked => asked,
    };
    Config { max_shrink_iters: 2000, failure_persistence: None, rng_seed, ..random }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_step_is_safe_and_passes_come_to_rest(
        mut world in start(),
        turns in turns(),
    ) {
        run(&mut world, &turns, Lie::None);
        let plan = settle(&mut world, Lie::None);
        check(&world, &plan)?;
    }
}

#[test]
fn histories_reach_every_step() {
    let all = BTreeSet::from([
        "AddVoter",
        "CancelMoves",
        "ClearThrottle",
        "CordonBroker",
        "DeleteVolumeClaim",
        "ElectPreferredLeaders",
        "MovePartitions",
        "Nothing",
        "RaiseLevel",
        "RemoveBroker",
        "RemoveVoter",
        "ReplaceBroker",
        "RestartBroker",
        "UncordonBroker",
        "UnregisterBroker",
    ]);
    let seen = RefCell::new(BTreeSet::new());
    let rng = TestRng::deterministic_rng(RngAlgorithm::default());
    let mut runner = TestRunner::new_with_rng(
        Config { cases: HISTORIES_MAX, max_shrink_iters: 0, ..config() },
        rng,
    );
    let result = runner.run(&(start(), turns()), |(mut world, turns)| {
        if *seen.borrow() != all {
            run(&mut world, &turns, Lie::None);
            seen.borrow_mut().extend(world.taken);
        }
        Ok(())
    });
    assert!(result.is_ok());
    assert_eq!(seen.into_inner(), all);
}

/// Whether some history makes a planner that believes `lie` break a rule that contains `what`.
fn is_caught(lie: Lie, what: &'static str) -> bool {
    let rng = TestRng::deterministic_rng(RngAlgorithm::default());
    let mut runner = TestRunner::new_with_rng(
        Config { cases: HISTORIES_MAX, max_shrink_iters: 0, ..config() },
        rng,
    );
    let result = runner.run(&(start(), turns()), |(mut world, turns)| {
        run(&mut world, &turns, lie);
        prop_assert!(!world.violations.iter().any(|violation| violation.contains(what)));
        Ok(())
    });
    matches!(result, Err(TestError::Fail(..)))
}

/// Whether some history ends with a planner that believes `lie` in a state of which `what` is said.
fn is_caught_at_rest(lie: Lie, what: &'static str) -> bool {
    let rng = TestRng::deterministic_rng(RngAlgorithm::default());
    let mut runner = TestRunner::new_with_rng(
        Config { cases: HISTORIES_MAX, max_shrink_iters: 0, ..config() },
        rng,
    );
    let result = runner.run(&(start(), turns()), |(mut world, turns)| {
        run(&mut world, &turns, lie);
        let plan = settle(&mut world, lie);
        match check(&world, &plan) {
            Err(TestCaseError::Fail(why)) if why.message().contains(what) => {
                Err(TestCaseError::Fail(why))
            }
            _ => Ok(()),
        }
    });
    matches!(result, Err(TestError::Fail(..)))
}

#[test]
fn a_planner_that_gives_a_rack_the_majority_is_caught() {
    assert!(is_caught_at_rest(Lie::NoRacks, "is of another rack"));
}

#[test]
fn a_planner_that_leaves_replicas_in_one_rack_is_caught() {
    assert!(is_caught_at_rest(Lie::NoRacks, "replicas share a rack"));
}

#[test]
fn operators_that_disagree_are_caught_where_a_cluster_has_no_owner() {
    assert!(is_caught_at_rest(Lie::NoOwner, "Ready"));
}

#[test]
fn a_planner_without_the_risk_check_is_caught() {
    assert!(is_caught(Lie::NoRisk, "takes"));
}

#[test]
fn a_planner_without_the_quorum_check_is_caught() {
    assert!(is_caught(Lie::NoQuorum, "leaves"));
}

#[test]
fn a_planner_that_does_not_see_claims_go_is_caught() {
    assert!(is_caught(Lie::NoClaims, "gives up"));
}

#[test]
fn a_planner_that_takes_a_crashing_broker_for_a_dead_one_is_caught() {
    assert!(is_caught(Lie::NoCrash, "takes"));
}

#[test]
fn a_planner_that_gives_up_last_copies_is_caught() {
    assert!(is_caught(Lie::NoLastCopy, "the last copy"));
}

#[test]
fn a_planner_that_takes_a_broker_for_lost_that_serves_is_caught() {
    assert!(is_caught(Lie::NoFence, "which serves"));
}

#[test]
fn a_planner_without_the_drain_check_is_caught() {
    assert!(is_caught(Lie::NoData, "which hosts replicas"));
}
