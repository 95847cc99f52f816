//! A shard whose broker loses the leadership while it is busy.
#![allow(clippy::unwrap_used)]

use coordinator::{CommitOffsets, GroupConfig, GroupReply, GroupShard, OffsetToCommit};
use replica::{EpochEnd, FetchAnswer};

use super::*;
use storage::partition::FollowerProgress;
use storage::partition::testing::{ME, OTHER, Rig, replicated};

fn running(rig: &Rig, epoch: LeaderEpoch) -> Running<GroupShard> {
    let partition = rig.partition.clone();
    let mut running = Running {
        high_watermark: HighWatermark::new(partition.clone(), epoch),
        partition,
        epoch,
        shard: GroupShard::new(GroupConfig::kafka_defaults()),
        deletions: Arc::default(),
        tickets: HashMap::new(),
        next_ticket: 0,
        appended: VecDeque::new(),
    };
    running.start();
    running
}

fn commit(answer: oneshot::Sender<GroupReply>, after: u64) -> Command<GroupShard> {
    let offset = OffsetToCommit {
        topic: "t".into(),
        topic_id: base::TopicId::ZERO,
        partition: 0,
        offset: 7,
        leader_epoch: -1,
        metadata: "".into(),
    };
    let request = coordinator::GroupRequest::Commit(CommitOffsets {
        group: "g".into(),
        member_id: "".into(),
        instance_id: None,
        generation: -1,
        retention_ms: None,
        unknown_group: base::ErrorCode::IllegalGeneration,
        offsets: vec![offset],
    });
    Command { request, answer, after }
}

/// The high watermark had passed the offset of a commit: with another leader's record there.
#[test]
fn what_another_leader_committed_is_no_commit_of_this_epoch() {
    let rig = Rig::new(i64::MAX);
    rig.assign_in(ME, 1, &[ME, OTHER]);
    let mut running = running(&rig, 1);
    let (answer, mut answered) = oneshot::channel();
    running.round(&mut vec![commit(answer, 0)], true);
    assert_eq!((rig.partition.offsets().log_end, rig.partition.committed_in(1)), (1, Some(0)));

    rig.assign_in(OTHER, 2, &[OTHER, ME]);
    let (answer, _) = rig.fetched_up_to(1, &[], 0);
    let diverging = Some(EpochEnd { epoch: 1, end_offset: 0 });
    rig.partition.cut(&FetchAnswer { leader_epoch: 2, diverging, ..answer });
    let (_, progress) = rig.fetched_up_to(2, &replicated(0, 2), 1);
    assert!(matches!(progress, FollowerProgress::Continue { bytes, .. } if bytes > 0));
    assert_eq!(rig.partition.offsets().high_watermark, 1);
    assert_eq!(rig.partition.committed_in(1), None);
    running.round(&mut Vec::new(), true);
    assert!(answered.try_recv().is_err(), "the commit is gone");

    rig.assign_in(ME, 3, &[ME]);
    assert_eq!((rig.partition.committed_in(1), rig.partition.committed_in(3)), (None, Some(1)));
    running.round(&mut Vec::new(), true);
    assert!(answered.try_recv().is_err(), "the commit is gone");
    running.unload();
    let GroupReply::Commit(reply) = answered.try_recv().unwrap() else { panic!("a commit") };
    assert!(reply.errors.iter().all(|error| error.is_error()), "{reply:?}");
}

/// A full mailbox let the deletion of a topic come after commits of its successor.
#[test]
fn the_deletion_of_a_topic_keeps_its_place_among_the_requests() {
    let rig = Rig::new(i64::MAX);
    rig.assign_in(ME, 1, &[ME]);
    let mut running = running(&rig, 1);
    let ask = |after| commit(oneshot::channel().0, after);
    let deleted = || Arc::new([("t".into(), base::TopicId([1; 16]))].into());
    let committed = |running: &Running<GroupShard>| running.shard.positions().count();

    running.round(&mut vec![ask(0)], true);
    running.deletions.post(deleted());
    running.round(&mut vec![ask(0)], false);
    assert_eq!(committed(&running), 1, "commits of the old topic may come yet");
    running.round(&mut vec![ask(0), ask(1)], false);
    assert_eq!(committed(&running), 1, "that of the new topic stays");
    running.deletions.post(deleted());
    running.round(&mut vec![ask(1)], true);
    assert_eq!(committed(&running), 0);
}
