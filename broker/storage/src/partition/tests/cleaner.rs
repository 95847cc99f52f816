//! The cleaner over several logs: it takes the dirtiest, and one that it cannot read holds up none.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use base::{ErrorCode, TopicId, TopicPartition};
use commitlog::checkpoint::OffsetCheckpoint;
use commitlog::{LoadState, Log, LogConfig, LogContext};
use replica::{Assignment, Event, FetchAnswer, Settings};

use crate::partition::testing::*;
use crate::partition::*;

/// A follower of a compacted topic, with this many records of one key.
fn compacted(rig: &Rig, topic: &str, records: i64) -> Arc<Partition> {
    let config = LogConfig {
        segment_bytes: 1000,
        compact: true,
        delete: false,
        ..LogConfig::kafka_defaults()
    };
    let context = LogContext::new(Arc::new(rig.fs.clone()), 8);
    let dir = Path::new(LOGS).join(format!("{topic}-0"));
    let (id, state) = (TopicPartition::new(topic, 0), LoadState::default());
    let (log, _) = Log::open(&context, &dir, id, Arc::new(config), state, 0).unwrap();
    let settings =
        Settings { min_insync_replicas: 1, lag_time_max_ms: 30_000, tells_commits: false };
    let topic_id = TopicId([topic.as_bytes()[0]; 16]);
    let outbox = rig.partitions.outbox().clone();
    let partition = Partition::new(ME, topic_id, log, settings, 0, outbox);
    rig.partitions.insert(partition.clone());
    partition.on(Event::Assign(Assignment {
        leader: Some(OTHER),
        leader_epoch: 1,
        partition_epoch: 1,
        replicas: vec![ME, OTHER],
        isr: vec![OTHER],
    }));
    for offset in 0..records {
        let end = partition.follower_position();
        let answer = FetchAnswer {
            leader: OTHER,
            leader_epoch: 1,
            fetch_offset: end.offset,
            last_fetched_epoch: end.last_epoch,
            error: ErrorCode::None,
            diverging: None,
            high_watermark: offset + 1,
            log_start: 0,
        };
        partition.take_fetched(ME, &answer, &replicated(offset, 1));
    }
    partition.flush();
    partition
}

#[test]
fn a_log_that_cannot_be_cleaned_holds_up_no_other() {
    let rig = Rig::new(i64::MAX);
    let (bad, good) = (compacted(&rig, "a", 400), compacted(&rig, "b", 200));
    let idle = compacted(&rig, "c", 3);
    let path = Path::new(LOGS).join("a-0/00000000000000000000.log");
    let mut bytes = rig.fs.contents(&path).unwrap();
    bytes[65] ^= 1;
    rig.fs.put(&path, &bytes).unwrap();
    let before = [&bad, &good, &idle].map(|partition| partition.size());
    let cleaned = (0..4).filter(|_| rig.partitions.clean_dirtiest(&|| false)).count();
    assert_eq!(cleaned, 1, "one that is clean is not cleaned again");
    assert!(good.size() < before[1] / 5, "{} of {}", good.size(), before[1]);
    assert_eq!([bad.size(), idle.size()], [before[0], before[2]]);
    let metrics = &rig.partitions.outbox().metrics;
    assert_eq!(metrics.cleaner.uncleanable_count.get(), 1);
    assert_eq!(metrics.cleaner.uncleanable.with_label_values(&["a", "0"]).get(), 1);
    assert_eq!(metrics.cleaner.cleanings.get(), 1);
    let offsets: BTreeMap<_, _> = OffsetCheckpoint::Cleaner.read(&rig.fs, Path::new(LOGS)).unwrap();
    assert!(offsets[&good.id] > 150 && !offsets.contains_key(&bad.id), "{offsets:?}");
}

#[test]
fn a_cleaning_ends_when_the_broker_does() {
    let rig = Rig::new(i64::MAX);
    let partition = compacted(&rig, "a", 200);
    let before = partition.size();
    assert!(!rig.partitions.clean_dirtiest(&|| true));
    assert_eq!(partition.size(), before);
    assert!(rig.partitions.clean_dirtiest(&|| false), "another thread may take it then");
}
