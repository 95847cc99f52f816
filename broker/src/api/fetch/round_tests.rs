//! What a leader learns of a follower from its fetches, over a partition alone.
#![allow(clippy::unwrap_used)]

use base::TopicId;
use futures::FutureExt;
use wire::Str;

use super::super::want::{Update, WantKey};
use super::*;
use crate::partition::tests::{ME, OTHER, Rig, TOPIC_ID};

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

/// The code that the follower is told for its partition.
fn answered(rig: &Rig, reader: &Reader, session: &mut SessionState) -> ErrorCode {
    let index = session.take_dirty()[0];
    match reader.plan_at(&rig.partitions, session, index).unwrap() {
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
