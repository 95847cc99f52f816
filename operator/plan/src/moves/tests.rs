//! Examples of each planner of moves, and properties of all.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

fn partition(topic: &str, index: i32, replicas: &[i32]) -> PartitionView {
    PartitionView {
        topic: topic.into(),
        partition: index,
        replicas: ids(replicas),
        isr: ids(replicas),
        adding: Vec::new(),
        removing: Vec::new(),
        leader: replicas.first().copied().map(BrokerId),
        bytes: None,
    }
}

/// Brokers 0 to `count`, in racks round robin.
fn brokers(count: i32, racks: i32) -> Vec<MoveBroker> {
    let rack = |id: i32| (racks > 0).then(|| format!("rack-{}", id % racks));
    let broker = |id| MoveBroker { id: BrokerId(id), rack: rack(id), usable: true };
    (0..count).map(broker).collect()
}

const LIMITS: Limits = Limits { per_broker: 100, batch: 1000 };

/// Carries moves out at once.
fn carry_out(partitions: &mut [PartitionView], moves: &[Move]) {
    for m in moves {
        let p = partitions
            .iter_mut()
            .find(|p| p.topic == *m.partition.topic && p.partition == m.partition.partition)
            .unwrap();
        p.replicas.clone_from(&m.replicas);
        p.isr.clone_from(&m.replicas);
        p.leader = m.replicas.first().copied();
    }
}

fn counts(partitions: &[PartitionView], count: i32) -> Vec<usize> {
    let hosts = |id: i32| partitions.iter().filter(|p| p.replicas.contains(&BrokerId(id))).count();
    (0..count).map(hosts).collect()
}

#[test]
fn a_drain_replaces_in_place_and_keeps_to_other_racks() {
    let partitions = [partition("t", 0, &[0, 3, 2]), partition("t", 1, &[3, 1, 2])];
    // Racks: 0, 3 in a; 1, 4 in b; 2, 5 in c.
    let leaving = BTreeSet::from([BrokerId(3)]);
    let planned = drain(&partitions, &brokers(6, 3), &leaving, LIMITS);
    let lists: Vec<_> = planned.moves.iter().map(|m| m.replicas.clone()).collect();
    // Partition 0 lacks rack b, partition 1 rack a; the leader's partition comes last.
    assert_eq!(lists, [ids(&[0, 4, 2]), ids(&[0, 1, 2])]);
    assert_eq!(planned.remaining, 2);
}

#[test]
fn a_drain_starts_no_more_moves_per_broker_than_allowed() {
    let partitions: Vec<_> = (0..10).map(|i| partition("t", i, &[2, 0])).collect();
    let limits = Limits { per_broker: 3, batch: 1000 };
    let leaving = BTreeSet::from([BrokerId(2)]);
    let planned = drain(&partitions, &brokers(4, 0), &leaving, limits);
    assert_eq!((planned.moves.len(), planned.remaining), (3, 10));
    let mut moving = partitions.clone();
    for p in &mut moving[..3] {
        p.adding = ids(&[1]);
        p.removing = ids(&[2]);
        p.replicas = ids(&[1, 0, 2]);
    }
    let planned = drain(&moving, &brokers(4, 0), &leaving, limits);
    assert_eq!((planned.moves.len(), planned.remaining), (0, 7), "those in flight count");
}

#[test]
fn a_drain_redirects_what_is_on_its_way_to_a_broker_that_leaves() {
    let mut p = partition("t", 0, &[0, 2, 1]);
    (p.adding, p.removing) = (ids(&[2]), ids(&[1]));
    let leaving = BTreeSet::from([BrokerId(2)]);
    let planned = drain(&[p], &brokers(4, 0), &leaving, LIMITS);
    assert!(!planned.moves[0].replicas.contains(&BrokerId(2)), "{planned:?}");
}

#[test]
fn a_drain_without_a_place_to_go_says_so() {
    let partitions = [partition("t", 0, &[0, 1])];
    let mut brokers = brokers(3, 0);
    brokers[2].usable = false;
    let planned = drain(&partitions, &brokers, &BTreeSet::from([BrokerId(1)]), LIMITS);
    assert!(planned.moves.is_empty());
    assert!(planned.obstacle.unwrap().contains("t-0"));
}

#[test]
fn a_new_broker_gets_its_share_and_no_replica_moves_between_old_ones() {
    let mut partitions: Vec<_> =
        (0..12).map(|i| partition("t", i, &[i % 3, (i + 1) % 3, (i + 2) % 3])).collect();
    let planned = rebalance(&partitions, &brokers(4, 0), LIMITS);
    for (m, p) in planned.moves.iter().map(|m| (m, &partitions[m.partition.partition as usize])) {
        let new: Vec<_> = m.replicas.iter().filter(|id| !p.replicas.contains(id)).collect();
        assert_eq!(new, [&BrokerId(3)]);
    }
    carry_out(&mut partitions, &planned.moves);
    assert_eq!(counts(&partitions, 4), [9, 9, 9, 9]);
    assert_eq!(planned.moves.len(), 9, "as few as can be");
    let leads = |id| partitions.iter().filter(|p| p.replicas[0] == BrokerId(id)).count();
    assert_eq!((0..4).map(leads).collect::<Vec<_>>(), [3, 3, 3, 3]);
}

/// Found on kind: a fourth broker got partitions of the topic that comes first by name and nothing
/// of the one that all clients worked on.
#[test]
fn a_new_broker_gets_its_share_of_every_topic() {
    let of = |topic| (0..6).map(move |i| partition(topic, i, &[i % 3, (i + 1) % 3, (i + 2) % 3]));
    let mut partitions: Vec<_> = of("a").chain(of("b")).collect();
    // Broker 3 shares its rack with broker 0, and takes half of what that one has.
    let planned = rebalance(&partitions, &brokers(4, 3), LIMITS);
    carry_out(&mut partitions, &planned.moves);
    assert_eq!(counts(&partitions, 4), [6, 12, 12, 6]);
    assert_eq!(counts(&partitions[..6], 4), [3, 6, 6, 3]);
}

/// Racks of 34, 33 and 33 brokers are never even, and no partition may leave its rack: every pair
/// of brokers across racks used to be tried with every partition of one of them.
#[test]
fn racks_that_cannot_be_even_are_planned_in_no_time() {
    let brokers = brokers(100, 3);
    let of = |rack: i32, at: i32| rack + 3 * (at % if rack == 0 { 34 } else { 33 });
    let replicas = |at: i32| [of(0, at), of(1, at), of(2, at)];
    let partitions: Vec<_> = (0..30_000).map(|at| partition("t", at, &replicas(at))).collect();
    let begun = std::time::Instant::now();
    let planned = rebalance(&partitions, &brokers, LIMITS);
    let moved = planned.moves.iter().filter(|m| {
        let before = &partitions[m.partition.partition as usize].replicas;
        m.replicas.iter().any(|id| !before.contains(id))
    });
    assert_eq!(moved.count(), 0);
    assert!(begun.elapsed() < std::time::Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn large_partitions_are_spread_apart() {
    // Broker 0 has two of 10 and two of 1; half of it by count is also half of it by bytes.
    let mut partitions: Vec<_> = (0..4).map(|i| partition("t", i, &[0])).collect();
    for (p, bytes) in partitions.iter_mut().zip([10, 10, 1, 1]) {
        p.bytes = Some(bytes);
    }
    let planned = rebalance(&partitions, &brokers(2, 0), LIMITS);
    let moved: u64 =
        planned.moves.iter().filter_map(|m| partitions[m.partition.partition as usize].bytes).sum();
    assert_eq!((planned.moves.len(), moved), (2, 11));
}

#[test]
fn a_partition_that_is_not_in_sync_is_not_rebalanced() {
    let mut partitions: Vec<_> = (0..4).map(|i| partition("t", i, &[0, 1])).collect();
    for p in &mut partitions {
        p.isr = ids(&[0]);
    }
    assert!(rebalance(&partitions, &brokers(4, 0), LIMITS).moves.is_empty());
}

#[test]
fn more_replicas_go_to_other_racks_and_fewer_leave_the_leader() {
    let hosted = BTreeMap::new();
    let partitions = [partition("t", 0, &[1])];
    let planned = resize(&partitions, &brokers(6, 3), &hosted, 3, LIMITS);
    assert_eq!(planned.moves[0].replicas, ids(&[1, 0, 2]));
    let partitions = [partition("t", 0, &[1, 4, 0])];
    let planned = resize(&partitions, &brokers(6, 3), &hosted, 2, LIMITS);
    assert_eq!(planned.moves[0].replicas, ids(&[1, 0]), "both of one rack is what goes");
}

#[test]
fn no_replica_is_dropped_while_one_that_stays_is_out_of_sync() {
    let mut p = partition("t", 0, &[0, 1, 2]);
    p.isr = ids(&[0]);
    let planned = resize(&[p], &brokers(3, 0), &BTreeMap::new(), 2, LIMITS);
    assert!(planned.moves.is_empty());
    assert!(planned.obstacle.unwrap().contains("to be in sync"));
}

#[test]
fn added_replicas_are_taken_back_when_they_are_no_longer_wanted() {
    let mut p = partition("t", 0, &[0, 1, 2]);
    (p.adding, p.isr) = (ids(&[2]), ids(&[0, 1]));
    let planned = resize(&[p], &brokers(3, 0), &BTreeMap::new(), 2, LIMITS);
    assert_eq!(planned.moves[0].replicas, ids(&[0, 1]));
}

#[test]
fn only_what_moves_is_throttled() {
    let mut partitions = [partition("t", 0, &[0, 1]), partition("t", 1, &[0, 1])];
    partitions[1].adding = ids(&[3]);
    partitions[1].replicas = ids(&[0, 3, 1]);
    let m = Move { partition: TopicPartition::new("t", 0), replicas: ids(&[0, 2]) };
    let change = throttle(1000, &[m], &partitions).unwrap();
    let lists = change.topics["t"].clone().unwrap();
    assert_eq!((&*lists.leader, &*lists.follower), ("0:0,0:1,1:0,1:1", "0:2,1:3"));
    let rated: Vec<_> = change.brokers.into_keys().collect();
    assert_eq!(rated, ids(&[0, 1, 2, 3]));
    let reordered = Move { partition: TopicPartition::new("t", 0), replicas: ids(&[1, 0]) };
    assert_eq!(throttle(1000, &[reordered], &partitions[..1]), None, "it copies nothing");
}

prop_compose! {
    /// Partitions with distinct replicas among `count` brokers.
    fn spread(count: i32)(
        lists in prop::collection::vec((1..=3usize, any::<u32>()), 0..40)
    ) -> Vec<PartitionView> {
        lists.iter().enumerate().map(|(at, (factor, seed))| {
            let mut all: Vec<i32> = (0..count).collect();
            all.sort_by_key(|id| (*id as u32).wrapping_mul(2_654_435_761).wrapping_add(*seed) % 97);
            partition("t", at as i32, &all[..*factor])
        }).collect()
    }
}

fn racks_of(ids: &[BrokerId], racks: i32) -> usize {
    ids.iter().map(|id| if racks == 0 { 0 } else { id.0 % racks }).collect::<BTreeSet<_>>().len()
}

fn check_move(m: &Move, p: &PartitionView) {
    let unique: BTreeSet<_> = m.replicas.iter().collect();
    assert_eq!(unique.len(), m.replicas.len(), "{m:?}");
    assert_eq!(m.replicas.len(), p.replicas.len(), "{m:?}");
}

proptest! {
    #[test]
    fn rebalancing_ends_with_even_counts(
        mut partitions in spread(6), racks in 0..=3i32, per_broker in 1..5usize,
    ) {
        let (brokers, limits) = (brokers(6, racks), Limits { per_broker, batch: 4 });
        let mut rounds = 0;
        loop {
            let planned = rebalance(&partitions, &brokers, limits);
            prop_assert_eq!(&planned, &rebalance(&partitions, &brokers, limits));
            if planned.moves.is_empty() {
                break;
            }
            for m in &planned.moves {
                let p = &partitions[m.partition.partition as usize];
                check_move(m, p);
                prop_assert!(racks_of(&m.replicas, racks) >= racks_of(&p.replicas, racks));
            }
            carry_out(&mut partitions, &planned.moves);
            rounds += 1;
            prop_assert!(rounds < 500, "no end");
        }
        let counts = counts(&partitions, 6);
        if racks == 0 {
            let gap = counts.iter().max().unwrap() - counts.iter().min().unwrap();
            prop_assert!(gap <= 1, "{:?}", counts);
        }
    }

    #[test]
    fn draining_empties_brokers_and_touches_nothing_else(
        mut partitions in spread(6), racks in 0..=3i32, leave in 1..=3i32, per_broker in 1..5usize,
    ) {
        let leaving: BTreeSet<BrokerId> = (6 - leave..6).map(BrokerId).collect();
        let (brokers, limits) = (brokers(6, racks), Limits { per_broker, batch: 4 });
        for _ in 0..200 {
            let planned = drain(&partitions, &brokers, &leaving, limits);
            for m in &planned.moves {
                let p = &partitions[m.partition.partition as usize];
                check_move(m, p);
                for (at, id) in p.replicas.iter().enumerate() {
                    prop_assert!(leaving.contains(id) || m.replicas[at] == *id, "{:?}", m);
                }
            }
            if planned.moves.is_empty() {
                break;
            }
            carry_out(&mut partitions, &planned.moves);
        }
        prop_assert!(counts(&partitions, 6)[(6 - leave) as usize..].iter().all(|n| *n == 0));
    }
}

/// As after `spec.rack` was set in a cluster that had replicas before.
#[test]
fn replicas_that_share_a_rack_move_to_one_that_has_none() {
    // Racks: 0, 3 in a; 1, 4 in b; 2, 5 in c.
    let mut partitions = vec![partition("t", 0, &[0, 3, 1]), partition("t", 1, &[1, 4])];
    partitions.push(partition("t", 2, &[2, 0, 1]));
    assert!(shares_racks(&partitions, &brokers(6, 3)));
    let planned = rebalance(&partitions, &brokers(6, 3), LIMITS);
    carry_out(&mut partitions, &planned.moves);
    assert!(!shares_racks(&partitions, &brokers(6, 3)), "{partitions:?}");
    assert_eq!(partitions[0].replicas[0], BrokerId(0), "who is preferred to lead stays");
    // Where there is no other rack, or nobody knows, nothing is to be done.
    assert!(!shares_racks(&[partition("t", 0, &[0, 2, 1])], &brokers(6, 2)));
    assert!(!shares_racks(&[partition("t", 0, &[0, 1])], &brokers(6, 0)));
}
