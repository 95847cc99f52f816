//! What is to be made and removed, partition by partition, and who works at it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{TopicId, TopicPartition};
use parking_lot::{Condvar, Mutex};
use replica::Assignment;
use tokio::sync::watch;

use super::hosted::Partition;
use super::load::LoadedLog;

/// Logs that a thread makes before it syncs the names of their directories, all at once.
const BATCH_MAX: usize = 16;

/// The jobs of all partitions.
pub(super) struct Making {
    pub(super) jobs: Mutex<Jobs>,
    pub(super) posted: Condvar,
    /// Whether anything is to be done that did not fail.
    is_busy: watch::Sender<bool>,
    /// Changes when replicas were made.
    pub(super) made: watch::Sender<()>,
}

#[derive(Default)]
pub(super) struct Jobs {
    pub(super) by_id: HashMap<TopicPartition, Job>,
    pub(super) due: VecDeque<TopicPartition>,
    /// Taken by threads.
    pub(super) under_way: usize,
    /// Failed: they are tried again later.
    pub(super) failed: BTreeSet<TopicPartition>,
    pub(super) is_closed: bool,
}

/// What is to be done for one partition.
#[derive(Default)]
pub(super) struct Job {
    pub(super) leftovers: Vec<Leftover>,
    pub(super) want: Option<Want>,
    /// Due, under way or failed.
    is_listed: bool,
}

/// A log whose directory is to go.
pub(super) enum Leftover {
    Replica(Arc<Partition>),
    Loaded(TopicId, Box<LoadedLog>),
    Dir(TopicId, PathBuf),
}

impl Leftover {
    pub(super) fn dir(&self) -> (TopicId, &Path) {
        match self {
            Leftover::Replica(partition) => (partition.topic_id, partition.dir()),
            Leftover::Loaded(topic_id, loaded) => (*topic_id, loaded.log.dir()),
            Leftover::Dir(topic_id, dir) => (*topic_id, dir.as_path()),
        }
    }
}

/// A replica that is to be here.
#[derive(Clone)]
pub(super) struct Want {
    pub(super) topic_id: TopicId,
    pub(super) assignment: Assignment,
}

impl Default for Making {
    fn default() -> Making {
        let (jobs, posted) = Default::default();
        Making { jobs, posted, is_busy: watch::Sender::new(false), made: watch::Sender::new(()) }
    }
}

impl Jobs {
    pub(super) fn list(&mut self, id: &TopicPartition) {
        let job = self.by_id.entry(id.clone()).or_default();
        if !job.is_listed {
            job.is_listed = true;
            self.due.push_back(id.clone());
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.is_closed && (self.under_way > 0 || !self.due.is_empty())
    }

    /// The thread is done with the partition for now: what is left of it is due again, or failed.
    pub(super) fn put_back(&mut self, id: &TopicPartition, failed: bool) {
        self.under_way -= 1;
        let Some(job) = self.by_id.get(id) else { return };
        if job.leftovers.is_empty() && job.want.is_none() {
            self.by_id.remove(id);
        } else if failed {
            self.failed.insert(id.clone());
        } else {
            self.due.push_back(id.clone());
        }
    }
}

impl Making {
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Jobs) -> T) -> T {
        let mut jobs = self.jobs.lock();
        let result = change(&mut jobs);
        let is_busy = jobs.is_busy();
        self.is_busy.send_if_modified(|busy| std::mem::replace(busy, is_busy) != is_busy);
        if !jobs.due.is_empty() || jobs.is_closed {
            self.posted.notify_all();
        }
        result
    }

    /// Everything that can be made is made.
    pub(super) async fn idle(&self) {
        // The sender lives in self.
        let _ = self.is_busy.subscribe().wait_for(|busy| !busy).await;
    }

    pub(super) fn is_due(&self) -> bool {
        !self.jobs.lock().due.is_empty()
    }

    pub(super) fn has_failed(&self) -> bool {
        !self.jobs.lock().failed.is_empty()
    }

    /// Tries what failed again: the disk may have room again.
    pub(super) fn try_again(&self) {
        self.change(|jobs| {
            let failed = std::mem::take(&mut jobs.failed);
            jobs.due.extend(failed);
        });
    }

    /// The topic is deleted: what is not made of it is not to be made.
    pub(super) fn unwant_topic(&self, name: &str, id: TopicId) {
        self.change(|jobs| {
            for (_, job) in jobs.by_id.iter_mut().filter(|(of, _)| &*of.topic == name) {
                job.want.take_if(|want| want.topic_id == id);
            }
        });
    }

    pub(super) fn close(&self) {
        self.change(|jobs| {
            jobs.is_closed = true;
            jobs.due.clear();
        });
    }

    /// Takes the next jobs; waits for some, if asked to. `None` if there are none.
    pub(super) fn take(&self, wait: bool) -> Option<Vec<TopicPartition>> {
        let mut jobs = self.jobs.lock();
        while wait && jobs.due.is_empty() && !jobs.is_closed {
            self.posted.wait(&mut jobs);
        }
        let count = jobs.due.len().min(BATCH_MAX);
        let taken: Vec<TopicPartition> = jobs.due.drain(..count).collect();
        jobs.under_way += taken.len();
        (!taken.is_empty()).then_some(taken)
    }
}
