//! The image's invariants. Those of the whole image are checked by tests and the simulator after
//! every step, those of a change after every entry where debug assertions are on.

use std::collections::{BTreeMap, BTreeSet};

use base::{BrokerId, TopicPartition};

use super::{Image, Partition, collision_key};
use crate::record::MetadataRecord;

impl Image {
    /// What every entry keeps, whatever its records say: what only grows has not gone back, and ids
    /// are unique. Panics where debug assertions are on; costs what the entry changes.
    pub(super) fn validate_since(&self, before: &Image, records: &[MetadataRecord]) {
        if !cfg!(debug_assertions) {
            return;
        }
        assert!(self.offset > before.offset, "an entry before {}", before.offset);
        assert!(self.next_broker_epoch >= before.next_broker_epoch, "broker epochs go back");
        assert!(self.next_producer_id >= before.next_producer_id, "producer ids go back");
        assert!(self.written_level >= before.written_level, "a record was unwritten");
        assert_eq!(self.topic_names.len(), self.topics.len(), "a topic has one name and one id");
        assert!(self.collisions.len() <= self.topics.len(), "names collide with nothing");
        for record in records {
            self.validate_record(before, record);
        }
    }

    fn validate_record(&self, before: &Image, record: &MetadataRecord) {
        match record {
            MetadataRecord::PartitionChange(r) => {
                let old = before.partition_by_id(r.topic_id, r.partition);
                let Some(new) = self.partition_by_id(r.topic_id, r.partition) else { return };
                if let Some(old) = old {
                    assert!(new.partition_epoch > old.partition_epoch, "no new epoch: {new:?}");
                    assert!(new.leader_epoch >= old.leader_epoch, "an epoch goes back: {new:?}");
                    let moved = new.leader != old.leader;
                    assert!(!moved || new.leader_epoch > old.leader_epoch, "no epoch: {new:?}");
                }
            }
            MetadataRecord::RegisterBroker(r) => {
                let same = self.brokers.values().filter(|b| b.epoch == r.broker_epoch);
                assert!(same.count() <= 1, "broker epoch {} is not unique", r.broker_epoch);
            }
            _ => {}
        }
    }

    /// Checks the whole image; the error names the first broken invariant. O(image): for tests,
    /// the simulator and offline tools.
    pub fn validate(&self) -> Result<(), String> {
        self.validate_structure()?;
        self.validate_brokers()?;
        self.acls.validate()?;
        for topic in self.topics.values() {
            for (index, partition) in topic.partitions.iter().enumerate() {
                let name = &topic.name;
                self.validate_members(partition).map_err(|why| format!("{name}-{index}: {why}"))?;
            }
        }
        Ok(())
    }

    /// What code that reads the image relies on: every partition in itself, and the indexes.
    pub(crate) fn validate_structure(&self) -> Result<(), String> {
        let mut stakes: BTreeMap<BrokerId, BTreeSet<TopicPartition>> = BTreeMap::new();
        let (mut imbalanced, mut reassigning) = (BTreeSet::new(), BTreeSet::new());
        for topic in self.topics.values() {
            if self.topic_names.get(&topic.id) != Some(&topic.name) {
                return Err(format!("{}: id {} does not lead to its name", topic.name, topic.id));
            }
            for (index, partition) in topic.partitions.iter().enumerate() {
                let tp = TopicPartition::new(topic.name.clone(), index as i32);
                validate_partition(partition).map_err(|why| format!("{tp}: {why}"))?;
                for broker in partition.stakeholders() {
                    stakes.entry(broker).or_default().insert(tp.clone());
                }
                if partition.is_imbalanced() {
                    imbalanced.insert(tp.clone());
                }
                if partition.is_reassigning() {
                    reassigning.insert(tp);
                }
            }
        }
        self.validate_indexes(&stakes)?;
        if !imbalanced.iter().eq(self.imbalanced.iter()) {
            return Err("the index of imbalanced partitions is wrong".into());
        }
        if !reassigning.iter().eq(self.reassigning.iter()) {
            return Err("the index of reassigning partitions is wrong".into());
        }
        Ok(())
    }

    fn validate_indexes(
        &self,
        stakes: &BTreeMap<BrokerId, BTreeSet<TopicPartition>>,
    ) -> Result<(), String> {
        if self.topic_names.len() != self.topics.len() {
            return Err("topic ids and names differ in number".into());
        }
        let colliding = self.topics.keys().filter_map(|name| Some((collision_key(name)?, name)));
        let mut count = 0;
        for (key, name) in colliding {
            count += 1;
            if self.collisions.get(&key) != Some(name) {
                return Err(format!("the collision index does not know {name}"));
            }
        }
        if count != self.collisions.len() {
            return Err("the collision index knows removed topics".into());
        }
        if stakes.len() != self.stakes.len() {
            return Err("the index by broker knows wrong brokers".into());
        }
        for (broker, partitions) in stakes {
            let index = self.stakes.get(broker);
            if !index.is_some_and(|set| set.iter().eq(partitions.iter())) {
                return Err(format!("the index of broker {broker} is wrong"));
            }
        }
        Ok(())
    }

    /// Fencing, shutting down and unregistering move a broker out of every ISR.
    fn validate_members(&self, p: &Partition) -> Result<(), String> {
        match p.isr.iter().find(|b| !self.is_active(**b)) {
            Some(broker) => Err(format!("broker {broker} is in the ISR, but not active: {p:?}")),
            None => Ok(()),
        }
    }

    fn validate_brokers(&self) -> Result<(), String> {
        let mut epochs = BTreeSet::new();
        for (id, broker) in &self.brokers {
            if broker.id != *id || broker.epoch >= self.next_broker_epoch {
                return Err(format!("broker {id} has a wrong id or an epoch of the future"));
            }
            if !epochs.insert(broker.epoch) {
                return Err(format!("broker epoch {} is not unique", broker.epoch));
            }
        }
        Ok(())
    }
}

impl Partition {
    /// Whether the rules hold that need nothing but the partition.
    pub(crate) fn validate(&self) -> Result<(), String> {
        validate_partition(self)
    }
}

fn validate_partition(p: &Partition) -> Result<(), String> {
    let subset = |part: &[BrokerId]| part.iter().all(|b| p.replicas.contains(b));
    let unique = |part: &[BrokerId]| part.iter().collect::<BTreeSet<_>>().len() == part.len();
    let check = |holds: bool, rule: &str| {
        if holds { Ok(()) } else { Err(format!("{rule}: {p:?}")) }
    };
    check(!p.replicas.is_empty() && unique(&p.replicas), "replicas are a non-empty set")?;
    check(subset(&p.isr) && unique(&p.isr), "ISR is a subset of replicas")?;
    check(subset(&p.elr) && unique(&p.elr), "ELR is a subset of replicas")?;
    check(p.elr.iter().all(|b| !p.isr.contains(b)), "ELR and ISR are disjoint")?;
    let is_out = |b: &BrokerId| !p.isr.contains(b) && !p.elr.contains(b);
    check(subset(&p.offline) && unique(&p.offline), "offline replicas are replicas")?;
    check(p.offline.iter().all(is_out), "an offline replica is in neither ISR nor ELR")?;
    check(p.leader.is_none_or(|b| p.isr.contains(&b)), "the leader is in the ISR")?;
    check(p.leader.is_some() != p.isr.is_empty(), "somebody leads where somebody is in sync")?;
    check(subset(&p.adding) && subset(&p.removing), "adding and removing are replicas")?;
    check(p.adding.iter().all(|b| !p.removing.contains(b)), "adding is not removing")?;
    check(p.removing.len() < p.replicas.len(), "a reassignment leaves replicas")?;
    check(p.leader_epoch >= 0 && p.partition_epoch >= p.leader_epoch, "epochs are ordered")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use base::TopicId;
    use base::testing::panic_of;

    use super::*;
    use crate::record::{PartitionChangeRecord, PartitionRecord, TopicRecord};

    const TOPIC: TopicId = TopicId([7; 16]);

    /// A topic of one partition with the leader 1.
    fn image() -> Image {
        let mut image = Image::new("c");
        let both = vec![BrokerId(1), BrokerId(2)];
        let topic = TopicRecord { name: "a.b".into(), topic_id: TOPIC };
        let partition = PartitionRecord {
            topic_id: TOPIC,
            partition: 0,
            replicas: both.clone(),
            isr: both,
            leader: Some(BrokerId(1)),
        };
        let records = [MetadataRecord::Topic(topic), MetadataRecord::Partition(partition)];
        image.apply(0, &records).unwrap();
        image
    }

    /// What is said of a change of the partition in which something else is broken as well.
    fn said(fault: impl FnOnce(&mut Image)) -> String {
        let before = image();
        let change = PartitionChangeRecord {
            topic_id: TOPIC,
            partition_epoch: 1,
            isr: Some(vec![BrokerId(1)]),
            ..PartitionChangeRecord::default()
        };
        let records = [MetadataRecord::PartitionChange(change)];
        let mut after = before.with(&records).unwrap();
        fault(&mut after);
        panic_of(|| after.validate_since(&before, &records))
    }

    fn edit(image: &mut Image, change: impl FnOnce(&mut Partition)) {
        let topic = std::sync::Arc::make_mut(image.topics.get_mut("a.b").unwrap());
        change(std::sync::Arc::make_mut(topic.partitions.get_mut(0).unwrap()));
    }

    #[test]
    fn a_planted_fault_is_seen() {
        assert!(said(|image| image.offset = 0).contains("an entry before 0"));
        assert!(said(|image| image.next_producer_id = -1).contains("producer ids go back"));
        assert!(said(|image| image.topic_names.clear()).contains("one name and one id"));
        assert!(said(|image| edit(image, |p| p.leader_epoch = -1)).contains("an epoch goes back"));
        assert!(said(|image| edit(image, |p| p.leader = None)).contains("no epoch"));
        assert!(said(|image| edit(image, |p| p.partition_epoch = 0)).contains("no new epoch"));
    }
}
