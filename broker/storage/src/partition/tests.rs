//! One hosted partition over the file system in memory, which loses power.
#![allow(clippy::unwrap_used)]

mod cleaner;
mod torn;
mod transactions;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use base::{ErrorCode, Offset, TopicId, TopicPartition};
use commitlog::checkpoint::OffsetCheckpoint;
use commitlog::fs::{Faults, Fs};
use commitlog::{Effort, Log};
use futures::executor::block_on;
use metadata::{Image, MetadataRecord, PartitionRecord, TopicRecord};
use replica::FetchAnswer;

use super::state::State;
use super::testing::*;
use super::*;

impl Rig {
    /// Takes what a leader of this epoch sent.
    fn fetched(&self, leader_epoch: i32, records: &[u8]) -> (FetchAnswer, FollowerProgress) {
        self.fetched_up_to(leader_epoch, records, 0)
    }

    /// What a log has that lost power now.
    fn end_after_power_loss(&self, seed: u64) -> Offset {
        self.fs.crash(&mut (seed + 1));
        open(&self.fs, 1).end_offset()
    }

    /// Log and core tell the same.
    fn agree(&self) {
        self.partition.look(|state| {
            let (core, log) = (state.core().log(), state.log());
            assert_eq!((core.start, core.end), (log.start_offset(), log.end_offset()));
            assert_eq!(core.first_unstable, log.first_unstable_offset());
            state.core().validate();
            if !log.is_torn() {
                log.validate();
            }
        });
    }

    fn orders(&self) -> Vec<bool> {
        let orders = block_on(self.partitions.outbox().fetch_orders.take());
        orders.values().map(|order| matches!(order, FetchOrder::Follow { .. })).collect()
    }
}

#[test]
fn what_flush_messages_acknowledged_survives_the_loss_of_power() {
    for seed in 0..40 {
        let rig = Rig::new(1);
        rig.assign(ME, 1);
        let (acks, appends) = (if seed % 2 == 0 { 1 } else { -1 }, 1 + seed as Offset % 5);
        let outbox = rig.partitions.outbox().clone();
        let syncing = thread::spawn(move || outbox.syncs.run());
        for _ in 0..appends {
            let wait = ProduceWait::new(1);
            let commit = (acks == -1).then_some((&wait, 0));
            rig.partition.append(&batch(), acks, commit).unwrap();
            wait.registered();
            block_on(poll_fn(|cx| wait.poll(cx)));
            assert!(acks == 1 || wait.result(0) == ErrorCode::None);
        }
        rig.partitions.outbox().syncs.close();
        syncing.join().unwrap();
        assert_eq!(rig.end_after_power_loss(seed), appends, "acks {acks}, seed {seed}");
    }
}

#[test]
fn records_below_flush_messages_wait_for_no_sync() {
    let rig = Rig::new(3);
    rig.assign(ME, 1);
    let append = || {
        let wait = ProduceWait::new(1);
        rig.partition.append(&batch(), -1, Some((&wait, 0))).unwrap();
        wait.registered();
        wait
    };
    assert!(append().is_over() && append().is_over());
    let (third, fourth) = (append(), append());
    assert!(!third.is_over() && !fourth.is_over());
    assert_eq!(rig.partition.offsets().high_watermark, 2);
    rig.partition.sync().unwrap();
    assert!(third.is_over() && fourth.is_over() && append().is_over());
    assert_eq!(rig.partition.offsets().high_watermark, 5);
}

#[test]
fn a_follower_reports_its_end_once_it_is_durable() {
    for seed in 0..20 {
        let rig = Rig::new(1);
        rig.assign(OTHER, 1);
        assert_eq!(rig.orders(), [true]);
        let (answer, progress) = rig.fetched(1, &replicated(0, 1));
        assert!(matches!(progress, FollowerProgress::Sync { bytes, .. } if bytes > 0));
        let progress = rig.partition.cut(&answer);
        assert!(matches!(progress, FollowerProgress::Continue { .. }), "{progress:?}");
        assert_eq!(rig.partition.follower_position().offset, 1);
        assert_eq!(rig.end_after_power_loss(seed), 1, "seed {seed}");
    }
}

#[test]
fn a_leader_that_comes_to_follow_syncs_before_it_fetches() {
    let rig = Rig::new(1);
    rig.assign(ME, 1);
    rig.partition.append(&batch(), -1, None).unwrap();
    rig.assign(OTHER, 2);
    assert_eq!(rig.orders(), [false]);
    rig.partition.sync().unwrap();
    assert_eq!(rig.orders(), [true]);
}

#[test]
fn an_idle_broker_writes_no_checkpoint_anew() {
    let rig = Rig::new(i64::MAX);
    rig.assign(ME, 1);
    let kind = OffsetCheckpoint::HighWatermark;
    let read = || kind.read(&rig.fs, Path::new(LOGS)).unwrap();
    rig.partitions.write_checkpoints(&[kind]).unwrap();
    let id = TopicPartition::new("t", 0);
    assert_eq!(read(), BTreeMap::from([(id.clone(), 0)]));
    rig.fs.remove_file(&Path::new(LOGS).join(kind.file_name())).unwrap();
    rig.partitions.write_checkpoints(&[]).unwrap();
    rig.partitions.write_checkpoints(&[kind]).unwrap();
    assert_eq!(read(), BTreeMap::new());
    rig.partition.append(&batch(), 1, None).unwrap();
    rig.partitions.write_checkpoints(&[kind]).unwrap();
    assert_eq!(read(), BTreeMap::from([(id, 1)]));
}

#[test]
fn batches_are_validated_without_the_lock() {
    let rig = Rig::new(i64::MAX);
    rig.assign(ME, 1);
    let batch = batch();
    assert!(
        rig.partition
            .look(|_| rig.partition.validate(&batch, 1, &mut { Effort::UNLIMITED }).is_ok())
    );
    let mut torn = batch.clone();
    *torn.last_mut().unwrap() ^= 1;
    let code = |bytes| rig.partition.append(bytes, 1, None).unwrap_err().code;
    assert_eq!(code(&torn), ErrorCode::CorruptMessage);
    rig.assign(OTHER, 2);
    assert_eq!(code(&torn), ErrorCode::NotLeaderOrFollower, "only a leader judges");
}

#[test]
fn a_replica_whose_log_could_not_be_made_is_made_once_the_disk_has_room() {
    let rig = Rig::new(i64::MAX);
    let topic_id = TopicId([2; 16]);
    let topic = TopicRecord { name: "new".into(), topic_id };
    let (replicas, isr, leader) = (vec![ME], vec![ME], Some(ME));
    let partition = PartitionRecord { topic_id, partition: 0, replicas, isr, leader };
    let records = [MetadataRecord::Topic(topic), MetadataRecord::Partition(partition)];
    let image = Image::new("").with(&records).unwrap();
    let full = Faults { capacity_bytes: Some(rig.fs.used_bytes()), ..Faults::default() };
    rig.fs.set_faults(full);
    rig.partitions.apply(Arc::new(image));
    let try_again = || {
        assert!(rig.partitions.making.has_failed());
        rig.partitions.making.try_again();
        rig.partitions.make_all();
    };
    try_again();
    assert!(rig.partitions.get("new", 0).is_none());
    rig.fs.set_faults(Faults::default());
    try_again();
    let made = rig.partitions.get("new", 0).unwrap();
    made.append(&batch(), 1, None).unwrap();
}

#[test]
fn nothing_is_appended_or_cut_once_the_logs_are_closed() {
    for leader in [ME, OTHER] {
        let rig = Rig::new(i64::MAX);
        rig.assign(ME, 1);
        rig.partition.append(&batch(), 1, None).unwrap();
        rig.assign(leader, 2);
        let (answer, _) = rig.fetched(2, &[]);
        rig.partitions.close(7).unwrap();
        // Late: a coordinator, a client, the fetch loop and the cut that it gave to a pool.
        rig.partition.append_as_coordinator(&batch(), 2, None, None).unwrap_err();
        rig.partition.append(&batch(), 1, None).unwrap_err();
        let (_, progress) = rig.fetched(2, &replicated(1, 2));
        assert!(matches!(progress, FollowerProgress::Pause(_)), "{progress:?}");
        assert!(matches!(rig.partition.cut(&answer), FollowerProgress::Pause(_)));
        rig.assign(ME, 3);
        rig.partition.append(&batch(), 1, None).unwrap_err();
        assert_eq!(rig.partition.offsets().log_end, 1);
    }
}

/// Holds the lock of the rig's partition, as who waits for a stalled disk does.
fn while_locked(rig: &Rig, work: impl FnOnce()) {
    rig.partition.look(|_| work());
}

#[test]
fn control_waits_for_no_partition() {
    let rig = Rig::new(i64::MAX);
    rig.assign(ME, 1);
    let topic_id = TopicId([3; 16]);
    let topic = TopicRecord { name: "new".into(), topic_id };
    let (replicas, isr, leader) = (vec![ME], vec![ME], Some(ME));
    let partition = PartitionRecord { topic_id, partition: 0, replicas, isr, leader };
    let records = [MetadataRecord::Topic(topic), MetadataRecord::Partition(partition)];
    let image = Arc::new(Image::new("").with(&records).unwrap());
    while_locked(&rig, || {
        rig.partitions.tick();
        rig.partitions.under_min_isr();
        rig.assign(OTHER, 2);
        let answer = replica::IsrAnswer::Unknown { partition_epoch: 1 };
        rig.partition.isr_answer(answer);
        rig.partitions.apply(image);
        assert!(rig.partitions.get("new", 0).is_some());
        // It has not acted upon its new role, since somebody is at its log.
        assert!(rig.partition.leads());
    });
    // Whoever had the lock acted upon it when it was done.
    assert!(!rig.partition.leads());
    let mut orders = rig.orders();
    orders.sort_unstable();
    assert_eq!(orders, [false, true], "it follows now, and the new one leads");
}

#[test]
fn what_was_posted_comes_before_what_takes_the_lock_later() {
    for _ in 0..200 {
        let rig = Rig::new(i64::MAX);
        thread::scope(|scope| {
            let holder = scope.spawn(|| rig.partition.look(|_| thread::yield_now()));
            rig.assign(ME, 1);
            assert_eq!(rig.partition.leader_epoch(), Some(1));
            holder.join().unwrap();
        });
        assert!(rig.partition.leads());
    }
}

#[test]
fn a_topic_that_is_deleted_while_its_log_is_made_leaves_nothing() {
    let rig = Rig::new(i64::MAX);
    let record = |id: u8| {
        let topic_id = TopicId([id; 16]);
        let (replicas, isr, leader) = (vec![ME], vec![ME], Some(ME));
        let partition = PartitionRecord { topic_id, partition: 0, replicas, isr, leader };
        let topic = TopicRecord { name: "new".into(), topic_id };
        [MetadataRecord::Topic(topic), MetadataRecord::Partition(partition)]
    };
    let created = Image::new("").with(&record(4)).unwrap();
    let remove = metadata::RemoveTopicRecord { topic_id: TopicId([4; 16]) };
    let deleted = created.with(&[MetadataRecord::RemoveTopic(remove)]).unwrap();
    let again = deleted.with(&record(5)).unwrap();
    // Not begun when it is deleted: nothing is made.
    rig.partitions.tell_only(created.clone());
    rig.partitions.apply(Arc::new(deleted.clone()));
    assert!(rig.partitions.get("new", 0).is_none());
    assert!(!rig.fs.exists(&Path::new(LOGS).join("new-0")));
    // Deleted and created again: the new one is made, and only it.
    rig.partitions.tell_only(created);
    rig.partitions.tell_only(deleted);
    rig.partitions.apply(Arc::new(again));
    assert_eq!(rig.partitions.get("new", 0).unwrap().topic_id, TopicId([5; 16]));
}

#[test]
fn who_creates_a_topic_waits_for_its_replicas_here() {
    let rig = Rig::new(i64::MAX);
    let topic_id = TopicId([6; 16]);
    let topic = TopicRecord { name: "new".into(), topic_id };
    let of = |partition, on| PartitionRecord {
        topic_id,
        partition,
        replicas: vec![on],
        isr: vec![on],
        leader: Some(on),
    };
    let mut records = vec![MetadataRecord::Topic(topic)];
    records.extend([of(0, ME), of(1, OTHER)].map(MetadataRecord::Partition));
    rig.partitions.tell_only(Image::new("").with(&records).unwrap());
    let names = ["new".into(), "never".into()];
    let mut hosts = std::pin::pin!(rig.partitions.hosts(&names));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(hosts.as_mut().poll(&mut cx).is_pending());
    rig.partitions.make_all();
    assert!(hosts.as_mut().poll(&mut cx).is_ready());
    assert!(rig.partitions.get("new", 0).unwrap().leads());
}
