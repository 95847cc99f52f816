//! What would happen if brokers stopped now, and what is on its way: the questions that a rolling
//! restart, a drain and a scale-down ask before each step. Pure functions over one [`Image`]; each
//! costs one look at every partition at most.
//!
//! A partition is **at risk** if the stop takes a member out of its ISR and leaves fewer than
//! `max(1, min.insync.replicas)` of those that count. Replicas that a reassignment is adding or
//! removing do not count (the move may fail, or end at any time), nor do fenced brokers.
//!
//! A partition with no more replicas than its minimum can never be stopped safely. It is
//! **unavoidable** and counted apart, unless the stop would take the last member that counts while
//! other replicas exist: then waiting for those helps, and it is at risk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::{BrokerId, TopicPartition};
use serde::Serialize;

use crate::config::{self, ConfigLayers};
use crate::image::{Image, Partition, Topic};
use crate::record::ConfigResource;

/// Partitions named in an answer; the rest is counted.
pub const EXAMPLES_MAX: usize = 10;
const THROTTLES: [&str; 2] =
    ["leader.replication.throttled.rate", "follower.replication.throttled.rate"];
/// Reassignments listed in an answer.
pub const MOVES_MAX: usize = 100;

/// Partitions that a stop would hurt.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Risk {
    pub at_risk: usize,
    /// The first of them, as `topic-partition`.
    pub examples: Vec<String>,
    /// Partitions that no waiting makes safe: they have too few replicas.
    pub unavoidable: usize,
    pub unavoidable_examples: Vec<String>,
}

/// What the stop of one broker would mean.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerRisk {
    pub id: BrokerId,
    pub fenced: bool,
    #[serde(flatten)]
    pub risk: Risk,
    /// Partitions with a replica on it.
    pub hosted: usize,
    /// Partitions that it leads.
    pub leading: usize,
    /// It gets no new replicas.
    pub cordoned: bool,
    /// Its `leader.` or `follower.replication.throttled.rate` is set.
    pub throttled: bool,
}

/// What the stop of all brokers of a rack would mean.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RackRisk {
    pub rack: Arc<str>,
    pub brokers: Vec<BrokerId>,
    #[serde(flatten)]
    pub risk: Risk,
}

/// The answer to `/restart-risk`: every registered broker, every rack.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RestartRisk {
    pub brokers: Vec<BrokerRisk>,
    pub racks: Vec<RackRisk>,
}

/// The answer to `/caught-up`: whether a broker's replicas are in sync again.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CaughtUp {
    pub broker: BrokerId,
    pub registered: bool,
    pub fenced: bool,
    /// Of the process that registered last; absent if none is registered.
    pub incarnation: Option<String>,
    /// Partitions with a replica on the broker that is not in the ISR.
    pub missing: usize,
    pub examples: Vec<String>,
    /// Share of its replicas that are in the ISR; 100 if it has none.
    pub percent: f64,
}

/// The answer to `/caught-up?broker=all`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct AllCaughtUp {
    pub brokers: Vec<CaughtUp>,
}

/// A reassignment under way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Move {
    pub topic: Arc<str>,
    pub partition: i32,
    pub replicas: Vec<BrokerId>,
    pub adding: Vec<BrokerId>,
    pub removing: Vec<BrokerId>,
    pub isr: Vec<BrokerId>,
}

/// The answer to `/moves`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Moves {
    pub in_flight: usize,
    /// The first of them.
    pub partitions: Vec<Move>,
}

/// The brokers' static configuration by broker keys, as far as it is the same for all of them: the
/// level below the dynamic configs in the image.
pub type StaticConfig = BTreeMap<String, String>;

/// What the stop of each broker, and of each rack, would mean.
pub fn restart_risk(image: &Image, static_config: &StaticConfig) -> RestartRisk {
    let mut survey = Survey::new(image);
    for topic in image.topics() {
        let minimum = minimum_isr(image, topic, static_config);
        for (index, partition) in topic.partitions.iter().enumerate() {
            survey.add(image, topic, index, partition, minimum);
        }
    }
    RestartRisk {
        brokers: survey.brokers.into_values().collect(),
        racks: survey.racks.into_values().collect(),
    }
}

/// What it would mean if all these brokers stopped together.
pub fn stop_risk(
    image: &Image,
    static_config: &StaticConfig,
    brokers: &BTreeSet<BrokerId>,
) -> Risk {
    let mut risk = Risk::default();
    for topic in image.topics() {
        let minimum = minimum_isr(image, topic, static_config);
        for (index, partition) in topic.partitions.iter().enumerate() {
            let verdict = Counted::of(image, partition, minimum).verdict(|b| brokers.contains(&b));
            risk.note(verdict, topic, index);
        }
    }
    risk
}

/// What the stop of these brokers would mean for this partition.
pub(crate) fn stop_verdict(
    image: &Image,
    static_config: &StaticConfig,
    tp: &TopicPartition,
    brokers: &BTreeSet<BrokerId>,
) -> Verdict {
    let Some(topic) = image.topic(&tp.topic) else { return Verdict::Safe };
    let Some(partition) = topic.partition(tp.partition) else { return Verdict::Safe };
    let minimum = minimum_isr(image, topic, static_config);
    Counted::of(image, partition, minimum).verdict(|b| brokers.contains(&b))
}

/// What was seen of one broker's replicas.
#[derive(Default)]
struct Tally {
    hosted: usize,
    missing: usize,
    examples: Vec<String>,
}

impl Tally {
    /// Takes in a replica of this broker.
    fn note(&mut self, id: BrokerId, topic: &Topic, index: usize, partition: &Partition) {
        self.hosted += 1;
        if !partition.in_isr(id) {
            self.missing += 1;
            push_example(&mut self.examples, topic, index);
        }
    }

    fn answer(self, image: &Image, id: BrokerId) -> CaughtUp {
        let broker = image.broker(id);
        CaughtUp {
            broker: id,
            registered: broker.is_some(),
            fenced: broker.is_some_and(|b| b.fenced),
            incarnation: broker.map(|b| b.incarnation_id.to_string()),
            missing: self.missing,
            examples: self.examples,
            percent: percent(self.hosted - self.missing, self.hosted),
        }
    }
}

/// Whether everything that has a replica on the broker is in sync again.
pub fn caught_up(image: &Image, id: BrokerId) -> CaughtUp {
    let mut tally = Tally::default();
    for topic in image.topics() {
        for (index, partition) in topic.partitions.iter().enumerate() {
            if partition.is_replica(id) {
                tally.note(id, topic, index, partition);
            }
        }
    }
    tally.answer(image, id)
}

/// As [`caught_up`], of every registered broker, in one look at every partition.
pub fn all_caught_up(image: &Image) -> AllCaughtUp {
    let mut tallies: BTreeMap<BrokerId, Tally> =
        image.brokers().map(|broker| (broker.id, Tally::default())).collect();
    for topic in image.topics() {
        for (index, partition) in topic.partitions.iter().enumerate() {
            for id in &partition.replicas {
                if let Some(tally) = tallies.get_mut(id) {
                    tally.note(*id, topic, index, partition);
                }
            }
        }
    }
    let brokers = tallies.into_iter().map(|(id, tally)| tally.answer(image, id));
    AllCaughtUp { brokers: brokers.collect() }
}

/// The reassignments under way.
pub fn moves(image: &Image) -> Moves {
    let found = |tp: &TopicPartition| {
        let partition = image.partition(&tp.topic, tp.partition)?;
        Some(Move {
            topic: tp.topic.clone(),
            partition: tp.partition,
            replicas: partition.replicas.clone(),
            adding: partition.adding.clone(),
            removing: partition.removing.clone(),
            isr: partition.isr.clone(),
        })
    };
    Moves {
        in_flight: image.reassigning().count(),
        partitions: image.reassigning().filter_map(found).take(MOVES_MAX).collect(),
    }
}

fn minimum_isr(image: &Image, topic: &Topic, static_config: &StaticConfig) -> usize {
    let layers = ConfigLayers::of_topic(image, &topic.name, None, static_config);
    usize::try_from(config::min_insync_replicas(&layers)).unwrap_or(1).max(1)
}

/// In tenths, rounded down: 100 only if all are.
fn percent(part: usize, whole: usize) -> f64 {
    (part * 1000).checked_div(whole).map_or(100.0, |tenths| tenths as f64 / 10.0)
}

fn is_throttled(image: &Image, id: BrokerId) -> bool {
    let own = image.config(&ConfigResource::Broker(id));
    own.is_some_and(|own| THROTTLES.iter().any(|key| own.contains_key(*key)))
}

fn push_example(examples: &mut Vec<String>, topic: &Topic, index: usize) {
    if examples.len() < EXAMPLES_MAX {
        examples.push(format!("{}-{index}", topic.name));
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Safe,
    AtRisk,
    Unavoidable,
}

impl Risk {
    fn note(&mut self, verdict: Verdict, topic: &Topic, index: usize) {
        match verdict {
            Verdict::Safe => {}
            Verdict::AtRisk => {
                self.at_risk += 1;
                push_example(&mut self.examples, topic, index);
            }
            Verdict::Unavoidable => {
                self.unavoidable += 1;
                push_example(&mut self.unavoidable_examples, topic, index);
            }
        }
    }
}

/// One partition, as far as stops concern it.
struct Counted<'a> {
    image: &'a Image,
    partition: &'a Partition,
    minimum: usize,
}

impl<'a> Counted<'a> {
    fn of(image: &'a Image, partition: &'a Partition, minimum: usize) -> Counted<'a> {
        Counted { image, partition, minimum }
    }

    fn counts(&self, broker: BrokerId) -> bool {
        let p = self.partition;
        !p.adding.contains(&broker)
            && !p.removing.contains(&broker)
            && self.image.broker(broker).is_some_and(|b| !b.fenced)
    }

    fn verdict(&self, stops: impl Fn(BrokerId) -> bool) -> Verdict {
        let isr = &self.partition.isr;
        if !isr.iter().any(|b| stops(*b)) {
            return Verdict::Safe;
        }
        let left = isr.iter().filter(|b| !stops(**b) && self.counts(**b)).count();
        if left >= self.minimum {
            return Verdict::Safe;
        }
        let replicas = self.partition.replicas.len() - self.partition.removing.len();
        let never_safe = replicas <= self.minimum;
        if never_safe && (left > 0 || replicas == 1) {
            Verdict::Unavoidable
        } else {
            Verdict::AtRisk
        }
    }
}

/// The answer in the making: one scan serves all brokers and racks.
struct Survey {
    brokers: BTreeMap<BrokerId, BrokerRisk>,
    racks: BTreeMap<Arc<str>, RackRisk>,
    rack_of: BTreeMap<BrokerId, Arc<str>>,
}

impl Survey {
    fn new(image: &Image) -> Survey {
        let (mut brokers, mut rack_of) = (BTreeMap::new(), BTreeMap::new());
        let mut racks: BTreeMap<Arc<str>, RackRisk> = BTreeMap::new();
        for broker in image.brokers() {
            let (id, risk) = (broker.id, Risk::default());
            let fresh = BrokerRisk {
                id,
                fenced: broker.fenced,
                risk,
                hosted: 0,
                leading: 0,
                cordoned: image.is_cordoned(id),
                throttled: is_throttled(image, id),
            };
            brokers.insert(id, fresh);
            if let Some(rack) = &broker.rack {
                rack_of.insert(id, rack.clone());
                let fresh =
                    || RackRisk { rack: rack.clone(), brokers: Vec::new(), risk: Risk::default() };
                racks.entry(rack.clone()).or_insert_with(fresh).brokers.push(id);
            }
        }
        Survey { brokers, racks, rack_of }
    }

    fn add(
        &mut self,
        image: &Image,
        topic: &Topic,
        index: usize,
        partition: &Partition,
        minimum: usize,
    ) {
        for id in &partition.replicas {
            if let Some(broker) = self.brokers.get_mut(id) {
                broker.hosted += 1;
                broker.leading += usize::from(partition.leader == Some(*id));
            }
        }
        let counted = Counted::of(image, partition, minimum);
        let isr = &partition.isr;
        for (nth, id) in isr.iter().enumerate() {
            if let Some(broker) = self.brokers.get_mut(id) {
                broker.risk.note(counted.verdict(|b| b == *id), topic, index);
            }
            let Some(rack) = self.rack_of.get(id) else { continue };
            let in_rack = |b: BrokerId| self.rack_of.get(&b) == Some(rack);
            // Once per rack: at its first member.
            if isr[..nth].iter().any(|b| in_rack(*b)) {
                continue;
            }
            if let Some(entry) = self.racks.get_mut(rack) {
                entry.risk.note(counted.verdict(in_rack), topic, index);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "risk_tests.rs"]
mod tests;
