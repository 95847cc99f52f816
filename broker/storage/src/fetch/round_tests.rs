//! What a leader learns of a follower from its fetches, over a partition alone.
#![allow(clippy::unwrap_used)]

use base::TopicId;
use futures::FutureExt;
use replica::Settings;
use wire::Str;

use super::super::want::{Update, WantKey};
use super::*;
use crate::partition::testing::{ME, OTHER, Rig, TOPIC_ID, batch};

fn named(topic_id: TopicId, epoch: i32) -> Update {
    Update {
        key: WantKey { topic: Str::default(), topic_id, number: 0 },
        fetch_offset: 0,
        current_leader_epoch: epoch,
        last_fetched_epoch: -1,
        log_start: -1,
        bytes_max: 1 << 20,
    }
}

fn sight<'a>(rig: &'a Rig, may_read: Option<MayRead<'a>>) -> Sight<'a> {
    Sight { partitions: &rig.partitions, may_read }
}

/// The code that the follower is told for its partition.
fn answered(rig: &Rig, reader: &Reader, session: &mut SessionState) -> ErrorCode {
    let index = session.take_dirty()[0];
    match reader.plan_at(sight(rig, None), session, index).unwrap() {
        Ok(_) => ErrorCode::None,
        Err(refused) => refused.code,
    }
}

/// A follower whose request was handled before the replica here was told that it leads.
fn too_early() -> (Rig, Reader, SessionState) {
    let rig = Rig::new(i64::MAX);
    rig.assign(OTHER, 1);
    let reader = Reader::Follower { id: OTHER, epoch: 1, eligible: true };
    let mut session = SessionState::new();
    session.update(&rig.partitions, named(TOPIC_ID, 2));
    reader.note_positions(&mut session);
    (rig, reader, session)
}

/// The follower is told no error, and the leader knows where it stands.
fn assert_heard(rig: &Rig, reader: &Reader, session: &mut SessionState) {
    assert_eq!(answered(rig, reader, session), ErrorCode::None);
    let proposed = rig.partitions.outbox().isr_proposals.take().now_or_never();
    assert!(proposed.is_some(), "the leader does not know where its follower stands");
}

#[test]
fn a_follower_that_came_before_its_leader_knew_is_heard_when_it_asks_again() {
    let (rig, reader, mut session) = too_early();
    assert!(answered(&rig, &reader, &mut session).is_error());

    rig.assign(ME, 2);
    session.update(&rig.partitions, named(TOPIC_ID, 2));
    reader.note_positions(&mut session);
    assert_heard(&rig, &reader, &mut session);
}

#[test]
fn a_position_that_was_refused_is_noted_with_the_plan_that_succeeds() {
    let (rig, reader, mut session) = too_early();
    // Metadata comes between the two.
    rig.assign(ME, 2);
    assert_heard(&rig, &reader, &mut session);
}

fn look_for_news(session: &mut SessionState) -> Vec<u32> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match session.poll_news(&mut cx) {
        std::task::Poll::Ready(news) => news,
        std::task::Poll::Pending => Vec::new(),
    }
}

/// `fetch.min.bytes` with many small appends: each of them is counted, and all are read once.
#[test]
fn what_is_not_enough_yet_is_counted_and_not_read() {
    let rig = Rig::new(i64::MAX);
    rig.assign(ME, 1);
    let reader = Reader::consumer(0);
    let mut session = SessionState::new();
    session.update(&rig.partitions, named(TOPIC_ID, 1));
    let size = batch().len();
    let limits = Limits { bytes_min: 10 * size, bytes_max: 1 << 20, tells_commits: false };
    let mut round = Round::default();
    let mut weigh = |news: &[u32], session: &mut SessionState| {
        round.weigh(sight(&rig, None), &reader, &limits, session, news)
    };
    assert!(!weigh(&[0], &mut session), "registers with an idle partition");
    let partition = rig.partitions.find("t", 0).unwrap();
    for count in 1..=10 {
        partition.append(&batch(), 1, None).unwrap();
        let news = look_for_news(&mut session);
        assert_eq!(news, [0], "told of append {count}");
        assert_eq!(weigh(&news, &mut session), count == 10, "{count} of 10");
    }
    // Something else to tell is worth a look at once.
    rig.assign(OTHER, 2);
    assert!(weigh(&[0], &mut session));
}

/// A session of many partitions costs what its request names, not what it holds.
#[test]
fn positions_are_noted_once_for_what_a_request_names() {
    let rig = Rig::new(i64::MAX);
    rig.assign(ME, 1);
    let mut session = SessionState::new();
    session.update(&rig.partitions, named(TOPIC_ID, 1));
    assert_eq!(session.take_updated(), [0]);
    assert!(session.take_updated().is_empty());
    session.begin_response();
    assert_eq!(session.untold().count(), 1);
    session.is_told(0);
    assert_eq!(session.untold().count(), 0);
    session.begin_response();
    assert_eq!(session.untold().count(), 1);
}

/// A rule that goes away stops a session that was let in, and one that comes back lets it go on.
#[test]
fn a_client_reads_what_it_may_at_that_moment() {
    let rig = Rig::new(i64::MAX);
    rig.assign(ME, 1);
    let reader = Reader::consumer(0);
    let mut session = SessionState::new();
    session.update(&rig.partitions, named(TOPIC_ID, 1));
    let mut code = |may_read: bool| {
        let asked = |topic: &str| {
            assert_eq!(topic, "t");
            may_read
        };
        match reader.plan_at(sight(&rig, Some(&asked)), &mut session, 0).unwrap() {
            Ok(_) => ErrorCode::None,
            Err(refused) => refused.code,
        }
    };
    let told = [true, false, true].map(&mut code);
    let denied = ErrorCode::TopicAuthorizationFailed;
    assert_eq!(told, [ErrorCode::None, denied, ErrorCode::None]);
}

/// Whoever asks by a name hears nothing of whether the topic exists.
#[test]
fn a_name_that_is_not_here_is_asked_about_too() {
    let rig = Rig::new(i64::MAX);
    let reader = Reader::consumer(0);
    let mut session = SessionState::new();
    let by_name = WantKey { topic: "secret".into(), topic_id: TopicId::ZERO, number: 0 };
    session.update(&rig.partitions, Update { key: by_name, ..named(TOPIC_ID, 1) });
    session.update(&rig.partitions, named(TopicId([7; 16]), 1));
    let nothing = |_: &str| false;
    let mut code = |index| {
        let planned = reader.plan_at(sight(&rig, Some(&nothing)), &mut session, index).unwrap();
        planned.err().unwrap().code
    };
    assert_eq!(code(0), ErrorCode::TopicAuthorizationFailed);
    assert_eq!(code(1), ErrorCode::UnknownTopicId);
}

/// A follower that serves consumers is answered when more is committed, and not before.
#[test]
fn a_waiting_follower_hears_of_commits_where_consumers_read_from_it() {
    let rig = Rig::new(i64::MAX);
    rig.set(Settings { min_insync_replicas: 1, lag_time_max_ms: 30_000, tells_commits: true });
    rig.assign_in(ME, 1, &[ME, OTHER]);
    rig.partition.append(&batch(), 1, None).unwrap();
    let reader = Reader::Follower { id: OTHER, epoch: 1, eligible: true };
    let mut session = SessionState::new();
    // It has all, but the leader does not know that yet.
    session.update(&rig.partitions, Update { fetch_offset: 1, ..named(TOPIC_ID, 1) });
    session.want[0].as_mut().unwrap().told_high_watermark = 0;
    let limits = Limits { bytes_min: 1, bytes_max: 1 << 20, tells_commits: true };
    let mut round = Round::default();
    assert!(!round.weigh(sight(&rig, None), &reader, &limits, &mut session, &[]));
    rig.partition.register(true, session.wait(), 0);
    assert_eq!(look_for_news(&mut session), [] as [u32; 0]);
    reader.note_positions(&mut session);
    assert_eq!(look_for_news(&mut session), [0], "the leader committed it");
    assert!(round.weigh(sight(&rig, None), &reader, &limits, &mut session, &[0]));
    session.want[0].as_mut().unwrap().told_high_watermark = 1;
    assert!(!round.weigh(sight(&rig, None), &reader, &limits, &mut session, &[0]), "told once");
}

#[test]
fn a_consumer_is_sent_to_the_replica_near_it_that_has_the_offset() {
    let rig = Rig::new(i64::MAX);
    rig.assign_in(ME, 1, &[ME, OTHER]);
    rig.partition.append(&batch(), 1, None).unwrap();
    let near = Reader::consumer_near(0, true, vec![OTHER]);
    assert_eq!(near.preferred(&rig.partition, 0), None, "nothing is known of it");
    let follower = Reader::Follower { id: OTHER, epoch: 1, eligible: true };
    let mut session = SessionState::new();
    session.update(&rig.partitions, Update { log_start: 0, ..named(TOPIC_ID, 1) });
    follower.note_positions(&mut session);
    assert_eq!(near.preferred(&rig.partition, 0), Some(OTHER));
    assert_eq!(near.preferred(&rig.partition, 1), None, "it lacks that");
    assert_eq!(Reader::consumer(0).preferred(&rig.partition, 0), None, "no rack");
    let leader = Reader::consumer_near(0, true, vec![ME, OTHER]);
    assert_eq!(leader.preferred(&rig.partition, 0), None, "the leader is as near");
}
