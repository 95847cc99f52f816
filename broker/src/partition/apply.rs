//! Applying metadata images: what changed since the last one is told to the partitions concerned.
//! Roles first, since a failover waits for them; logs are created and deleted afterwards. One
//! thread of its own does it, because creating a log waits for the disk.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base::{TopicId, TopicPartition};
use commitlog::{LoadState, Log, LogError, checkpoint, deleted_dir_name};
use metadata::config::is_dir_cordoned;
use metadata::{Changes, ConfigResource, Image, changes_between};
use quorum::Quorum;
use replica::{Assignment, Event};

use super::hosted::{Partition, storage_error};
use super::index::Partitions;
use super::load::LoadedLog;
use super::settings;
use crate::clock;
use crate::shutdown::Shutdown;

/// Until a replica whose log could not be made is tried again.
const UNMADE_RETRY: Duration = Duration::from_secs(5);

/// Applies images as they come until the shutdown closes everything. Runs on its own thread.
pub fn run_applier(partitions: &Partitions, quorum: &Quorum, shutdown: &Shutdown) {
    let mut images = quorum.images();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "start the metadata thread");
            shutdown.start();
            return;
        }
    };
    loop {
        let image = images.borrow_and_update().clone();
        // What the disk knows at start may be long over: a replica that led or followed by it would
        // serve, and write, under epochs that others have left. The image that has this
        // incarnation registered is one in which nothing is left to it from an earlier one.
        if partitions.is_in_force(&image) {
            partitions.apply(image);
        }
        let unmade = partitions.has_unmade();
        let next = async {
            tokio::select! {
                changed = images.changed() => changed.is_ok(),
                () = tokio::time::sleep(UNMADE_RETRY), if unmade => {
                    partitions.make_again();
                    true
                }
                () = shutdown.connections_closing() => false,
            }
        };
        if !runtime.block_on(next) {
            return;
        }
    }
}

impl Partitions {
    /// Whether the image knows of this run of the broker. Later ones do, too.
    fn is_in_force(&self, image: &Image) -> bool {
        let registered = image.broker(self.broker);
        self.is_told() || registered.is_some_and(|b| b.incarnation_id == self.incarnation_id)
    }

    /// Brings the partitions from the image they were last told to this one.
    pub(super) fn apply(&self, image: Arc<Image>) {
        let old = self.image();
        let changes = changes_between(&old, &image);
        if !changes.is_empty() {
            if !changes.topics_deleted.is_empty() {
                let names = changes.topics_deleted.iter().map(|topic| topic.name.clone());
                self.outbox.groups.topics_deleted(names);
            }
            for topic in &changes.topics_deleted {
                for partition in self.of_topic(&topic.name) {
                    if partition.topic_id == topic.id {
                        self.remove(&partition.id);
                    }
                }
            }
            self.apply_configs(&image, &changes);
            self.apply_partitions(&image, &changes.partitions);
            self.apply_brokers(&old, &image, &changes);
        }
        self.publish(image);
    }

    fn apply_partitions(&self, image: &Image, changed: &BTreeSet<TopicPartition>) {
        let (mut missing, mut busy) = (Vec::new(), Vec::new());
        for id in changed {
            let Some(topic) = image.topic(&id.topic) else { continue };
            let Some(state) = topic.partition(id.partition) else { continue };
            if !state.is_replica(self.broker) {
                self.remove(id);
                continue;
            }
            match self.get(&id.topic, id.partition) {
                // A log that is being cut keeps nobody else waiting for its role.
                Some(partition) if partition.is_busy() => busy.push((partition, state)),
                Some(partition) => partition.on(Event::Assign(assignment(state))),
                None => missing.push((id, topic.id, state.clone())),
            }
        }
        for (partition, state) in busy {
            partition.on(Event::Assign(assignment(state)));
        }
        for (id, topic_id, state) in missing {
            match self.create(image, id, topic_id) {
                Ok(partition) => {
                    self.insert(partition.clone());
                    partition.on(Event::Assign(assignment(&state)));
                }
                Err(error) => {
                    storage_error(id, &error);
                    self.unmade.lock().insert(id.clone());
                }
            }
        }
    }

    fn has_unmade(&self) -> bool {
        !self.unmade.lock().is_empty()
    }

    /// Tries to make the replicas that could not be made: the disk may have room again.
    pub(super) fn make_again(&self) {
        let unmade = std::mem::take(&mut *self.unmade.lock());
        self.apply_partitions(&self.image(), &unmade);
    }

    fn apply_configs(&self, image: &Image, changes: &Changes) {
        let all = changes.configs.iter().any(|resource| match resource {
            ConfigResource::Broker(id) => *id == self.broker,
            ConfigResource::BrokerDefault => true,
            _ => false,
        });
        let affected: Vec<Arc<Partition>> = if all {
            self.all()
        } else {
            let topics = changes.configs.iter().filter_map(|resource| match resource {
                ConfigResource::Topic(name) => Some(name),
                _ => None,
            });
            topics.flat_map(|name| self.of_topic(name)).collect()
        };
        for partition in affected {
            let settings = settings::of_topic(&self.config, image, &partition.id.topic);
            partition.log_config.store(settings.log.clone());
            partition.with(|state| {
                state.log.update_config(settings.log);
                state.note_durable();
                state.on(Event::Settings(settings.replica));
            });
        }
    }

    /// Tells the partitions led here which of their followers may (not) join the ISR any more.
    fn apply_brokers(&self, old: &Image, new: &Image, changes: &Changes) {
        let changed = changes.brokers.iter().copied().filter(|&id| id != self.broker);
        let changed = changed.filter(|&id| {
            let of = |image: &Image| image.broker(id).map(|b| (b.epoch, b.is_active()));
            of(old) != of(new)
        });
        let changed: Vec<_> = changed.map(|id| (id, new.is_active(id))).collect();
        if changed.is_empty() {
            return;
        }
        // Followers are not even locked: one may be cutting its log, which waits for the disk, and
        // all failovers would wait with it.
        for partition in self.all().into_iter().filter(|partition| partition.leads()) {
            partition.with(|state| {
                for &(broker, eligible) in &changed {
                    if state.core.is_leader() && state.core.replicas().contains(&broker) {
                        state.on(Event::Eligibility { broker, eligible });
                        if eligible {
                            // It may have caught up while it was fenced, and on an idle
                            // partition nothing else would let it into the ISR soon.
                            state.on(Event::Tick);
                        }
                    }
                }
            });
        }
    }

    /// Takes a log over that was loaded at start, or creates an empty one.
    fn create(
        &self,
        image: &Image,
        id: &TopicPartition,
        topic_id: TopicId,
    ) -> Result<Arc<Partition>, LogError> {
        let settings = settings::of_topic(&self.config, image, &id.topic);
        let loaded = self.loaded.lock().logs.remove(id);
        let (log, high_watermark) = match loaded {
            Some(mut loaded) if loaded.topic_id == topic_id => {
                loaded.log.update_config(settings.log.clone());
                (loaded.log, loaded.high_watermark)
            }
            other => {
                if let Some(stale) = other {
                    self.discard_stale(id, stale)?;
                }
                (self.create_log(image, id, topic_id, settings.log)?, 0)
            }
        };
        let outbox = self.outbox.clone();
        let replica = settings.replica;
        Ok(Partition::new(self.broker, topic_id, log, replica, high_watermark, outbox))
    }

    /// The topic was deleted and created again while this broker was away. Where the old log cannot
    /// be moved it is kept, so that nobody takes it for the new topic's.
    fn discard_stale(&self, id: &TopicPartition, stale: LoadedLog) -> Result<(), LogError> {
        let discarded = self.discard(id, stale.log.dir().to_owned());
        if discarded.is_err() {
            self.loaded.lock().logs.insert(id.clone(), stale);
        }
        discarded
    }

    fn create_log(
        &self,
        image: &Image,
        id: &TopicPartition,
        topic_id: TopicId,
        config: Arc<commitlog::LogConfig>,
    ) -> Result<Log, LogError> {
        let fs = &*self.logs.fs;
        let dir = self.emptiest_log_dir(image).join(id.to_string());
        fs.create_dir_all(&dir).map_err(|error| LogError::io("create", &dir, error))?;
        checkpoint::write_partition_metadata(fs, &dir, topic_id)?;
        let state = LoadState::default();
        let (log, _) = Log::open(&self.logs, &dir, id.clone(), config, state, clock::wall_ms())?;
        Ok(log)
    }

    /// The log directory with the fewest partitions, cordoned ones only if all are.
    fn emptiest_log_dir(&self, image: &Image) -> PathBuf {
        let dirs = &self.config.log_dirs;
        if dirs.len() == 1 {
            return dirs[0].clone();
        }
        let mut counts = vec![0usize; dirs.len()];
        for partition in self.all() {
            let parent = partition.look(|state| state.log.dir().parent().map(PathBuf::from));
            if let Some(at) = dirs.iter().position(|dir| Some(dir) == parent.as_ref()) {
                counts[at] += 1;
            }
        }
        let cordoned = image.cordoned_log_dirs(self.broker);
        let is_cordoned = |at: usize| is_dir_cordoned(cordoned, &dirs[at].to_string_lossy());
        let fewest =
            counts.iter().enumerate().min_by_key(|(at, count)| (is_cordoned(*at), **count));
        dirs[fewest.map_or(0, |(at, _)| at)].clone()
    }

    /// The partition is deleted or moved away: its directory is renamed now and removed later.
    fn remove(&self, id: &TopicPartition) {
        let dir = match self.take(id) {
            Some(partition) => partition.with(|state| {
                state.on(Event::Removed);
                state.is_removed = true;
                state.log.abandon();
                state.log.dir().to_owned()
            }),
            None => match self.loaded.lock().logs.remove(id) {
                Some(loaded) => loaded.log.dir().to_owned(),
                None => return,
            },
        };
        if let Err(error) = self.discard(id, dir) {
            storage_error(id, &error);
        }
    }

    fn discard(&self, id: &TopicPartition, dir: PathBuf) -> Result<(), LogError> {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let renamed = dir.with_file_name(deleted_dir_name(id, &unique));
        let fs = &*self.logs.fs;
        fs.rename(&dir, &renamed).map_err(|error| LogError::io("rename", &dir, error))?;
        let due_ms = clock::wall_ms() + self.config.log.delete_delay_ms;
        self.deleted_dirs.lock().push((due_ms, renamed));
        tracing::info!(partition = %id, "deleted");
        Ok(())
    }

    /// Logs from disk that the metadata does not know are set aside, as Kafka's stray partitions.
    /// To be called once the image is known to be current.
    pub fn set_strays_aside(&self) {
        let image = self.image();
        let mut loaded = self.loaded.lock();
        let strays: Vec<TopicPartition> = loaded.logs.keys().cloned().collect();
        for id in strays {
            let hosted = image.partition(&id.topic, id.partition);
            if hosted.is_some_and(|state| state.is_replica(self.broker)) {
                continue;
            }
            let Some(stray) = loaded.logs.remove(&id) else { continue };
            let dir = stray.log.dir().to_owned();
            drop(stray);
            let unique = uuid::Uuid::new_v4().simple().to_string();
            let aside = dir.with_file_name(format!("{id}.{unique}-stray"));
            tracing::warn!(partition = %id, dir = %aside.display(), "set stray partition aside");
            if let Err(error) = self.logs.fs.rename(&dir, &aside) {
                storage_error(&id, &LogError::io("rename", &dir, error));
            }
        }
    }
}

fn assignment(state: &metadata::Partition) -> Assignment {
    Assignment {
        leader: state.leader,
        leader_epoch: state.leader_epoch,
        partition_epoch: state.partition_epoch,
        replicas: state.replicas.clone(),
        isr: state.isr.clone(),
    }
}
