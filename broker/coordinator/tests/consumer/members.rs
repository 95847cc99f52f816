//! How members enter and go.

use base::ErrorCode;
use coordinator::*;

use crate::world::{GROUP, Member, REBALANCE_MS, SESSION_MS, World, sizes};

fn refused(world: &mut World, request: ConsumerHeartbeat) -> (ErrorCode, String) {
    let reply = world.heartbeat(request);
    (reply.error, reply.message.unwrap_or_default())
}

#[test]
fn invalid_heartbeats_are_refused_with_kafkas_words() {
    let mut w = World::new(&[("t", 3)]);
    let m = Member::new("m", &["t"]);
    let join = m.join_request();
    let blank: Option<std::sync::Arc<str>> = Some("".into());
    let cases = [
        (ConsumerHeartbeat { member_id: "".into(), ..join.clone() }, "MemberId can't be empty."),
        (ConsumerHeartbeat { group: "".into(), ..join.clone() }, "GroupId can't be empty."),
        (
            ConsumerHeartbeat { instance_id: blank.clone(), ..join.clone() },
            "InstanceId can't be empty.",
        ),
        (ConsumerHeartbeat { rack_id: blank, ..join.clone() }, "RackId can't be empty."),
        (
            ConsumerHeartbeat { rebalance_timeout_ms: None, ..join.clone() },
            "RebalanceTimeoutMs must be provided in first request.",
        ),
        (
            ConsumerHeartbeat { owned: None, ..join.clone() },
            "TopicPartitions must be empty when (re-)joining.",
        ),
        (
            ConsumerHeartbeat { topics: None, ..join.clone() },
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when \
             (re-)joining.",
        ),
        (m.leave_request(-2), "InstanceId can't be null."),
        (m.leave_request(-3), "MemberEpoch is invalid."),
    ];
    for (request, message) in cases {
        let expected = (ErrorCode::InvalidRequest, message.to_owned());
        assert_eq!(refused(&mut w, request), expected);
    }
    let request = ConsumerHeartbeat { assignor: Some("best".into()), ..join.clone() };
    let message = "ServerAssignor best is not supported. Supported assignors: uniform, range.";
    assert_eq!(refused(&mut w, request), (ErrorCode::UnsupportedAssignor, message.to_owned()));
    let request = ConsumerHeartbeat { regex: Some("(".into()), ..join };
    assert_eq!(refused(&mut w, request).0, ErrorCode::InvalidRegularExpression);
    assert!(w.log.is_empty(), "nothing of it is in the log");
}

#[test]
fn a_member_without_an_id_is_given_one_in_the_oldest_version() {
    let mut w = World::new(&[("t", 3)]);
    let m = Member::new("", &["t"]);
    let request = ConsumerHeartbeat { brings_id: false, ..m.join_request() };
    let reply = w.heartbeat(request);
    assert_eq!((reply.error, reply.member_id.as_deref()), (ErrorCode::None, Some("new")));
    assert_eq!((reply.member_epoch, reply.interval_ms), (1, 5_000));
}

#[test]
fn the_first_member_gets_all_and_the_second_half_of_it_once_it_is_free() {
    let mut w = World::new(&[("t", 4)]);
    let (mut a, mut b) = (Member::new("a", &["t"]), Member::new("b", &["t"]));
    a.join(&mut w);
    assert_eq!((a.epoch, a.owned.len()), (1, 4));
    b.join(&mut w);
    assert_eq!((b.epoch, b.owned.len()), (2, 0), "nothing is free yet");
    // The first hears of it, and has to say that it has given up two.
    assert!(a.beat(&mut w));
    assert_eq!((a.epoch, a.owned.len()), (1, 2));
    assert!(!b.beat(&mut w), "not said yet");
    assert!(a.beat(&mut w));
    assert_eq!((a.epoch, a.owned.len()), (2, 2));
    assert!(b.beat(&mut w));
    assert_eq!(b.owned.len(), 2);
    assert!(a.owned.is_disjoint(&b.owned));
    assert_eq!(w.describe().state.name(), "Stable");
}

#[test]
fn heartbeats_are_answered_with_an_assignment_only_if_there_is_news_or_all_is_said() {
    let mut w = World::new(&[("t", 2)]);
    let mut m = Member::new("m", &["t"]);
    m.join(&mut w);
    assert_eq!(w.heartbeat(m.request()).assignment, None);
    let full = ConsumerHeartbeat {
        rebalance_timeout_ms: Some(REBALANCE_MS),
        topics: Some(m.topics.clone()),
        owned: Some(m.owned_list()),
        ..m.request()
    };
    assert!(w.heartbeat(full).assignment.is_some());
}

#[test]
fn epochs_are_judged_as_kafka_judges_them() {
    let mut w = World::new(&[("t", 2)]);
    let (mut a, mut b) = (Member::new("a", &["t"]), Member::new("b", &["t"]));
    a.join(&mut w);
    b.join(&mut w);
    w.settle(&mut [&mut a, &mut b]);
    let of = |epoch, owned| ConsumerHeartbeat { member_epoch: epoch, owned, ..a.request() };
    let greater = refused(&mut w, of(9, None));
    assert_eq!(greater.0, ErrorCode::FencedMemberEpoch);
    assert!(greater.1.contains("greater member epoch (9)"), "{}", greater.1);
    assert_eq!(refused(&mut w, of(1, None)).0, ErrorCode::FencedMemberEpoch);
    // The answer with the new epoch may have been lost.
    assert_eq!(refused(&mut w, of(1, Some(a.owned_list()))).0, ErrorCode::None);
    let others = Some(b.owned_list());
    assert_eq!(refused(&mut w, of(1, others)).0, ErrorCode::FencedMemberEpoch);
    // A client that has lost everything begins anew with its id.
    let reply = w.heartbeat(a.join_request());
    assert_eq!((reply.error, reply.member_epoch), (ErrorCode::None, a.epoch));
    let stranger = Member { epoch: 3, ..Member::new("x", &["t"]) };
    let unknown = refused(&mut w, stranger.request());
    let message = "Member x is not a member of group g.".to_owned();
    assert_eq!(unknown, (ErrorCode::UnknownMemberId, message));
}

#[test]
fn groups_that_are_not_there_are_not_found() {
    let mut w = World::new(&[("t", 2)]);
    let m = Member { epoch: 1, ..Member::new("m", &["t"]) };
    let not_found = |text: &str| (ErrorCode::GroupIdNotFound, text.to_owned());
    assert_eq!(refused(&mut w, m.request()), not_found("Consumer group g not found."));
    assert_eq!(refused(&mut w, m.leave_request(-1)), not_found("Group g not found."));
    assert_eq!(w.describe().message.as_deref(), Some("Group g not found."));
}

#[test]
fn a_group_has_no_more_members_than_it_may() {
    let mut config = GroupConfig::kafka_defaults();
    config.consumer.members_max = 1;
    let mut w = World::with(config, &[("t", 2)]);
    let (mut a, b) = (Member::new("a", &["t"]), Member::new("b", &["t"]));
    a.join(&mut w);
    let message = "The consumer group has reached its maximum capacity of 1 members.".to_owned();
    assert_eq!(refused(&mut w, b.join_request()), (ErrorCode::GroupMaxSizeReached, message));
    assert_eq!(a.join(&mut w).error, ErrorCode::None);
}

#[test]
fn what_leaves_or_falls_silent_is_shared_among_the_others() {
    let mut w = World::new(&[("t", 6)]);
    let mut members: Vec<Member> = ["a", "b", "c"].map(|id| Member::new(id, &["t"])).into();
    let [a, b, c] = &mut members[..] else { panic!() };
    w.settle(&mut [a, b, c]);
    assert_eq!(sizes(&[a, b, c]), [2, 2, 2]);
    let reply = w.heartbeat(c.leave_request(-1));
    assert_eq!((reply.error, reply.member_epoch), (ErrorCode::None, -1));
    w.settle(&mut [a, b]);
    assert_eq!(sizes(&[a, b]), [3, 3]);
    // One of them goes on, the other is gone after its session.
    for _ in 0..=SESSION_MS / 5_000 {
        w.advance(5_000);
        a.beat(&mut w);
    }
    w.settle(&mut [a]);
    assert_eq!(a.owned.len(), 6);
    assert_eq!(w.describe().members.len(), 1);
}

#[test]
fn who_does_not_give_up_in_time_is_out() {
    let mut w = World::new(&[("t", 2)]);
    let (mut a, mut b) = (Member::new("a", &["t"]), Member::new("b", &["t"]));
    a.join(&mut w);
    b.join(&mut w);
    for _ in 0..i64::from(REBALANCE_MS) / 5_000 {
        // Alive, and silent about what it owns.
        assert_eq!(refused(&mut w, a.request()).0, ErrorCode::None);
        b.beat(&mut w);
        w.advance(5_000);
    }
    assert!(b.owned.is_empty());
    w.advance(1);
    assert_eq!(refused(&mut w, a.request()).0, ErrorCode::UnknownMemberId);
    w.settle(&mut [&mut b]);
    assert_eq!(b.owned.len(), 2);
}

#[test]
fn a_static_member_comes_back_to_what_it_had() {
    let mut w = World::new(&[("t", 4)]);
    let mut a = Member::of_instance("a", "i", &["t"]);
    let mut b = Member::new("b", &["t"]);
    w.settle(&mut [&mut a, &mut b]);
    let had = a.owned.clone();
    let twin = Member::of_instance("x", "i", &["t"]);
    let expected = "Static member x with instance id i cannot join the group because the instance \
                    id is owned by a member.";
    let unreleased = (ErrorCode::UnreleasedInstanceId, expected.to_owned());
    assert_eq!(refused(&mut w, twin.join_request()), unreleased);
    assert_eq!(w.heartbeat(a.leave_request(-2)).member_epoch, -2);
    w.advance(10_000);
    b.beat(&mut w);
    assert_eq!(b.owned.len(), 2, "its place is kept");
    let mut next = Member::of_instance("a2", "i", &["t"]);
    assert_eq!(next.join(&mut w).error, ErrorCode::None);
    assert_eq!((next.epoch, &next.owned), (2, &had), "without a rebalance");
    let fenced = refused(&mut w, a.request());
    let message = "Static member a with instance id i was fenced by member a2.".to_owned();
    assert_eq!(fenced, (ErrorCode::FencedInstanceId, message));
    let nobody = Member { epoch: 1, ..Member::of_instance("z", "j", &["t"]) };
    let message = "Instance id j is unknown.".to_owned();
    assert_eq!(refused(&mut w, nobody.request()), (ErrorCode::UnknownMemberId, message));
}

#[test]
fn a_static_member_that_stays_away_is_out_after_its_session() {
    let mut w = World::new(&[("t", 4)]);
    let mut a = Member::of_instance("a", "i", &["t"]);
    let mut b = Member::new("b", &["t"]);
    w.settle(&mut [&mut a, &mut b]);
    w.heartbeat(a.leave_request(-2));
    for _ in 0..=SESSION_MS / 5_000 {
        w.advance(5_000);
        b.beat(&mut w);
    }
    w.settle(&mut [&mut b]);
    assert_eq!(b.owned.len(), 4);
    // An administrator may take one out at once.
    let mut c = Member::of_instance("c", "k", &["t"]);
    w.settle(&mut [&mut b, &mut c]);
    let member = LeavingMember { member_id: "".into(), instance_id: Some("k".into()) };
    let leave = LeaveGroup { group: GROUP.into(), members: vec![member] };
    let GroupReply::Leave(left) = w.ask(GroupRequest::Leave(leave)) else { panic!() };
    assert_eq!(left.members[0].error, ErrorCode::None);
    w.settle(&mut [&mut b]);
    assert_eq!(b.owned.len(), 4);
}

#[test]
fn answers_wait_for_their_records_and_failures_take_everything_back() {
    let mut w = World::new(&[("t", 2)]);
    let (mut a, b) = (Member::new("a", &["t"]), Member::new("b", &["t"]));
    a.join(&mut w);
    w.auto_commit = false;
    let join = |m: &Member| GroupRequest::ConsumerHeartbeat(Box::new(m.join_request()));
    let beat = |m: &Member| GroupRequest::ConsumerHeartbeat(Box::new(m.request()));
    let joined = w.send(join(&b));
    // One that changes nothing tells of the same state.
    let also = w.send(beat(&a));
    assert!(w.replies.is_empty(), "not committed");
    w.commit_all();
    let has = |w: &World, t| w.replies.contains_key(t);
    assert!(has(&w, &joined) && has(&w, &also));
    w.auto_commit = true;
    let before = w.shard.persistent_view();
    w.append_error = Some(ErrorCode::NotEnoughReplicas);
    let c = Member::new("c", &["t"]);
    assert_eq!(refused(&mut w, c.join_request()).0, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(refused(&mut w, b.leave_request(-1)).0, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(w.shard.persistent_view(), before);
    w.append_error = None;
    w.advance(SESSION_MS + 1);
    assert_eq!(w.describe().members.len(), 0, "its session counts all the same");
}
