//! Tests of creating, growing and deleting topics.

use super::*;

fn topic(name: &str, partitions: i32, replication_factor: i16) -> CreateTopic {
    CreateTopic {
        name: name.into(),
        partitions,
        replication_factor,
        assignments: Vec::new(),
        configs: Vec::new(),
    }
}

fn assigned(name: &str, lists: &[(i32, &[i32])]) -> CreateTopic {
    let assignment = |(partition, replicas): &(i32, &[i32])| Assignment {
        partition: *partition,
        replicas: ids(replicas),
    };
    CreateTopic { assignments: lists.iter().map(assignment).collect(), ..topic(name, -1, -1) }
}

#[test]
fn a_topic_gets_its_partitions_replicas_and_configs() {
    let mut world = World::new(3);
    let configs = vec![("retention.ms".into(), Some("5".into()))];
    let created = world.create(CreateTopic { configs, ..topic("t", 6, 2) }).unwrap();
    assert_eq!((created.partitions, created.replication_factor), (6, 2));
    let topic = world.image.topic("t").unwrap();
    assert_eq!(topic.id, created.topic_id);
    for partition in &topic.partitions {
        assert_eq!(partition.isr, partition.replicas);
        assert_eq!(partition.leader, partition.preferred_leader());
    }
    let leaders: Vec<usize> =
        (1..=3).map(|id| world.image.partitions_led_by(b(id)).count()).collect();
    assert_eq!(leaders, [2, 2, 2]);
    let configs = world.image.config(&ConfigResource::Topic("t".into())).unwrap();
    assert_eq!(configs.get("retention.ms").map(|v| &**v), Some("5"));
}

#[test]
fn minus_one_means_the_brokers_default() {
    let settings = ControllerSettings {
        default_partitions: 4,
        default_replication_factor: 2,
        ..ControllerSettings::default()
    };
    let mut world = World::with_settings(settings);
    (1..=2).for_each(|id| world.start(id));
    let created = world.create(topic("t", -1, -1)).unwrap();
    assert_eq!((created.partitions, created.replication_factor), (4, 2));
}

#[test]
fn the_name_of_the_quorum_is_refused() {
    let mut world = World::new(1);
    let refused = world.create(topic("__cluster_metadata", 1, 1)).unwrap_err();
    assert_eq!(refused, ErrorCode::TopicAuthorizationFailed);
    assert!(world.image.topic("__cluster_metadata").is_none());
}

#[test]
fn names_follow_kafkas_rules() {
    let mut world = World::new(1);
    let long = "x".repeat(250);
    for name in ["", ".", "..", "a b", "a/b", "ä", long.as_str()] {
        let result = world.create(topic(name, 1, 1));
        assert_eq!(result, Err(ErrorCode::InvalidTopicException), "{name}");
    }
    for name in ["a.b", "c_d", "e-F9", &long[..249]] {
        assert!(world.create(topic(name, 1, 1)).is_ok(), "{name}");
    }
    assert_eq!(world.create(topic("a.b", 1, 1)), Err(ErrorCode::TopicAlreadyExists));
    assert_eq!(world.create(topic("a_b", 1, 1)), Err(ErrorCode::InvalidTopicException));
    assert_eq!(world.create(topic("c.d", 1, 1)), Err(ErrorCode::InvalidTopicException));
}

#[test]
fn impossible_numbers_are_refused() {
    let mut world = World::new(2);
    assert_eq!(world.create(topic("t", 0, 1)), Err(ErrorCode::InvalidPartitions));
    assert_eq!(world.create(topic("t", -2, 1)), Err(ErrorCode::InvalidPartitions));
    assert_eq!(world.create(topic("t", 1, 0)), Err(ErrorCode::InvalidReplicationFactor));
    assert_eq!(world.create(topic("t", 1, 3)), Err(ErrorCode::InvalidReplicationFactor));
    assert_eq!(world.create(topic("t", i32::MAX, 1)), Err(ErrorCode::PolicyViolation));
    assert_eq!(world.image.topic_count(), 0);
    // A fenced broker takes replicas when there is no other, but not leadership.
    world.kill(&[2]);
    world.create(topic("t", 3, 2)).unwrap();
    assert!(world.image.topic("t").unwrap().partitions.iter().all(|p| p.isr == ids(&[1])));
    world.kill(&[1]);
    assert_eq!(world.create(topic("u", 1, 1)), Err(ErrorCode::InvalidReplicationFactor));
}

#[test]
fn manual_assignments_are_checked() {
    let mut world = World::new(3);
    let mut check = |lists: &[(i32, &[i32])]| world.create(assigned("t", lists)).map(|_| ());
    let invalid = Err(ErrorCode::InvalidReplicaAssignment);
    assert_eq!(check(&[(1, &[1])]), invalid, "not from 0");
    assert_eq!(check(&[(0, &[1]), (0, &[2])]), invalid, "twice the same");
    assert_eq!(check(&[(0, &[])]), invalid, "nobody");
    assert_eq!(check(&[(0, &[1, 1])]), invalid, "a broker twice");
    assert_eq!(check(&[(0, &[1, 9])]), invalid, "an unknown broker");
    assert_eq!(check(&[(0, &[1, 2]), (1, &[1])]), invalid, "different factors");
    let numbers = CreateTopic { partitions: 1, ..assigned("t", &[(0, &[1])]) };
    assert_eq!(world.create(numbers), Err(ErrorCode::InvalidRequest));
    let numbers = CreateTopic { replication_factor: 1, ..assigned("t", &[(0, &[1])]) };
    assert_eq!(world.create(numbers), Err(ErrorCode::InvalidRequest));
    world.kill(&[1]);
    let fenced = world.create(assigned("t", &[(0, &[1])]));
    assert_eq!(fenced, Err(ErrorCode::InvalidReplicaAssignment));
    world.create(assigned("t", &[(1, &[3, 2]), (0, &[1, 2])])).unwrap();
    assert_eq!(world.state("t"), (2, vec![2], vec![]));
    assert_eq!(world.image.partition("t", 1).unwrap().leader, Some(b(3)));
}

#[test]
fn configs_are_checked_before_anything_is_created() {
    let mut world = World::new(1);
    for (name, value) in [("nonsense", Some("1")), ("retention.ms", Some("-7")), ("flush.ms", None)]
    {
        let configs = vec![(name.into(), value.map(Arc::from))];
        let result = world.create(CreateTopic { configs, ..topic("t", 1, 1) });
        assert_eq!(result, Err(ErrorCode::InvalidConfig), "{name}");
    }
    assert_eq!(world.image.topic_count(), 0);
}

#[test]
fn one_bad_topic_does_not_hinder_the_others_and_validation_alone_creates_nothing() {
    let mut world = World::new(1);
    let topics =
        vec![topic("a", 1, 1), topic("b", 0, 1), topic("twice", 1, 1), topic("twice", 1, 1)];
    let request = |validate_only| {
        let topics = topics.clone();
        ControllerRequest::CreateTopics(CreateTopicsRequest { topics, validate_only })
    };
    let codes = |response: ControllerResponse| -> Vec<ErrorCode> {
        let ControllerResponse::CreateTopics(results) = response else { panic!() };
        results
            .iter()
            .map(|r| r.result.as_ref().map_or_else(|e| e.code, |_| ErrorCode::None))
            .collect()
    };
    let expected = [
        ErrorCode::None,
        ErrorCode::InvalidPartitions,
        ErrorCode::InvalidRequest,
        ErrorCode::InvalidRequest,
    ];
    let before = world.image.clone();
    assert_eq!(codes(world.ask(request(true))), expected);
    assert_eq!(world.image, before);
    assert_eq!(codes(world.ask(request(false))), expected);
    assert_eq!(world.image.topics().map(|t| &*t.name).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn deletion_takes_configs_along_and_a_recreated_topic_is_another_one() {
    let mut world = World::new(1);
    let first = world.topic("t.t", &[1], &[("retention.ms", "5")]);
    let mut delete = |selector: TopicSelector| {
        let request = DeleteTopicsRequest { topics: vec![selector] };
        match world.ask(ControllerRequest::DeleteTopics(request)) {
            ControllerResponse::DeleteTopics(mut results) => {
                results.remove(0).result.map_err(|e| e.code)
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(delete(TopicSelector::Id(TopicId([1; 16]))), Err(ErrorCode::UnknownTopicId));
    let unknown = Err(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(delete(TopicSelector::Name("x".into())), unknown);
    assert_eq!(delete(TopicSelector::Id(first)), Ok(()));
    assert_eq!(delete(TopicSelector::Name("t.t".into())), unknown);
    assert_eq!(world.image.configs().count(), 0);
    let second = world.topic("t_t", &[1], &[]);
    assert_ne!(first, second);
}

#[test]
fn topics_only_grow() {
    let mut world = World::new(3);
    world.create(topic("t", 2, 2)).unwrap();
    let mut grow = |name: &str, count: i32, assignments: Option<&[&[i32]]>| {
        let assignments = assignments.map(|lists| lists.iter().map(|list| ids(list)).collect());
        let topics = vec![GrowTopic { name: name.into(), count, assignments }];
        let request = CreatePartitionsRequest { topics, validate_only: false };
        match world.ask(ControllerRequest::CreatePartitions(request)) {
            ControllerResponse::CreatePartitions(mut results) => {
                results.remove(0).result.map_err(|e| e.code)
            }
            ControllerResponse::Error(error) => Err(error.code),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(grow("x", 2, None), Err(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(grow("t", 2, None), Err(ErrorCode::InvalidPartitions));
    assert_eq!(grow("t", 1, None), Err(ErrorCode::InvalidPartitions));
    assert_eq!(grow("t", -1, None), Err(ErrorCode::InvalidPartitions));
    assert_eq!(grow("t", i32::MAX, None), Err(ErrorCode::PolicyViolation));
    assert_eq!(grow("t", 4, Some(&[&[1, 2]])), Err(ErrorCode::InvalidReplicaAssignment));
    assert_eq!(grow("t", 3, Some(&[&[1]])), Err(ErrorCode::InvalidReplicaAssignment));
    assert_eq!(grow("t", 3, Some(&[&[3, 1]])), Ok(()));
    assert_eq!(grow("t", 6, None), Ok(()));
    let topic = world.image.topic("t").unwrap();
    assert_eq!(topic.partition(2).unwrap().replicas, ids(&[3, 1]));
    assert!(topic.partitions.iter().all(|p| p.replicas.len() == 2));
    assert_eq!(topic.partitions.len(), 6);
}
