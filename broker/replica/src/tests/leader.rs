//! High watermark, produce admission and waiting produces.

use super::*;

#[test]
fn a_lone_replica_commits_at_once() {
    let mut replica = Replica::new(1, 0, 0);
    let effects = replica.assign(Some(1), 1, 1, &[1]);
    assert_eq!(effects[0], Effect::BecomeLeader { epoch: 1, start_offset: 0 });
    let effects = replica.append(5);
    assert_eq!(effects, [Effect::HighWatermark(5), Effect::WakeConsumers, Effect::WakeFollowers]);
    let effects = replica.on(Event::AwaitCommit { ticket: 9, required: 5 });
    assert_eq!(effects, [Effect::Complete { ticket: 9, result: Ok(()) }]);
}

#[test]
fn the_high_watermark_is_the_smallest_end_in_the_isr() {
    let mut replica = Replica::leader(2, &[1, 2, 3]);
    assert_eq!(replica.append(10), [Effect::WakeFollowers]);
    replica.on(Event::AwaitCommit { ticket: 1, required: 10 });
    replica.on(Event::AwaitCommit { ticket: 2, required: 4 });
    assert_eq!(replica.fetch(B2, 10), [], "3 has not fetched in this epoch");
    let effects = replica.fetch(B3, 4);
    assert_eq!(
        effects,
        [
            Effect::HighWatermark(4),
            Effect::Complete { ticket: 2, result: Ok(()) },
            Effect::WakeConsumers
        ]
    );
    let effects = replica.fetch(B3, 10);
    assert!(effects.contains(&Effect::Complete { ticket: 1, result: Ok(()) }));
    assert_eq!((replica.hw(), replica.core.waiting()), (10, 0));
}

#[test]
fn produce_is_admitted_by_role_acks_and_isr() {
    let mut replica = Replica::new(2, 0, 0);
    assert_eq!(replica.core.check_produce(1), Err(ErrorCode::NotLeaderOrFollower));
    replica.assign(Some(1), 3, 1, &[1]);
    assert_eq!(replica.core.check_produce(1), Ok(3));
    assert_eq!(replica.core.check_produce(0), Ok(3));
    assert_eq!(replica.core.check_produce(-1), Err(ErrorCode::NotEnoughReplicas));
    assert_eq!(replica.core.check_produce(2), Err(ErrorCode::InvalidRequiredAcks));
    replica.assign(Some(1), 3, 2, &[1, 2]);
    assert_eq!(replica.core.check_produce(-1), Ok(3));
}

#[test]
fn below_min_isr_the_high_watermark_is_frozen_and_waiters_wait() {
    let mut replica = Replica::leader(2, &[1, 2]);
    replica.append(10);
    replica.fetch(B2, 4);
    replica.on(Event::AwaitCommit { ticket: 1, required: 10 });
    assert_eq!(replica.assign(Some(1), 1, 2, &[1]), []);
    replica.append(12);
    assert_eq!(replica.on(Event::AwaitCommit { ticket: 2, required: 12 }), []);
    assert_eq!((replica.hw(), replica.core.waiting()), (4, 2));
    replica.fetch(B2, 12);
    let effects = replica.assign(Some(1), 1, 3, &[1, 2]);
    let done = |ticket| Effect::Complete { ticket, result: Ok(()) };
    assert_eq!(effects[..3], [Effect::HighWatermark(12), done(1), done(2)]);
}

#[test]
fn more_wanted_replicas_than_there_are_count_as_all() {
    let mut replica = Replica::leader(5, &[1, 2, 3]);
    assert_eq!(replica.core.check_produce(-1), Ok(1));
    replica.on(Event::Settings(settings(1)));
    assert!(!replica.core.is_under_min_isr());
}

#[test]
fn resignation_fails_the_waiters_and_wakes_everyone() {
    let mut replica = Replica::leader(1, &[1, 2]);
    replica.append(3);
    replica.on(Event::AwaitCommit { ticket: 1, required: 3 });
    let effects = replica.assign(Some(2), 2, 2, &[1, 2]);
    assert_eq!(
        effects,
        [
            Effect::Complete { ticket: 1, result: Err(ErrorCode::NotLeaderOrFollower) },
            Effect::Follow { leader: B2, epoch: 2 },
            Effect::WakeConsumers,
            Effect::WakeFollowers,
        ]
    );
    let late = replica.on(Event::AwaitCommit { ticket: 2, required: 3 });
    let result = Err(ErrorCode::NotLeaderOrFollower);
    assert_eq!(late, [Effect::Complete { ticket: 2, result }]);
}

#[test]
fn a_new_epoch_of_the_same_leader_keeps_waiters_but_forgets_followers() {
    let mut replica = Replica::leader(1, &[1, 2]);
    replica.append(3);
    replica.on(Event::AwaitCommit { ticket: 1, required: 3 });
    replica.assign(Some(1), 5, 2, &[1, 2]);
    assert_eq!(replica.core.follower_position(B2).unwrap().0, None);
    assert_eq!(replica.hw(), 0);
    let effects = replica.fetch(B2, 3);
    assert!(effects.contains(&Effect::Complete { ticket: 1, result: Ok(()) }));
}

#[test]
fn a_cancelled_ticket_is_never_completed() {
    let mut replica = Replica::leader(1, &[1, 2]);
    replica.append(3);
    replica.on(Event::AwaitCommit { ticket: 1, required: 3 });
    replica.on(Event::CancelWait { ticket: 1, required: 3 });
    assert_eq!(replica.fetch(B2, 3), [Effect::HighWatermark(3), Effect::WakeConsumers]);
}

#[test]
fn a_cancelled_wait_is_found_among_those_for_the_same_offset() {
    let mut replica = Replica::leader(1, &[1, 2]);
    replica.append(6);
    // The retry of a batch waits for what its first attempt waits for.
    for (ticket, required) in [(1, 3), (2, 6), (3, 3), (4, 3)] {
        replica.on(Event::AwaitCommit { ticket, required });
    }
    replica.on(Event::CancelWait { ticket: 3, required: 3 });
    // Another one's: it stays.
    replica.on(Event::CancelWait { ticket: 4, required: 6 });
    let completed: Vec<u64> = (replica.fetch(B2, 6).into_iter())
        .filter_map(|effect| match effect {
            Effect::Complete { ticket, .. } => Some(ticket),
            _ => None,
        })
        .collect();
    assert_eq!(completed, [1, 4, 2]);
}

#[test]
fn old_and_repeated_assignments_are_ignored() {
    let mut replica = Replica::leader(1, &[1, 2]);
    assert_eq!(replica.assign(Some(1), 1, 1, &[1]), []);
    assert_eq!(replica.assign(Some(2), 0, 9, &[2]), []);
    assert_eq!(replica.core.isr(), ids(&[1, 2]));
}

#[test]
fn an_open_transaction_bounds_the_stable_offset() {
    let mut replica = Replica::leader(1, &[1]);
    let open = LogOffsets { start: 0, end: 5, first_unstable: Some(2) };
    replica.on(Event::LogChanged(open));
    assert_eq!((replica.hw(), replica.core.last_stable_offset()), (5, 2));
    // The marker is appended: the end moves, and with it everything readers may see.
    let effects = replica.append(6);
    assert!(effects.contains(&Effect::WakeConsumers));
    assert_eq!(replica.core.last_stable_offset(), 6);
}

#[test]
fn what_is_not_durable_here_is_not_committed() {
    let mut replica = Replica::leader(1, &[1, 2]);
    replica.append(3);
    replica.on(Event::Durable(3));
    assert_eq!(replica.append(5), [Effect::WakeFollowers]);
    replica.on(Event::AwaitCommit { ticket: 1, required: 5 });
    replica.fetch(B2, 5);
    assert_eq!((replica.hw(), replica.core.waiting()), (3, 1));
    let effects = replica.on(Event::Durable(Offset::MAX));
    assert!(effects.contains(&Effect::Complete { ticket: 1, result: Ok(()) }));
    assert_eq!(replica.hw(), 5);
}

#[test]
fn an_idle_replica_is_small() {
    assert!(size_of::<Partition>() <= 224, "{}", size_of::<Partition>());
}
