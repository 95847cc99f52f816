//! Groups of both protocols under one name, and coordinators that come and go.

use base::ErrorCode;
use bytes::Bytes;
use coordinator::*;

use crate::world::{GROUP, Member, SESSION_MS, World};

fn classic_join(member_id: &str) -> GroupRequest {
    GroupRequest::Join(JoinGroup {
        group: GROUP.into(),
        member_id: member_id.into(),
        instance_id: None,
        new_member_id: "classic-1".into(),
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![Protocol { name: "range".into(), metadata: Bytes::new() }],
        requires_known_id: false,
        supports_skip_assignment: true,
        booking: Booking::default(),
    })
}

#[test]
fn members_of_one_protocol_are_refused_where_the_others_are() {
    let mut w = World::new(&[("t", 2)]);
    let mut m = Member::new("m", &["t"]);
    m.join(&mut w);
    let GroupReply::Join(reply) = w.ask(classic_join("")) else { panic!() };
    assert_eq!(reply.error, ErrorCode::InconsistentGroupProtocol);
    let beat = Heartbeat {
        group: GROUP.into(),
        generation: m.epoch,
        member_id: m.id.clone(),
        instance_id: None,
    };
    let reply = w.ask(GroupRequest::Heartbeat(beat));
    assert_eq!(reply, GroupReply::Heartbeat(ErrorCode::UnknownMemberId));
    let GroupReply::Describe(described) = w.ask(GroupRequest::Describe(GROUP.into())) else {
        panic!()
    };
    assert_eq!(described.error, ErrorCode::GroupIdNotFound);
    assert_eq!(described.message.as_deref(), Some("Group g is not a classic group."));
    let GroupReply::List(listed) = w.ask(GroupRequest::List(ListFilter::default())) else {
        panic!()
    };
    assert_eq!(
        (listed[0].kind, listed[0].state, &*listed[0].protocol_type),
        ("consumer", "Stable", "consumer")
    );
    let filter = ListFilter { types: vec!["classic".into()], ..ListFilter::default() };
    assert_eq!(w.ask(GroupRequest::List(filter)), GroupReply::List(Vec::new()));
    let reply = w.ask(GroupRequest::DeleteGroup(GROUP.into()));
    assert_eq!(reply, GroupReply::DeleteGroup(ErrorCode::NonEmptyGroup));
}

#[test]
fn a_group_without_members_may_go_on_in_the_other_protocol() {
    let mut w = World::new(&[("t", 2)]);
    let mut m = Member::new("m", &["t"]);
    m.join(&mut w);
    w.heartbeat(m.leave_request(-1));
    let ticket = w.send(classic_join(""));
    w.advance(3_000);
    let Some(GroupReply::Join(reply)) = w.replies.remove(&ticket) else { panic!() };
    assert_eq!(reply.error, ErrorCode::None);
    let refused = w.heartbeat(Member::new("m", &["t"]).join_request());
    assert_eq!(refused.error, ErrorCode::GroupIdNotFound);
    let described = w.describe();
    assert_eq!(described.message.as_deref(), Some("Group g is not a consumer group."));
    // The classic member is gone in its turn.
    w.advance(60_000);
    let mut m = Member::new("m", &["t"]);
    assert_eq!(m.join(&mut w).error, ErrorCode::None);
    assert_eq!(m.owned.len(), 2);
    assert_eq!(w.replayed().persistent_view(), w.shard.persistent_view());
    w.heartbeat(m.leave_request(-1));
    let reply = w.ask(GroupRequest::DeleteGroup(GROUP.into()));
    assert_eq!(reply, GroupReply::DeleteGroup(ErrorCode::None));
    assert!(w.shard.persistent_view().is_empty());
    assert!(w.replayed().persistent_view().is_empty(), "tombstones for all of it");
}

#[test]
fn a_failed_append_leaves_the_classic_group_in_its_place() {
    let mut w = World::new(&[("t", 2)]);
    let ticket = w.send(classic_join(""));
    w.advance(3_000);
    assert!(w.replies.remove(&ticket).is_some());
    w.advance(60_000);
    let before = w.shard.persistent_view();
    assert!(!before.is_empty());
    w.append_error = Some(ErrorCode::NotEnoughReplicas);
    let reply = w.heartbeat(Member::new("m", &["t"]).join_request());
    assert_eq!(reply.error, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(w.shard.persistent_view(), before);
}

#[test]
fn a_new_coordinator_goes_on_where_the_old_one_was() {
    let mut w = World::new(&[("t", 5)]);
    let (mut a, mut b) = (Member::new("a", &["t"]), Member::of_instance("b", "i", &["t"]));
    a.join(&mut w);
    b.join(&mut w);
    a.beat(&mut w);
    // In the middle: one has to give partitions up, the other waits for them.
    w.fail_over();
    w.settle(&mut [&mut a, &mut b]);
    assert_eq!(a.owned.len() + b.owned.len(), 5);
    assert!(a.owned.is_disjoint(&b.owned));
    let epoch = w.describe().epoch;
    w.fail_over();
    w.settle(&mut [&mut a, &mut b]);
    assert_eq!(w.describe().epoch, epoch, "no rebalance of its own");
    // Sessions begin anew with it.
    w.advance(SESSION_MS - 1);
    assert_eq!(w.describe().members.len(), 2);
    w.advance(2);
    assert_eq!(w.describe().members.len(), 0);
}
