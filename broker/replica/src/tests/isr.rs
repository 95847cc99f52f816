//! ISR changes: who is proposed when, and what each answer of the controller does.

use super::*;

fn accepted(partition_epoch: PartitionEpoch) -> Event {
    Event::IsrAnswer(IsrAnswer::Accepted { leader_epoch: 1, partition_epoch })
}

fn rejected(partition_epoch: PartitionEpoch, error: ErrorCode) -> Event {
    Event::IsrAnswer(IsrAnswer::Rejected { partition_epoch, error })
}

#[test]
fn a_silent_follower_is_removed_after_the_lag_time() {
    let mut replica = Replica::leader(1, &[1, 2, 3]);
    replica.append(5);
    replica.fetch(B2, 5);
    replica.now_ms += LAG_MS;
    assert_eq!(replica.on(Event::Tick), []);
    replica.now_ms += 1;
    let effects = replica.on(Event::Tick);
    assert_eq!(
        effects,
        [Effect::ProposeIsr(IsrProposal {
            leader_epoch: 1,
            partition_epoch: 1,
            isr: vec![(ME, -1), (B2, 7)],
        })]
    );
    assert_eq!(replica.hw(), 0, "still counted until the controller agrees");
    assert_eq!(replica.on(Event::Tick), [], "one proposal at a time");
    assert_eq!(replica.on(accepted(2)), [], "the controller agrees; its image says so");
    assert_eq!((replica.hw(), replica.core.isr()), (0, ids(&[1, 2, 3]).as_slice()));
    replica.assign(Some(1), 1, 2, &[1, 2]);
    assert_eq!((replica.hw(), replica.core.isr()), (5, ids(&[1, 2]).as_slice()));
}

/// The controller raised the minimum to 2 and then accepted the shrink, so that broker 2 stays
/// eligible. The answer reaches the leader before the image with both.
#[test]
fn an_accepted_change_waits_for_the_configs_that_it_was_decided_by() {
    let mut replica = Replica::leader(1, &[1, 2]);
    replica.append(5);
    replica.fetch(B2, 0);
    replica.now_ms += LAG_MS + 1;
    assert_eq!(proposals(&replica.on(Event::Tick)), [ids(&[1])]);
    replica.on(accepted(2));
    assert_eq!(replica.hw(), 0, "what broker 2 lacks must not be committed without it");
    replica.on(Event::Settings(settings(2)));
    replica.assign(Some(1), 1, 2, &[1]);
    assert_eq!(replica.hw(), 0);
    assert!(replica.core.is_under_min_isr());
}

#[test]
fn an_accepted_change_that_no_image_follows_is_doubted() {
    let mut replica = Replica::leader(1, &[1]);
    let first = replica.fetch(B2, 0);
    assert_eq!(replica.on(accepted(2)), []);
    replica.now_ms += 1_000;
    assert_eq!(replica.on(Event::Tick), first);
}

#[test]
fn a_follower_at_the_log_end_stays_however_long_it_is_idle() {
    let mut replica = Replica::leader(1, &[1, 2, 3]);
    replica.fetch(B2, 0);
    replica.fetch(B3, 0);
    replica.now_ms += 100 * LAG_MS;
    assert_eq!(replica.on(Event::Tick), []);
}

#[test]
fn a_follower_that_is_always_one_fetch_behind_is_caught_up() {
    let mut replica = Replica::leader(1, &[1, 2]);
    let mut end = 0;
    for _ in 0..50 {
        replica.fetch(B2, end);
        end += 10;
        replica.append(end);
        replica.now_ms += LAG_MS / 4;
        assert_eq!(proposals(&replica.on(Event::Tick)), Vec::<Vec<BrokerId>>::new());
    }
}

#[test]
fn a_caught_up_follower_joins_and_counts_from_the_proposal_on() {
    let mut replica = Replica::leader(1, &[1]);
    replica.append(5);
    assert_eq!(proposals(&replica.fetch(B2, 3)), Vec::<Vec<BrokerId>>::new());
    assert_eq!(proposals(&replica.fetch(B2, 5)), [ids(&[1, 2])]);
    replica.append(9);
    assert_eq!(replica.hw(), 5, "the pending member holds the high watermark");
    replica.on(accepted(2));
    replica.assign(Some(1), 1, 2, &[1, 2]);
    assert_eq!(replica.hw(), 5);
    replica.fetch(B2, 9);
    assert_eq!(replica.hw(), 9);
}

#[test]
fn a_second_follower_joins_as_soon_as_the_first_change_is_settled() {
    let mut replica = Replica::leader(1, &[1]);
    assert_eq!(proposals(&replica.fetch(B2, 0)), [ids(&[1, 2])]);
    assert_eq!(replica.fetch(B3, 0), []);
    assert_eq!(proposals(&replica.assign(Some(1), 1, 2, &[1, 2])), [ids(&[1, 2, 3])]);
}

#[test]
fn a_follower_must_reach_the_start_of_the_epoch() {
    let mut replica = Replica::new(1, 8, 3);
    replica.assign(Some(1), 4, 1, &[1, 2]);
    assert_eq!(replica.fetch(B3, 3), []);
    assert_eq!(proposals(&replica.fetch(B3, 8)), [ids(&[1, 2, 3])]);
}

#[test]
fn a_caught_up_follower_holds_the_high_watermark_unless_it_dies() {
    let mut replica = Replica::leader(1, &[1]);
    replica.append(5);
    replica.fetch(B2, 0);
    replica.append(7);
    let mut fetch = replica.fetch_of(B2, 5);
    replica.fetch_with(fetch).0.unwrap();
    replica.append(9);
    assert_eq!(replica.hw(), 7, "caught up to the previous fetch, so it may join soon");
    let effects = replica.on(Event::Eligibility { broker: B2, eligible: false });
    assert_eq!(effects, [Effect::HighWatermark(9), Effect::WakeConsumers]);
    fetch.eligible = false;
    fetch.fetch_offset = 9;
    let (_, effects) = replica.fetch_with(fetch);
    assert_eq!(effects, [], "a fenced broker does not join");
}

#[test]
fn an_ineligible_replica_is_dropped_from_the_proposal() {
    let mut replica = Replica::leader(1, &[1]);
    replica.fetch(B2, 0);
    replica.append(4);
    assert_eq!(replica.hw(), 0);
    replica.on(rejected(1, ErrorCode::IneligibleReplica));
    assert_eq!(replica.hw(), 4);
    assert_eq!(replica.fetch(B2, 4), [], "not again at once");
    replica.now_ms += 200;
    assert_eq!(proposals(&replica.fetch(B2, 4)), [ids(&[1, 2])]);
}

#[test]
fn a_refused_epoch_waits_for_metadata_and_keeps_counting() {
    for error in [
        ErrorCode::InvalidUpdateVersion,
        ErrorCode::FencedLeaderEpoch,
        ErrorCode::NewLeaderElected,
        ErrorCode::UnknownTopicOrPartition,
    ] {
        let mut replica = Replica::leader(1, &[1]);
        replica.fetch(B2, 0);
        replica.on(rejected(1, error));
        replica.append(4);
        replica.on(Event::Tick);
        assert_eq!(replica.hw(), 0);
        let unknown = Event::IsrAnswer(IsrAnswer::Unknown { partition_epoch: 1 });
        assert_eq!(replica.on(unknown), [], "not proposed again");
        let effects = replica.assign(Some(1), 1, 2, &[1]);
        assert_eq!(proposals(&effects), [ids(&[1, 2])], "under the new partition epoch: {error:?}");
    }
}

#[test]
fn no_answer_repeats_the_same_proposal() {
    let mut replica = Replica::leader(1, &[1]);
    let first = replica.fetch(B2, 0);
    let unknown = Event::IsrAnswer(IsrAnswer::Unknown { partition_epoch: 1 });
    assert_eq!(replica.on(unknown.clone()), first);
    replica.assign(Some(1), 1, 2, &[1, 2]);
    assert_eq!(replica.on(unknown), [], "settled by metadata meanwhile");
}

#[test]
fn a_late_answer_does_not_undo_newer_metadata() {
    let mut replica = Replica::leader(1, &[1]);
    replica.fetch(B2, 0);
    replica.assign(Some(1), 1, 3, &[1]);
    assert_eq!(replica.on(accepted(2)), []);
    assert_eq!(replica.core.isr(), ids(&[1]));
    replica.on(rejected(1, ErrorCode::IneligibleReplica));
    assert_eq!(replica.core.partition_epoch(), 3);
}

#[test]
fn a_removed_member_does_not_rejoin_by_its_past() {
    let mut replica = Replica::leader(2, &[1, 2]);
    replica.append(5);
    replica.fetch(B2, 0);
    replica.now_ms += LAG_MS + 1;
    assert_eq!(proposals(&replica.on(Event::Tick)), [ids(&[1])]);
    // Now below min ISR: the high watermark is frozen at 0, which the follower has reached.
    assert_eq!(proposals(&replica.assign(Some(1), 1, 2, &[1])), Vec::<Vec<BrokerId>>::new());
    assert_eq!(proposals(&replica.on(Event::Tick)), Vec::<Vec<BrokerId>>::new());
    assert_eq!(proposals(&replica.fetch(B2, 0)), [ids(&[1, 2])]);
}

#[test]
fn a_restarted_follower_is_not_caught_up_by_its_past() {
    let mut replica = Replica::leader(1, &[1]);
    replica.append(5);
    let mut fetch = replica.fetch_of(B2, 5);
    fetch.eligible = false;
    replica.fetch_with(fetch).0.unwrap();
    fetch.broker_epoch = 8;
    fetch.fetch_offset = 0;
    fetch.eligible = true;
    replica.fetch_with(fetch).0.unwrap();
    replica.append(9);
    assert_eq!(replica.hw(), 9);
}

#[test]
fn a_follower_that_caught_up_while_fenced_joins_when_it_is_unfenced() {
    let mut replica = Replica::leader(1, &[1]);
    let fetch = FollowerFetch { eligible: false, ..replica.fetch_of(B2, 0) };
    assert_eq!(proposals(&replica.fetch_with(fetch).1), Vec::<Vec<BrokerId>>::new());
    let effects = replica.on(Event::Eligibility { broker: B2, eligible: true });
    assert_eq!(proposals(&effects), [ids(&[1, 2])]);
}

#[test]
fn a_refusal_that_no_metadata_follows_is_doubted() {
    let mut replica = Replica::leader(1, &[1]);
    let first = replica.fetch(B2, 0);
    replica.on(rejected(1, ErrorCode::InvalidUpdateVersion));
    assert_eq!(replica.on(Event::Tick), []);
    replica.now_ms += 1_000;
    assert_eq!(replica.on(Event::Tick), first);
    assert_eq!(replica.on(Event::Tick), [], "once more, not twice");
}

/// Followers of a quiet partition do not repeat where they are. The tick that fell between an
/// append and their next fetch put all of them out.
#[test]
fn a_quiet_partition_keeps_its_isr_whenever_the_tick_comes() {
    let mut replica = Replica::leader(2, &[1, 2, 3]);
    replica.append(5);
    replica.fetch(B2, 5);
    replica.fetch(B3, 5);
    replica.now_ms += 100 * LAG_MS;
    assert_eq!(replica.on(Event::Tick), []);
    replica.append(6);
    assert_eq!(proposals(&replica.on(Event::Tick)), Vec::<Vec<BrokerId>>::new());
    replica.fetch(B2, 6);
    replica.now_ms += LAG_MS;
    assert_eq!(proposals(&replica.on(Event::Tick)), Vec::<Vec<BrokerId>>::new());
    replica.now_ms += 1;
    assert_eq!(proposals(&replica.on(Event::Tick)), [ids(&[1, 2])], "broker 3 does not follow");
}

/// What it had before it left, or before its last start, does not count as caught up.
#[test]
fn a_replica_outside_the_isr_is_given_no_time_by_an_append() {
    let mut replica = Replica::leader(1, &[1, 2]);
    replica.append(5);
    replica.fetch(B2, 5);
    replica.on(Event::Eligibility { broker: B2, eligible: false });
    replica.assign(Some(1), 1, 2, &[1]);
    replica.on(Event::Eligibility { broker: B2, eligible: true });
    replica.append(6);
    assert_eq!(replica.hw(), 6, "nobody waits for it");
}
