//! What starts a rebalance, what does not, and how one ends.

use base::ErrorCode;
use bytes::Bytes;
use coordinator::*;

use crate::world::*;

struct Case {
    cause: &'static str,
    event: fn(&mut World, &mut Client, &mut Client),
    rebalances: bool,
}

const CASES: &[Case] = &[
    Case {
        cause: "a new member",
        event: |w, _, _| {
            w.send(Client::new("c").join());
        },
        rebalances: true,
    },
    Case {
        cause: "a follower leaves",
        event: |w, _, b| {
            w.send(b.leave());
        },
        rebalances: true,
    },
    Case {
        cause: "a follower is silent for its session",
        rebalances: true,
        event: |w, a, _| {
            w.advance(i64::from(SESSION_MS) - 1);
            assert_eq!(w.heartbeat(a), ErrorCode::None);
            w.advance(1);
        },
    },
    Case {
        cause: "a follower rejoins with other metadata",
        rebalances: true,
        event: |w, _, b| {
            b.protocols = vec![protocol("range", b"other")];
            w.send(b.join());
        },
    },
    Case {
        cause: "a follower rejoins with other protocols",
        rebalances: true,
        event: |w, _, b| {
            b.protocols.push(protocol("sticky", b""));
            w.send(b.join());
        },
    },
    Case {
        cause: "a follower rejoins unchanged",
        rebalances: false,
        event: |w, _, b| {
            let ticket = w.send(b.join());
            let reply = w.take_join(ticket).unwrap();
            assert_eq!((reply.error, reply.generation), (ErrorCode::None, b.generation));
            assert!(reply.members.is_empty());
        },
    },
    Case {
        cause: "a new static member",
        rebalances: true,
        event: |w, _, _| {
            w.send(Client::with_instance("c").join());
        },
    },
    Case {
        cause: "a join that is refused",
        rebalances: false,
        event: |w, _, _| {
            let mut c = Client::new("c");
            c.protocols = vec![protocol("unknown", b"")];
            let ticket = w.send(c.join());
            let error = w.take_join(ticket).unwrap().error;
            assert_eq!(error, ErrorCode::InconsistentGroupProtocol);
        },
    },
    Case {
        cause: "an id is given out",
        rebalances: false,
        event: |w, _, _| {
            let c = Client { requires_known_id: true, ..Client::new("c") };
            let ticket = w.send(c.join());
            assert_eq!(w.take_join(ticket).unwrap().error, ErrorCode::MemberIdRequired);
        },
    },
    Case {
        cause: "a given id is given back",
        rebalances: false,
        event: |w, _, _| {
            let mut c = Client { requires_known_id: true, ..Client::new("c") };
            let ticket = w.send(c.join());
            c.id = w.take_join(ticket).unwrap().member_id;
            w.send(c.leave());
        },
    },
    Case {
        cause: "heartbeats",
        rebalances: false,
        event: |w, a, b| {
            for _ in 0..5 {
                w.advance(i64::from(SESSION_MS) - 1);
                w.heartbeat(a);
                w.heartbeat(b);
            }
        },
    },
    Case {
        cause: "commits keep the session",
        rebalances: false,
        event: |w, a, b| {
            for _ in 0..5 {
                w.advance(i64::from(SESSION_MS) - 1);
                w.heartbeat(a);
                w.ask(b.commit(0, 1));
            }
        },
    },
];

/// Two members are stable; the event follows; does the other member hear of a rebalance?
#[test]
fn every_cause_of_a_rebalance() {
    for Case { cause, event, rebalances } in CASES {
        let mut w = World::new();
        let (mut a, mut b) = (Client::new("a"), Client::new("b"));
        w.stabilise(&mut [&mut a, &mut b]);
        event(&mut w, &mut a, &mut b);
        let expected = match *rebalances {
            true => (ErrorCode::RebalanceInProgress, GroupState::PreparingRebalance),
            false => (ErrorCode::None, GroupState::Stable),
        };
        assert_eq!((w.heartbeat(&a), w.state()), expected, "{cause}");
    }
}

#[test]
fn a_leader_that_rejoins_asks_for_a_rebalance() {
    let mut w = World::new();
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    w.stabilise(&mut [&mut a, &mut b]);
    w.send(a.join());
    assert_eq!(w.heartbeat(&b), ErrorCode::RebalanceInProgress);
}

#[test]
fn the_first_join_phase_waits_for_others_and_longer_while_they_come() {
    let mut w = World::new();
    let first = w.send(Client::new("a").join());
    w.advance(INITIAL_DELAY_MS - 1);
    let second = w.send(Client::new("b").join());
    w.advance(INITIAL_DELAY_MS);
    assert!(w.take_join(first).is_none(), "the delay was extended");
    w.advance(1);
    let (a, b) = (w.take_join(first).unwrap(), w.take_join(second).unwrap());
    assert_eq!((a.generation, b.generation), (1, 1));
    assert_eq!((a.leader.clone(), b.leader.clone()), (a.member_id.clone(), a.member_id));
    assert_eq!((a.members.len(), b.members.len()), (2, 0), "only the leader sees the members");
}

#[test]
fn the_extended_delay_ends_at_the_rebalance_timeout() {
    const NAMES: [&str; 24] = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r",
        "s", "t", "u", "v", "w", "x",
    ];
    let mut w = World::new();
    let mut tickets = Vec::new();
    for name in NAMES {
        tickets.push(w.send(Client::new(name).join()));
        w.advance(INITIAL_DELAY_MS - 1);
    }
    let answered = w.take_join(tickets[0]).expect("the phase is over for the first at last");
    assert_eq!(answered.error, ErrorCode::None);
    let in_time = i64::from(REBALANCE_MS) / (INITIAL_DELAY_MS - 1) + 1;
    assert!(answered.members.len() as i64 <= in_time, "{}", answered.members.len());
}

#[test]
fn who_does_not_rejoin_in_time_is_out_but_static_members_have_their_session() {
    let mut w = World::new();
    let (mut a, mut b, mut s) = (Client::new("a"), Client::new("b"), Client::with_instance("s"));
    w.stabilise(&mut [&mut a, &mut b, &mut s]);
    b.protocols = vec![protocol("range", b"new")];
    let ticket = w.send(b.join());
    for _ in 0..(i64::from(REBALANCE_MS) / 1_000) {
        w.advance(1_000);
        w.heartbeat(&a);
        w.heartbeat(&s);
    }
    let reply = w.take_join(ticket).expect("the rebalance timeout has passed");
    let members: Vec<_> = reply.members.iter().map(|m| &*m.member_id).collect();
    assert_eq!(members, [&*b.id, &*s.id], "the old leader is out and b leads");
    assert_eq!(w.heartbeat(&a), ErrorCode::UnknownMemberId);
}

#[test]
fn a_timeout_of_nothing_does_not_keep_the_coordinator_busy() {
    let mut w = World::new();
    let (mut a, mut s) = (Client::new("a"), Client::with_instance("s"));
    s.rebalance_timeout_ms = 0;
    w.stabilise(&mut [&mut a, &mut s]);
    w.ask(a.leave());
    // Only the static member is left, and it does not rejoin: its session ends it.
    w.advance(2 * i64::from(SESSION_MS));
    assert_eq!(w.state(), GroupState::Empty);
}

#[test]
fn a_follower_that_never_synchronises_is_out_after_the_rebalance_timeout() {
    let mut w = World::new();
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    let tickets = [w.send(a.join()), w.send(b.join())];
    w.advance(INITIAL_DELAY_MS * 2);
    a.joined(&w.take_join(tickets[0]).unwrap());
    b.joined(&w.take_join(tickets[1]).unwrap());
    let ticket = w.send(a.sync(vec![(a.id.clone(), Bytes::from_static(b"all"))]));
    assert_eq!(w.take_sync(ticket).unwrap().assignment, "all");
    for _ in 0..(i64::from(REBALANCE_MS) / 1_000) {
        w.advance(1_000);
        w.heartbeat(&a);
        w.heartbeat(&b);
    }
    assert_eq!(w.heartbeat(&a), ErrorCode::RebalanceInProgress);
    assert_eq!(w.heartbeat(&b), ErrorCode::UnknownMemberId);
}

#[test]
fn a_rebalance_during_the_sync_phase_sends_the_waiting_members_back() {
    let mut w = World::new();
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    let tickets = [w.send(a.join()), w.send(b.join())];
    w.advance(INITIAL_DELAY_MS * 2);
    a.joined(&w.take_join(tickets[0]).unwrap());
    b.joined(&w.take_join(tickets[1]).unwrap());
    let waiting = w.send(b.sync(Vec::new()));
    assert!(w.take_sync(waiting).is_none(), "a follower waits for the leader");
    w.send(Client::new("c").join());
    assert_eq!(w.take_sync(waiting).unwrap().error, ErrorCode::RebalanceInProgress);
    let late = w.send(a.sync(Vec::new()));
    assert_eq!(w.take_sync(late).unwrap().error, ErrorCode::RebalanceInProgress);
}

#[test]
fn the_last_member_leaves_an_empty_group_that_is_stored() {
    let mut w = World::new();
    let mut a = Client::new("a");
    w.stabilise(&mut [&mut a]);
    w.ask(a.leave());
    assert_eq!(w.state(), GroupState::Empty);
    let (_, last) = w.log.last().unwrap();
    let GroupRecord::Group { value: Some(value), .. } = last else { panic!("{last:?}") };
    assert_eq!((value.generation, value.members.len(), &value.protocol), (2, 0, &None));
}

#[test]
fn protocols_are_elected_by_votes_among_those_that_all_support() {
    let cases: [(&[&[&str]], &str); 4] = [
        (&[&["range"], &["range", "sticky"]], "range"),
        (&[&["range", "sticky"], &["sticky", "range"], &["sticky", "range"]], "sticky"),
        (&[&["range", "sticky"], &["sticky", "range"]], "range"),
        (&[&["eager", "coop"], &["coop"]], "coop"),
    ];
    for (members, elected) in cases {
        let mut w = World::new();
        let mut tickets = Vec::new();
        for (names, name) in members.iter().zip(["a", "b", "c"]) {
            let protocols = names.iter().map(|n| protocol(n, b"")).collect();
            tickets.push(w.send(Client { protocols, ..Client::new(name) }.join()));
        }
        w.advance(INITIAL_DELAY_MS * 3);
        for ticket in tickets {
            let reply = w.take_join(ticket).unwrap();
            assert_eq!(reply.protocol_name.as_deref(), Some(elected), "{members:?}");
        }
    }
}

#[test]
fn a_join_that_is_repeated_replaces_the_one_before() {
    let mut w = World::new();
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    w.stabilise(&mut [&mut a, &mut b]);
    let old = w.send(a.join());
    let new = w.send(a.join());
    assert_eq!(w.take_join(old).unwrap().error, ErrorCode::RebalanceInProgress);
    w.send(b.join());
    assert_eq!(w.take_join(new).unwrap().generation, 2);
}

#[test]
fn a_missed_join_answer_can_be_asked_for_again() {
    let mut w = World::new();
    let mut a = Client::new("a");
    let ticket = w.send(a.join());
    w.advance(INITIAL_DELAY_MS);
    a.joined(&w.take_join(ticket).unwrap());
    let again = w.send(a.join());
    let reply = w.take_join(again).unwrap();
    assert_eq!((reply.generation, reply.members.len()), (a.generation, 1));
    assert_eq!(w.state(), GroupState::CompletingRebalance);
}
