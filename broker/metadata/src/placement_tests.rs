//! Tests of placement: spread, racks, determinism.

use std::collections::BTreeSet;

use super::*;

fn brokers(racks: &[Option<&str>]) -> Vec<PlacementBroker> {
    let broker = |(id, rack): (usize, &Option<&str>)| PlacementBroker {
        id: BrokerId(id as i32),
        rack: rack.map(Arc::from),
        fenced: false,
    };
    racks.iter().enumerate().map(broker).collect()
}

fn counts(lists: &[Vec<BrokerId>], slot: Option<usize>) -> Vec<usize> {
    let mut counts: BTreeMap<BrokerId, usize> = BTreeMap::new();
    for replicas in lists {
        let chosen = match slot {
            Some(slot) => &replicas[slot..=slot],
            None => &replicas[..],
        };
        chosen.iter().for_each(|b| *counts.entry(*b).or_default() += 1);
    }
    counts.into_values().collect()
}

#[test]
fn leaders_and_replicas_are_spread_evenly() {
    let brokers = brokers(&[None; 5]);
    for seed in 0..20 {
        let lists = place(&brokers, 50, 3, &mut Entropy::from_seed(seed)).unwrap();
        assert!(lists.iter().all(|r| r.iter().collect::<BTreeSet<_>>().len() == 3));
        assert_eq!(counts(&lists, Some(0)), [10; 5], "leaders");
        let replicas = counts(&lists, None);
        assert!(replicas.iter().all(|n| (25..=35).contains(n)), "{replicas:?}");
    }
}

#[test]
fn replicas_lie_in_different_racks_and_leaders_in_all() {
    let brokers = brokers(&[Some("a"), Some("a"), Some("b"), Some("b"), Some("c"), Some("c")]);
    let rack = |b: &BrokerId| brokers[b.0 as usize].rack.clone();
    let lists = place(&brokers, 60, 3, &mut Entropy::from_seed(3)).unwrap();
    for replicas in &lists {
        assert_eq!(replicas.iter().map(rack).collect::<BTreeSet<_>>().len(), 3, "{replicas:?}");
    }
    assert_eq!(counts(&lists, Some(0)), [10; 6]);
    // More replicas than racks: every rack before any twice.
    let lists = place(&brokers, 60, 5, &mut Entropy::from_seed(3)).unwrap();
    for replicas in &lists {
        assert_eq!(replicas[..3].iter().map(rack).collect::<BTreeSet<_>>().len(), 3);
        assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), 5);
    }
}

#[test]
fn fenced_brokers_come_last_and_never_lead() {
    let mut brokers = brokers(&[None; 3]);
    brokers[1].fenced = true;
    for replicas in place(&brokers, 30, 3, &mut Entropy::from_seed(1)).unwrap() {
        assert_eq!(replicas[2], BrokerId(1));
    }
    let two = place(&brokers, 30, 2, &mut Entropy::from_seed(1)).unwrap();
    assert!(two.iter().all(|replicas| !replicas.contains(&BrokerId(1))));
    brokers.iter_mut().for_each(|b| b.fenced = true);
    let none = place(&brokers, 1, 1, &mut Entropy::from_seed(1));
    assert_eq!(none, Err(PlacementError::NoneUsable { wanted: 1 }));
}

#[test]
fn impossible_factors_are_refused() {
    let brokers = brokers(&[None; 2]);
    let mut entropy = Entropy::from_seed(1);
    let too_few = PlacementError::TooFewBrokers { wanted: 3, usable: 2 };
    assert_eq!(place(&brokers, 1, 3, &mut entropy), Err(too_few));
    assert_eq!(place(&brokers, 1, 0, &mut entropy), Err(PlacementError::NoReplicas));
    let nobody = PlacementError::NoneUsable { wanted: 1 };
    assert_eq!(place(&[], 1, 1, &mut entropy), Err(nobody));
}

#[test]
fn the_seed_decides_and_single_partitions_spread_over_seeds() {
    let brokers = brokers(&[None; 3]);
    let leader = |seed: u128| {
        let lists = place(&brokers, 1, 1, &mut Entropy::from_seed(seed)).unwrap();
        assert_eq!(lists, place(&brokers, 1, 1, &mut Entropy::from_seed(seed)).unwrap());
        lists[0][0]
    };
    let leaders: Vec<Vec<BrokerId>> = (0..300).map(|seed| vec![leader(seed)]).collect();
    assert!(counts(&leaders, Some(0)).iter().all(|n| (60..=140).contains(n)));
}
