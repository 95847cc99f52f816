//! Tests of the registry and of resolution.

use super::*;
use crate::image::ConfigMap;

fn map(entries: &[(&str, &str)]) -> ConfigMap {
    Arc::new(entries.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect())
}

fn statics(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

#[test]
fn the_registry_is_sorted_complete_and_its_defaults_are_valid() {
    let configs = topic_configs();
    assert_eq!(configs.len(), 37, "Kafka 4.4 has 37 public topic configs");
    assert!(configs.windows(2).all(|pair| pair[0].name < pair[1].name));
    for def in configs {
        assert_eq!(validate_value(def.name, def.kind, def.valid, def.default), Ok(()));
        assert!(def.doc.ends_with('.'), "{}", def.name);
        assert_eq!(topic_config(def.name), Some(def));
    }
    assert_eq!(topic_config("nonsense"), None);
}

#[test]
fn every_layer_wins_over_those_below() {
    let fixed = statics(&[("log.retention.hours", "2"), ("log.retention.minutes", "3")]);
    let (broker, all) = (map(&[("log.retention.ms", "7")]), map(&[("log.retention.ms", "8")]));
    let topic = map(&[("retention.ms", "9")]);
    let def = topic_config("retention.ms").unwrap();
    let mut layers = ConfigLayers {
        topic: Some(&topic),
        broker: Some(&broker),
        broker_default: Some(&all),
        static_config: &fixed,
        file_min_isr: None,
    };
    let resolved = resolve(def, &layers);
    assert_eq!((resolved.value.as_str(), resolved.source), ("9", ConfigSource::Topic));
    let sources: Vec<(&str, &str, i8)> = resolved
        .synonyms
        .iter()
        .map(|s| (s.name.as_str(), s.value.as_str(), s.source.code()))
        .collect();
    assert_eq!(
        sources,
        [
            ("retention.ms", "9", 1),
            ("log.retention.ms", "7", 2),
            ("log.retention.ms", "8", 3),
            ("log.retention.minutes", "180000", 4),
            ("log.retention.hours", "7200000", 4),
            ("log.retention.ms", "604800000", 5),
        ]
    );
    layers.topic = None;
    assert_eq!(resolve(def, &layers).value, "7");
    layers.broker = None;
    assert_eq!(resolve(def, &layers).value, "8");
    layers.broker_default = None;
    assert_eq!(resolve(def, &layers).value, "180000");
    let nothing = statics(&[]);
    layers.static_config = &nothing;
    assert_eq!(resolve(def, &layers).source, ConfigSource::Default);
}

#[test]
fn no_limit_in_hours_stays_no_limit() {
    let fixed = statics(&[("log.retention.hours", "-1")]);
    let layers = ConfigLayers {
        topic: None,
        broker: None,
        broker_default: None,
        static_config: &fixed,
        file_min_isr: None,
    };
    assert_eq!(TopicSettings::resolve(&layers).retention_ms, -1);
}

#[test]
fn settings_are_typed_and_an_invalid_value_counts_as_not_set() {
    let topic = map(&[
        ("cleanup.policy", "compact, delete"),
        ("compression.type", "zstd"),
        ("min.insync.replicas", "2"),
        ("message.timestamp.type", "LogAppendTime"),
        ("segment.bytes", "many"),
        ("unclean.leader.election.enable", "TRUE"),
    ]);
    let fixed = statics(&[]);
    let layers = ConfigLayers {
        topic: Some(&topic),
        broker: None,
        broker_default: None,
        static_config: &fixed,
        file_min_isr: None,
    };
    let settings = TopicSettings::resolve(&layers);
    assert_eq!(settings.cleanup_policy, CleanupPolicy { delete: true, compact: true });
    assert_eq!(settings.compression_type, CompressionType::Zstd);
    assert_eq!(settings.min_insync_replicas, 2);
    assert_eq!(settings.message_timestamp_type, TimestampType::LogAppendTime);
    assert_eq!(settings.segment_bytes, 1 << 30);
    assert!(settings.unclean_leader_election_enable);
}

#[test]
fn values_are_checked_by_type_and_range() {
    let check = |name: &str, value: &str| {
        let configs = map(&[(name, value)]);
        validate_topic_configs(&configs)
    };
    for (name, value) in [
        ("retention.ms", "-1"),
        ("retention.bytes", "-1"),
        ("cleanup.policy", ""),
        ("cleanup.policy", "compact"),
        ("compression.gzip.level", "-1"),
        ("leader.replication.throttled.replicas", "*"),
        ("leader.replication.throttled.replicas", "0:1,2:3"),
        ("min.cleanable.dirty.ratio", "0.25"),
        ("segment.bytes", "1048576"),
    ] {
        assert_eq!(check(name, value), Ok(()), "{name}={value}");
    }
    for (name, value) in [
        ("retention.ms", "-2"),
        ("retention.ms", "soon"),
        ("cleanup.policy", "compact,erase"),
        ("cleanup.policy", "compact,compact"),
        ("compression.gzip.level", "0"),
        ("compression.type", "brotli"),
        ("leader.replication.throttled.replicas", "0-1"),
        ("max.message.bytes", "4294967296"),
        ("min.cleanable.dirty.ratio", "1.5"),
        ("min.cleanable.dirty.ratio", "NaN"),
        ("min.insync.replicas", "0"),
        ("preallocate", "yes"),
        ("remote.storage.enable", "true"),
        ("segment.bytes", "1048575"),
        ("nonsense", "1"),
    ] {
        assert!(check(name, value).is_err(), "{name}={value}");
    }
    let conflict = map(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")]);
    assert!(validate_topic_configs(&conflict).unwrap_err().contains("min.compaction.lag.ms (10)"));
}

#[test]
fn only_the_first_broker_key_is_dynamic() {
    assert!(dynamic_broker_config("log.retention.ms").is_some());
    assert!(dynamic_broker_config("log.retention.hours").is_none());
    assert!(dynamic_broker_config("broker.id").is_none());
    assert_eq!(topic_config_of_broker_key("log.roll.hours").unwrap().name, "segment.ms");
}

#[test]
fn broker_keys_say_what_may_change_at_run_time() {
    let dynamic = |name: &str| broker_key(name).unwrap().is_dynamic();
    for name in ["log.retention.ms", "min.insync.replicas", "message.max.bytes", "max.connections"]
    {
        assert!(dynamic(name), "{name}");
    }
    for name in ["log.retention.hours", "num.partitions", "log.dirs", "socket.send.buffer.bytes"] {
        assert!(!dynamic(name), "{name}");
    }
    assert_eq!(broker_key("num.partition"), None);
    assert_eq!(nearest_broker_key("num.partition"), Some("num.partitions"));
    // Nothing can be altered with which no broker would start.
    for def in dynamic_broker_configs() {
        let refused = broker_key(def.name).is_some_and(|k| k.support == Support::DefaultOnly);
        assert!(!refused, "{}", def.name);
    }
}

#[test]
fn broker_keys_check_values_as_the_broker_and_the_controller_do() {
    let check = |name: &str, value: &str| broker_key(name).unwrap().validate(value);
    assert_eq!(check("log.retention.ms", "-1"), Ok(()));
    assert_eq!(check("log.cleanup.policy", "compact,delete"), Ok(()));
    for (name, value) in [
        ("log.retention.ms", "soon"),
        ("log.retention.ms", "-2"),
        ("log.cleanup.policy", "shred"),
        ("log.cleaner.min.cleanable.ratio", "2"),
        ("num.partitions", "0"),
    ] {
        assert!(matches!(check(name, value), Err(KeyError::Invalid(_))), "{name}={value}");
    }
    let unsupported = check("sasl.kerberos.kinit.cmd", "/bin/x");
    assert!(matches!(unsupported, Err(KeyError::Unsupported { .. })));
}

/// What `AbstractKafkaConfig` of Apache Kafka 4.4.0 defines, without its internal keys.
const KAFKA_KEYS: &str = include_str!("kafka_keys.txt");

#[test]
fn every_broker_key_of_kafka_is_known_once() {
    let unknown: Vec<&str> = KAFKA_KEYS.lines().filter(|name| broker_key(name).is_none()).collect();
    assert_eq!(unknown, [""; 0]);
    let mut names: Vec<&str> = broker_keys().map(|key| key.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    for key in broker_keys() {
        assert!(key.default.is_none_or(|value| key.kind.check(value).is_ok()), "{}", key.name);
    }
}

#[test]
fn keys_of_older_kafkas_and_of_others_are_told_apart_from_misspellings() {
    assert_eq!(gone_broker_key("zookeeper.connect"), Some("4.0"));
    assert_eq!(gone_broker_key("log.message.format.version"), Some("4.0"));
    assert_eq!(gone_broker_key("advertised.host.name"), Some("3.0"));
    assert_eq!(gone_broker_key("log.dirs"), None);
    for key in broker_keys() {
        assert_eq!(gone_broker_key(key.name), None, "{}", key.name);
    }
    assert!(is_foreign_key("confluent.support.metrics.enable"));
    assert!(is_foreign_key("cruise.control.metrics.topic"));
    for own in ["log.dirz", "lgo.dirs", "num.partition", "barnabas.nonsense", "log.nonsense"] {
        assert!(!is_foreign_key(own), "{own}");
    }
}

#[test]
fn an_internal_key_is_valid_but_not_described() {
    let def = topic_config("internal.segment.bytes").unwrap();
    assert!(topic_configs().iter().all(|described| described.name != def.name));
    let topic = map(&[("internal.segment.bytes", "500"), ("segment.bytes", "2000000")]);
    assert_eq!(validate_topic_configs(&topic), Ok(()));
    let none = statics(&[]);
    let layers = ConfigLayers { topic: Some(&topic), ..ConfigLayers::of_file(&none) };
    assert_eq!(TopicSettings::resolve(&layers).segment_bytes, 500);
    assert!(is_internal_broker_key("server.max.startup.time.ms"));
    assert!(!is_internal_broker_key("log.dirs"));
}

#[test]
fn the_minimum_of_in_sync_replicas_is_the_clusters_not_one_brokers() {
    let fixed = statics(&[("min.insync.replicas", "3")]);
    let own = map(&[("min.insync.replicas", "4")]);
    let mut layers = ConfigLayers { broker: Some(&own), ..ConfigLayers::of_file(&fixed) };
    assert_eq!(min_insync_replicas(&layers), 3, "stored by an older version");
    layers.file_min_isr = Some(2);
    assert_eq!(min_insync_replicas(&layers), 2, "the controller's file, not this broker's");
    layers.file_min_isr = Some(1);
    let resolved = resolve(topic_config("min.insync.replicas").unwrap(), &layers);
    assert_eq!((resolved.value.as_str(), resolved.source), ("1", ConfigSource::Default));
    let all = map(&[("min.insync.replicas", "5")]);
    layers.broker_default = Some(&all);
    assert_eq!(min_insync_replicas(&layers), 5);
}
