//! Committed offsets of consumer groups.

use base::{ErrorCode, TopicPartition};
use coordinator::*;

use crate::world::{GROUP, Member, World};

fn commit(w: &World, member: &Member, epoch: i32, partition: i32) -> CommitOffsets {
    let offset = OffsetToCommit {
        topic: "t".into(),
        topic_id: w.id("t"),
        partition,
        offset: 7,
        leader_epoch: -1,
        metadata: "".into(),
    };
    CommitOffsets {
        group: GROUP.into(),
        member_id: member.id.clone(),
        instance_id: None,
        generation: epoch,
        knows_epochs: true,
        retention_ms: None,
        unknown_group: ErrorCode::GroupIdNotFound,
        offsets: vec![offset],
    }
}

fn committed(w: &mut World, request: CommitOffsets) -> ErrorCode {
    match w.ask(GroupRequest::Commit(request)) {
        GroupReply::Commit(reply) => reply.errors[0],
        other => panic!("{other:?}"),
    }
}

fn fetched(w: &mut World, member_id: Option<MemberId>, member_epoch: i32) -> ErrorCode {
    let request = FetchOffsets {
        group: GROUP.into(),
        topics: None,
        member_id,
        member_epoch,
        require_stable: false,
    };
    match w.ask(GroupRequest::Fetch(request)) {
        GroupReply::Fetch(reply) => reply.error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn members_commit_in_their_epoch_or_what_they_have_had_since() {
    let mut w = World::new(&[("t", 2)]);
    let (mut a, mut b) = (Member::new("a", &["t"]), Member::new("b", &["t"]));
    a.join(&mut w);
    b.join(&mut w);
    w.settle(&mut [&mut a, &mut b]);
    assert_eq!((a.epoch, b.epoch), (2, 2));
    let (_, kept) = *a.owned.first().unwrap();
    let request = commit(&w, &a, 2, kept);
    assert_eq!(committed(&mut w, request.clone()), ErrorCode::None);
    let old = CommitOffsets { knows_epochs: false, ..request };
    assert_eq!(committed(&mut w, old), ErrorCode::UnsupportedVersion);
    let cases = [
        (&a, 1, kept, ErrorCode::None),
        (&a, 1, 1 - kept, ErrorCode::StaleMemberEpoch),
        (&a, 3, kept, ErrorCode::StaleMemberEpoch),
        (&b, 1, 1 - kept, ErrorCode::StaleMemberEpoch),
        (&b, 2, 1 - kept, ErrorCode::None),
        (&Member::new("x", &[]), 2, 0, ErrorCode::UnknownMemberId),
        (&Member::new("", &[]), -1, 0, ErrorCode::UnknownMemberId),
    ];
    for (member, epoch, partition, expected) in cases {
        let request = commit(&w, member, epoch, partition);
        assert_eq!(committed(&mut w, request), expected, "{} {epoch} {partition}", member.id);
    }
    assert_eq!(fetched(&mut w, None, -1), ErrorCode::None);
    assert_eq!(fetched(&mut w, Some("a".into()), 2), ErrorCode::None);
    assert_eq!(fetched(&mut w, Some("a".into()), 1), ErrorCode::StaleMemberEpoch);
    assert_eq!(fetched(&mut w, Some("x".into()), 1), ErrorCode::UnknownMemberId);
}

#[test]
fn offsets_of_topics_in_use_stay_and_others_may_be_deleted() {
    let mut w = World::new(&[("t", 2), ("u", 1)]);
    let mut a = Member::new("a", &["t"]);
    a.join(&mut w);
    let mut request = commit(&w, &a, 1, 0);
    request.offsets.push(OffsetToCommit { topic: "u".into(), ..request.offsets[0].clone() });
    assert_eq!(committed(&mut w, request), ErrorCode::None);
    let partitions = vec![TopicPartition::new("t", 0), TopicPartition::new("u", 0)];
    let delete = DeleteOffsets { group: GROUP.into(), partitions };
    let GroupReply::DeleteOffsets(reply) = w.ask(GroupRequest::DeleteOffsets(delete)) else {
        panic!()
    };
    assert_eq!(reply.errors, [ErrorCode::GroupSubscribedToTopic, ErrorCode::None]);
    w.heartbeat(a.leave_request(-1));
    let anybody = commit(&w, &Member::new("", &[]), -1, 1);
    assert_eq!(committed(&mut w, anybody), ErrorCode::None, "nobody is in the group");
    assert_eq!(w.shard.positions().count(), 2);
    // All of it expires, and the group with it.
    w.advance(8 * 24 * 3_600_000);
    assert!(w.shard.persistent_view().is_empty());
    assert!(w.replayed().persistent_view().is_empty());
}
