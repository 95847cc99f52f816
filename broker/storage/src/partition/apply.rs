//! Applying metadata images: what changed since the last one is told to the partitions concerned.
//! One thread of its own does it, and waits for no disk and no partition: replicas are told by
//! posts, and logs are made and discarded elsewhere (`making.rs`). A failover waits for this
//! thread.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base::{TopicId, TopicPartition, topic_name};
use metadata::{Changes, ConfigResource, Image, changes_between};
use quorum::Quorum;
use replica::{Assignment, Event};
use tokio::sync::watch;

use super::coordinator_posts::CoordinatorPost;
use super::hosted::Partition;
use super::index::Partitions;
use super::making_jobs::Leftover;
use super::posts::Post;
use super::settings;
use process::shutdown::Shutdown;
use process::time::sleep;

/// Until a replica whose log could not be made is tried again.
const UNMADE_RETRY: Duration = Duration::from_secs(5);
/// How long an image that only brings new partitions may wait for their logs, so that who hears of
/// one finds it. A newer image ends the wait: no failover waits for a disk.
const MAKING_PATIENCE: Duration = Duration::from_secs(1);

/// Applies images as they come until the shutdown closes everything. Runs on its own thread.
pub fn run_applier(partitions: &Partitions, quorum: &Quorum, shutdown: &Shutdown) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "start the metadata thread");
            shutdown.start();
            return;
        }
    };
    runtime.block_on(apply_images(partitions, quorum.images(), shutdown));
}

/// The same as a task.
pub async fn apply_images(
    partitions: &Partitions,
    mut images: watch::Receiver<Arc<Image>>,
    shutdown: &Shutdown,
) {
    loop {
        let image = images.borrow_and_update().clone();
        // What the disk knows at start may be long over: a replica that led or followed by it would
        // serve, and write, under epochs that others have left. The image that has this
        // incarnation registered is one in which nothing is left to it from an earlier one.
        if partitions.is_in_force(&image) {
            let only_makes = partitions.tell(&image);
            let made = async {
                tokio::select! {
                    biased;
                    () = partitions.making.idle() => {}
                    // Still to be looked at.
                    _ = images.changed() => images.mark_changed(),
                    () = sleep(MAKING_PATIENCE) => {}
                    () = shutdown.connections_closing() => {}
                }
            };
            if only_makes {
                made.await;
            }
            partitions.publish(image);
        }
        let unmade = partitions.making.has_failed();
        let next = async {
            tokio::select! {
                biased;
                () = shutdown.connections_closing() => false,
                changed = images.changed() => changed.is_ok(),
                () = sleep(UNMADE_RETRY), if unmade => {
                    partitions.making.try_again();
                    true
                }
            }
        };
        if !next.await {
            return;
        }
    }
}

/// Whether topics or configs of groups differ. Leaders and ISRs change far more often, and say
/// nothing to groups.
fn concerns_coordinators(old: &Image, changes: &Changes) -> bool {
    let is_new = |id: &TopicPartition| old.partition(&id.topic, id.partition).is_none();
    !changes.topics_deleted.is_empty()
        || !changes.topics_created.is_empty()
        || changes.partitions.iter().any(is_new)
        || changes.configs.iter().any(|c| matches!(c, ConfigResource::Group(_)))
}

impl Partitions {
    /// Whether the image knows of this run of the broker. Later ones do, too.
    fn is_in_force(&self, image: &Image) -> bool {
        let registered = image.broker(self.broker);
        self.is_told() || registered.is_some_and(|b| b.incarnation_id == self.incarnation_id)
    }

    /// Brings the partitions from the image they were last told to this one, except that logs may
    /// still have to be made. True where that is all that the image is about.
    fn tell(&self, image: &Arc<Image>) -> bool {
        let old = self.image();
        self.told.store(image.clone());
        self.prune_offline(image);
        let changes = changes_between(&old, image);
        if changes.is_empty() {
            return false;
        }
        if !changes.topics_deleted.is_empty() {
            let deleted = changes.topics_deleted.iter();
            let deleted = deleted.map(|topic| (topic.name.clone(), topic.id)).collect();
            // Before the image that says so is published: no commit of a new topic of the same
            // name is among what groups forget.
            self.outbox.coordinators.post(CoordinatorPost::TopicsDeleted(deleted));
        }
        if concerns_coordinators(&old, &changes) {
            // Before leaderships: a coordinator that begins knows the topics.
            self.outbox.coordinators.post(CoordinatorPost::ClusterChanged(image.clone()));
        }
        for topic in &changes.topics_deleted {
            self.unwant_topic(&topic.name, topic.id);
        }
        self.apply_configs(image, &changes);
        let only_makes = self.apply_partitions(image, &changes.partitions);
        self.apply_brokers(&old, image, &changes);
        only_makes && changes.brokers.is_empty()
    }

    #[cfg(test)]
    pub(super) fn apply(&self, image: Arc<Image>) {
        self.tell(&image);
        self.make_all();
        self.publish(image);
    }

    /// As if a newer image had come before anything was made.
    #[cfg(test)]
    pub(super) fn tell_only(&self, image: Image) {
        let image = Arc::new(image);
        self.tell(&image);
        self.publish(image);
    }

    fn unwant_topic(&self, name: &str, id: TopicId) {
        for partition in self.of_topic(name) {
            if partition.topic_id == id {
                self.remove(&partition.id, id);
            }
        }
        self.making.unwant_topic(name, id);
    }

    /// Those that are here first: a failover waits for their roles. True where logs are to be made
    /// and nothing else changed here.
    fn apply_partitions(&self, image: &Image, changed: &BTreeSet<TopicPartition>) -> bool {
        let (mut makes, mut told, mut missing) = (false, false, Vec::new());
        for id in changed {
            let Some(topic) = image.topic(&id.topic) else { continue };
            let Some(state) = topic.partition(id.partition) else { continue };
            if !state.is_replica(self.broker) {
                self.remove(id, topic.id);
                continue;
            }
            match self.get(&id.topic, id.partition) {
                Some(partition) => {
                    partition.on(Event::Assign(assignment(state)));
                    told = true;
                }
                None => missing.push((id, topic.id, state)),
            }
        }
        for (id, topic_id, state) in missing {
            if topic_name::is_reserved(&id.topic) {
                tracing::warn!(topic = %id.topic, "delete this topic: its name is reserved");
                continue;
            }
            match self.claim(image, id, topic_id) {
                Some(partition) => {
                    self.insert(partition.clone());
                    partition.on(Event::Assign(assignment(state)));
                    self.retire_if_failed(&partition);
                }
                None if self.is_withheld(id, topic_id) => {}
                None => {
                    self.want(id, topic_id, assignment(state));
                    makes = true;
                }
            }
        }
        makes && !told
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
            partition.post(Post::Settings(settings.log, settings.replica));
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
        for partition in self.all() {
            for &(broker, eligible) in &changed {
                partition.post(Post::Eligibility { broker, eligible });
            }
        }
    }

    /// Takes a log over that was loaded at start. Those of earlier topics of the name go.
    fn claim(
        &self,
        image: &Image,
        id: &TopicPartition,
        topic_id: TopicId,
    ) -> Option<Arc<Partition>> {
        let Some(mut loaded) = self.take_loaded(id, topic_id) else {
            for (stale_id, stale) in self.take_all_loaded(id) {
                self.unwant(id, Some(Leftover::Loaded(stale_id, Box::new(stale))));
            }
            return None;
        };
        let settings = settings::of_topic(&self.config, image, &id.topic);
        loaded.log.update_config(settings.log);
        let (outbox, high_watermark) = (self.outbox.clone(), loaded.high_watermark);
        let (broker, replica) = (self.broker, settings.replica);
        Some(Partition::new(broker, topic_id, loaded.log, replica, high_watermark, outbox))
    }

    /// The partition of this topic is deleted or moved away.
    fn remove(&self, id: &TopicPartition, topic_id: TopicId) {
        let leftover = match self.take(id, topic_id) {
            Some(partition) => {
                partition.post(Post::Removed);
                Some(Leftover::Replica(partition))
            }
            None => {
                let loaded = self.take_loaded(id, topic_id);
                loaded.map(|loaded| Leftover::Loaded(topic_id, Box::new(loaded)))
            }
        };
        self.unwant(id, leftover);
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
