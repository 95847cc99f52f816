//! Tests of altering configs.

use super::*;

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
