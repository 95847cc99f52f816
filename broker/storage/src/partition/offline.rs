//! Replicas whose log cannot be used: their log directory failed, or at the start the log could not
//! be opened. They are hosted no more and are not made anew elsewhere, for the disk may come back
//! with the next start; clients are told KAFKA_STORAGE_ERROR, the controller hears of them by the
//! heartbeats until its metadata has them offline.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base::{TopicId, TopicPartition};
use commitlog::Log;
use commitlog::fs::Room;
use metadata::{Image, OfflineReplicas};
use tokio::sync::watch;

use super::Partition;
use super::index::Partitions;
use super::load::{LoadedLog, LogKey};
use super::posts::Post;
use crate::log_dirs::LogDirs;
use process::shutdown::Shutdown;

/// How often the room on the volumes is looked at.
const MEASURE_INTERVAL: Duration = Duration::from_millis(100);
/// Replicas in one heartbeat: one entry of the metadata log must take what follows from them.
const REPORTED_MAX: usize = 2_000;

/// Takes what failed offline until connections close, and keeps the room of the volumes known. Runs
/// on its own thread. Ends the process where it cannot go on.
pub fn run_log_dirs(partitions: &Partitions, shutdown: &Shutdown) {
    let mut news = partitions.dirs.news();
    // What failed before this thread began was told to nobody.
    news.mark_changed();
    while !shutdown.is_closing() {
        if news.has_changed().unwrap_or(false) {
            news.mark_unchanged();
            if let Some(why) = partitions.dirs.end_of_process() {
                end_process(&why);
            }
            partitions.retire_failed();
        }
        partitions.measure_room();
        std::thread::park_timeout(MEASURE_INTERVAL);
    }
}

/// As Kafka does. What was acknowledged is on other brokers, and they take over.
fn end_process(why: &str) -> ! {
    tracing::error!(why, "the process ends");
    // The subscriber may be asynchronous or absent; the reason must not be lost.
    eprintln!("FATAL: {why}");
    std::process::abort();
}

impl Partitions {
    pub fn dirs(&self) -> &LogDirs {
        &self.dirs
    }

    /// The room on the volume of a log directory, where the system tells.
    pub fn room(&self, dir: &Path) -> Option<Room> {
        self.logs.fs.room(dir).ok().flatten()
    }

    pub fn measure_room(&self) {
        self.dirs.measure(&*self.logs.fs);
    }

    /// The replicas here that cannot be used.
    pub fn offline_replicas(&self) -> Vec<TopicPartition> {
        self.offline.replicas.lock().keys().cloned().collect()
    }

    /// Changes when further replicas cannot be used.
    pub fn offline_news(&self) -> watch::Receiver<u64> {
        self.offline.news.subscribe()
    }

    /// The replicas in directories that failed are hosted no more.
    pub(super) fn retire_failed(&self) {
        let mut failed = self.all();
        failed.retain(|partition| self.dirs.is_offline(partition.dir()));
        // The controller hears of all, and clients are told, before the first lock is waited for,
        // which a thread may hold for as long as the disk keeps it.
        for partition in &failed {
            self.offline.insert(partition.id.clone(), Some(partition.topic_id));
        }
        failed.retain(|partition| self.retire(partition));
        for partition in &failed {
            partition.with(|state| state.mutate_log(Log::abandon));
        }
        let mut loaded = self.loaded.lock();
        let failed = |loaded: &LoadedLog| self.dirs.is_offline(loaded.log.dir());
        let gone: Vec<LogKey> =
            loaded.logs.iter().filter(|(_, log)| failed(log)).map(|(key, _)| key.clone()).collect();
        for key in gone {
            loaded.logs.remove(&key);
            self.offline.insert(key.0, Some(key.1));
        }
    }

    /// For what was made while its directory may have failed.
    pub(super) fn retire_if_failed(&self, partition: &Arc<Partition>) {
        if self.dirs.is_offline(partition.dir()) {
            self.offline.insert(partition.id.clone(), Some(partition.topic_id));
            self.retire(partition);
        }
    }

    fn retire(&self, partition: &Arc<Partition>) -> bool {
        let is_hosted = self.take_this(partition);
        if is_hosted {
            tracing::warn!(partition = %partition.id, "offline");
            partition.post(Post::Removed);
        }
        is_hosted
    }

    /// A replica that this image wants here is not to be made: its log is somewhere, out of reach.
    pub(super) fn is_withheld(&self, id: &TopicPartition, topic_id: TopicId) -> bool {
        let known = self.offline.replicas.lock().get(id).copied();
        if let Some(known) = known {
            return known.is_none_or(|known| known == topic_id);
        }
        // What this broker had at its start and did not find may be where it could not look.
        let may_be_there = !self.is_told() && self.has_unread_dir;
        if may_be_there {
            self.offline.insert(id.clone(), Some(topic_id));
        }
        may_be_there
    }

    /// Forgets replicas that are not to be here any more.
    pub(super) fn prune_offline(&self, image: &Image) {
        self.offline.replicas.lock().retain(|id, known| {
            let topic = image.topic(&id.topic);
            let topic = topic.filter(|topic| known.is_none_or(|known| known == topic.id));
            let state = topic.and_then(|topic| topic.partition(id.partition));
            state.is_some_and(|state| state.is_replica(self.broker))
        });
    }

    /// Offline replicas that the newest image does not have as such, as many as a heartbeat takes.
    pub fn unreported_offline(&self) -> Vec<OfflineReplicas> {
        let replicas = self.offline.replicas.lock();
        if replicas.is_empty() {
            return Vec::new();
        }
        let image = self.image();
        let mut groups: Vec<OfflineReplicas> = Vec::new();
        let unreported = replicas.iter().filter_map(|(id, known)| {
            let topic =
                image.topic(&id.topic).filter(|t| known.is_none_or(|known| known == t.id))?;
            let state = topic.partition(id.partition)?;
            let news = state.is_replica(self.broker) && !state.is_offline(self.broker);
            news.then_some((topic.id, id.partition))
        });
        for (topic_id, partition) in unreported.take(REPORTED_MAX) {
            match groups.last_mut() {
                Some(group) if group.topic_id == topic_id => group.partitions.push(partition),
                _ => groups.push(OfflineReplicas { topic_id, partitions: vec![partition] }),
            }
        }
        groups
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "offline_tests.rs"]
mod tests;
