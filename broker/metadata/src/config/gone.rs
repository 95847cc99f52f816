//! Keys that Kafka's brokers had once. A file that still sets one is an old file, not a
//! misspelling: the key is ignored, as Kafka ignores it, and a warning says since when it means
//! nothing.

/// Gone since the release. Everything of ZooKeeper's is, whether or not it is named here.
const GONE: [(&str, &[&str]); 3] = [
    (
        "3.0",
        &[
            "advertised.host.name",
            "advertised.port",
            "host.name",
            "port",
            "quota.consumer.default",
            "quota.producer.default",
        ],
    ),
    (
        "4.0",
        &[
            "auto.include.jmx.reporter",
            "broker.id.generation.enable",
            "control.plane.listener.name",
            "controlled.shutdown.max.retries",
            "controlled.shutdown.retry.backoff.ms",
            "delegation.token.master.key",
            "eligible.leader.replicas.enable",
            "group.coordinator.new.enable",
            "inter.broker.protocol.version",
            "leader.imbalance.per.broker.percentage",
            "log.message.downconversion.enable",
            "log.message.format.version",
            "log.message.timestamp.difference.max.ms",
            "offsets.commit.required.acks",
            "password.encoder.cipher.algorithm",
            "password.encoder.iterations",
            "password.encoder.key.length",
            "password.encoder.keyfactory.algorithm",
            "password.encoder.old.secret",
            "password.encoder.secret",
            "reserved.broker.max.id",
        ],
    ),
    ("4.1", &["group.share.enable", "group.share.max.groups"]),
];

/// The release of Apache Kafka since which its brokers have no such key; `None` for a key that
/// they have, or never had.
pub fn gone_broker_key(name: &str) -> Option<&'static str> {
    if name.starts_with("zookeeper.") {
        return Some("4.0");
    }
    GONE.iter().find(|(_, names)| names.contains(&name)).map(|(since, _)| *since)
}
