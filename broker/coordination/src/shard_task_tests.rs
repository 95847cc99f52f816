//! A shard whose broker loses the leadership while it is busy.
#![allow(clippy::unwrap_used)]

use coordinator::{
    CommitOffsets, GroupConfig, GroupReply, GroupRequest, GroupShard, OffsetToCommit,
};
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
        mailbox: Mailbox::new().0,
        errands: Arc::new(crate::errands::NoErrands),
        cluster: watch::Sender::new(None).subscribe(),
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
        knows_epochs: false,
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
    running.round_now(vec![commit(answer, 0)], true);
    assert_eq!((rig.partition.offsets().log_end, rig.partition.committed_in(1)), (1, Some(0)));

    rig.assign_in(OTHER, 2, &[OTHER, ME]);
    let (answer, _) = rig.fetched_up_to(1, &[], 0);
    let diverging = Some(EpochEnd { epoch: 1, end_offset: 0 });
    rig.partition.cut(&FetchAnswer { leader_epoch: 2, diverging, ..answer });
    let (_, progress) = rig.fetched_up_to(2, &replicated(0, 2), 1);
    assert!(matches!(progress, FollowerProgress::Continue { bytes, .. } if bytes > 0));
    assert_eq!(rig.partition.offsets().high_watermark, 1);
    assert_eq!(rig.partition.committed_in(1), None);
    running.round_now(Vec::new(), true);
    assert!(answered.try_recv().is_err(), "the commit is gone");

    rig.assign_in(ME, 3, &[ME]);
    assert_eq!((rig.partition.committed_in(1), rig.partition.committed_in(3)), (None, Some(1)));
    running.round_now(Vec::new(), true);
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

    running.round_now(vec![ask(0)], true);
    running.deletions.post(deleted());
    running.round_now(vec![ask(0)], false);
    assert_eq!(committed(&running), 1, "commits of the old topic may come yet");
    running.round_now(vec![ask(0), ask(1)], false);
    assert_eq!(committed(&running), 1, "that of the new topic stays");
    running.deletions.post(deleted());
    running.round_now(vec![ask(1)], true);
    assert_eq!(committed(&running), 0);
}

/// Offsets of transactions pend, and their markers are read, when a shard is loaded.
#[test]
fn a_loaded_shard_knows_what_transactions_committed() {
    let rig = Rig::new(i64::MAX);
    rig.assign_in(ME, 1, &[ME]);
    let mut running = running(&rig, 1);
    let ask = |running: &mut Running<GroupShard>, request| {
        let (answer, mut answered) = oneshot::channel();
        running.round_now(vec![Command { request, answer, after: 0 }], true);
        answered.try_recv().unwrap()
    };
    let begin = |running: &mut Running<GroupShard>, producer_id, guarded| {
        let start = commitlog::VerificationStart {
            producer_id,
            epoch: 0,
            sequence: -1,
            bumps_epoch: false,
        };
        let guard = rig.partition.start_verification(start).unwrap().unwrap().number();
        let guard = if guarded { Some(guard) } else { None };
        let GroupRequest::Commit(commit) = commit(oneshot::channel().0, 0).request else {
            unreachable!("a commit");
        };
        let transaction = coordinator::Transaction { producer_id, epoch: 0, guard };
        let commit = coordinator::TransactionalCommit { transaction, commit };
        let GroupReply::Commit(reply) = ask(running, GroupRequest::CommitInTransaction(commit))
        else {
            panic!("a commit");
        };
        reply.errors[0]
    };
    let loaded = || load::<GroupShard>(&rig.partition, GroupConfig::kafka_defaults()).unwrap().0;
    assert_eq!(begin(&mut running, 7, false), ErrorCode::InvalidTxnState, "nobody was asked");
    assert_eq!(running.shard.persistent_view(), []);
    assert_eq!(begin(&mut running, 7, true), ErrorCode::None);
    assert_eq!(begin(&mut running, 8, true), ErrorCode::None);
    assert_eq!(running.shard.persistent_view().len(), 2);
    assert_eq!(loaded().persistent_view(), running.shard.persistent_view());
    assert_eq!(rig.partition.offsets().last_stable, 0);
    for (producer_id, commit) in [(8, false), (7, true)] {
        let end = coordinator::TransactionEnd {
            producer_id,
            epoch: 0,
            coordinator_epoch: 5,
            commit,
            transaction_version: 0,
        };
        let reply = ask(&mut running, GroupRequest::EndTransaction(end));
        assert_eq!(reply, GroupReply::EndTransaction(ErrorCode::None));
        assert_eq!(loaded().persistent_view(), running.shard.persistent_view());
    }
    assert_eq!(running.shard.positions().map(|p| p.offset).collect::<Vec<_>>(), [7]);
    let offsets = rig.partition.offsets();
    assert_eq!(offsets.last_stable, offsets.log_end);
    let fenced = coordinator::TransactionEnd {
        producer_id: 7,
        epoch: 0,
        coordinator_epoch: 4,
        commit: false,
        transaction_version: 0,
    };
    let reply = ask(&mut running, GroupRequest::EndTransaction(fenced));
    let code = ErrorCode::TransactionCoordinatorFenced;
    assert_eq!(reply, GroupReply::EndTransaction(code));
}
