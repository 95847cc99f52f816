//! The follower's side: appending, truncating, following the high watermark.

use super::*;

fn follower(end: Offset, high_watermark: Offset, epochs: &[(LeaderEpoch, Offset)]) -> Replica {
    let mut replica = Replica::new(1, end, high_watermark);
    replica.epochs = epochs.to_vec();
    let effects = replica.assign(Some(2), 5, 1, &[1, 2]);
    assert_eq!(effects[0], Effect::Follow { leader: B2, epoch: 5 });
    replica
}

fn answer(fetch_offset: Offset) -> FetchAnswer {
    FetchAnswer {
        leader: B2,
        leader_epoch: 5,
        fetch_offset,
        last_fetched_epoch: 0,
        error: ErrorCode::None,
        diverging: None,
        high_watermark: 0,
        log_start: 0,
    }
}

fn step(replica: &Replica, answer: FetchAnswer) -> FollowerStep {
    let end = replica.core.log().end;
    replica.core.fetch_answer(&answer, &|epoch| end_of(&replica.epochs, end, epoch))
}

#[test]
fn answers_of_another_time_are_dropped() {
    let replica = follower(10, 5, &[(0, 0)]);
    assert_eq!(step(&replica, answer(10)), FollowerStep::Append { log_start: 0 });
    assert_eq!(step(&replica, answer(9)), FollowerStep::Stale);
    assert_eq!(step(&replica, FetchAnswer { leader_epoch: 4, ..answer(10) }), FollowerStep::Stale);
    assert_eq!(step(&replica, FetchAnswer { leader: B3, ..answer(10) }), FollowerStep::Stale);
}

/// Found by the simulator (seed 1647): the follower diverged at 49, truncated to 48 and got the
/// leader's batch up to 49; then the answer to an earlier fetch at 49 came, late, and would have
/// cut off what was committed.
#[test]
fn a_late_divergence_does_not_cut_what_was_replicated_since() {
    let replica = follower(49, 49, &[(0, 0), (1, 48)]);
    let diverging = Some(EpochEnd { epoch: 0, end_offset: 48 });
    let late = FetchAnswer { diverging, last_fetched_epoch: 0, ..answer(49) };
    assert_eq!(step(&replica, late), FollowerStep::Stale);
    let true_now = FetchAnswer { last_fetched_epoch: 1, diverging: None, ..late };
    assert_eq!(step(&replica, true_now), FollowerStep::Append { log_start: 0 });
}

#[test]
fn the_high_watermark_is_the_leaders_bounded_by_the_own_end() {
    let mut replica = follower(10, 5, &[(0, 0)]);
    let replicated = |end, hw| Event::Replicated { log: log(0, end), leader_high_watermark: hw };
    let effects = replica.on(replicated(12, 20));
    assert_eq!(effects, [Effect::HighWatermark(12), Effect::WakeConsumers]);
    assert_eq!(replica.on(replicated(12, 7)), [], "a new leader may know less");
    assert_eq!(replica.hw(), 12);
}

#[test]
fn truncation_ends_where_the_histories_agree() {
    // Own history: epoch 0 at 0, 2 at 10, 4 at 15, end 18.
    let epochs = [(0, 0), (2, 10), (4, 15)];
    for (leaders, to) in [
        // The leader's epoch 2 ends before ours does.
        (EpochEnd { epoch: 2, end_offset: 12 }, 12),
        // The leader's epoch 2 is longer than ours: ours ends at 15.
        (EpochEnd { epoch: 2, end_offset: 17 }, 15),
        // We have no epoch 3: back to the end of 2, and ask again from there.
        (EpochEnd { epoch: 3, end_offset: 17 }, 15),
        (EpochEnd { epoch: 4, end_offset: 16 }, 16),
        // The leader's start of history is beyond ours.
        (EpochEnd { epoch: 0, end_offset: 3 }, 3),
    ] {
        let replica = follower(18, 2, &epochs);
        let diverging = Some(leaders);
        let answer = FetchAnswer { diverging, last_fetched_epoch: 4, ..answer(18) };
        let step = step(&replica, answer);
        assert_eq!(step, FollowerStep::Truncate { to }, "{leaders:?}");
    }
}

#[test]
fn out_of_range_restarts_at_the_leaders_start() {
    let mut replica = follower(10, 5, &[(0, 0)]);
    let out_of_range = FetchAnswer {
        error: ErrorCode::OffsetOutOfRange,
        log_start: 40,
        high_watermark: -1,
        ..answer(10)
    };
    assert_eq!(step(&replica, out_of_range), FollowerStep::RestartAt { offset: 40 });
    let unknown_start = FetchAnswer { log_start: -1, ..out_of_range };
    assert_eq!(step(&replica, unknown_start), FollowerStep::Backoff(ErrorCode::OffsetOutOfRange));
    replica.on(Event::LogChanged(log(40, 40)));
    assert_eq!(replica.hw(), 40);
}

#[test]
fn other_errors_wait() {
    let replica = follower(10, 5, &[(0, 0)]);
    for error in [ErrorCode::NotLeaderOrFollower, ErrorCode::UnknownLeaderEpoch] {
        let answer = FetchAnswer { error, ..answer(10) };
        assert_eq!(step(&replica, answer), FollowerStep::Backoff(error));
    }
}

#[test]
fn role_changes_say_what_to_fetch() {
    let mut replica = follower(10, 5, &[(0, 0)]);
    assert_eq!(replica.assign(Some(2), 5, 2, &[1, 2, 3]), [], "only the ISR changed");
    let effects = replica.assign(Some(3), 6, 3, &[2, 3]);
    assert_eq!(effects[0], Effect::Follow { leader: B3, epoch: 6 });
    assert_eq!(replica.assign(None, 7, 4, &[2])[0], Effect::Idle);
    assert_eq!(replica.core.role(), Role::Idle);
    let effects = replica.assign(Some(1), 8, 5, &[1]);
    assert_eq!(effects[0], Effect::BecomeLeader { epoch: 8, start_offset: 10 });
    assert_eq!(replica.on(Event::Removed)[0], Effect::Idle);
    assert_eq!(replica.core.check_produce(1), Err(ErrorCode::NotLeaderOrFollower));
}

/// Found by the simulator: the leader had deleted its epoch 1, and could only say that it ended
/// where the log starts now; three records of another epoch 1 would have stayed below that.
#[test]
fn what_the_leader_deleted_is_not_kept_across_a_divergence() {
    let replica = follower(30, 21, &[(0, 0), (1, 17)]);
    let leaders = EpochEnd { epoch: 1, end_offset: 27 };
    let deleted = FetchAnswer {
        diverging: Some(leaders),
        last_fetched_epoch: 1,
        log_start: 27,
        ..answer(30)
    };
    assert_eq!(step(&replica, deleted), FollowerStep::RestartAt { offset: 27 });
    let kept = FetchAnswer { log_start: 26, ..deleted };
    assert_eq!(step(&replica, kept), FollowerStep::Truncate { to: 27 });
}

/// Found by the simulator: a follower whose log ended in an old epoch just where its leader's log
/// starts now was taken for a prefix of it.
#[test]
fn a_log_that_ends_at_the_leaders_start_begins_anew() {
    let mut replica = follower(30, 21, &[(0, 0)]);
    let joined = FetchAnswer { log_start: 30, ..answer(30) };
    assert_eq!(step(&replica, joined), FollowerStep::RestartAt { offset: 30 });
    replica.on(Event::LogChanged(log(30, 30)));
    replica.epochs.clear();
    let again = FetchAnswer { last_fetched_epoch: -1, ..joined };
    assert_eq!(step(&replica, again), FollowerStep::Append { log_start: 30 });
}

/// On a quiet partition nothing else would make it say where it is, and it would stay out for good.
#[test]
fn a_follower_that_left_the_isr_is_told_to_ask_again() {
    let mut replica = follower(10, 10, &[(0, 0)]);
    let again = Effect::Follow { leader: B2, epoch: 5 };
    assert_eq!(replica.assign(Some(2), 5, 2, &[2]), [again]);
    assert_eq!(replica.assign(Some(2), 5, 3, &[2, 3]), [], "it hears it once");
    assert_eq!(replica.assign(Some(2), 5, 4, &[2, 3, 1]), []);
}
