//! Two log directories in memory, of which one fails, is damaged or fills.

use base::ErrorCode;
use commitlog::LogContext;
use commitlog::checkpoint::OffsetCheckpoint;
use commitlog::fs::{Faults, Fs, MemFs, OpenMode};
use metadata::{MetadataRecord, PartitionChangeRecord, PartitionRecord, TopicRecord};
use record::{BatchBuilder, BatchOptions};
use std::io::IoSlice;

use super::super::testing::{ME, OTHER};
use super::super::{LoadError, LoadedLogs, Outbox, ProduceWait, Recovery, load_logs};
use super::*;
use crate::log_dirs::WatchedFs;
use config::Config;
use config::testing::on_free_ports;
use process::metrics::Metrics;

const TOPIC_ID: TopicId = TopicId([5; 16]);

struct Rig {
    mem: MemFs,
    config: Arc<Config>,
    partitions: Partitions,
    image: Image,
}

fn config() -> Arc<Config> {
    let config = on_free_ports(Path::new("/a"));
    let log_dirs = vec!["/a".into(), "/b".into()];
    Arc::new(Config { log_dirs, metadata_log_dir: "/m".into(), ..config })
}

fn load(mem: &MemFs, config: &Config) -> Result<(LogContext, LoadedLogs), LoadError> {
    let reserve = config.log.reserve_bytes;
    let dirs = Arc::new(LogDirs::new(&config.log_dirs, &config.metadata_log_dir, reserve));
    let fs = WatchedFs::new(Arc::new(mem.clone()), dirs.clone());
    let context = LogContext::new(Arc::new(fs), 8);
    let loaded = load_logs(config, &context, dirs, &Recovery::default())?;
    super::super::write_meta_properties(config, &context, "cluster", &loaded.directory_ids)?;
    Ok((context, loaded))
}

impl Rig {
    /// What a broker has that starts on these disks.
    fn start(mem: &MemFs, image: Image) -> Rig {
        let config = config();
        let (context, loaded) = load(mem, &config).unwrap();
        let outbox = Arc::new(Outbox::new(Arc::new(Metrics::new().unwrap())));
        let partitions = Partitions::new(config.clone(), context, outbox, loaded);
        partitions.apply(Arc::new(image.clone()));
        Rig { mem: mem.clone(), config, partitions, image }
    }

    /// `t-0` is in `/a` and `t-1` in `/b`, both are led here.
    fn new() -> Rig {
        let mut records =
            vec![MetadataRecord::Topic(TopicRecord { name: "t".into(), topic_id: TOPIC_ID })];
        for partition in 0..2 {
            let (replicas, isr, leader) = (vec![ME, OTHER], vec![ME, OTHER], Some(ME));
            let topic_id = TOPIC_ID;
            let record = PartitionRecord { topic_id, partition, replicas, isr, leader };
            records.push(MetadataRecord::Partition(record));
        }
        let rig = Rig::start(&MemFs::new(), Image::new("").with(&records).unwrap());
        assert_eq!(rig.partition(0).log_dir(), Some("/a".into()));
        assert_eq!(rig.partition(1).log_dir(), Some("/b".into()));
        rig
    }

    fn partition(&self, number: i32) -> Arc<Partition> {
        self.partitions.get("t", number).unwrap()
    }

    fn produce(&self, number: i32) -> Result<(), ErrorCode> {
        let partition = self.partitions.find("t", number)?;
        partition.append(&batch(), 1, None).map(|_| ()).map_err(|error| error.code)
    }

    fn faults(&self, faults: Faults) {
        self.mem.set_faults(faults);
    }

    fn reported(&self) -> Vec<(TopicId, Vec<i32>)> {
        let reported = self.partitions.unreported_offline();
        reported.into_iter().map(|group| (group.topic_id, group.partitions)).collect()
    }

    /// The controller answers to what was reported.
    fn controller_knows(&mut self, number: i32) {
        let epoch = self.image.partition("t", number).unwrap().partition_epoch;
        let change = PartitionChangeRecord {
            topic_id: TOPIC_ID,
            partition: number,
            partition_epoch: epoch + 1,
            leader: metadata::LeaderChange::To(OTHER),
            isr: Some(vec![OTHER]),
            offline: Some(vec![ME]),
            ..PartitionChangeRecord::default()
        };
        self.image = self.image.with(&[MetadataRecord::PartitionChange(change)]).unwrap();
        self.partitions.apply(Arc::new(self.image.clone()));
    }

    /// The same disks after an orderly stop.
    fn restart(self) -> Rig {
        self.partitions.close(7).unwrap();
        Rig::start(&self.mem, self.image)
    }

    fn overwrite(&self, path: &str, bytes: &[u8]) {
        let file = self.mem.open(Path::new(path), OpenMode::Create).unwrap();
        file.set_len(0).unwrap();
        file.write_all_at(&[IoSlice::new(bytes)], 0).unwrap();
    }
}

fn batch() -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(process::clock::wall_ms(), Some(b"k"), Some(&[7; 100]), &[]);
    builder.finish()
}

#[test]
fn a_leader_whose_disk_refuses_a_write_resigns_and_the_others_serve() {
    let mut rig = Rig::new();
    let waiting = ProduceWait::new(1);
    rig.partition(1).append(&batch(), -1, Some((&waiting, 0))).unwrap();
    waiting.registered();
    assert!(!waiting.is_over(), "the follower has not fetched");
    let news = rig.partitions.offline_news();
    rig.faults(Faults { fail_writes: 1, ..Faults::default() });
    assert_eq!(rig.produce(1), Err(ErrorCode::KafkaStorageError));
    rig.partitions.retire_failed();
    assert!(news.has_changed().unwrap(), "the session tells at once");
    assert!(waiting.is_over() && waiting.result(0) != ErrorCode::None);
    assert_eq!(rig.produce(1), Err(ErrorCode::KafkaStorageError));
    assert_eq!(rig.partitions.find_by_id(TOPIC_ID, 1).err(), Some(ErrorCode::KafkaStorageError));
    assert_eq!(rig.produce(0), Ok(()));
    assert_eq!(rig.reported(), [(TOPIC_ID, vec![1])]);
    rig.controller_knows(1);
    assert_eq!(rig.reported(), []);
    assert!(rig.partitions.get("t", 1).is_none(), "it is not made anew on the other disk");
    rig.partitions.write_checkpoints(&[OffsetCheckpoint::HighWatermark]).unwrap();
}

#[test]
fn a_failed_sync_takes_the_directory_offline_and_ends_no_process() {
    let rig = Rig::new();
    rig.produce(1).unwrap();
    rig.faults(Faults { fail_syncs: 1, ..Faults::default() });
    rig.partition(1).flush();
    rig.faults(Faults::default());
    assert_eq!(rig.partitions.dirs().offline().len(), 1);
    assert_eq!(rig.produce(1), Err(ErrorCode::KafkaStorageError), "before it was retired, too");
    rig.partitions.retire_failed();
    assert_eq!(rig.reported(), [(TOPIC_ID, vec![1])]);
}

#[test]
fn a_restart_with_a_healthy_disk_brings_the_replicas_back() {
    let rig = Rig::new();
    rig.produce(0).unwrap();
    rig.produce(1).unwrap();
    rig.faults(Faults { fail_writes: 1, ..Faults::default() });
    rig.produce(1).unwrap_err();
    rig.partitions.retire_failed();
    let rig = rig.restart();
    assert_eq!(rig.reported(), []);
    for number in 0..2 {
        assert_eq!(rig.partition(number).offsets().log_end, 1);
        rig.produce(number).unwrap();
    }
    assert_eq!(rig.partitions.loaded.lock().clean_shutdown_epoch, None, "one had no clean stop");
}

#[test]
fn a_directory_that_cannot_be_read_at_the_start_keeps_its_replicas() {
    let rig = Rig::new();
    rig.produce(1).unwrap();
    rig.overwrite("/b/meta.properties", b"no properties\xff");
    let mut rig = rig.restart();
    assert_eq!(rig.produce(0), Ok(()));
    assert_eq!(rig.produce(1), Err(ErrorCode::KafkaStorageError), "not an empty log elsewhere");
    assert_eq!(rig.reported(), [(TOPIC_ID, vec![1])]);
    rig.controller_knows(1);
    // What comes later is made where there is room.
    let record = PartitionRecord {
        topic_id: TOPIC_ID,
        partition: 2,
        replicas: vec![ME],
        isr: vec![ME],
        leader: Some(ME),
    };
    let image = rig.image.with(&[MetadataRecord::Partition(record)]).unwrap();
    rig.partitions.apply(Arc::new(image));
    assert_eq!(rig.partition(2).log_dir(), Some("/a".into()));
}

#[test]
fn one_log_that_cannot_be_opened_stops_no_broker() {
    let rig = Rig::new();
    rig.produce(0).unwrap();
    rig.produce(1).unwrap();
    rig.overwrite("/b/t-1/partition.metadata", b"nonsense");
    let rig = rig.restart();
    assert!(rig.partitions.dirs().offline().is_empty(), "the disk is well");
    assert_eq!(rig.produce(0), Ok(()));
    assert_eq!(rig.produce(1), Err(ErrorCode::KafkaStorageError));
    assert_eq!(rig.reported(), [(TOPIC_ID, vec![1])]);
    // Its log was not looked at, so that nobody may say that it was closed in order.
    let rig = rig.restart();
    rig.overwrite(
        "/b/t-1/partition.metadata",
        format!("version: 0\ntopic_id: {TOPIC_ID}").as_bytes(),
    );
    let rig = rig.restart();
    assert_eq!(rig.partitions.loaded.lock().clean_shutdown_epoch, None);
    assert_eq!(rig.partition(1).offsets().log_end, 1);
    assert_eq!(rig.reported(), []);
}

#[test]
fn damaged_checkpoints_count_as_none() {
    let rig = Rig::new();
    rig.produce(1).unwrap();
    rig.partitions.close(7).unwrap();
    for name in ["recovery-point", "log-start", "replication"] {
        rig.overwrite(&format!("/b/{name}-offset-checkpoint"), b"0\n7\nnonsense");
    }
    let rig = Rig::start(&rig.mem, rig.image);
    assert!(rig.partitions.dirs().offline().is_empty());
    assert_eq!(rig.partition(1).offsets().log_end, 1);
    assert_eq!(rig.produce(1), Ok(()));
}

#[test]
fn without_any_directory_there_is_no_start() {
    let rig = Rig::new();
    rig.overwrite("/a/meta.properties", b"nonsense");
    rig.overwrite("/b/meta.properties", b"nonsense");
    let error = load(&rig.mem, &rig.config).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("no log directory is left") && error.contains("/b"), "{error}");
}

#[test]
fn a_full_disk_refuses_records_and_heals_by_itself() {
    let rig = Rig::new();
    rig.produce(0).unwrap();
    let capacity = rig.mem.used_bytes() + 1_000;
    rig.faults(Faults { capacity_bytes: Some(capacity), ..Faults::default() });
    rig.partitions.measure_room();
    let mut appended = 1;
    while rig.produce(0).is_ok() {
        appended += 1;
        assert!(appended < 100, "it never fills");
    }
    assert_eq!(rig.produce(0), Err(ErrorCode::KafkaStorageError));
    assert!(rig.partitions.dirs().offline().is_empty() && rig.reported().is_empty());
    assert!(rig.partition(0).leads(), "a full disk is no failed disk");
    let offsets = rig.partition(0).offsets();
    assert_eq!(offsets.log_end, appended, "what was refused is not in the log");
    assert!(rig.mem.used_bytes() < capacity, "the reserve is left");
    rig.faults(Faults { capacity_bytes: Some(1 << 20), ..Faults::default() });
    rig.partitions.measure_room();
    assert_eq!(rig.produce(0), Ok(()));
    assert_eq!(rig.partition(0).offsets().log_end, appended + 1);
}

#[test]
fn a_write_that_fits_in_part_leaves_nothing_behind() {
    let rig = Rig::new();
    rig.produce(0).unwrap();
    // Somebody else filled the disk since it was measured.
    let capacity_bytes = Some(rig.mem.used_bytes() + 50);
    rig.faults(Faults { capacity_bytes, ..Faults::default() });
    assert_eq!(rig.produce(0), Err(ErrorCode::KafkaStorageError));
    assert_eq!(rig.partition(0).offsets().log_end, 1);
    rig.faults(Faults::default());
    rig.partitions.measure_room();
    rig.produce(0).unwrap();
    let rig = rig.restart();
    assert_eq!(rig.partition(0).offsets().log_end, 2);
}

#[test]
fn who_is_no_replica_any_more_is_not_offline() {
    let mut rig = Rig::new();
    rig.partitions.dirs().fail(Path::new("/b"), "test");
    rig.partitions.retire_failed();
    rig.controller_knows(1);
    let mut change = PartitionChangeRecord {
        topic_id: TOPIC_ID,
        partition: 1,
        partition_epoch: 2,
        replicas: Some(vec![OTHER]),
        offline: Some(Vec::new()),
        ..PartitionChangeRecord::default()
    };
    rig.image = rig.image.with(&[MetadataRecord::PartitionChange(change.clone())]).unwrap();
    rig.partitions.apply(Arc::new(rig.image.clone()));
    assert!(rig.partitions.offline_replicas().is_empty());
    // And it may come back, to a disk that works.
    (change.partition_epoch, change.replicas) = (3, Some(vec![OTHER, ME]));
    let image = rig.image.with(&[MetadataRecord::PartitionChange(change)]).unwrap();
    rig.partitions.apply(Arc::new(image));
    assert_eq!(rig.partition(1).log_dir(), Some("/a".into()));
}
