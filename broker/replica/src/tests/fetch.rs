//! Reads on the leader: fencing, divergence, ranges.

use super::*;

fn leader_with_history() -> Replica {
    // Epoch 0 at 0, epoch 2 at 10, then this leader's epoch 5 at 20.
    let mut replica = Replica::new(1, 20, 20);
    replica.epochs = vec![(0, 0), (2, 10)];
    replica.assign(Some(1), 5, 1, &[1, 2]);
    replica.append(30);
    replica
}

#[test]
fn epochs_are_fenced_before_the_role_is_looked_at() {
    let mut replica = leader_with_history();
    let mut fetch = replica.fetch_of(B2, 0);
    for (epoch, expected) in [
        (4, Err(ErrorCode::FencedLeaderEpoch)),
        (6, Err(ErrorCode::UnknownLeaderEpoch)),
        (5, Ok(())),
        (-1, Ok(())),
    ] {
        fetch.current_leader_epoch = epoch;
        assert_eq!(replica.fetch_with(fetch).0.map(|_| ()), expected);
        assert_eq!(replica.core.check_leader(epoch), expected);
    }
    replica.assign(Some(2), 6, 2, &[1, 2]);
    fetch.current_leader_epoch = 6;
    assert_eq!(replica.fetch_with(fetch).0, Err(ErrorCode::NotLeaderOrFollower));
}

#[test]
fn a_diverging_follower_hears_where_and_counts_for_nothing() {
    let mut replica = leader_with_history();
    for (epoch, offset, expected) in [
        (2, 25, Some(EpochEnd { epoch: 2, end_offset: 20 })),
        (3, 15, Some(EpochEnd { epoch: 2, end_offset: 20 })),
        (2, 20, None),
        (0, 10, None),
        (0, 11, Some(EpochEnd { epoch: 0, end_offset: 10 })),
        (5, 31, Some(EpochEnd { epoch: 5, end_offset: 30 })),
    ] {
        let mut fetch = replica.fetch_of(B2, offset);
        fetch.last_fetched_epoch = epoch;
        let before = replica.core.follower_position(B2);
        let plan = replica.fetch_with(fetch).0.unwrap();
        assert_eq!(plan.diverging, expected, "epoch {epoch} offset {offset}");
        if expected.is_some() {
            assert_eq!(replica.core.follower_position(B2), before);
        }
    }
}

#[test]
fn offsets_outside_the_log_and_unknown_histories_are_out_of_range() {
    let mut replica = leader_with_history();
    replica.on(Event::LogChanged(log(12, 30)));
    replica.epochs = vec![(2, 12), (5, 20)];
    for (epoch, offset) in [(-1, 31), (-1, 11), (0, 11), (0, 15)] {
        let mut fetch = replica.fetch_of(B2, offset);
        fetch.last_fetched_epoch = epoch;
        assert_eq!(replica.fetch_with(fetch).0, Err(ErrorCode::OffsetOutOfRange));
    }
    let lookup = |_| None;
    for offset in [11, 31] {
        let read = replica.core.consumer_fetch(&consumer(offset), &lookup);
        assert_eq!(read, Err(ErrorCode::OffsetOutOfRange));
    }
}

#[test]
fn consumers_read_up_to_the_high_watermark_followers_to_the_end() {
    let mut replica = leader_with_history();
    let lookup = |_| None;
    let plan = replica.core.consumer_fetch(&consumer(12), &lookup).unwrap();
    assert_eq!((plan.from, plan.max_offset, plan.log_end), (12, 20, 30));
    let beyond = replica.core.consumer_fetch(&consumer(25), &lookup).unwrap();
    assert_eq!(beyond.max_offset, 20, "nothing to read yet, but no error");
    let (plan, _) = replica.fetch_with(replica.fetch_of(B2, 28));
    let plan = plan.unwrap();
    assert_eq!((plan.max_offset, plan.high_watermark), (30, 28), "told at once");
}

#[test]
fn strangers_and_earlier_incarnations_do_not_fetch() {
    let mut replica = leader_with_history();
    let stranger = replica.fetch_of(BrokerId(9), 20);
    assert_eq!(replica.fetch_with(stranger).0, Err(ErrorCode::NotLeaderOrFollower));
    let mut fetch = replica.fetch_of(B2, 20);
    replica.fetch_with(fetch).0.unwrap();
    fetch.broker_epoch = 6;
    fetch.fetch_offset = 30;
    assert_eq!(replica.fetch_with(fetch).0, Err(ErrorCode::NotLeaderOrFollower));
    assert_eq!(replica.hw(), 20);
}

#[test]
fn latest_is_unavailable_until_the_epoch_start_is_committed() {
    let mut replica = Replica::new(1, 20, 12);
    replica.assign(Some(1), 5, 1, &[1, 2]);
    let latest = |replica: &Replica| replica.core.latest_offset(Isolation::ReadUncommitted);
    assert_eq!(latest(&replica), Err(ErrorCode::OffsetNotAvailable));
    // What is below it is known: only a time beyond it cannot be answered yet.
    let bound = |replica: &Replica| replica.core.timestamp_bound(Isolation::ReadUncommitted);
    assert_eq!(bound(&replica), Ok((12, Some(ErrorCode::OffsetNotAvailable))));
    replica.fetch(B2, 19);
    assert_eq!(latest(&replica), Err(ErrorCode::OffsetNotAvailable));
    replica.fetch(B2, 20);
    assert_eq!(latest(&replica), Ok(20));
    assert_eq!(bound(&replica), Ok((20, None)));
}

#[test]
fn a_long_poll_looks_again_without_noting_a_position() {
    let mut replica = leader_with_history();
    let fetch = replica.fetch_of(B2, 22);
    replica.fetch_with(fetch).0.unwrap();
    let later = FollowerFetch { fetch_offset: 28, ..fetch };
    let plan = replica.core.follower_read(&later, &|_| None).unwrap();
    assert_eq!((plan.max_offset, replica.hw()), (30, 22));
}

#[test]
fn a_deletion_is_done_when_no_live_replica_has_the_records() {
    let mut replica = leader_with_history();
    replica.on(Event::LogChanged(LogOffsets { start: 10, ..log(0, 30) }));
    let low = |replica: &Replica, dead: BrokerId| replica.core.low_watermark(&|id| id != dead);
    assert_eq!(low(&replica, BrokerId(9)), Ok(-1), "nobody fetched in this epoch");
    for (follower, log_start, all, without_b3) in [(B2, 7, -1, 7), (B2, 12, -1, 10), (B3, 4, 4, 10)]
    {
        let fetch = FollowerFetch { log_start, ..replica.fetch_of(follower, 30) };
        let (_, effects) = replica.fetch_with(fetch);
        assert!(effects.contains(&Effect::LowWatermark));
        let (_, effects) = replica.fetch_with(fetch);
        assert!(!effects.contains(&Effect::LowWatermark), "told once");
        assert_eq!(low(&replica, BrokerId(9)), Ok(all));
        assert_eq!(low(&replica, B3), Ok(without_b3));
    }
    replica.assign(Some(1), 6, 2, &[1, 2]);
    assert_eq!(low(&replica, BrokerId(9)), Ok(-1), "the same in a new epoch");
    replica.assign(Some(2), 7, 3, &[1, 2]);
    assert_eq!(low(&replica, BrokerId(9)), Err(ErrorCode::NotLeaderOrFollower));
}
