//! What survives the death of a coordinator, and what its clients are told.

use base::ErrorCode;
use bytes::Bytes;
use coordinator::*;

use crate::world::*;

#[test]
fn a_stable_group_goes_on_at_the_new_coordinator() {
    let mut w = World::new();
    let (mut a, mut s) = (Client::new("a"), Client::with_instance("s"));
    w.stabilise(&mut [&mut a, &mut s]);
    w.ask(a.commit(0, 9));
    let before = w.describe();
    w.fail_over();
    assert_eq!(w.describe(), before);
    assert_eq!((w.heartbeat(&a), w.heartbeat(&s)), (ErrorCode::None, ErrorCode::None));
    let ticket = w.send(s.sync(Vec::new()));
    assert_eq!(w.take_sync(ticket).unwrap().assignment, "s");
    let GroupReply::Fetch(reply) = w.ask(fetch(None)) else { panic!("a fetch") };
    assert_eq!(reply.topics[0].partitions[0].offset, 9);
}

#[test]
fn members_have_a_whole_session_to_find_the_new_coordinator() {
    let mut w = World::new();
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    w.stabilise(&mut [&mut a, &mut b]);
    w.advance(i64::from(SESSION_MS) - 1);
    w.fail_over();
    w.advance(i64::from(SESSION_MS) - 1);
    assert_eq!(w.heartbeat(&a), ErrorCode::None);
    w.advance(1);
    assert_eq!(w.heartbeat(&a), ErrorCode::RebalanceInProgress, "b did not come");
}

#[test]
fn everybody_who_waits_is_sent_to_the_new_coordinator() {
    let mut w = World::new();
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    w.stabilise(&mut [&mut a, &mut b]);
    w.auto_commit = false;
    let commit = w.send(b.commit(0, 1));
    let join = w.send(b.restarted().join());
    w.fail_over();
    assert_eq!(w.take_join(join).unwrap().error, ErrorCode::NotCoordinator);
    let Some(GroupReply::Commit(reply)) = w.take(commit) else { panic!("a commit") };
    assert_eq!(reply.errors, [ErrorCode::NotCoordinator]);
}

#[test]
fn assignments_are_handed_out_only_when_they_are_committed() {
    let mut w = World::new();
    let mut a = Client::new("a");
    let ticket = w.send(a.join());
    w.advance(INITIAL_DELAY_MS);
    a.joined(&w.take_join(ticket).unwrap());
    w.auto_commit = false;
    let assignment = |text: &'static str| vec![(a.id.clone(), Bytes::from(text))];
    let first = w.send(a.sync(assignment("first")));
    let again = w.send(a.sync(assignment("second")));
    assert_eq!(w.take_sync(first).unwrap().error, ErrorCode::RebalanceInProgress, "replaced");
    assert_eq!(w.state(), GroupState::CompletingRebalance);
    w.advance(5_000);
    assert_eq!(w.take_sync(again).unwrap().error, ErrorCode::CoordinatorNotAvailable, "too late");
    let third = w.send(a.sync(assignment("third")));
    w.commit_all();
    // One generation has one assignment, whatever the leader sends later.
    assert_eq!(w.take_sync(third).unwrap().assignment, "first");
    w.fail_over();
    let ticket = w.send(a.sync(Vec::new()));
    assert_eq!(w.take_sync(ticket).unwrap().assignment, "first");
}

#[test]
fn assignments_that_cannot_be_stored_make_everybody_rejoin() {
    let mut w = World::new();
    let mut a = Client::new("a");
    let ticket = w.send(a.join());
    w.advance(INITIAL_DELAY_MS);
    a.joined(&w.take_join(ticket).unwrap());
    w.append_error = Some(ErrorCode::MessageTooLarge);
    let ticket = w.send(a.sync(Vec::new()));
    assert_eq!(w.take_sync(ticket).unwrap().error, ErrorCode::UnknownServerError);
    assert_eq!(w.heartbeat(&a), ErrorCode::RebalanceInProgress);
    w.append_error = None;
    w.stabilise(&mut [&mut a]);
}

#[test]
fn a_static_member_that_could_not_be_stored_is_its_former_self_again() {
    for leads in [false, true] {
        let mut w = World::new();
        let (mut a, mut s) = (Client::new("a"), Client::with_instance("s"));
        match leads {
            true => w.stabilise(&mut [&mut s, &mut a]),
            false => w.stabilise(&mut [&mut a, &mut s]),
        }
        w.append_error = Some(ErrorCode::NotEnoughReplicas);
        let ticket = w.send(s.restarted().join());
        let error = w.take_join(ticket).unwrap().error;
        assert_eq!(error, ErrorCode::CoordinatorNotAvailable);
        assert_eq!((w.heartbeat(&a), w.heartbeat(&s)), (ErrorCode::None, ErrorCode::None));
        w.append_error = None;
        let ticket = w.send(s.restarted().join());
        assert_eq!(w.take_join(ticket).unwrap().error, ErrorCode::None);
    }
}

#[test]
fn a_deleted_group_is_gone_only_when_that_is_committed() {
    let mut w = World::new();
    w.ask(simple_commit(0, 4));
    w.auto_commit = false;
    let delete = w.send(GroupRequest::DeleteGroup("g".into()));
    let fetch = w.send(fetch(None));
    assert_eq!((w.take(delete), w.take(fetch)), (None, None));
    w.commit_all();
    assert_eq!(w.take(delete), Some(GroupReply::DeleteGroup(ErrorCode::None)));
    let Some(GroupReply::Fetch(reply)) = w.take(fetch) else { panic!("a fetch") };
    assert_eq!(reply.topics, []);
}

#[test]
fn replaying_a_compacted_log_gives_the_same() {
    let mut w = World::new();
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    w.stabilise(&mut [&mut a, &mut b]);
    w.ask(a.commit(0, 1));
    w.ask(b.commit(1, 2));
    w.ask(a.commit(0, 3));
    let mut last = std::collections::BTreeMap::new();
    for (at, (_, record)) in w.log.iter().enumerate() {
        last.insert(record.encode().unwrap().0, at);
    }
    let mut at = 0;
    w.log.retain(|(_, record)| {
        at += 1;
        last[&record.encode().unwrap().0] == at - 1
    });
    assert_eq!(w.replayed().persistent_view(), w.shard.persistent_view());
}
