//! Ids, static members, fencing, limits, and what is said to those who do not belong.

use base::ErrorCode;
use bytes::Bytes;
use coordinator::*;

use crate::world::*;

#[test]
fn a_dynamic_member_comes_back_with_the_id_it_is_given() {
    let mut w = World::new();
    let mut a = Client { requires_known_id: true, ..Client::new("a") };
    let ticket = w.send(a.join());
    let reply = w.take_join(ticket).unwrap();
    assert_eq!((reply.error, &*reply.member_id), (ErrorCode::MemberIdRequired, "a-0"));
    assert_eq!(w.state(), GroupState::Empty);
    a.id = reply.member_id;
    w.stabilise(&mut [&mut a]);
}

#[test]
fn a_promised_id_expires_with_the_session_and_leaves_an_empty_group() {
    let mut w = World::new();
    let mut a = Client { requires_known_id: true, ..Client::new("a") };
    let ticket = w.send(a.join());
    a.id = w.take_join(ticket).unwrap().member_id;
    w.advance(i64::from(SESSION_MS));
    let ticket = w.send(a.join());
    assert_eq!(w.take_join(ticket).unwrap().error, ErrorCode::UnknownMemberId);
    // It was written down with the first join, and goes with the next look for expired offsets.
    assert_eq!((w.describe().error, w.state()), (ErrorCode::None, GroupState::Empty));
    w.advance(600_000);
    assert_eq!(w.describe().error, ErrorCode::GroupIdNotFound);
}

#[test]
fn a_group_is_written_down_with_its_first_join() {
    let mut w = World::new();
    let a = Client { requires_known_id: true, ..Client::new("a") };
    w.send(a.join());
    let mut shard = w.replayed();
    shard.start(0, &mut Vec::new());
    let described = GroupRequest::Describe(a.join().group().unwrap().clone());
    let mut effects = Vec::new();
    shard.handle(0, Ticket(77), described, &mut effects);
    let [Effect::Reply { reply: GroupReply::Describe(group), .. }] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!((group.error, group.state), (ErrorCode::None, GroupState::Empty));
}

#[test]
fn a_promised_id_holds_the_join_phase_until_it_is_used() {
    let mut w = World::new();
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    w.stabilise(&mut [&mut a, &mut b]);
    let mut c = Client { requires_known_id: true, ..Client::new("c") };
    let ticket = w.send(c.join());
    c.id = w.take_join(ticket).unwrap().member_id;
    let tickets = [w.send(a.join()), w.send(b.join())];
    assert!(w.take_join(tickets[0]).is_none());
    let ticket = w.send(c.join());
    assert_eq!(w.take_join(tickets[0]).unwrap().members.len(), 3);
    assert_eq!(w.take_join(ticket).unwrap().generation, 2);
}

#[test]
fn a_new_member_that_vanished_during_its_join_is_dropped_after_its_session() {
    let mut w = World::new();
    let mut a = Client::new("a");
    w.stabilise(&mut [&mut a]);
    let ticket = w.send(Client::new("b").join());
    for _ in 0..(i64::from(REBALANCE_MS) / 1_000) {
        w.advance(1_000);
        w.heartbeat(&a);
    }
    // The phase ends without a, and b, which knows its id now, has one session.
    assert_eq!(w.take_join(ticket).unwrap().members.len(), 1);
    w.advance(i64::from(SESSION_MS));
    assert_eq!(w.state(), GroupState::Empty);
}

#[test]
fn a_restarted_static_member_takes_its_place_back_without_a_rebalance() {
    for leads in [false, true] {
        for skips in [false, true] {
            let mut w = World::new();
            let (mut a, mut s) = (Client::new("a"), Client::with_instance("s"));
            s.supports_skip_assignment = skips;
            match leads {
                true => w.stabilise(&mut [&mut s, &mut a]),
                false => w.stabilise(&mut [&mut a, &mut s]),
            }
            let mut again = s.restarted();
            let ticket = w.send(again.join());
            let reply = w.take_join(ticket).expect("answered without the others");
            assert_eq!((reply.error, reply.generation), (ErrorCode::None, s.generation));
            assert_eq!(reply.skip_assignment, leads && skips);
            // Without "skip" the new self must not think that it leads.
            assert_eq!(reply.leader == reply.member_id, leads && skips);
            assert_eq!(reply.members.len(), if leads && skips { 2 } else { 0 });
            again.joined(&reply);
            let ticket = w.send(again.sync(Vec::new()));
            assert_eq!(w.take_sync(ticket).unwrap().assignment, "s");
            assert_eq!(w.heartbeat(&a), ErrorCode::None);
            assert_eq!(w.heartbeat(&s), ErrorCode::FencedInstanceId, "the former self");
            let ticket = w.send(s.sync(Vec::new()));
            assert_eq!(w.take_sync(ticket).unwrap().error, ErrorCode::FencedInstanceId);
            w.fail_over();
            assert_eq!(w.heartbeat(&again), ErrorCode::None, "the new id is in the log");
        }
    }
}

#[test]
fn a_restarted_static_member_with_another_protocol_causes_a_rebalance() {
    let mut w = World::new();
    let mut s = Client::with_instance("s");
    w.stabilise(&mut [&mut s]);
    let mut again = s.restarted();
    again.protocols = vec![protocol("sticky", b"")];
    let ticket = w.send(again.join());
    assert_eq!(w.take_join(ticket).unwrap().error, ErrorCode::InconsistentGroupProtocol);
    again.protocols = vec![protocol("sticky", b""), protocol("range", b"")];
    let ticket = w.send(again.join());
    let reply = w.take_join(ticket).unwrap();
    assert_eq!((reply.generation, reply.protocol_name.as_deref()), (2, Some("sticky")));
}

#[test]
fn a_static_member_that_waits_is_fenced_by_its_new_self() {
    let mut w = World::new();
    let (mut a, mut s) = (Client::new("a"), Client::with_instance("s"));
    w.stabilise(&mut [&mut a, &mut s]);
    w.send(Client::new("c").join());
    let old = w.send(s.join());
    w.send(s.restarted().join());
    assert_eq!(w.take_join(old).unwrap().error, ErrorCode::FencedInstanceId);
}

#[test]
fn a_static_member_is_removed_by_its_instance() {
    let mut w = World::new();
    let (mut a, mut s) = (Client::new("a"), Client::with_instance("s"));
    w.stabilise(&mut [&mut a, &mut s]);
    let leaving = |member_id: &str, instance: Option<&str>| LeavingMember {
        member_id: member_id.into(),
        instance_id: instance.map(Into::into),
    };
    let reply = w.ask(GroupRequest::Leave(LeaveGroup {
        group: "g".into(),
        members: vec![
            leaving("", Some("instance-x")),
            leaving("wrong", Some("instance-s")),
            leaving("", Some("instance-s")),
            leaving("nobody", None),
        ],
    }));
    let GroupReply::Leave(reply) = reply else { panic!("{reply:?}") };
    let errors: Vec<_> = reply.members.iter().map(|m| m.error).collect();
    let unknown = ErrorCode::UnknownMemberId;
    let expected = [unknown, ErrorCode::FencedInstanceId, ErrorCode::None, unknown];
    assert_eq!(errors, expected);
    assert_eq!(w.heartbeat(&a), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_full_group_turns_newcomers_away() {
    let mut w = World::with(GroupConfig { members_max: 2, ..GroupConfig::kafka_defaults() });
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    w.stabilise(&mut [&mut a, &mut b]);
    let ticket = w.send(Client::new("c").join());
    assert_eq!(w.take_join(ticket).unwrap().error, ErrorCode::GroupMaxSizeReached);
    assert_eq!(w.heartbeat(&a), ErrorCode::None);
}

#[test]
fn a_group_over_a_lowered_limit_loses_its_last() {
    let mut w = World::new();
    let (mut a, mut b, mut c) = (Client::new("a"), Client::new("b"), Client::new("c"));
    w.stabilise(&mut [&mut a, &mut b, &mut c]);
    w.config.members_max = 2;
    w.fail_over();
    let joins = [w.send(a.join()), w.send(b.join()), w.send(c.join())];
    assert_eq!(w.take_join(joins[2]).unwrap().error, ErrorCode::GroupMaxSizeReached);
    assert_eq!(w.take_join(joins[0]).unwrap().members.len(), 2);
}

#[test]
fn refusals() {
    let mut w = World::new();
    let mut a = Client::new("a");
    w.stabilise(&mut [&mut a]);
    let join = |change: fn(&mut JoinGroup)| {
        let GroupRequest::Join(mut join) = Client::new("x").join() else { unreachable!() };
        change(&mut join);
        GroupRequest::Join(join)
    };
    let sync = |change: fn(&mut SyncGroup)| {
        let GroupRequest::Sync(mut sync) = a.sync(Vec::new()) else { unreachable!() };
        change(&mut sync);
        GroupRequest::Sync(sync)
    };
    let beat = |change: fn(&mut Heartbeat)| {
        let GroupRequest::Heartbeat(mut beat) = a.heartbeat() else { unreachable!() };
        change(&mut beat);
        GroupRequest::Heartbeat(beat)
    };
    let nobody = Client { id: "nobody".into(), ..Client::new("x") };
    let GroupRequest::Leave(leave) = nobody.leave() else { unreachable!() };
    let elsewhere = GroupRequest::Leave(LeaveGroup { group: "h".into(), ..leave });
    use ErrorCode::*;
    let cases = [
        (join(|j| j.group = "".into()), InvalidGroupId),
        (join(|j| j.session_timeout_ms = 5_999), InvalidSessionTimeout),
        (join(|j| j.session_timeout_ms = 1_800_001), InvalidSessionTimeout),
        (join(|j| j.member_id = "nobody".into()), UnknownMemberId),
        (join(|j| (j.group, j.member_id) = ("h".into(), "m".into())), UnknownMemberId),
        (join(|j| j.protocol_type = "connect".into()), InconsistentGroupProtocol),
        (join(|j| j.protocols.clear()), InconsistentGroupProtocol),
        (join(|j| (j.group, j.protocol_type) = ("h".into(), "".into())), InconsistentGroupProtocol),
        (sync(|s| s.generation += 1), IllegalGeneration),
        (sync(|s| s.generation -= 1), IllegalGeneration),
        (sync(|s| s.member_id = "nobody".into()), UnknownMemberId),
        (sync(|s| s.group = "h".into()), UnknownMemberId),
        (sync(|s| s.instance_id = Some("i".into())), UnknownMemberId),
        (sync(|s| s.protocol_type = Some("connect".into())), InconsistentGroupProtocol),
        (sync(|s| s.protocol_name = Some("sticky".into())), InconsistentGroupProtocol),
        (sync(|s| s.protocol_name = Some("range".into())), None),
        (beat(|h| h.generation += 1), IllegalGeneration),
        (beat(|h| h.member_id = "nobody".into()), UnknownMemberId),
        (beat(|h| h.group = "h".into()), UnknownMemberId),
        (nobody.leave(), UnknownMemberId),
        (elsewhere, UnknownMemberId),
    ];
    for (request, expected) in cases {
        let text = format!("{request:?}");
        let error = match w.ask(request) {
            GroupReply::Join(reply) => reply.error,
            GroupReply::Sync(reply) => reply.error,
            GroupReply::Heartbeat(error) => error,
            GroupReply::Leave(reply) => {
                assert_eq!(reply.error, ErrorCode::None, "the request itself is fine");
                reply.members[0].error
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(error, expected, "{text}");
    }
    assert_eq!(w.state(), GroupState::Stable);
    let h = w.ask(GroupRequest::Describe("h".into()));
    assert!(matches!(h, GroupReply::Describe(d) if d.state == GroupState::Dead));
}

#[test]
fn a_group_shows_metadata_and_assignments_when_stable() {
    let mut w = World::new();
    let mut a = Client { protocols: vec![protocol("range", b"meta")], ..Client::new("a") };
    w.stabilise(&mut [&mut a]);
    let group = w.describe();
    assert_eq!((&*group.protocol_type, &*group.protocol), ("consumer", "range"));
    let member = &group.members[0];
    assert_eq!((&member.metadata[..], &member.assignment[..]), (&b"meta"[..], &b"a"[..]));
    w.send(Client::new("b").join());
    let group = w.describe();
    assert_eq!((&*group.protocol, group.members.len()), ("", 2));
    assert_eq!(group.members[0].assignment, Bytes::new());
}

#[test]
fn listings_filter_by_state_and_type_without_case() {
    let mut w = World::new();
    let mut a = Client::new("a");
    w.stabilise(&mut [&mut a]);
    for (states, types, listed) in [
        (&[][..], &[][..], 1),
        (&["stable"][..], &["CLASSIC"][..], 1),
        (&["Empty", "Stable"][..], &[][..], 1),
        (&["Empty"][..], &[][..], 0),
        (&[][..], &["consumer"][..], 0),
    ] {
        let states = states.iter().map(|s: &&str| (*s).into()).collect();
        let types = types.iter().map(|t: &&str| (*t).into()).collect();
        let GroupReply::List(groups) = w.ask(GroupRequest::List(ListFilter { states, types }))
        else {
            panic!("a list is answered by a list")
        };
        assert_eq!(groups.len(), listed);
    }
}
