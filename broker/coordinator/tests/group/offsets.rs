//! Commit, fetch, deletion and expiry of offsets.

use base::{ErrorCode, TopicId, TopicPartition};
use coordinator::*;

use crate::world::*;

const MINUTE_MS: i64 = 60_000;

fn commit(w: &mut World, request: GroupRequest) -> ErrorCode {
    match w.ask(request) {
        GroupReply::Commit(reply) => reply.errors[0],
        other => panic!("{other:?}"),
    }
}

/// Everything committed, as (topic, partition, offset).
fn committed(w: &mut World) -> Vec<(String, i32, i64)> {
    let GroupReply::Fetch(reply) = w.ask(fetch(None)) else { panic!("a fetch") };
    assert_eq!(reply.error, ErrorCode::None);
    let flat = |t: FetchedTopic| {
        t.partitions.into_iter().map(move |p| (t.topic.to_string(), p.partition, p.offset))
    };
    reply.topics.into_iter().flat_map(flat).collect()
}

fn t(partition: i32, offset: i64) -> (String, i32, i64) {
    ("t".to_owned(), partition, offset)
}

#[test]
fn who_may_commit() {
    let mut w = World::new();
    use ErrorCode::*;
    let stranger = Client { id: "m".into(), generation: 1, ..Client::new("x") };
    assert_eq!(commit(&mut w, stranger.commit(0, 1)), IllegalGeneration, "no such group");
    assert_eq!(commit(&mut w, simple_commit(0, 1)), None, "no members, no membership");
    let mut a = Client::new("a");
    w.stabilise(&mut [&mut a]);
    assert_eq!(commit(&mut w, simple_commit(0, 2)), UnknownMemberId, "the group has members");
    assert_eq!(commit(&mut w, stranger.commit(0, 2)), UnknownMemberId);
    assert_eq!(commit(&mut w, a.commit(0, 2)), None);
    let old = Client { generation: 0, ..a.clone() };
    assert_eq!(commit(&mut w, old.commit(0, 3)), IllegalGeneration);
    let other = Client { instance: Some("i".into()), ..a.clone() };
    assert_eq!(commit(&mut w, other.commit(0, 3)), UnknownMemberId);
    let mut b = Client::new("b");
    let joins = [w.send(b.join()), w.send(a.join())];
    b.joined(&w.take_join(joins[0]).unwrap());
    assert_eq!(commit(&mut w, b.commit(0, 3)), RebalanceInProgress, "not synchronised");
    assert_eq!(committed(&mut w), [t(0, 2)]);
}

#[test]
fn a_member_may_commit_while_others_rejoin() {
    let mut w = World::new();
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    w.stabilise(&mut [&mut a, &mut b]);
    w.send(Client::new("c").join());
    assert_eq!(commit(&mut w, a.commit(0, 5)), ErrorCode::None);
}

#[test]
fn metadata_has_a_limit_of_its_own_per_partition() {
    let mut w = World::new();
    let mut offsets = vec![to_commit(0, 1), to_commit(1, 1)];
    offsets[0].metadata = "x".repeat(4_097).into();
    offsets[1].metadata = "x".repeat(4_096).into();
    let reply = w.ask(GroupRequest::Commit(CommitOffsets {
        group: "g".into(),
        member_id: "".into(),
        instance_id: None,
        knows_epochs: true,
        generation: -1,
        retention_ms: None,
        unknown_group: ErrorCode::IllegalGeneration,
        offsets,
    }));
    let GroupReply::Commit(reply) = reply else { panic!("{reply:?}") };
    assert_eq!(reply.errors, [ErrorCode::OffsetMetadataTooLarge, ErrorCode::None]);
    assert_eq!(committed(&mut w), [t(1, 1)]);
}

#[test]
fn a_fetch_answers_every_partition_and_ignores_former_topics() {
    let mut w = World::new();
    let with_id = |id: u8| OffsetToCommit { topic_id: TopicId([id; 16]), ..to_commit(0, 7) };
    let GroupRequest::Commit(mut request) = simple_commit(1, 8) else { unreachable!() };
    request.offsets.push(with_id(1));
    commit(&mut w, GroupRequest::Commit(request));
    for (topic_id, offset) in [(TopicId::ZERO, 7), (TopicId([1; 16]), 7), (TopicId([2; 16]), -1)] {
        let topic = FetchTopic { topic: "t".into(), topic_id, partitions: vec![0, 1, 2] };
        let unknown = FetchTopic { topic: "u".into(), topic_id, partitions: vec![0] };
        let GroupReply::Fetch(reply) = w.ask(fetch(Some(vec![topic, unknown]))) else {
            panic!("a fetch")
        };
        let offsets: Vec<_> = reply.topics[0].partitions.iter().map(|p| p.offset).collect();
        assert_eq!(offsets, [offset, 8, -1], "{topic_id}");
        assert_eq!(reply.topics[1].partitions[0].offset, -1);
    }
}

#[test]
fn replies_wait_for_the_commit_and_so_does_whoever_asks_meanwhile() {
    let mut w = World::new();
    commit(&mut w, simple_commit(0, 1));
    w.auto_commit = false;
    let commit = w.send(simple_commit(0, 2));
    let fetch = w.send(fetch(None));
    assert_eq!((w.take(commit), w.take(fetch)), (None, None));
    w.commit_all();
    assert!(w.take(commit).is_some());
    let Some(GroupReply::Fetch(reply)) = w.take(fetch) else { panic!("a fetch") };
    assert_eq!(reply.topics[0].partitions[0].offset, 2);
}

#[test]
fn a_commit_that_is_not_replicated_in_time_is_an_error_and_may_still_count() {
    let mut w = World::new();
    w.auto_commit = false;
    let ticket = w.send(simple_commit(0, 2));
    w.advance(5_000);
    let Some(GroupReply::Commit(reply)) = w.take(ticket) else { panic!("a commit") };
    assert_eq!(reply.errors, [ErrorCode::CoordinatorNotAvailable]);
    let Some(GroupReply::Fetch(reply)) = ({
        let t = w.send(fetch(None));
        w.take(t)
    }) else {
        panic!("a fetch of the unknown is refused")
    };
    assert_eq!(reply.error, ErrorCode::CoordinatorNotAvailable);
    w.commit_all();
    assert_eq!(committed(&mut w), [t(0, 2)]);
}

#[test]
fn a_commit_that_fails_is_taken_back() {
    let mut w = World::new();
    commit(&mut w, simple_commit(0, 1));
    for (append, told) in [
        (ErrorCode::NotEnoughReplicas, ErrorCode::CoordinatorNotAvailable),
        (ErrorCode::NotLeaderOrFollower, ErrorCode::NotCoordinator),
        (ErrorCode::MessageTooLarge, ErrorCode::UnknownServerError),
    ] {
        w.append_error = Some(append);
        let GroupRequest::Commit(mut request) = simple_commit(0, 2) else { unreachable!() };
        request.offsets.extend([to_commit(0, 3), to_commit(1, 3)]);
        assert_eq!(commit(&mut w, GroupRequest::Commit(request)), told);
        w.append_error = None;
        assert_eq!(committed(&mut w), [t(0, 1)], "{append:?}");
    }
}

#[test]
fn deleting_a_group_leaves_tombstones_only() {
    let mut w = World::new();
    let mut a = Client::new("a");
    w.stabilise(&mut [&mut a]);
    w.ask(a.commit(0, 1));
    let delete = || GroupRequest::DeleteGroup("g".into());
    assert_eq!(w.ask(delete()), GroupReply::DeleteGroup(ErrorCode::NonEmptyGroup));
    w.ask(a.leave());
    w.append_error = Some(ErrorCode::NotEnoughReplicas);
    let refused = GroupReply::DeleteGroup(ErrorCode::CoordinatorNotAvailable);
    assert_eq!(w.ask(delete()), refused);
    assert_eq!(committed(&mut w), [t(0, 1)], "taken back");
    assert_eq!(w.state(), GroupState::Empty);
    w.append_error = None;
    assert_eq!(w.ask(delete()), GroupReply::DeleteGroup(ErrorCode::None));
    assert_eq!(w.ask(delete()), GroupReply::DeleteGroup(ErrorCode::GroupIdNotFound));
    assert_eq!(committed(&mut w), []);
    assert_eq!(w.replayed().persistent_view(), []);
}

#[test]
fn offsets_are_deleted_of_topics_that_nobody_reads() {
    // Subscribed to "t".
    let reads_t = protocol("range", b"\0\0\0\0\0\x01\0\x01t\0\0\0\0");
    let mut w = World::new();
    let delete = |topics: &[&str]| {
        let partitions = topics.iter().map(|t| TopicPartition::new(*t, 0)).collect();
        GroupRequest::DeleteOffsets(DeleteOffsets { group: "g".into(), partitions })
    };
    let asked = |w: &mut World, topics: &[&str]| match w.ask(delete(topics)) {
        GroupReply::DeleteOffsets(reply) => (reply.error, reply.errors),
        other => panic!("{other:?}"),
    };
    use ErrorCode::*;
    assert_eq!(asked(&mut w, &["t"]), (GroupIdNotFound, vec![]));
    let mut a = Client { protocols: vec![reads_t], ..Client::new("a") };
    w.stabilise(&mut [&mut a]);
    let GroupRequest::Commit(mut request) = a.commit(0, 1) else { unreachable!() };
    request.offsets.push(OffsetToCommit { topic: "u".into(), ..to_commit(0, 2) });
    w.ask(GroupRequest::Commit(request));
    assert_eq!(asked(&mut w, &["t", "u", "v"]), (None, vec![GroupSubscribedToTopic, None, None]));
    assert_eq!(committed(&mut w), [t(0, 1)]);
    w.ask(a.leave());
    assert_eq!(asked(&mut w, &["t"]), (None, vec![None]));
    assert_eq!(committed(&mut w), []);
}

#[test]
fn a_group_of_unknown_protocol_keeps_its_offsets_while_it_has_members() {
    let mut w = World::new();
    let GroupRequest::Join(mut join) = Client::new("a").join() else { unreachable!() };
    join.protocol_type = "connect".into();
    w.send(GroupRequest::Join(join));
    let partitions = vec![TopicPartition::new("t", 0)];
    let request = GroupRequest::DeleteOffsets(DeleteOffsets { group: "g".into(), partitions });
    let GroupReply::DeleteOffsets(reply) = w.ask(request) else { panic!("a deletion") };
    assert_eq!(reply.error, ErrorCode::NonEmptyGroup);
}

struct Case {
    what: &'static str,
    act: fn(&mut World),
    left: &'static [i32],
}

fn stable(w: &mut World, metadata: &'static [u8]) -> Client {
    let mut a = Client { protocols: vec![protocol("range", metadata)], ..Client::new("a") };
    w.stabilise(&mut [&mut a]);
    w.ask(a.commit(0, 1));
    a
}

fn beat_for(w: &mut World, a: &Client, ms: i64) {
    for _ in 0..ms / 5_000 {
        w.advance(5_000);
        assert_eq!(w.heartbeat(a), ErrorCode::None);
    }
}

const CASES: &[Case] = &[
    Case {
        what: "a simple consumer commits once",
        left: &[],
        act: |w| {
            w.ask(simple_commit(0, 1));
            w.advance(71 * MINUTE_MS);
        },
    },
    Case {
        what: "a simple consumer commits now and then",
        left: &[1],
        act: |w| {
            w.ask(simple_commit(0, 1));
            w.advance(40 * MINUTE_MS);
            w.ask(simple_commit(1, 1));
            w.advance(35 * MINUTE_MS);
        },
    },
    Case {
        what: "members read the topic",
        left: &[0],
        act: |w| {
            let a = stable(w, b"\0\0\0\0\0\x01\0\x01t\0\0\0\0");
            beat_for(w, &a, 80 * MINUTE_MS);
        },
    },
    Case {
        what: "members read other topics",
        left: &[],
        act: |w| {
            let a = stable(w, b"\0\0\0\0\0\x01\0\x01u\0\0\0\0");
            beat_for(w, &a, 80 * MINUTE_MS);
        },
    },
    Case {
        what: "members read what cannot be told",
        left: &[0],
        act: |w| {
            let a = stable(w, b"?");
            beat_for(w, &a, 80 * MINUTE_MS);
        },
    },
    Case {
        what: "the last member left less than the retention ago",
        left: &[0],
        act: |w| {
            let a = stable(w, b"\0\0\0\0\0\x01\0\x01t\0\0\0\0");
            beat_for(w, &a, 40 * MINUTE_MS);
            w.ask(a.leave());
            w.advance(50 * MINUTE_MS);
        },
    },
    Case {
        what: "the last member left long ago",
        left: &[],
        act: |w| {
            let a = stable(w, b"\0\0\0\0\0\x01\0\x01t\0\0\0\0");
            w.ask(a.leave());
            w.advance(75 * MINUTE_MS);
        },
    },
    Case {
        what: "an old client asked for a retention of its own",
        left: &[],
        act: |w| {
            let GroupRequest::Commit(mut request) = simple_commit(0, 1) else { unreachable!() };
            request.retention_ms = Some(MINUTE_MS);
            w.ask(GroupRequest::Commit(request));
            w.advance(11 * MINUTE_MS);
        },
    },
];

/// What a group must do for its offsets to be gone, or not, after the retention of an hour.
#[test]
fn offsets_expire_when_nobody_can_want_them() {
    for Case { what, act, left } in CASES {
        let mut w = World::with(GroupConfig {
            offsets_retention_ms: 60 * MINUTE_MS,
            ..GroupConfig::kafka_defaults()
        });
        act(&mut w);
        let partitions: Vec<i32> = committed(&mut w).iter().map(|(_, p, _)| *p).collect();
        assert_eq!(partitions, *left, "{what}");
        assert_eq!(w.replayed().persistent_view(), w.shard.persistent_view(), "{what}");
        if left.is_empty() && w.state() != GroupState::Stable {
            assert_eq!(w.replayed().persistent_view(), [], "{what}: the group goes with them");
        }
    }
}

#[test]
fn offsets_go_with_their_topic() {
    let mut w = World::new();
    let GroupRequest::Commit(mut request) = simple_commit(0, 1) else { unreachable!() };
    request.offsets.push(OffsetToCommit { topic: "u".into(), ..to_commit(0, 2) });
    w.ask(GroupRequest::Commit(request));
    let mut effects = Vec::new();
    let deleted = ["t", "x"].map(|name| (name.into(), TopicId([1; 16])));
    w.shard.topics_deleted(w.now_ms, &deleted.into(), &mut effects);
    w.perform(effects);
    assert_eq!(committed(&mut w), [("u".to_owned(), 0, 2)]);
    assert_eq!(w.replayed().persistent_view(), w.shard.persistent_view());
}

/// The news of a deletion may come after commits of the topic's successor.
#[test]
fn offsets_of_a_new_topic_do_not_go_with_the_old_one() {
    let (old, new) = (TopicId([1; 16]), TopicId([2; 16]));
    let mut w = World::new();
    let GroupRequest::Commit(mut request) = simple_commit(0, 1) else { unreachable!() };
    request.offsets = vec![
        OffsetToCommit { topic_id: old, ..to_commit(0, 7) },
        OffsetToCommit { topic_id: new, ..to_commit(1, 8) },
    ];
    w.ask(GroupRequest::Commit(request));
    let mut effects = Vec::new();
    w.shard.topics_deleted(w.now_ms, &[("t".into(), old)].into(), &mut effects);
    w.perform(effects);
    assert_eq!(committed(&mut w), [("t".to_owned(), 1, 8)]);
}

#[test]
fn wall_time_is_what_is_stored() {
    let mut w = World::new();
    w.shard.set_offsets_of_time(1_000_000, 0);
    w.ask(simple_commit(0, 1));
    let (_, GroupRecord::Offset { value: Some(value), .. }) = &w.log[0] else {
        panic!("an offset")
    };
    assert_eq!(value.commit_ms, w.now_ms + 1_000_000);
}

#[test]
fn positions_tell_the_metrics_where_groups_stand() {
    let mut w = World::new();
    w.ask(simple_commit(3, 17));
    let position =
        CommittedPosition { group: "g".into(), topic: "t".into(), partition: 3, offset: 17 };
    assert_eq!(w.shard.positions().collect::<Vec<_>>(), [position]);
}
