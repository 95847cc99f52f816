//! What a broker does with the directories that it finds at start, over the file system in memory:
//! topics that come back under their names, and what was never its own.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{Offset, TopicId, TopicPartition};
use commitlog::LogContext;
use commitlog::checkpoint::OffsetCheckpoint;
use commitlog::directory;
use commitlog::fs::{Faults, Fs, MemFs};
use metadata::{Image, MetadataRecord, PartitionRecord, TopicRecord};
use record::{BatchBuilder, BatchOptions};

use super::testing::ME;
use super::*;
use config::Config;
use config::testing::on_free_ports;
use process::metrics::Metrics;

const LOGS: &str = "/data";

fn id(number: u8) -> TopicId {
    TopicId([number; 16])
}

/// An image in which this broker alone has partition 0 of each topic.
fn image(topics: &[(&str, TopicId)]) -> Arc<Image> {
    let mut records = Vec::new();
    for &(name, topic_id) in topics {
        let (replicas, isr, leader) = (vec![ME], vec![ME], Some(ME));
        records.push(MetadataRecord::Topic(TopicRecord { name: name.into(), topic_id }));
        let partition = PartitionRecord { topic_id, partition: 0, replicas, isr, leader };
        records.push(MetadataRecord::Partition(partition));
    }
    Arc::new(Image::new("").with(&records).unwrap())
}

struct Broker {
    fs: MemFs,
    partitions: Partitions,
}

impl Broker {
    fn start(fs: &MemFs) -> Broker {
        Broker::start_on(fs, &[LOGS])
    }

    fn start_on(fs: &MemFs, log_dirs: &[&str]) -> Broker {
        let log_dirs = log_dirs.iter().map(PathBuf::from).collect();
        let config = Config { log_dirs, ..on_free_ports(Path::new(LOGS)) };
        let config = Arc::new(config);
        let context = LogContext::new(Arc::new(fs.clone()), 8);
        let loaded = load_logs(&config, &context, Arc::default(), &Recovery::default()).unwrap();
        let outbox = Arc::new(Outbox::new(Arc::new(Metrics::new().unwrap())));
        let partitions = Partitions::new(config, context, outbox, loaded);
        Broker { fs: fs.clone(), partitions }
    }

    fn apply(&self, topics: &[(&str, TopicId)]) {
        self.partitions.apply(image(topics));
    }

    /// The process ends without a word, the machine goes on.
    fn kill_and_start(self) -> Broker {
        self.fs.kill();
        Broker::start(&self.fs)
    }

    /// What could not be made or moved is tried again.
    fn try_again(&self) {
        self.partitions.making.try_again();
        self.partitions.make_all();
    }

    fn get(&self, topic: &str) -> Arc<Partition> {
        self.partitions.get(topic, 0).unwrap()
    }

    fn append(&self, topic: &str, records: i64) {
        for _ in 0..records {
            let mut builder = BatchBuilder::new(BatchOptions::default());
            builder.append(process::clock::wall_ms(), Some(b"k"), Some(b"v"), &[]);
            self.get(topic).append(&builder.finish(), 1, None).unwrap();
        }
    }

    fn range(&self, topic: &str) -> (Offset, Offset) {
        let offsets = self.get(topic).offsets();
        (offsets.log_start, offsets.log_end)
    }

    fn checkpoint(&self, kinds: &[OffsetCheckpoint]) {
        self.partitions.write_checkpoints(kinds).unwrap();
    }

    fn names(&self) -> Vec<String> {
        self.fs.list(Path::new(LOGS)).unwrap()
    }
}

fn new_fs() -> MemFs {
    let fs = MemFs::new();
    fs.create_dir_all(Path::new(LOGS)).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs
}

fn path(name: &str) -> PathBuf {
    Path::new(LOGS).join(name)
}

fn put(fs: &MemFs, dir: &str, file: &str, content: &[u8]) {
    fs.create_dir_all(&path(dir)).unwrap();
    fs.put(&path(dir).join(file), content).unwrap();
}

#[test]
fn a_topic_that_is_made_again_is_not_cut_at_its_predecessors_start() {
    let broker = Broker::start(&new_fs());
    broker.apply(&[("t", id(1))]);
    broker.append("t", 50);
    broker.get("t").delete_records(40).unwrap();
    broker.checkpoint(&OffsetCheckpoint::ALL);
    broker.apply(&[]);
    broker.apply(&[("t", id(2))]);
    broker.append("t", 10);
    let broker = broker.kill_and_start();
    broker.apply(&[("t", id(2))]);
    assert_eq!(broker.range("t"), (0, 10));
}

#[test]
fn checkpoints_of_version_0_1_are_bound_by_the_first_start() {
    let fs = new_fs();
    let broker = Broker::start(&fs);
    broker.apply(&[("t", id(1))]);
    broker.append("t", 50);
    broker.get("t").delete_records(40).unwrap();
    broker.checkpoint(&OffsetCheckpoint::ALL);
    // The one file that version 0.1 did not write.
    fs.remove_file(&path("topic-id-checkpoint")).unwrap();
    let broker = broker.kill_and_start();
    broker.apply(&[("t", id(1))]);
    assert_eq!(broker.range("t"), (40, 50), "what it said of the log still counts");
    broker.apply(&[]);
    broker.apply(&[("t", id(2))]);
    broker.append("t", 10);
    let broker = broker.kill_and_start();
    broker.apply(&[("t", id(2))]);
    assert_eq!(broker.range("t"), (0, 10));
}

/// Topics are made, deleted and made again under one name, written, cut and checkpointed in any
/// order, and the process is killed at any time: every log has all that was appended to it.
#[test]
fn no_order_of_events_loses_what_was_appended() {
    for seed in 0..150u64 {
        let mut rng = seed;
        let mut draw = |below: u64| {
            rng =
                rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (rng >> 33) % below
        };
        let mut broker = Broker::start(&new_fs());
        let (mut topic, mut end, mut start) = (1, 0, 0);
        broker.apply(&[("t", id(topic))]);
        for _ in 0..30 {
            match draw(7) {
                0 => {
                    topic += 1;
                    (end, start) = (0, 0);
                    if draw(2) == 0 {
                        broker.apply(&[]);
                    }
                    broker.apply(&[("t", id(topic))]);
                }
                1 | 2 => {
                    let records = 1 + draw(4) as i64;
                    broker.append("t", records);
                    end += records;
                }
                3 if end > start => {
                    start += 1 + draw((end - start) as u64) as i64;
                    broker.get("t").delete_records(start).unwrap();
                }
                4 => broker.checkpoint(&[OffsetCheckpoint::HighWatermark]),
                5 => broker.checkpoint(&OffsetCheckpoint::ALL),
                _ => {
                    broker = broker.kill_and_start();
                    broker.apply(&[("t", id(topic))]);
                    let found = broker.range("t");
                    assert!(found.0 <= start && found.1 == end, "seed {seed}: {found:?}");
                    start = found.0;
                }
            }
        }
    }
}

/// The directory of a replica that is to go has its name yet at the next start, and the marker of
/// the clean stop vouches for what is in it.
#[test]
fn a_log_that_was_not_discarded_before_a_clean_stop_is_whole() {
    for seed in 0..20u64 {
        let broker = Broker::start(&new_fs());
        broker.apply(&[("t", id(1))]);
        broker.append("t", 5);
        broker.partitions.tell_only((*image(&[])).clone());
        broker.partitions.stop_making();
        broker.partitions.close(7).unwrap();
        broker.fs.crash(&mut { seed });
        let broker = Broker::start(&broker.fs);
        broker.apply(&[("t", id(1))]);
        assert_eq!(broker.range("t"), (0, 5), "seed {seed}");
    }
}

#[test]
fn what_is_not_ours_survives_the_start_and_is_never_used() {
    let fs = new_fs();
    let log = "00000000000000000000.log";
    put(&fs, "backup-2024", "letters", b"dear");
    put(&fs, "old-delete", "letters", b"dear");
    put(&fs, "t-0", log, b"somebody's");
    put(&fs, "broken-0", "partition.metadata", b"version: 9");
    put(&fs, "broken-0", log, b"somebody's");
    fs.put(&path("file-0"), b"no directory").unwrap();
    let aside = directory::aside_name(&TopicPartition::new("u", 0), 7, directory::Aside::Deleted);
    put(&fs, &aside, "letters", b"dear");
    let before = fs.list(Path::new(LOGS)).unwrap();
    let broker = Broker::start(&fs);
    assert!(before.iter().all(|name| broker.names().contains(name)), "{:?}", broker.names());
    let topics = [("t", id(1)), ("broken", id(2)), ("file", id(3)), ("free", id(4))];
    broker.apply(&topics);
    broker.try_again();
    assert!(broker.partitions.get("free", 0).is_some());
    for (topic, _) in &topics[..3] {
        assert!(broker.partitions.get(topic, 0).is_none(), "{topic}");
    }
    broker.apply(&[]);
    broker.partitions.set_strays_aside();
    broker.partitions.remove_discarded(i64::MAX);
    assert!(before.iter().all(|name| broker.names().contains(name)), "{:?}", broker.names());
    assert_eq!(fs.contents(&path("t-0").join(log)).unwrap(), b"somebody's");
    assert_eq!(fs.contents(&path("backup-2024").join("letters")).unwrap(), b"dear");
}

#[test]
fn a_deleted_topics_records_do_not_come_back_when_it_could_not_be_moved() {
    let broker = Broker::start(&new_fs());
    broker.apply(&[("t", id(1))]);
    broker.append("t", 5);
    broker.fs.set_faults(Faults { fail_step: Some(0), ..Faults::default() });
    broker.apply(&[]);
    broker.apply(&[("t", id(2))]);
    assert!(broker.partitions.get("t", 0).is_none(), "its place is taken");
    broker.try_again();
    assert_eq!(broker.range("t"), (0, 0));
    assert_eq!(directory::owner(&broker.fs, &path("t-0")).unwrap(), id(2));
    broker.partitions.remove_discarded(i64::MAX);
    assert!(!broker.names().iter().any(|name| name.ends_with("-delete")), "{:?}", broker.names());
}

#[test]
fn a_stray_that_cannot_be_moved_is_not_mistaken_for_a_new_topics_log() {
    let broker = Broker::start(&new_fs());
    broker.apply(&[("t", id(1))]);
    broker.append("t", 5);
    let broker = broker.kill_and_start();
    broker.apply(&[("other", id(9))]);
    broker.fs.set_faults(Faults { fail_step: Some(0), ..Faults::default() });
    broker.partitions.set_strays_aside();
    broker.apply(&[("other", id(9)), ("t", id(2))]);
    assert_eq!(broker.range("t"), (0, 0));
}

#[test]
fn the_longest_names_are_deleted_and_set_aside() {
    let name = "n".repeat(249);
    let broker = Broker::start(&new_fs());
    broker.apply(&[(&name, id(1))]);
    broker.append(&name, 5);
    // Made again while the broker was away.
    let broker = broker.kill_and_start();
    broker.apply(&[(&name, id(2))]);
    assert_eq!(broker.range(&name), (0, 0));
    broker.append(&name, 7);
    broker.partitions.remove_discarded(i64::MAX);
    let broker = broker.kill_and_start();
    // Deleted while it was away.
    broker.apply(&[("other", id(3))]);
    broker.partitions.set_strays_aside();
    let strays = broker.names().into_iter().filter(|name| name.ends_with("-stray"));
    assert_eq!(strays.count(), 1);
    broker.apply(&[(&name, id(4))]);
    assert_eq!(broker.range(&name), (0, 0));
    assert!(!broker.names().iter().any(|name| name.ends_with("-delete") && name.len() > 255));
}

#[test]
fn a_directory_serves_its_own_topic_only() {
    let broker = Broker::start(&new_fs());
    broker.apply(&[("t", id(1))]);
    broker.append("t", 5);
    let broker = broker.kill_and_start();
    // A newer image has another topic of the name, and this broker is told both at once.
    broker.apply(&[("t", id(2))]);
    assert_eq!(broker.range("t"), (0, 0));
    let broker = broker.kill_and_start();
    broker.apply(&[("t", id(2))]);
    assert_eq!(broker.range("t"), (0, 0));
}

#[test]
fn a_topic_with_the_quorums_name_has_no_replica() {
    let broker = Broker::start(&new_fs());
    broker.apply(&[("__cluster_metadata", id(1)), ("t", id(2))]);
    assert!(broker.partitions.get("__cluster_metadata", 0).is_none());
    assert!(!broker.names().iter().any(|name| name.starts_with("__cluster_metadata")));
    broker.append("t", 1);
    broker.apply(&[("t", id(2))]);
}

/// Another log directory is emptier when the creation is tried again: a second directory of the
/// partition would keep the broker from starting.
#[test]
fn a_partition_has_one_directory_however_its_creation_failed() {
    let (log_dirs, mut failures) = ([LOGS, "/more"], 0);
    for step in 0..40 {
        let fs = new_fs();
        fs.create_dir_all(Path::new("/more")).unwrap();
        let broker = Broker::start_on(&fs, &log_dirs);
        fs.set_faults(Faults { fail_step: Some(step), ..Faults::default() });
        broker.apply(&[("t", id(1))]);
        fs.set_faults(Faults::default());
        failures += u32::from(broker.partitions.get("t", 0).is_none());
        let topics = [("t", id(1)), ("u", id(2)), ("v", id(3))];
        broker.apply(&topics);
        broker.try_again();
        broker.append("t", 3);
        fs.kill();
        drop(broker);
        let broker = Broker::start_on(&fs, &log_dirs);
        broker.apply(&topics);
        assert_eq!(broker.range("t"), (0, 3), "step {step}");
    }
    assert!(failures > 5, "{failures}");
}
