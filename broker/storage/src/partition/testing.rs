//! A hosted partition over the file system in memory, for tests of this room and of those above.
#![allow(clippy::unwrap_used, reason = "for tests")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{BrokerId, ErrorCode, Offset, TopicId, TopicPartition};
use commitlog::fs::{Fs, MemFs};
use commitlog::{LoadState, Log, LogConfig, LogContext};
use config::testing::on_free_ports;
use process::clock;
use process::metrics::Metrics;
use record::{BatchBuilder, BatchHeader, BatchOptions};
use replica::{Assignment, Event, FetchAnswer, Settings};

use super::*;

pub(super) const LOGS: &str = "/data";
pub const ME: BrokerId = BrokerId(1);
pub const OTHER: BrokerId = BrokerId(2);
pub const TOPIC_ID: TopicId = TopicId([1; 16]);

pub struct Rig {
    /// The disk.
    pub fs: MemFs,
    pub partitions: Partitions,
    pub partition: Arc<Partition>,
}

pub(super) fn dir() -> PathBuf {
    Path::new(LOGS).join("t-0")
}

pub(super) fn open(fs: &MemFs, flush_messages: i64) -> Log {
    let config = LogConfig { flush_messages, ..LogConfig::kafka_defaults() };
    let context = LogContext::new(Arc::new(fs.clone()), 8);
    let (id, state) = (TopicPartition::new("t", 0), LoadState::default());
    Log::open(&context, &dir(), id, Arc::new(config), state, 0).unwrap().0
}

impl Rig {
    /// An idle partition of a topic with this `flush.messages`.
    pub fn new(flush_messages: i64) -> Rig {
        let config = Arc::new(on_free_ports(Path::new(LOGS)));
        let fs = MemFs::new();
        fs.create_dir_all(Path::new(LOGS)).unwrap();
        fs.sync_dir(Path::new("/")).unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        let outbox = Arc::new(Outbox::new(metrics));
        let context = LogContext::new(Arc::new(fs.clone()), 8);
        let loaded = LoadedLogs::default();
        let partitions = Partitions::new(config, context, outbox.clone(), loaded);
        let settings =
            Settings { min_insync_replicas: 1, lag_time_max_ms: 30_000, tells_commits: false };
        let log = open(&fs, flush_messages);
        let partition = Partition::new(ME, TOPIC_ID, log, settings, 0, outbox);
        partitions.insert(partition.clone());
        Rig { fs, partitions, partition }
    }

    /// Other settings from now on.
    pub fn set(&self, settings: Settings) {
        self.partition.on(Event::Settings(settings));
    }

    pub fn assign(&self, leader: BrokerId, epoch: i32) {
        self.assign_in(leader, epoch, &[leader]);
    }

    pub fn assign_in(&self, leader: BrokerId, epoch: i32, isr: &[BrokerId]) {
        self.partition.on(Event::Assign(Assignment {
            leader: Some(leader),
            leader_epoch: epoch,
            partition_epoch: epoch,
            replicas: vec![ME, OTHER],
            isr: isr.to_vec(),
        }));
    }

    /// As `fetched`, with the leader's high watermark.
    pub fn fetched_up_to(
        &self,
        leader_epoch: i32,
        records: &[u8],
        high_watermark: Offset,
    ) -> (FetchAnswer, FollowerProgress) {
        let end = self.partition.follower_position();
        let answer = FetchAnswer {
            leader: OTHER,
            leader_epoch,
            fetch_offset: end.offset,
            last_fetched_epoch: end.last_epoch,
            error: ErrorCode::None,
            diverging: None,
            high_watermark,
            log_start: 0,
        };
        (answer, self.partition.take_fetched(ME, &answer, records))
    }
}

pub fn batch() -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(clock::wall_ms(), Some(b"k"), Some(b"v"), &[]);
    builder.finish()
}

pub fn replicated(offset: Offset, epoch: i32) -> Vec<u8> {
    let mut bytes = batch();
    let header = BatchHeader::parse(&bytes).unwrap();
    let header = BatchHeader { base_offset: offset, leader_epoch: epoch, ..header };
    header.write(bytes.first_chunk_mut().unwrap());
    bytes
}
