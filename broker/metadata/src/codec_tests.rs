//! Tests of the stored forms.

use super::*;
use crate::record::*;

fn records() -> Vec<MetadataRecord> {
    let topic_id = TopicId([200; 16]);
    let broker = |id| BrokerId(id);
    vec![
        MetadataRecord::Controller(ControllerRecord {
            controller_id: broker(1),
            controller_epoch: 3,
            min_insync_replicas: Some(2),
        }),
        MetadataRecord::RegisterBroker(RegisterBrokerRecord {
            broker_id: broker(1),
            incarnation_id: TopicId([9; 16]),
            broker_epoch: 7,
            listeners: vec![Endpoint {
                name: "PLAINTEXT".into(),
                host: "localhost".into(),
                port: 9092,
                security_protocol: "PLAINTEXT".into(),
            }],
            rack: Some("a".into()),
            log_dirs: vec![TopicId([1; 16])],
            log_dir_paths: Vec::new(),
            cordoned_log_dirs: "".into(),
            update: false,
        }),
        MetadataRecord::UnfenceBroker(BrokerStateRecord { broker_id: broker(1), broker_epoch: 7 }),
        MetadataRecord::Topic(TopicRecord { name: "t.x".into(), topic_id }),
        MetadataRecord::Partition(PartitionRecord {
            topic_id,
            partition: 0,
            replicas: vec![broker(1), broker(2)],
            isr: vec![broker(1)],
            leader: Some(broker(1)),
        }),
        MetadataRecord::PartitionChange(PartitionChangeRecord {
            topic_id,
            partition: 0,
            partition_epoch: 1,
            leader: LeaderChange::To(broker(1)),
            elr: Some(vec![broker(2)]),
            leader_recovery_state: Some(LeaderRecoveryState::Recovering),
            ..PartitionChangeRecord::default()
        }),
        MetadataRecord::Config(ConfigRecord {
            resource: ConfigResource::Topic("t.x".into()),
            name: "retention.ms".into(),
            value: Some("1".into()),
        }),
        MetadataRecord::ProducerIds(ProducerIdsRecord {
            broker_id: broker(1),
            broker_epoch: 7,
            next_producer_id: 1000,
        }),
        MetadataRecord::FeatureLevel(FeatureLevelRecord { name: "f".into(), level: 2 }),
    ]
}

fn image() -> Image {
    let mut image = Image::new("cluster");
    image.apply(41, &records()).unwrap();
    image
}

#[test]
fn records_round_trip() {
    let bytes = encode_records(&records());
    assert_eq!(decode_records(&bytes).unwrap(), records());
    assert_eq!(decode_records(&encode_records(&[])).unwrap(), []);
}

#[test]
fn an_unchanged_field_of_a_partition_change_takes_no_space() {
    let change =
        PartitionChangeRecord { isr: Some(vec![BrokerId(1)]), ..PartitionChangeRecord::default() };
    assert!(encode_records(&[MetadataRecord::PartitionChange(change)]).len() < 90);
}

#[test]
fn neighbouring_versions_read_each_other() {
    #[derive(Serialize)]
    enum Newer {
        Topic { topic_id: TopicId, name: &'static str, colour: u8 },
    }
    let newer = encode(&[Newer::Topic { topic_id: TopicId([3; 16]), name: "t", colour: 4 }][..]);
    let expected = TopicRecord { name: "t".into(), topic_id: TopicId([3; 16]) };
    assert_eq!(decode_records(&newer).unwrap(), [MetadataRecord::Topic(expected)]);

    #[derive(Serialize)]
    enum Older {
        PartitionChange { topic_id: TopicId, partition: i32, partition_epoch: i32 },
    }
    let change =
        Older::PartitionChange { topic_id: TopicId([3; 16]), partition: 5, partition_epoch: 6 };
    let older = encode(&[change][..]);
    let expected = PartitionChangeRecord {
        topic_id: TopicId([3; 16]),
        partition: 5,
        partition_epoch: 6,
        ..PartitionChangeRecord::default()
    };
    assert_eq!(decode_records(&older).unwrap(), [MetadataRecord::PartitionChange(expected)]);
}

#[test]
fn malformed_records_are_errors() {
    assert!(matches!(decode_records(&[]), Err(DecodeError::Truncated)));
    assert!(matches!(decode_records(&[9]), Err(DecodeError::UnsupportedVersion(9))));
    let bytes = encode_records(&records());
    for len in 1..bytes.len() {
        assert!(decode_records(&bytes[..len]).is_err(), "cut at {len}");
    }
    // An array that claims 2^32-1 elements, nested, in a few bytes.
    let lie = [&[VERSION][..], &[0xdd, 0xff, 0xff, 0xff, 0xff].repeat(1000)].concat();
    assert!(decode_records(&lie).is_err());
}

#[test]
fn a_snapshot_restores_the_image_with_its_indexes() {
    let image = image();
    let restored = Image::decode(&image.encode()).unwrap();
    assert_eq!(restored, image);
    assert_eq!(restored.offset(), 41);
    assert_eq!(restored.validate(), Ok(()));
    assert_eq!(restored.topic_by_id(TopicId([200; 16])), image.topic("t.x"));
    assert_eq!(restored.colliding_topic("t_x").map(|name| &**name), Some("t.x"));
    assert_eq!(restored.partitions_led_by(BrokerId(1)).count(), 1);
}

#[test]
fn a_damaged_snapshot_is_refused() {
    let good = image().encode();
    assert!(matches!(Image::decode(&good[..10]), Err(DecodeError::Truncated)));
    assert!(matches!(Image::decode(&good[..good.len() - 1]), Err(DecodeError::Truncated)));
    for index in 0..good.len() {
        let mut bytes = good.clone();
        bytes[index] ^= 0x10;
        assert!(Image::decode(&bytes).is_err(), "byte {index}");
    }
}

#[test]
fn a_snapshot_that_breaks_an_invariant_is_refused() {
    let mut image = image();
    let change = PartitionChangeRecord {
        topic_id: TopicId([200; 16]),
        partition: 0,
        partition_epoch: 2,
        isr: Some(vec![BrokerId(7)]),
        ..PartitionChangeRecord::default()
    };
    image.apply(42, &[MetadataRecord::PartitionChange(change)]).unwrap();
    assert!(matches!(Image::decode(&image.encode()), Err(DecodeError::Inconsistent(_))));
}

#[test]
fn requests_and_responses_round_trip() {
    use base::ErrorCode;

    use crate::request::*;
    let request = ControllerRequest::DeleteTopics(DeleteTopicsRequest {
        topics: vec![TopicSelector::Name("a".into()), TopicSelector::Id(TopicId([5; 16]))],
    });
    assert_eq!(decode_request(&encode_request(&request)).unwrap(), request);
    let result = Err(ControllerError::new(ErrorCode::PolicyViolation, "no"));
    let response = ControllerResponse::CreatePartitions(vec![
        TopicResult { name: "a".into(), result },
        TopicResult { name: "b".into(), result: Ok(()) },
    ]);
    assert_eq!(decode_response(&encode_response(&response)).unwrap(), response);
    let unit = ControllerResponse::UnregisterBroker;
    assert_eq!(decode_response(&encode_response(&unit)).unwrap(), unit);
}
