//! Markers against leaders that change, refuse, and forget.
#![allow(clippy::unwrap_used)]

use base::TopicId;
use coordinator::txn::{Partitions, Producer};
use metadata::{MetadataRecord, PartitionRecord, TopicRecord};
use tokio::sync::mpsc;

use super::*;
use crate::mailbox::{Command, Mailbox};

const ONE: BrokerId = BrokerId(1);
const TWO: BrokerId = BrokerId(2);

/// A topic `t` whose partitions have these leaders.
fn image(leaders: &[Option<BrokerId>]) -> Image {
    let topic_id = TopicId([1; 16]);
    let mut records = vec![MetadataRecord::Topic(TopicRecord { name: "t".into(), topic_id })];
    records.extend((0..).zip(leaders).map(|(partition, leader)| {
        MetadataRecord::Partition(PartitionRecord {
            topic_id,
            partition,
            replicas: vec![ONE, TWO],
            isr: vec![ONE, TWO],
            leader: *leader,
        })
    }));
    let mut image = Image::new("c");
    image.apply(1, &records).unwrap();
    image
}

fn markers(producer_id: i64, indexes: &[i32]) -> Markers {
    Markers {
        number: 7,
        id: "x".into(),
        producer: Producer { id: producer_id, epoch: 3 },
        is_commit: true,
        version: 2,
        partitions: [("t".into(), indexes.iter().copied().collect())].into(),
    }
}

struct Given {
    outstanding: Outstanding,
    _shard: mpsc::Receiver<Command<TxnShard>>,
}

/// Markers of one transaction for each list of partitions, with producer ids from 10 on.
fn given(transactions: &[&[i32]]) -> Given {
    let (mailbox, shard, _) = Mailbox::new();
    let mut outstanding = Outstanding::default();
    for (producer_id, indexes) in (10..).zip(transactions) {
        let giver = Giver { epoch: 5, mailbox: mailbox.clone() };
        outstanding.add(giver, markers(producer_id, indexes));
    }
    Given { outstanding, _shard: shard }
}

/// Producer ids with partitions of `t`.
type ByProducer = Vec<(i64, Vec<i32>)>;

/// For whom, and of which producers for which partitions.
fn requests(due: &Due) -> Vec<(i32, ByProducer)> {
    let of = |markers: &LeaderMarkers| {
        let indexes = |partitions: &Partitions| partitions["t"].iter().copied().collect();
        (markers.producer.id, indexes(&markers.partitions))
    };
    due.requests.iter().map(|(sent, m)| (sent.leader.0, m.iter().map(of).collect())).collect()
}

fn written(producer_id: i64, partition: i32, error: ErrorCode) -> PartitionWritten {
    PartitionWritten { producer_id, topic: "t".into(), partition, error }
}

#[test]
fn a_leader_gets_what_is_its_in_one_request() {
    let mut given = given(&[&[0, 1, 2], &[1]]);
    let image = image(&[Some(ONE), Some(TWO), Some(ONE)]);
    let due = given.outstanding.due(&image, 0);
    assert_eq!(
        requests(&due),
        [(1, vec![(10, vec![0, 2])]), (2, vec![(10, vec![1]), (11, vec![1])])]
    );
    let marker = &due.requests[0].1[0];
    assert_eq!((marker.coordinator_epoch, marker.is_commit, marker.version), (5, true, 2));
    assert!(requests(&given.outstanding.due(&image, 0)).is_empty(), "they are under way");

    let [(first, _), (second, _)] = &due.requests[..] else { panic!("two requests") };
    let none = ErrorCode::None;
    let answer = vec![written(10, 1, none), written(11, 1, none)];
    given.outstanding.answered(second, Some(answer), 0);
    let due = given.outstanding.due(&image, 0);
    assert_eq!(due.written.len(), 1, "the second transaction has all of its markers");
    let answer = vec![written(10, 0, none), written(10, 2, none)];
    given.outstanding.answered(first, Some(answer), 0);
    let due = given.outstanding.due(&image, 0);
    assert_eq!(due.written.iter().map(|(_, id, n)| (&**id, *n)).collect::<Vec<_>>(), [("x", 7)]);
    assert_eq!((due.requests.len(), due.wake_ms), (0, i64::MAX));
}

#[test]
fn what_is_refused_or_not_answered_is_tried_again_at_the_new_leader() {
    let mut given = given(&[&[0, 1]]);
    let before = image(&[Some(ONE), Some(ONE)]);
    let due = given.outstanding.due(&before, 0);
    let answer = vec![written(10, 0, ErrorCode::NotLeaderOrFollower)];
    given.outstanding.answered(&due.requests[0].0, Some(answer), 0);
    let due = given.outstanding.due(&before, 0);
    assert_eq!((due.requests.len(), due.wake_ms), (0, RETRY_MS_MIN), "after a pause");

    let nobody = image(&[None, None]);
    let due = given.outstanding.due(&nobody, RETRY_MS_MIN);
    assert_eq!((due.requests.len(), due.wake_ms), (0, i64::MAX), "new metadata wakes");
    let after = image(&[Some(TWO), Some(TWO)]);
    let due = given.outstanding.due(&after, RETRY_MS_MIN);
    assert_eq!(requests(&due), [(2, vec![(10, vec![0, 1])])]);
    given.outstanding.answered(&due.requests[0].0, None, RETRY_MS_MIN);
    let due = given.outstanding.due(&after, RETRY_MS_MIN);
    assert_eq!(due.wake_ms, RETRY_MS_MIN * 3, "the pause doubles");
    let due = given.outstanding.due(&after, RETRY_MS_MIN * 3);
    let answer = vec![
        written(10, 0, ErrorCode::None),
        // The first attempt had written it after all.
        written(10, 1, ErrorCode::InvalidProducerEpoch),
    ];
    given.outstanding.answered(&due.requests[0].0, Some(answer), 0);
    assert_eq!(given.outstanding.due(&after, 0).written.len(), 1);
}

#[test]
fn the_pause_between_attempts_is_bounded() {
    let mut given = given(&[&[0]]);
    let image = image(&[Some(ONE)]);
    let mut now_ms = 0;
    for _ in 0..20 {
        let due = given.outstanding.due(&image, now_ms);
        given.outstanding.answered(&due.requests[0].0, None, now_ms);
        let wake_ms = given.outstanding.due(&image, now_ms).wake_ms;
        assert!((RETRY_MS_MIN..=RETRY_MS_MAX).contains(&(wake_ms - now_ms)));
        now_ms = wake_ms;
    }
}

#[test]
fn markers_of_deleted_topics_are_dropped() {
    let mut given = given(&[&[0, 9]]);
    let due = given.outstanding.due(&image(&[Some(ONE)]), 0);
    assert_eq!(requests(&due), [(1, vec![(10, vec![0])])]);
    given.outstanding.answered(&due.requests[0].0, None, 0);
    let due = given.outstanding.due(&Image::new("c"), 0);
    assert_eq!(due.written.len(), 1);
}

#[test]
fn nothing_is_written_for_a_shard_that_is_gone() {
    let Given { mut outstanding, _shard } = given(&[&[0]]);
    drop(_shard);
    let due = outstanding.due(&image(&[Some(ONE)]), 0);
    assert_eq!((due.requests.len(), due.written.len()), (0, 0));
}
