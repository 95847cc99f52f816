//! Tests of the comparison of images.

use base::TopicId;

use super::*;
use crate::record::*;

fn topic(name: &str, id: u8, partitions: i32) -> Vec<MetadataRecord> {
    let topic_id = TopicId([id; 16]);
    let head = MetadataRecord::Topic(TopicRecord { name: name.into(), topic_id });
    let partition = |partition| {
        MetadataRecord::Partition(PartitionRecord {
            topic_id,
            partition,
            replicas: vec![BrokerId(1)],
            isr: Vec::new(),
            leader: None,
        })
    };
    std::iter::once(head).chain((0..partitions).map(partition)).collect()
}

fn tp(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

#[test]
fn equal_images_have_no_changes() {
    let image = Image::new("c").with(&topic("a", 1, 3)).unwrap();
    assert!(changes_between(&image, &image.clone()).is_empty());
}

#[test]
fn every_kind_of_change_is_seen() {
    let mut records = topic("changed", 1, 3);
    records.extend(topic("deleted", 2, 2));
    records.extend(topic("again", 3, 2));
    (0..200u8).for_each(|n| records.extend(topic(&format!("other{n}"), n + 10, 1)));
    let old = Image::new("c").with(&records).unwrap();
    let mut records = vec![
        MetadataRecord::PartitionChange(PartitionChangeRecord {
            topic_id: TopicId([1; 16]),
            partition: 1,
            partition_epoch: 1,
            leader: LeaderChange::To(BrokerId(1)),
            isr: Some(vec![BrokerId(1)]),
            ..PartitionChangeRecord::default()
        }),
        MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: TopicId([2; 16]) }),
        MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: TopicId([3; 16]) }),
        MetadataRecord::Config(ConfigRecord {
            resource: ConfigResource::BrokerDefault,
            name: "log.retention.ms".into(),
            value: Some("5".into()),
        }),
        MetadataRecord::RegisterBroker(RegisterBrokerRecord {
            broker_id: BrokerId(4),
            incarnation_id: TopicId::ZERO,
            broker_epoch: 1,
            listeners: Vec::new(),
            rack: None,
            log_dirs: Vec::new(),
            log_dir_paths: Vec::new(),
            cordoned_log_dirs: "".into(),
            update: false,
        }),
    ];
    records.extend(topic("again", 4, 1));
    records.extend(topic("new", 5, 2));
    let new = old.with(&records).unwrap();
    let changes = changes_between(&old, &new);
    let names = |topics: &[Arc<Topic>]| -> Vec<(String, TopicId)> {
        topics.iter().map(|t| (t.name.to_string(), t.id)).collect()
    };
    let id = |n: u8| TopicId([n; 16]);
    let deleted = [("again".to_owned(), id(3)), ("deleted".to_owned(), id(2))];
    assert_eq!(names(&changes.topics_deleted), deleted);
    let created = [("again".to_owned(), id(4)), ("new".to_owned(), id(5))];
    assert_eq!(names(&changes.topics_created), created);
    let partitions: Vec<TopicPartition> = changes.partitions.into_iter().collect();
    assert_eq!(partitions, [tp("again", 0), tp("changed", 1), tp("new", 0), tp("new", 1)]);
    assert_eq!(changes.brokers.into_iter().collect::<Vec<_>>(), [BrokerId(4)]);
    assert_eq!(changes.configs.into_iter().collect::<Vec<_>>(), [ConfigResource::BrokerDefault]);
    assert!(!changes.features && !changes.controller);
}
