//! `Partitions`: the replicas on this broker by topic name and by topic id, the metadata image they
//! were last told, and what they share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base::{BrokerId, ErrorCode, TopicId, TopicPartition};
use commitlog::CheckpointWriter;
use commitlog::LogContext;
use metadata::Image;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::Partition;
use super::cleaner::Cleaner;
use super::load::LoadedLogs;
use super::making_jobs::Making;
use super::offline_replicas::Offline;
use super::outbox::Outbox;
use crate::log_dirs::LogDirs;
use config::Config;
use process::random;

/// The hosted partitions of one topic, by partition number.
#[derive(Debug)]
struct Hosted {
    id: TopicId,
    partitions: Vec<Option<Arc<Partition>>>,
}

#[derive(Debug, Default)]
struct Index {
    topics: HashMap<Arc<str>, Hosted>,
    names: HashMap<TopicId, Arc<str>>,
}

/// The writers of the checkpoints, by log directory.
pub(super) type Written = HashMap<PathBuf, CheckpointWriter>;

/// All replicas on this broker.
pub struct Partitions {
    pub(super) broker: BrokerId,
    /// Identifies this run of the broker in its registration.
    pub incarnation_id: TopicId,
    pub(super) config: Arc<Config>,
    pub(super) logs: LogContext,
    pub(super) dirs: Arc<LogDirs>,
    pub(super) outbox: Arc<Outbox>,
    /// Logs found on disk at start that no image has claimed yet.
    pub(super) loaded: Mutex<LoadedLogs>,
    /// Directories of deleted partitions, with the time to remove them.
    pub(super) deleted_dirs: Mutex<Vec<(i64, PathBuf)>>,
    /// Logs that are to be made, and directories that are to go.
    pub(super) making: Making,
    /// At the start there was a log directory that could not be read.
    pub(super) has_unread_dir: bool,
    /// Replicas whose log cannot be used.
    pub(super) offline: Offline,
    pub(super) cleaner: Cleaner,
    /// What the checkpoint files say.
    pub(super) written: Mutex<Written>,
    index: RwLock<Index>,
    /// The image that replicas are being told of.
    pub(super) told: ArcSwap<Image>,
    image: ArcSwap<Image>,
    applied: watch::Sender<i64>,
}

impl Partitions {
    pub fn new(
        config: Arc<Config>,
        logs: LogContext,
        outbox: Arc<Outbox>,
        mut loaded: LoadedLogs,
    ) -> Partitions {
        Partitions {
            broker: config.broker_id,
            incarnation_id: TopicId::from_random(random::bits()),
            config,
            logs,
            outbox,
            dirs: loaded.dirs.clone(),
            has_unread_dir: !loaded.dirs.offline().is_empty(),
            offline: std::mem::take(&mut loaded.offline),
            loaded: Mutex::new(loaded),
            deleted_dirs: Mutex::new(Vec::new()),
            making: Making::default(),
            cleaner: Cleaner::default(),
            written: Mutex::default(),
            index: RwLock::default(),
            told: ArcSwap::from_pointee(Image::new("")),
            image: ArcSwap::from_pointee(Image::new("")),
            applied: watch::channel(-1).0,
        }
    }

    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// The newest image that the partitions have been told.
    pub fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }

    /// Changes with every image applied: its metadata offset.
    pub fn applied(&self) -> watch::Receiver<i64> {
        self.applied.subscribe()
    }

    /// An image was applied.
    pub(super) fn is_told(&self) -> bool {
        *self.applied.borrow() >= 0
    }

    pub(super) fn publish(&self, image: Arc<Image>) {
        let offset = image.offset();
        self.image.store(image);
        self.applied.send_replace(offset);
    }

    /// A partition hosted here, by name.
    pub fn get(&self, topic: &str, partition: i32) -> Option<Arc<Partition>> {
        let index = self.index.read();
        index.topics.get(topic)?.get(partition)
    }

    /// A partition hosted here, by topic id.
    pub fn get_by_id(&self, topic: TopicId, partition: i32) -> Option<Arc<Partition>> {
        let index = self.index.read();
        index.topics.get(index.names.get(&topic)?)?.get(partition)
    }

    /// As `get`, with the error that a client should see.
    pub fn find(&self, topic: &str, partition: i32) -> Result<Arc<Partition>, ErrorCode> {
        self.get(topic, partition).ok_or_else(|| {
            match self.image.load().partition(topic, partition) {
                Some(_) if self.offline.has(topic, partition) => ErrorCode::KafkaStorageError,
                Some(_) => ErrorCode::NotLeaderOrFollower,
                None => ErrorCode::UnknownTopicOrPartition,
            }
        })
    }

    /// As `get_by_id`, with the error that a client should see.
    pub fn find_by_id(&self, topic: TopicId, partition: i32) -> Result<Arc<Partition>, ErrorCode> {
        self.get_by_id(topic, partition).ok_or_else(|| {
            let image = self.image.load();
            match image.topic_by_id(topic) {
                None => ErrorCode::UnknownTopicId,
                Some(topic) if self.offline.has(&topic.name, partition) => {
                    ErrorCode::KafkaStorageError
                }
                Some(topic) if topic.partition(partition).is_some() => {
                    ErrorCode::NotLeaderOrFollower
                }
                Some(_) => ErrorCode::UnknownTopicOrPartition,
            }
        })
    }

    /// Every partition hosted here, topic by topic.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        let index = self.index.read();
        let mut topics: Vec<_> = index.topics.iter().collect();
        // What is done to all of them is done in the same order each time.
        topics.sort_unstable_by_key(|(name, _)| *name);
        let topics = topics.into_iter().map(|(_, hosted)| hosted);
        topics.flat_map(|topic| topic.partitions.iter().flatten().cloned()).collect()
    }

    pub(super) fn of_topic(&self, topic: &str) -> Vec<Arc<Partition>> {
        let index = self.index.read();
        let hosted = index.topics.get(topic);
        hosted.map_or_else(Vec::new, |topic| topic.partitions.iter().flatten().cloned().collect())
    }

    pub(super) fn insert(&self, partition: Arc<Partition>) {
        let mut index = self.index.write();
        let TopicPartition { topic, partition: number } = partition.id.clone();
        let Ok(at) = usize::try_from(number) else { return };
        index.names.insert(partition.topic_id, topic.clone());
        let hosted = index
            .topics
            .entry(topic)
            .or_insert_with(|| Hosted { id: partition.topic_id, partitions: Vec::new() });
        hosted.id = partition.topic_id;
        if hosted.partitions.len() <= at {
            hosted.partitions.resize(at + 1, None);
        }
        hosted.partitions[at] = Some(partition);
    }

    pub(super) fn take(&self, id: &TopicPartition, topic_id: TopicId) -> Option<Arc<Partition>> {
        let mut index = self.index.write();
        let hosted = index.topics.get_mut(&id.topic).filter(|hosted| hosted.id == topic_id)?;
        let at = usize::try_from(id.partition).ok()?;
        let taken = hosted.partitions.get_mut(at)?.take();
        if hosted.partitions.iter().all(Option::is_none) {
            let topic = hosted.id;
            index.topics.remove(&id.topic);
            index.names.remove(&topic);
        }
        taken
    }
}

impl Partitions {
    /// Takes this very partition out, not a later one of the same name.
    pub(super) fn take_this(&self, partition: &Arc<Partition>) -> bool {
        let id = &partition.id;
        let is_this = self.get(&id.topic, id.partition).is_some_and(|p| Arc::ptr_eq(&p, partition));
        is_this && self.take(id, partition.topic_id).is_some()
    }
}

impl Hosted {
    fn get(&self, partition: i32) -> Option<Arc<Partition>> {
        self.partitions.get(usize::try_from(partition).ok()?)?.clone()
    }
}

impl Partitions {
    /// Partitions led here that cannot commit for want of in-sync replicas.
    pub fn under_min_isr(&self) -> i64 {
        self.all().iter().filter(|partition| partition.is_under_min_isr()).count() as i64
    }

    /// Ends the threads that make logs.
    pub fn stop_making(&self) {
        self.making.close();
    }

    /// Closes segment files that were not used for a while. May wait for the disk.
    pub fn close_idle_files(&self) {
        if let Err(error) = self.logs.files.close_idle() {
            tracing::error!(%error, "close idle files");
        }
    }
}
