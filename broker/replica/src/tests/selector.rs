//! Consumers that read from followers: who is preferred, what a follower answers, who hears of the
//! high watermark.

use super::*;

const ALL: [BrokerId; 2] = [B2, B3];

fn preferred(replica: &Replica, offset: Offset, near: &[BrokerId]) -> Option<BrokerId> {
    replica.core.preferred_read_replica(replica.now_ms, offset, &|id| near.contains(&id))
}

/// A leader of `1, 2, 3` with 30 records whose followers stand at these offsets.
fn led(ends: [Offset; 2], isr: &[i32]) -> Replica {
    let mut replica = Replica::leader(1, isr);
    replica.append(30);
    replica.fetch(B2, ends[0]);
    replica.fetch(B3, ends[1]);
    replica
}

#[test]
fn the_follower_in_the_rack_that_is_furthest_ahead_is_preferred() {
    let replica = led([20, 25], &[1, 2, 3]);
    assert_eq!(preferred(&replica, 10, &ALL), Some(B3));
    assert_eq!(preferred(&replica, 10, &[B2]), Some(B2));
    assert_eq!(preferred(&replica, 10, &[]), None, "nobody is near");
    assert_eq!(preferred(&replica, 10, &[ME, B2, B3]), None, "the leader is");
    let mut replica = led([25, 25], &[1, 2, 3]);
    assert_eq!(preferred(&replica, 10, &ALL), Some(B3), "the highest id of equals");
    replica.append(40);
    replica.now_ms += 10;
    replica.fetch(B3, 30);
    replica.fetch(B2, 40);
    replica.fetch(B3, 40);
    replica.now_ms += 10;
    replica.append(50);
    replica.fetch(B2, 50);
    replica.now_ms += 10;
    replica.fetch(B3, 50);
    assert_eq!(preferred(&replica, 10, &ALL), Some(B3), "it was caught up last");
}

#[test]
fn who_lacks_the_offset_or_is_out_of_sync_is_not_preferred() {
    let mut replica = led([20, 25], &[1, 2, 3]);
    assert_eq!(preferred(&replica, 25, &ALL), Some(B3));
    assert_eq!(preferred(&replica, 26, &ALL), None, "nobody has it yet");
    assert_eq!(preferred(&replica, 21, &[B2]), None);
    let fetch = FollowerFetch { log_start: 15, ..replica.fetch_of(B3, 25) };
    replica.fetch_with(fetch).0.unwrap();
    assert_eq!(preferred(&replica, 14, &ALL), Some(B2), "the other deleted it");
    assert_eq!(preferred(&replica, 15, &ALL), Some(B3));
    replica.assign(Some(1), 1, 2, &[1, 2]);
    assert_eq!(preferred(&replica, 15, &ALL), Some(B2), "the other left the ISR");
    replica.assign(Some(1), 2, 3, &[1, 2, 3]);
    assert_eq!(preferred(&replica, 15, &ALL), None, "nobody fetched in this epoch");
    replica.assign(Some(2), 3, 4, &[1, 2, 3]);
    assert_eq!(preferred(&replica, 0, &ALL), None, "a follower sends nobody on");
}

fn read(replica: &Replica, fetch: ConsumerFetch) -> Result<(Offset, Offset), ErrorCode> {
    let end = replica.core.log().end;
    let plan = replica.core.consumer_fetch(&fetch, &|epoch| end_of(&replica.epochs, end, epoch));
    plan.map(|plan| {
        assert_eq!(plan.diverging, None);
        (plan.from, plan.max_offset)
    })
}

#[test]
fn a_follower_answers_consumers_up_to_its_own_high_watermark() {
    let mut replica = Replica::new(1, 30, 20);
    replica.epochs = vec![(0, 0), (4, 25)];
    assert_eq!(read(&replica, consumer(5)), Err(ErrorCode::NotLeaderOrFollower), "no role yet");
    replica.assign(Some(2), 5, 1, &[2]);
    assert_eq!(read(&replica, consumer(5)), Ok((5, 20)));
    let old = ConsumerFetch { any_replica: false, ..consumer(5) };
    assert_eq!(read(&replica, old), Err(ErrorCode::NotLeaderOrFollower));
    for (epoch, code) in [(4, ErrorCode::FencedLeaderEpoch), (6, ErrorCode::UnknownLeaderEpoch)] {
        let fetch = ConsumerFetch { current_leader_epoch: epoch, ..consumer(5) };
        assert_eq!(read(&replica, fetch), Err(code));
    }
    assert_eq!(read(&replica, consumer(25)), Ok((25, 20)), "it has to wait, as with Kafka");
    assert_eq!(read(&replica, consumer(31)), Err(ErrorCode::OffsetOutOfRange), "not here");
    let ahead = ConsumerFetch { last_fetched_epoch: 5, ..consumer(28) };
    assert_eq!(read(&replica, ahead), Ok((28, 20)), "its own tail proves nothing");
    let open = LogOffsets { first_unstable: Some(12), ..log(0, 30) };
    replica.on(Event::LogChanged(open));
    let committed = ConsumerFetch { isolation: Isolation::ReadCommitted, ..consumer(5) };
    assert_eq!(read(&replica, committed), Ok((5, 12)));
    let effects = replica.on(Event::Replicated { log: log(0, 30), leader_high_watermark: 28 });
    assert!(effects.contains(&Effect::WakeConsumers));
    assert_eq!(read(&replica, consumer(25)), Ok((25, 28)));
    replica.on(Event::Removed);
    assert_eq!(read(&replica, consumer(5)), Err(ErrorCode::NotLeaderOrFollower));
}

#[test]
fn offsets_and_epochs_stay_with_the_leader() {
    let mut replica = Replica::new(1, 30, 20);
    replica.assign(Some(2), 5, 1, &[1, 2]);
    let refused = Err(ErrorCode::NotLeaderOrFollower);
    assert_eq!(replica.core.check_leader(5), refused);
    let latest = replica.core.latest_offset(Isolation::ReadUncommitted);
    assert_eq!(latest, Err(ErrorCode::NotLeaderOrFollower));
}

#[test]
fn followers_that_serve_consumers_hear_of_commits_at_once() {
    for tells_commits in [false, true] {
        let mut replica = Replica::leader(1, &[1, 2, 3]);
        replica.on(Event::Settings(Settings { tells_commits, ..settings(1) }));
        replica.append(10);
        let first = replica.fetch(B2, 10);
        assert!(!first.contains(&Effect::WakeFollowers), "nothing is committed");
        let second = replica.fetch(B3, 10);
        assert!(second.contains(&Effect::HighWatermark(10)));
        assert_eq!(second.contains(&Effect::WakeFollowers), tells_commits);
    }
}
