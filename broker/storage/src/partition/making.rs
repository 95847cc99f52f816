//! Logs that are to be made, and directories that are to go, because an image says so. Both wait
//! for the disk, so threads of their own do it: roles change meanwhile, whatever the disk does.
//!
//! A partition's jobs are done one after the other, its old directory first. What is wanted may
//! change while a log is being made: it is looked at again before the log becomes a replica.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{TopicId, TopicPartition};
use commitlog::directory::{self, Aside};
use commitlog::{Log, LogContext, LogError, checkpoint};
use metadata::Image;
use metadata::config::is_dir_cordoned;
use replica::{Assignment, Event};

use super::hosted::{Partition, storage_error};
use super::index::Partitions;
use super::load::warn_left;
use super::making_jobs::{Leftover, Want};
use super::posts::Post;
use super::settings;
use process::clock;

/// A log that was made, until its directory's name is durable.
struct Made {
    id: TopicPartition,
    topic_id: TopicId,
    log: Log,
    image: Arc<Image>,
}

impl Partitions {
    /// The replica is to be here, in this role: told if it is, else made.
    pub(super) fn want(&self, id: &TopicPartition, topic_id: TopicId, assignment: Assignment) {
        self.making.change(|jobs| {
            if let Some(partition) = self.get(&id.topic, id.partition) {
                partition.on(Event::Assign(assignment));
                return;
            }
            jobs.by_id.entry(id.clone()).or_default().want = Some(Want { topic_id, assignment });
            jobs.list(id);
        });
    }

    /// The replica is not to be here. Its directory is renamed, and removed later.
    pub(super) fn unwant(&self, id: &TopicPartition, leftover: Option<Leftover>) {
        self.making.change(|jobs| {
            if let Some(job) = jobs.by_id.get_mut(id) {
                job.want = None;
            }
            if let Some(leftover) = leftover {
                jobs.by_id.entry(id.clone()).or_default().leftovers.push(leftover);
                jobs.list(id);
            }
        });
    }

    /// Waits until the replicas that this broker has of these topics, by its image, are made.
    pub async fn hosts(&self, topics: &[Arc<str>]) {
        let is_made = |name: &Arc<str>| {
            let image = self.image();
            let Some(topic) = image.topic(name) else { return true };
            let mut partitions = topic.partitions.iter().zip(0..);
            partitions.all(|(p, at)| !p.is_replica(self.broker) || self.get(name, at).is_some())
        };
        let mut made = self.making.made.subscribe();
        // The sender lives in self.
        let _ = made.wait_for(|()| topics.iter().all(is_made)).await;
    }

    /// Makes and discards until the shutdown. Any number of threads may run this.
    pub fn run_making(&self) {
        while let Some(ids) = self.making.take(true) {
            self.make(&ids);
        }
    }

    /// Does on this thread what is due.
    pub fn make_all(&self) {
        while let Some(ids) = self.making.take(false) {
            self.make(&ids);
        }
    }

    /// Whether something is to be made or discarded now.
    pub fn has_making_due(&self) -> bool {
        self.making.is_due()
    }

    fn make(&self, ids: &[TopicPartition]) {
        let image = self.told.load_full();
        let mut dirs = LogDirs::count(self, &image);
        let mut made = Vec::new();
        for id in ids {
            match self.make_one(&image, id, &mut dirs) {
                Ok(Some(log)) => made.push(log),
                Ok(None) => self.making.change(|jobs| jobs.put_back(id, false)),
                Err(error) => {
                    storage_error(id, &error);
                    self.making.change(|jobs| jobs.put_back(id, true));
                }
            }
        }
        // Without its name all that is synced inside a new directory would be lost.
        let parents: BTreeSet<&Path> = made.iter().filter_map(|m| m.log.dir().parent()).collect();
        let synced: Result<(), LogError> =
            parents.into_iter().try_for_each(|dir| checkpoint::sync_dir(&*self.logs.fs, dir));
        for one in made {
            match &synced {
                Ok(()) => self.host(one),
                Err(error) => {
                    storage_error(&one.id, error);
                    self.making.change(|jobs| jobs.put_back(&one.id, true));
                }
            }
        }
        self.making.made.send_replace(());
    }

    /// Discards what is left of the partition, then makes its log if it is wanted.
    fn make_one(
        &self,
        image: &Arc<Image>,
        id: &TopicPartition,
        dirs: &mut LogDirs,
    ) -> Result<Option<Made>, LogError> {
        loop {
            let next = self.making.change(|jobs| jobs.by_id.get_mut(id)?.leftovers.pop());
            let Some(leftover) = next else { break };
            match self.discard(id, &leftover) {
                Ok(()) => {}
                // Somebody changed it under our hands: it stays what it is.
                Err(error @ LogError::NotOurs { .. }) => warn_left(leftover.dir().1, &error),
                Err(error) => {
                    // It keeps its name, and nobody else gets it.
                    self.making.change(|jobs| {
                        jobs.by_id.entry(id.clone()).or_default().leftovers.push(leftover);
                    });
                    return Err(error);
                }
            }
        }
        let want = self.making.change(|jobs| jobs.by_id.get(id)?.want.clone());
        let Some(Want { topic_id, .. }) = want else { return Ok(None) };
        let config = settings::of_topic(&self.config, image, &id.topic).log;
        let Some(log_dir) = dirs.best_for(&self.logs, id, topic_id) else {
            let source = std::io::Error::other("no log directory is left");
            return Err(LogError::io("create", Path::new(&id.to_string()), source));
        };
        let now_ms = clock::wall_ms();
        let log = Log::create(&self.logs, &log_dir, id.clone(), topic_id, config, now_ms)?;
        Ok(Some(Made { id: id.clone(), topic_id, log, image: image.clone() }))
    }

    /// Makes the log a replica, if it is still wanted.
    fn host(&self, made: Made) {
        let Made { id, topic_id, log, image } = made;
        let settings = settings::of_topic(&self.config, &image, &id.topic);
        let dir = log.dir().to_owned();
        let outbox = self.outbox.clone();
        let partition = Partition::new(self.broker, topic_id, log, settings.replica, 0, outbox);
        self.making.change(|jobs| {
            let job = jobs.by_id.entry(id.clone()).or_default();
            match job.want.take() {
                Some(want) if want.topic_id == topic_id => {
                    self.insert(partition.clone());
                    partition.on(Event::Assign(want.assignment));
                }
                other => {
                    job.want = other;
                    job.leftovers.push(Leftover::Dir(topic_id, dir));
                }
            }
            jobs.put_back(&id, false);
        });
        self.retire_if_failed(&partition);
        // Who applies configs either finds the replica in the index, or told of its image before.
        let told = self.told.load_full();
        if !Arc::ptr_eq(&told, &image) {
            let settings = settings::of_topic(&self.config, &told, &id.topic);
            partition.log_config.store(settings.log.clone());
            partition.post(Post::Settings(settings.log, settings.replica));
        }
    }

    /// Closes logs whose directories were not discarded in time: the next start finds them under
    /// their own names, and takes them for whole.
    pub(super) fn close_leftovers(&self) -> Result<(), LogError> {
        self.making.change(|jobs| {
            for leftover in jobs.by_id.values_mut().flat_map(|job| &mut job.leftovers) {
                match leftover {
                    Leftover::Replica(partition) => self.close_log(partition)?,
                    Leftover::Loaded(_, loaded) => loaded.log.close()?,
                    // It was made a moment ago, and synced.
                    Leftover::Dir(..) => {}
                }
            }
            Ok(())
        })
    }

    /// Renames the directory, to be removed later.
    fn discard(&self, id: &TopicPartition, leftover: &Leftover) -> Result<(), LogError> {
        if let Leftover::Replica(partition) = leftover {
            // Waits for whoever is at the log.
            partition.with(|state| state.mutate_log(Log::abandon));
        }
        let (topic_id, dir) = leftover.dir();
        let renamed = self.set_aside(id, topic_id, dir, Aside::Deleted)?;
        let due_ms = clock::expiry_ms() + self.config.log.delete_delay_ms;
        self.deleted_dirs.lock().push((due_ms, renamed));
        tracing::info!(partition = %id, "deleted");
        Ok(())
    }
}

struct Candidate {
    dir: PathBuf,
    is_cordoned: bool,
    is_full: bool,
    partitions: usize,
}

/// The log directories that can be used, with the number of their partitions.
struct LogDirs {
    dirs: Vec<Candidate>,
}

impl LogDirs {
    fn count(partitions: &Partitions, image: &Image) -> LogDirs {
        let cordoned = image.cordoned_log_dirs(partitions.broker);
        let all = partitions.config.log_dirs.iter();
        let candidate = |dir: &PathBuf| Candidate {
            dir: dir.clone(),
            is_cordoned: is_dir_cordoned(cordoned, &dir.to_string_lossy()),
            is_full: partitions.dirs.is_full(dir),
            partitions: 0,
        };
        let usable = all.filter(|dir| !partitions.dirs.is_offline(dir));
        let mut dirs: Vec<Candidate> = usable.map(candidate).collect();
        if dirs.len() > 1 {
            for partition in partitions.all() {
                let parent = partition.dir().parent();
                if let Some(at) = dirs.iter_mut().find(|at| Some(&*at.dir) == parent) {
                    at.partitions += 1;
                }
            }
        }
        LogDirs { dirs }
    }

    /// The one in which an earlier attempt failed: a second directory of the partition would keep
    /// the broker from starting. Else the one with the fewest partitions; full and cordoned ones,
    /// and those where something is in the way, only if all are. It gets one more. Of equal ones
    /// each partition of a topic has another: other threads choose at the same time and by the same
    /// counts. `None`: all are offline, and the process is about to end.
    fn best_for(
        &mut self,
        logs: &LogContext,
        id: &TopicPartition,
        topic_id: TopicId,
    ) -> Option<PathBuf> {
        let (name, several, fs) = (id.to_string(), self.dirs.len(), &*logs.fs);
        let is_taken = |dir: &Path| several > 1 && !directory::is_free(fs, dir);
        let taken = |dir: PathBuf| match is_taken(&dir) {
            true if directory::owner(fs, &dir).ok() == Some(topic_id) => 0,
            true => 2,
            false => 1,
        };
        let first = id.topic.bytes().map(usize::from).sum::<usize>();
        let first = first.wrapping_add(usize::try_from(id.partition).unwrap_or(0)) % several.max(1);
        let rank = |(at, c): &(usize, &mut Candidate)| {
            let turn = (at + several - first) % several;
            (taken(c.dir.join(&name)), c.is_cordoned, c.is_full, c.partitions, turn)
        };
        let (_, best) = self.dirs.iter_mut().enumerate().min_by_key(rank)?;
        best.partitions += 1;
        Some(best.dir.clone())
    }
}
