//! Tests of altering configs.

use super::*;
use crate::record::ConfigRecord;

fn op(name: &str, kind: ConfigOpKind, value: Option<&str>) -> ConfigOp {
    ConfigOp { name: name.into(), kind, value: value.map(Arc::from) }
}

fn set(name: &str, value: &str) -> ConfigOp {
    op(name, ConfigOpKind::Set, Some(value))
}

fn topic() -> ConfigResource {
    ConfigResource::Topic("t".into())
}

fn configs(world: &World, resource: &ConfigResource) -> Vec<(String, String)> {
    let map = world.image.config(resource).cloned().unwrap_or_default();
    map.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.into(), value.into())
}

#[test]
fn values_are_set_deleted_appended_and_subtracted() {
    let mut world = World::new(1);
    world.topic("t", &[1], &[("retention.ms", "5")]);
    let ops = vec![
        set("segment.ms", "7"),
        op("retention.ms", ConfigOpKind::Delete, None),
        // The list starts from the default, which is `delete`.
        op("cleanup.policy", ConfigOpKind::Append, Some("compact")),
    ];
    assert_eq!(world.alter_config(topic(), ops), Ok(()));
    let expected = [pair("cleanup.policy", "delete,compact"), pair("segment.ms", "7")];
    assert_eq!(configs(&world, &topic()), expected);
    let ops = vec![op("cleanup.policy", ConfigOpKind::Subtract, Some("delete"))];
    assert_eq!(world.alter_config(topic(), ops), Ok(()));
    assert_eq!(configs(&world, &topic())[0], pair("cleanup.policy", "compact"));
    // Nothing changes, nothing is written.
    let offset = world.image.offset();
    assert_eq!(world.alter_config(topic(), vec![set("segment.ms", "7")]), Ok(()));
    assert_eq!(world.image.offset(), offset);
}

#[test]
fn a_resource_changes_as_a_whole_or_not_at_all() {
    let mut world = World::new(1);
    world.topic("t", &[1], &[]);
    let cases = [
        (vec![set("retention.ms", "5"), set("nonsense", "1")], ErrorCode::InvalidConfig),
        (vec![set("retention.ms", "5"), set("flush.ms", "x")], ErrorCode::InvalidConfig),
        (vec![set("retention.ms", "5"), set("retention.ms", "6")], ErrorCode::InvalidRequest),
        (vec![op("retention.ms", ConfigOpKind::Set, None)], ErrorCode::InvalidRequest),
        (vec![op("retention.ms", ConfigOpKind::Append, Some("1"))], ErrorCode::InvalidConfig),
        (
            vec![set("min.compaction.lag.ms", "9"), set("max.compaction.lag.ms", "8")],
            ErrorCode::InvalidConfig,
        ),
    ];
    for (ops, expected) in cases {
        assert_eq!(world.alter_config(topic(), ops.clone()), Err(expected), "{ops:?}");
        assert_eq!(configs(&world, &topic()), []);
    }
}

#[test]
fn broker_configs_are_those_that_can_change_at_run_time() {
    let mut world = World::new(1);
    let one = ConfigResource::Broker(b(1));
    let all = ConfigResource::BrokerDefault;
    assert_eq!(world.alter_config(one.clone(), vec![set("log.retention.ms", "5")]), Ok(()));
    assert_eq!(world.alter_config(all.clone(), vec![set("message.max.bytes", "5")]), Ok(()));
    assert_eq!(configs(&world, &one), [pair("log.retention.ms", "5")]);
    assert_eq!(configs(&world, &all), [pair("message.max.bytes", "5")]);
    let fixed = vec![set("broker.id", "5")];
    assert_eq!(world.alter_config(one.clone(), fixed), Err(ErrorCode::InvalidRequest));
    let invalid = vec![set("log.retention.ms", "-5")];
    assert_eq!(world.alter_config(all.clone(), invalid), Err(ErrorCode::InvalidConfig));
    let rate = vec![set("leader.replication.throttled.rate", "5")];
    assert_eq!(world.alter_config(one, rate), Ok(()));
}

#[test]
fn unknown_resources_are_refused() {
    let mut world = World::new(1);
    let cases = [
        (topic(), ErrorCode::UnknownTopicOrPartition),
        (ConfigResource::Broker(b(9)), ErrorCode::BrokerIdNotRegistered),
        (ConfigResource::Group("g".into()), ErrorCode::InvalidRequest),
        (ConfigResource::ClientMetrics("m".into()), ErrorCode::InvalidRequest),
    ];
    for (resource, expected) in cases {
        let ops = vec![set("retention.ms", "5")];
        assert_eq!(world.alter_config(resource, ops), Err(expected));
    }
}

#[test]
fn the_legacy_request_replaces_everything() {
    let mut world = World::new(1);
    world.topic("t", &[1], &[("retention.ms", "5"), ("segment.ms", "6")]);
    let alter = |resources: Vec<AlterConfigs>, validate_only| {
        ControllerRequest::AlterConfigs(AlterConfigsRequest { resources, validate_only })
    };
    let given = vec![("retention.ms".into(), Some("9".into()))];
    let resource = AlterConfigs { resource: topic(), configs: given };
    world.ask(alter(vec![resource.clone()], true));
    assert_eq!(configs(&world, &topic()).len(), 2);
    world.ask(alter(vec![resource.clone()], false));
    assert_eq!(configs(&world, &topic()), [pair("retention.ms", "9")]);
    let response = world.ask(alter(vec![resource.clone(), resource], false));
    let ControllerResponse::AlterConfigs(results) = response else { panic!() };
    for result in results {
        assert_eq!(result.result.unwrap_err().code, ErrorCode::InvalidRequest);
    }
}

fn cordon(world: &mut World, id: i32, value: &str) -> Result<(), ErrorCode> {
    world.alter_config(ConfigResource::Broker(b(id)), vec![set("cordoned.log.dirs", value)])
}

fn spread(name: &str, replication_factor: i16) -> CreateTopic {
    CreateTopic {
        name: name.into(),
        partitions: 12,
        replication_factor,
        assignments: Vec::new(),
        configs: Vec::new(),
    }
}

#[test]
fn a_cordoned_broker_keeps_what_it_has_and_gets_nothing_new() {
    let mut world = World::new(3);
    world.create(spread("before", 2)).unwrap();
    assert_eq!(cordon(&mut world, 2, "*"), Ok(()));
    assert!(world.image.is_cordoned(b(2)) && !world.image.is_cordoned(b(1)));
    world.create(spread("after", 2)).unwrap();
    let has = |world: &World, topic: &str, from: usize| {
        let partitions = &world.image.topic(topic).unwrap().partitions;
        partitions.iter().skip(from).any(|p| p.is_replica(b(2)))
    };
    assert!(has(&world, "before", 0) && !has(&world, "after", 0));
    let topics = vec![GrowTopic { name: "before".into(), count: 24, assignments: None }];
    let grow = CreatePartitionsRequest { topics, validate_only: false };
    world.ask(ControllerRequest::CreatePartitions(grow));
    assert_eq!(world.image.topic("before").unwrap().partitions.len(), 24);
    assert!(!has(&world, "before", 12), "new partitions avoid it, too");
    assert_eq!(world.create(spread("wide", 3)), Err(ErrorCode::InvalidReplicationFactor));
    // Lifted, it takes part again.
    assert_eq!(cordon(&mut world, 2, ""), Ok(()));
    world.create(spread("wide", 3)).unwrap();
}

#[test]
fn all_cordoned_is_said_as_kafka_says_it() {
    let mut world = World::new(1);
    assert_eq!(cordon(&mut world, 1, "*"), Ok(()));
    let topics = vec![spread("t", 1)];
    let request = CreateTopicsRequest { topics, validate_only: false };
    let ControllerResponse::CreateTopics(results) =
        world.ask(ControllerRequest::CreateTopics(request))
    else {
        panic!("no answer");
    };
    let error = results[0].result.clone().unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidReplicationFactor);
    assert!(error.message.contains("or have all their log directories cordoned"), "{error}");
}

#[test]
fn a_cordon_names_directories_of_one_broker() {
    let mut world = World::new(1);
    let mut request = world.registration(2);
    request.log_dir_paths = vec!["/data/a".into(), "/data/b".into()];
    world.register(request.clone()).unwrap();
    assert_eq!(cordon(&mut world, 2, "/data/a"), Ok(()));
    assert!(!world.image.is_cordoned(b(2)), "one directory is left");
    assert_eq!(cordon(&mut world, 2, "/data/a,/data/b"), Ok(()));
    assert!(world.image.is_cordoned(b(2)));
    assert_eq!(cordon(&mut world, 2, "/data/c"), Err(ErrorCode::InvalidConfig));
    assert_eq!(cordon(&mut world, 2, "*,/data/a"), Err(ErrorCode::InvalidConfig));
    let all = vec![set("cordoned.log.dirs", "*")];
    let refused = world.alter_config(ConfigResource::BrokerDefault, all);
    assert_eq!(refused, Err(ErrorCode::InvalidRequest), "every broker has its own directories");
    // What the broker's file says holds until somebody says otherwise.
    let mut fixed = world.registration(3);
    fixed.cordoned_log_dirs = "*".into();
    world.register(fixed).unwrap();
    assert!(world.image.is_cordoned(b(3)));
    assert_eq!(cordon(&mut world, 3, ""), Ok(()));
    assert!(!world.image.is_cordoned(b(3)));
}

#[test]
fn the_minimum_of_in_sync_replicas_is_not_set_for_one_broker() {
    let mut world = World::new(1);
    let one = ConfigResource::Broker(b(1));
    let minimum = || vec![set("min.insync.replicas", "1")];
    assert_eq!(world.alter_config(one.clone(), minimum()), Err(ErrorCode::InvalidConfig));
    assert_eq!(world.alter_config(ConfigResource::BrokerDefault, minimum()), Ok(()));
    // What an older version stored neither counts nor is in the way.
    let (name, value) = ("min.insync.replicas".into(), Some("7".into()));
    let stored = ConfigRecord { resource: one.clone(), name, value };
    world.commit(&[MetadataRecord::Config(stored)]);
    assert_eq!(world.alter_config(one.clone(), vec![set("log.retention.ms", "5")]), Ok(()));
    let delete = vec![op("min.insync.replicas", ConfigOpKind::Delete, None)];
    assert_eq!(world.alter_config(one, delete), Ok(()));
}
