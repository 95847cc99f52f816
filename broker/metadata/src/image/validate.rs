//! The image's invariants, checked by tests and the simulator after every step.

use std::collections::{BTreeMap, BTreeSet};

use base::{BrokerId, TopicPartition};

use super::{Image, Partition, collision_key};

impl Image {
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
