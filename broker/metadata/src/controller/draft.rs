//! A request's records in the making, applied to a working image at once, so that every later part
//! of the request is validated against what the earlier parts leave.

use std::collections::BTreeSet;
use std::sync::Arc;

use base::{BrokerId, ErrorCode, TopicPartition};

use super::change::{Election, ElectionRules, PartitionChange};
use super::failure::error;
use super::settings::ControllerSettings;
use crate::config::{self, ConfigLayers};
use crate::image::{Broker, Image};
use crate::level::BARNABAS_VERSION;
use crate::record::{BrokerStateRecord, MetadataRecord};
use crate::request::{ControllerError, OfflineReplicas};

pub(super) struct Draft<'a> {
    pub settings: &'a ControllerSettings,
    pub image: Image,
    pub records: Vec<MetadataRecord>,
}

impl<'a> Draft<'a> {
    pub fn new(settings: &'a ControllerSettings, image: &Image) -> Draft<'a> {
        // The working image stands where the records will be committed at the earliest.
        let mut image = image.clone();
        image.offset += 1;
        Draft { settings, image, records: Vec::new() }
    }

    /// Refused while the cluster's level does not allow the records of `what` yet.
    pub fn needs_level(&self, needed: i16, what: &str) -> Result<(), ControllerError> {
        let level = self.image.level();
        if level >= needed {
            return Ok(());
        }
        let why = format!(
            "{what} need {BARNABAS_VERSION} {needed}, and it is {level}: upgrade every broker, \
             then raise it with kafka-features.sh."
        );
        error(ErrorCode::UnsupportedVersion, why)
    }

    pub fn push(&mut self, record: MetadataRecord) {
        self.image
            .apply_record(&record)
            .expect("invariant: the controller writes only records that fit its image");
        self.records.push(record);
    }

    pub fn rules(&self, topic: &str) -> ElectionRules {
        let layers = ConfigLayers::of_topic(&self.image, topic, None, &self.settings.static_config);
        ElectionRules {
            min_isr: usize::try_from(config::min_insync_replicas(&layers)).unwrap_or(1),
            unclean: config::unclean_leader_election(&layers),
        }
    }

    /// Starts a change of a partition that exists.
    pub fn change(&self, tp: &TopicPartition, rules: ElectionRules) -> Option<PartitionChange> {
        let topic = self.image.topic(&tp.topic)?;
        let partition = topic.partition(tp.partition)?;
        let mut change = PartitionChange::new(topic.id, tp.partition, partition.clone(), rules);
        if rules.unclean {
            change.election = Election::Unclean;
        }
        Some(change)
    }

    /// Writes the change if it changes anything. Returns whether it did.
    pub fn finish(&mut self, change: PartitionChange) -> bool {
        let image = &self.image;
        match change.build(|broker| image.is_active(broker)) {
            None => false,
            Some(record) => {
                self.push(MetadataRecord::PartitionChange(record));
                true
            }
        }
    }

    /// Reconsiders each partition after `edit`, topic by topic: the rules are looked up once per
    /// topic, as the partitions come sorted.
    pub fn reconsider(
        &mut self,
        partitions: Vec<TopicPartition>,
        edit: impl Fn(&mut PartitionChange),
    ) {
        let mut rules: Option<(Arc<str>, ElectionRules)> = None;
        for tp in partitions {
            let current = match &rules {
                Some((topic, rules)) if *topic == tp.topic => *rules,
                _ => {
                    let fresh = self.rules(&tp.topic);
                    rules = Some((tp.topic.clone(), fresh));
                    fresh
                }
            };
            if let Some(mut change) = self.change(&tp, current) {
                edit(&mut change);
                self.finish(change);
            }
        }
    }

    /// The brokers leave the ISRs and their leaderships move. Their state is expected to be
    /// changed already, so that they are no candidates. All at once: replicas that leave an ISR
    /// together are equally eligible afterwards. Leaderships come first: clients wait for them.
    pub fn remove_from_isrs(&mut self, brokers: &[BrokerId]) {
        let at_stake = brokers.iter().flat_map(|b| self.image.partitions_at_stake(*b));
        let partitions: BTreeSet<TopicPartition> = at_stake.cloned().collect();
        self.reconsider_led_first(partitions, brokers, |change| {
            change.isr.retain(|b| !brokers.contains(b));
        });
    }

    fn reconsider_led_first(
        &mut self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        leaders: &[BrokerId],
        edit: impl Fn(&mut PartitionChange),
    ) {
        let image = &self.image;
        let is_led = |tp: &TopicPartition| {
            let leader = image.partition(&tp.topic, tp.partition).and_then(|p| p.leader);
            leader.is_some_and(|leader| leaders.contains(&leader))
        };
        let (led, followed): (Vec<_>, Vec<_>) = partitions.into_iter().partition(is_led);
        self.reconsider(led, &edit);
        self.reconsider(followed, edit);
    }

    /// Changes the state of brokers, and what follows from it for their partitions, which is
    /// written before it. So a part of the records, committed alone, leaves a broker whose time is
    /// up and nothing else: it is found again and the rest is done.
    pub fn change_brokers(
        &mut self,
        records: impl IntoIterator<Item = MetadataRecord>,
        what_follows: impl FnOnce(&mut Self),
    ) {
        let before = self.records.len();
        for record in records {
            self.push(record);
        }
        let states = self.records.split_off(before);
        what_follows(self);
        self.records.extend(states);
    }

    /// A new incarnation of the broker tells anew which of its logs it cannot use.
    pub fn forget_offline(&mut self, broker: BrokerId) {
        let is_offline = |tp: &&TopicPartition| {
            self.image.partition(&tp.topic, tp.partition).is_some_and(|p| p.is_offline(broker))
        };
        let partitions = self.image.partitions_at_stake(broker).filter(is_offline);
        let partitions = partitions.cloned().collect();
        self.reconsider(partitions, |change| change.offline.retain(|b| *b != broker));
    }

    /// The broker runs and cannot use these logs: their directory failed. It leaves their ISRs and
    /// leaderships. What it had not flushed may be gone, so that it is not eligible either.
    pub fn take_offline(&mut self, broker: BrokerId, replicas: &[OfflineReplicas]) {
        let image = &self.image;
        let mut partitions = Vec::new();
        for group in replicas {
            let Some(topic) = image.topic_by_id(group.topic_id) else { continue };
            let news = group.partitions.iter().copied().filter(|&index| {
                topic
                    .partition(index)
                    .is_some_and(|p| p.is_replica(broker) && !p.is_offline(broker))
            });
            partitions.extend(news.map(|index| TopicPartition::new(topic.name.clone(), index)));
        }
        partitions.sort();
        partitions.dedup();
        self.reconsider_led_first(partitions, &[broker], |change| {
            change.offline.push(broker);
            change.isr.retain(|b| *b != broker);
            change.unclean_shutdown = Some(broker);
        });
    }

    /// The broker came back without a clean shutdown: what it had not flushed may be gone, so that
    /// it is neither in sync nor eligible anywhere. With a replaced disk it is not even the best
    /// guess for partitions that nobody else can lead, where other replicas exist.
    pub fn remove_after_unclean_shutdown(&mut self, broker: BrokerId, disk_replaced: bool) {
        let partitions: Vec<_> = self.image.partitions_at_stake(broker).cloned().collect();
        self.reconsider_led_first(partitions, &[broker], |change| {
            change.isr.retain(|b| *b != broker);
            change.unclean_shutdown = Some(broker);
            change.disk_replaced = disk_replaced;
        });
    }

    /// Elects leaders for partitions that have none.
    pub fn elect_leaderless(&mut self) {
        let has_none = |tp: &&TopicPartition| {
            self.image.partition(&tp.topic, tp.partition).is_some_and(|p| p.leader.is_none())
        };
        let partitions = self.image.imbalanced().filter(has_none).cloned().collect();
        self.reconsider(partitions, |_| {});
    }

    pub fn fence(&mut self, id: BrokerId) {
        self.fence_all(&[id]);
    }

    /// Fences those of the brokers that are not. All are fenced before the first leadership moves:
    /// none may move to a broker that is about to be fenced too.
    pub fn fence_all(&mut self, brokers: &[BrokerId]) {
        let unfenced: Vec<_> = brokers
            .iter()
            .filter_map(|id| self.image.broker(*id))
            .filter(|b| !b.fenced)
            .cloned()
            .collect();
        let ids: Vec<BrokerId> = unfenced.iter().map(|b| b.id).collect();
        let fences = unfenced.iter().map(|b| MetadataRecord::FenceBroker(state_record(b)));
        self.change_brokers(fences, |draft| draft.remove_from_isrs(&ids));
    }
}

pub(super) fn state_record(broker: &Broker) -> BrokerStateRecord {
    BrokerStateRecord { broker_id: broker.id, broker_epoch: broker.epoch }
}
