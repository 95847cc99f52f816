//! What becomes of directories: those of partitions that are deleted or moved away, of logs that
//! the metadata does not know, and of what was never ours. Whose a directory is,
//! `commitlog::directory` alone decides.

use std::path::{Path, PathBuf};

use base::{TopicId, TopicPartition};
use commitlog::LogError;
use commitlog::directory::{self, Aside};

use super::hosted::storage_error;
use super::index::Partitions;
use super::load::{LoadedLog, warn_left};
use process::random;

impl Partitions {
    /// A log of this topic that was loaded at start and that nobody has claimed.
    pub(super) fn take_loaded(&self, id: &TopicPartition, topic_id: TopicId) -> Option<LoadedLog> {
        self.loaded.lock().logs.remove(&(id.clone(), topic_id))
    }

    /// The logs that were loaded at start under this name, whosever they are.
    pub(super) fn take_all_loaded(&self, id: &TopicPartition) -> Vec<(TopicId, LoadedLog)> {
        let mut loaded = self.loaded.lock();
        let all = (id.clone(), TopicId([0; 16]))..=(id.clone(), TopicId([u8::MAX; 16]));
        let keys: Vec<_> = loaded.logs.range(all).map(|(key, _)| key.clone()).collect();
        let taken = keys.into_iter().filter_map(|key| Some((key.1, loaded.logs.remove(&key)?)));
        taken.collect()
    }

    /// Renames the directory of this topic's partition.
    pub(super) fn set_aside(
        &self,
        id: &TopicPartition,
        topic_id: TopicId,
        dir: &Path,
        aside: Aside,
    ) -> Result<PathBuf, LogError> {
        let unique = random::bits();
        directory::set_aside(&*self.logs.fs, dir, (id, topic_id), aside, unique)
    }

    /// Removes directories of deleted partitions whose delay is over.
    pub(super) fn remove_discarded(&self, now_ms: i64) {
        let mut due = Vec::new();
        self.deleted_dirs.lock().retain(|(due_ms, dir)| {
            let keep = *due_ms > now_ms;
            if !keep {
                due.push(dir.clone());
            }
            keep
        });
        for dir in due {
            // The next start tries it again.
            if let Err(error) = directory::remove(&*self.logs.fs, &dir) {
                warn_left(&dir, &error);
            }
        }
    }

    /// Logs from disk that the metadata does not know are set aside, as Kafka's stray partitions.
    /// To be called once the image is known to be current.
    pub fn set_strays_aside(&self) {
        let image = self.image();
        let is_wanted = |(id, topic_id): &(TopicPartition, TopicId)| {
            let topic = image.topic(&id.topic).filter(|topic| topic.id == *topic_id);
            let state = topic.and_then(|topic| topic.partition(id.partition));
            state.is_some_and(|state| state.is_replica(self.broker))
        };
        let mut loaded = self.loaded.lock();
        let strays: Vec<_> = loaded.logs.keys().filter(|key| !is_wanted(key)).cloned().collect();
        for key in strays {
            let Some(stray) = loaded.logs.remove(&key) else { continue };
            match self.set_aside(&key.0, key.1, stray.log.dir(), Aside::Stray) {
                Ok(dir) => {
                    let dir = dir.display();
                    tracing::warn!(partition = %key.0, %dir, "set stray partition aside");
                }
                // A new topic of the name must know that it is there.
                Err(error) => {
                    storage_error(&key.0, &error);
                    loaded.logs.insert(key, stray);
                }
            }
        }
    }
}
