//! What a stop would mean, on small images built from records, and at scale.

use base::TopicId;

use super::*;
use crate::record::{
    BrokerStateRecord, ConfigRecord, MetadataRecord, PartitionRecord, RegisterBrokerRecord,
    TopicRecord,
};

fn b(id: i32) -> BrokerId {
    BrokerId(id)
}

fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

/// An image in the making: records only, so that states no controller would reach are possible.
struct World {
    image: Image,
}

impl World {
    /// Brokers 1 to `count`, unfenced, in racks "a", "b", "c" in turn.
    fn new(count: i32) -> World {
        let mut world = World { image: Image::new("cluster") };
        for id in 1..=count {
            let rack = ["a", "b", "c"][(id as usize - 1) % 3];
            let state = BrokerStateRecord { broker_id: b(id), broker_epoch: i64::from(id) };
            world.apply(vec![
                MetadataRecord::RegisterBroker(RegisterBrokerRecord {
                    broker_id: b(id),
                    incarnation_id: TopicId([id as u8; 16]),
                    broker_epoch: i64::from(id),
                    listeners: Vec::new(),
                    rack: Some(rack.into()),
                    log_dirs: Vec::new(),
                    log_dir_paths: Vec::new(),
                    cordoned_log_dirs: "".into(),
                    update: false,
                }),
                MetadataRecord::UnfenceBroker(state),
            ]);
        }
        world
    }

    fn apply(&mut self, records: Vec<MetadataRecord>) {
        self.image.apply(self.image.offset() + 1, &records).unwrap();
    }

    /// A topic of one partition whose ISR is `isr`.
    fn topic(&mut self, name: &str, replicas: &[i32], isr: &[i32], min_isr: &str) {
        let topic_id = TopicId([self.image.topic_count() as u8 + 1; 16]);
        self.apply(vec![
            MetadataRecord::Topic(TopicRecord { name: name.into(), topic_id }),
            MetadataRecord::Config(ConfigRecord {
                resource: ConfigResource::Topic(name.into()),
                name: "min.insync.replicas".into(),
                value: (!min_isr.is_empty()).then(|| min_isr.into()),
            }),
            MetadataRecord::Partition(PartitionRecord {
                topic_id,
                partition: 0,
                replicas: ids(replicas),
                isr: ids(isr),
                leader: isr.first().copied().map(BrokerId),
            }),
        ]);
    }

    fn reassign(&mut self, name: &str, adding: &[i32], removing: &[i32]) {
        let topic_id = self.image.topic(name).unwrap().id;
        self.apply(vec![MetadataRecord::PartitionChange(crate::PartitionChangeRecord {
            topic_id,
            partition: 0,
            partition_epoch: 1,
            adding: Some(ids(adding)),
            removing: Some(ids(removing)),
            ..Default::default()
        })]);
    }

    fn fence(&mut self, id: i32) {
        let state = BrokerStateRecord { broker_id: b(id), broker_epoch: i64::from(id) };
        self.apply(vec![MetadataRecord::FenceBroker(state)]);
    }

    /// (at risk, unavoidable) of every broker.
    fn risks(&self) -> Vec<(usize, usize)> {
        let answer = restart_risk(&self.image, &StaticConfig::new());
        for broker in &answer.brokers {
            let alone = stop_risk(&self.image, &StaticConfig::new(), &BTreeSet::from([broker.id]));
            assert_eq!(alone, broker.risk, "one question, two ways");
        }
        answer.brokers.iter().map(|b| (b.risk.at_risk, b.risk.unavoidable)).collect()
    }
}

#[test]
fn a_full_isr_above_its_minimum_lets_any_broker_stop() {
    let mut world = World::new(3);
    world.topic("t", &[1, 2, 3], &[1, 2, 3], "2");
    assert_eq!(world.risks(), [(0, 0), (0, 0), (0, 0)]);
    let answer = restart_risk(&world.image, &StaticConfig::new());
    assert_eq!((answer.brokers[0].hosted, answer.brokers[0].leading), (1, 1));
    assert_eq!((answer.brokers[1].hosted, answer.brokers[1].leading), (1, 0));
}

#[test]
fn at_its_minimum_no_member_may_stop_but_who_is_out_may() {
    let mut world = World::new(3);
    world.topic("t", &[1, 2, 3], &[1, 2], "2");
    assert_eq!(world.risks(), [(1, 0), (1, 0), (0, 0)]);
    let answer = restart_risk(&world.image, &StaticConfig::new());
    assert_eq!(answer.brokers[0].risk.examples, ["t-0"]);
}

#[test]
fn the_minimum_comes_from_the_topic_then_all_brokers_then_the_file() {
    let mut world = World::new(3);
    world.topic("own", &[1, 2, 3], &[1, 2], "1");
    world.topic("inherits", &[1, 2, 3], &[1, 2], "");
    assert_eq!(world.risks(), [(0, 0), (0, 0), (0, 0)], "Kafka's default is 1");
    let file = StaticConfig::from([("min.insync.replicas".into(), "2".into())]);
    let at_risk = |world: &World, file: &StaticConfig| {
        restart_risk(&world.image, file).brokers[0].risk.examples.clone()
    };
    assert_eq!(at_risk(&world, &file), ["inherits-0"]);
    world.apply(vec![MetadataRecord::Config(ConfigRecord {
        resource: ConfigResource::BrokerDefault,
        name: "min.insync.replicas".into(),
        value: Some("1".into()),
    })]);
    assert!(at_risk(&world, &file).is_empty(), "dynamic wins over the file");
}

#[test]
fn too_few_replicas_are_unavoidable_unless_waiting_helps() {
    let mut world = World::new(3);
    world.topic("one", &[1], &[1], "1");
    world.topic("two", &[1, 2], &[1, 2], "2");
    assert_eq!(world.risks(), [(0, 2), (0, 1), (0, 0)]);
    // The other replica will come back: stopping the last one now would be avoidable.
    world.topic("half", &[3, 2], &[3], "2");
    assert_eq!(world.risks()[2], (1, 0));
    let answer = restart_risk(&world.image, &StaticConfig::new());
    assert_eq!(answer.brokers[0].risk.unavoidable_examples, ["one-0", "two-0"]);
}

#[test]
fn what_a_reassignment_adds_or_removes_does_not_count() {
    let mut world = World::new(4);
    world.topic("t", &[1, 2, 3, 4], &[1, 2, 3, 4], "2");
    assert_eq!(world.risks()[1], (0, 0));
    world.reassign("t", &[4], &[1]);
    // 2 and 3 are left to count on: neither may stop; the others may, and are not needed.
    assert_eq!(world.risks(), [(0, 0), (1, 0), (1, 0), (0, 0)]);
}

#[test]
fn a_fenced_member_does_not_count() {
    let mut world = World::new(3);
    world.topic("t", &[1, 2, 3], &[1, 2, 3], "2");
    world.fence(3);
    assert_eq!(world.risks()[..2], [(1, 0), (1, 0)]);
    assert!(restart_risk(&world.image, &StaticConfig::new()).brokers[2].fenced);
}

#[test]
fn a_rack_stops_as_a_whole() {
    let mut world = World::new(6);
    // Racks: a = 1, 4; b = 2, 5; c = 3, 6.
    world.topic("spread", &[1, 2, 3], &[1, 2, 3], "2");
    world.topic("lumped", &[1, 4, 2], &[1, 4, 2], "2");
    assert_eq!(world.risks()[..4], [(0, 0), (0, 0), (0, 0), (0, 0)]);
    let racks = restart_risk(&world.image, &StaticConfig::new()).racks;
    let told: Vec<(&str, usize)> = racks.iter().map(|r| (&*r.rack, r.risk.at_risk)).collect();
    assert_eq!(told, [("a", 1), ("b", 0), ("c", 0)]);
    assert_eq!(racks[0].brokers, ids(&[1, 4]));
    assert_eq!(racks[0].risk.examples, ["lumped-0"]);
}

#[test]
fn cordons_and_throttles_are_told_of_each_broker() {
    let mut world = World::new(2);
    for (id, name, value) in
        [(1, "cordoned.log.dirs", "*"), (2, "follower.replication.throttled.rate", "1000")]
    {
        world.apply(vec![MetadataRecord::Config(ConfigRecord {
            resource: ConfigResource::Broker(b(id)),
            name: name.into(),
            value: Some(value.into()),
        })]);
    }
    let risk = restart_risk(&world.image, &StaticConfig::new());
    let told: Vec<(bool, bool)> = risk.brokers.iter().map(|b| (b.cordoned, b.throttled)).collect();
    assert_eq!(told, [(true, false), (false, true)]);
}

#[test]
fn caught_up_counts_what_is_not_in_sync() {
    let mut world = World::new(3);
    world.topic("in", &[1, 2, 3], &[1, 2, 3], "2");
    world.topic("out", &[1, 2, 3], &[1, 2], "2");
    world.topic("elsewhere", &[1, 2], &[1, 2], "1");
    let answer = caught_up(&world.image, b(3));
    assert_eq!((answer.missing, answer.percent), (1, 50.0));
    assert_eq!(answer.examples, ["out-0"]);
    assert!(answer.registered && !answer.fenced && answer.incarnation.is_some());
    assert_eq!(caught_up(&world.image, b(1)).percent, 100.0);
    let all = all_caught_up(&world.image).brokers;
    let one_by_one: Vec<CaughtUp> = (1..=3).map(|id| caught_up(&world.image, b(id))).collect();
    assert_eq!(all.iter().filter(|one| one.broker.0 > 0).cloned().collect::<Vec<_>>(), one_by_one);
    let nobody = caught_up(&world.image, b(9));
    assert!(!nobody.registered && nobody.incarnation.is_none());
}

#[test]
fn moves_are_listed() {
    let mut world = World::new(4);
    world.topic("t", &[1, 2, 3, 4], &[1, 2, 3], "2");
    assert_eq!(moves(&world.image), Moves { in_flight: 0, partitions: Vec::new() });
    world.reassign("t", &[4], &[1]);
    let answer = moves(&world.image);
    assert_eq!(answer.in_flight, 1);
    let only = &answer.partitions[0];
    assert_eq!((&*only.topic, only.partition), ("t", 0));
    assert_eq!((&only.adding, &only.removing), (&ids(&[4]), &ids(&[1])));
}

#[test]
fn fifty_thousand_partitions_are_counted_right() {
    let mut world = World::new(9);
    for topic in 0..500_u16 {
        let mut id = [7; 16];
        id[..2].copy_from_slice(&topic.to_be_bytes());
        let topic_id = TopicId(id);
        let name: Arc<str> = format!("topic-{topic}").into();
        let mut records = vec![MetadataRecord::Topic(TopicRecord { name, topic_id })];
        for partition in 0..100 {
            let first = (i32::from(topic) + partition) % 9;
            let replicas: Vec<i32> = (0..3).map(|step| (first + step) % 9 + 1).collect();
            let leader = Some(b(replicas[0]));
            let (replicas, isr) = (ids(&replicas), ids(&replicas));
            let record = PartitionRecord { topic_id, partition, replicas, isr, leader };
            records.push(MetadataRecord::Partition(record));
        }
        world.apply(records);
    }
    let file = StaticConfig::from([("min.insync.replicas".into(), "2".into())]);
    let answer = restart_risk(&world.image, &file);
    let hosted: usize = answer.brokers.iter().map(|b| b.hosted).sum();
    assert_eq!(hosted, 150_000);
    assert!(answer.brokers.iter().all(|b| b.risk.at_risk == 0));
    assert!(answer.racks.iter().all(|r| r.brokers.len() == 3));
}
