//! Which replicas are offline, for want of a log or of its disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use base::{TopicId, TopicPartition};
use parking_lot::Mutex;
use tokio::sync::watch;

/// The replicas, each with its topic's id where that is known.
#[derive(Debug)]
pub(super) struct Offline {
    pub(super) replicas: Mutex<BTreeMap<TopicPartition, Option<TopicId>>>,
    /// Log directories with logs that could not be opened: they get no mark of a clean shutdown,
    /// for what is in those logs was not looked at.
    pub(super) unopened: Mutex<BTreeSet<PathBuf>>,
    /// Counts the changes.
    pub(super) news: watch::Sender<u64>,
}

impl Default for Offline {
    fn default() -> Offline {
        Offline {
            replicas: Mutex::default(),
            unopened: Mutex::default(),
            news: watch::channel(0).0,
        }
    }
}

impl Offline {
    pub(super) fn has(&self, topic: &str, partition: i32) -> bool {
        let replicas = self.replicas.lock();
        !replicas.is_empty() && replicas.contains_key(&TopicPartition::new(topic, partition))
    }

    pub(super) fn insert(&self, id: TopicPartition, topic_id: Option<TopicId>) {
        self.replicas.lock().insert(id, topic_id);
        self.news.send_modify(|count| *count += 1);
    }

    /// Whose data it is may be what cannot be read.
    pub(super) fn not_opened(&self, id: TopicPartition, dir: &Path) {
        self.unopened.lock().extend(dir.parent().map(Path::to_owned));
        self.insert(id, None);
    }

    pub(super) fn has_unopened(&self, log_dir: &Path) -> bool {
        self.unopened.lock().contains(log_dir)
    }
}
