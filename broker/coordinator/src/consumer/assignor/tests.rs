//! What assignors promise, on random groups, and what they cost on large ones.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Instant;

use proptest::prelude::*;

use super::*;

fn id(topic: usize) -> TopicId {
    let mut bytes = [7; 16];
    bytes[..8].copy_from_slice(&(topic as u64 + 1).to_be_bytes());
    TopicId(bytes)
}

fn group(topics: &[u32], members: &[Vec<u32>], before: &[Partitions]) -> GroupSpec {
    let member = |(m, topics): (usize, &Vec<u32>)| MemberSpec {
        id: format!("m{m:04}").into(),
        instance_id: None,
        topics: topics.clone().into(),
        target: before.get(m).cloned().map(Arc::new),
    };
    GroupSpec {
        topics: topics.iter().enumerate().map(|(t, size)| (id(t), *size)).collect(),
        members: members.iter().enumerate().map(member).collect(),
    }
}

fn size(of: &Partitions) -> usize {
    of.values().map(BTreeSet::len).sum()
}

fn kept(before: &[Partitions], after: &[Partitions]) -> usize {
    let both = |(b, a): (&Partitions, &Partitions)| {
        let of_topic = |(t, ps): (&TopicId, &BTreeSet<i32>)| {
            a.get(t).map_or(0, |now| ps.intersection(now).count())
        };
        b.iter().map(of_topic).sum::<usize>()
    };
    before.iter().zip(after).map(both).sum()
}

fn arbitrary_group() -> impl Strategy<Value = (Vec<u32>, Vec<Vec<u32>>)> {
    proptest::collection::vec(0_u32..9, 1..5).prop_flat_map(|topics| {
        let all = topics.len() as u32;
        let subscription = proptest::collection::btree_set(0..all, 1..=topics.len());
        let members = proptest::collection::vec(subscription, 1..7);
        let members = members.prop_map(|ms| {
            ms.into_iter().map(|m| m.into_iter().collect()).collect::<Vec<Vec<u32>>>()
        });
        (Just(topics), members)
    })
}

/// Every partition that somebody reads has one owner, who reads it.
fn check_owners(spec: &GroupSpec, assigned: &[Partitions]) {
    let mut owned: Vec<(TopicId, i32)> = Vec::new();
    for (member, partitions) in spec.members.iter().zip(assigned) {
        for (topic, among) in partitions {
            let index = spec.topics.iter().position(|(t, _)| t == topic).unwrap() as u32;
            assert!(member.topics.contains(&index), "{} does not read it", member.id);
            owned.extend(among.iter().map(|p| (*topic, *p)));
        }
    }
    owned.sort_unstable();
    let read = |t: &u32| spec.members.iter().any(|m| m.topics.contains(t));
    let topics = (0_u32..).zip(&spec.topics).filter(|(t, _)| read(t));
    let mut all: Vec<(TopicId, i32)> =
        topics.flat_map(|(_, (id, size))| (0..*size as i32).map(|p| (*id, p))).collect();
    all.sort_unstable();
    assert_eq!(owned, all);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_partition_has_one_owner_who_reads_it((topics, members) in arbitrary_group()) {
        let spec = group(&topics, &members, &[]);
        for assignor in [Assignor::Uniform, Assignor::Range] {
            check_owners(&spec, &assignor.assign(&spec));
        }
    }

    #[test]
    fn uniform_is_even_and_moves_nothing_twice((topics, members) in arbitrary_group()) {
        let spec = group(&topics, &members, &[]);
        let first = Assignor::Uniform.assign(&spec);
        for (rich, of_rich) in spec.members.iter().zip(&first) {
            for (poor, of_poor) in spec.members.iter().zip(&first) {
                let could = of_rich.keys().any(|topic| {
                    let index = spec.topics.iter().position(|(t, _)| t == topic).unwrap() as u32;
                    poor.topics.contains(&index)
                });
                let differ = size(of_rich) > size(of_poor) + 1;
                prop_assert!(!(could && differ), "{} has more than {}", rich.id, poor.id);
            }
        }
        let again = Assignor::Uniform.assign(&group(&topics, &members, &first));
        prop_assert_eq!(&again, &first);
    }

    #[test]
    fn uniform_takes_no_more_than_newcomers_need(
        topics in proptest::collection::vec(0_u32..9, 1..5),
        count in 1_usize..7,
    ) {
        let all: Vec<u32> = (0..topics.len() as u32).collect();
        let before = Assignor::Uniform.assign(&group(&topics, &vec![all.clone(); count], &[]));
        let wider = group(&topics, &vec![all; count + 1], &before);
        let after = Assignor::Uniform.assign(&wider);
        check_owners(&wider, &after);
        let total: u32 = topics.iter().sum();
        prop_assert_eq!(kept(&before, &after), total as usize - size(&after[count]));
    }

    #[test]
    fn range_splits_topics_of_one_size_alike(count in 1_usize..7, size in 0_u32..12) {
        let spec = group(&[size, size], &vec![vec![0, 1]; count], &[]);
        for member in Assignor::Range.assign(&spec) {
            prop_assert_eq!(member.get(&id(0)), member.get(&id(1)));
        }
    }
}

/// Run by hand, in a release build: what one computation takes.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::disallowed_methods)]
fn cost() {
    for (members, topics, partitions) in [(10, 1, 900), (1_000, 10, 1_000), (5_000, 100, 1_000)] {
        let sizes = vec![partitions; topics];
        let all: Vec<u32> = (0..topics as u32).collect();
        let half = |m: usize| all.iter().copied().filter(|t| t % 2 == m as u32 % 2).collect();
        let mixed: Vec<Vec<u32>> = (0..members).map(half).collect();
        for (kind, subscriptions) in [("same", vec![all.clone(); members]), ("mixed", mixed)] {
            for assignor in [Assignor::Uniform, Assignor::Range] {
                let spec = group(&sizes, &subscriptions, &[]);
                let start = Instant::now();
                let first = assignor.assign(&spec);
                let fresh = start.elapsed();
                let next = group(&sizes, &subscriptions[1..], &first[1..]);
                let start = Instant::now();
                assignor.assign(&next);
                let again = start.elapsed();
                println!("{members} {topics}x{partitions} {kind} {assignor:?} {fresh:?} {again:?}");
            }
        }
    }
}
