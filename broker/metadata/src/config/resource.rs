//! Configs of groups and of client metrics subscriptions: names, types and Kafka's defaults.
//! Nothing acts on them yet, so that they can be read only.

use super::ConfigKind::{Boolean, Int, List, String};
use super::{ConfigKind, broker_key_doc};

/// One config of a group or of a subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResourceConfigDef {
    pub name: &'static str,
    pub kind: ConfigKind,
    pub default: Option<&'static str>,
    doc: &'static str,
}

impl ResourceConfigDef {
    /// What the config does.
    pub fn doc(&self) -> &'static str {
        match self.doc.is_empty() {
            true => broker_key_doc(&format!("group.{}", self.name)),
            false => self.doc,
        }
    }
}

const fn def(
    name: &'static str,
    kind: ConfigKind,
    default: &'static str,
    doc: &'static str,
) -> ResourceConfigDef {
    ResourceConfigDef { name, kind, default: Some(default), doc }
}

/// A config whose default is the broker's key `group.<name>`.
const fn of_broker(
    name: &'static str,
    kind: ConfigKind,
    default: &'static str,
) -> ResourceConfigDef {
    def(name, kind, default, "")
}

/// Configs of groups, sorted by name.
pub const GROUP_CONFIGS: &[ResourceConfigDef] = &[
    of_broker("consumer.assignment.interval.ms", Int, "1000"),
    of_broker("consumer.heartbeat.interval.ms", Int, "5000"),
    of_broker("consumer.session.timeout.ms", Int, "45000"),
    def(
        "errors.deadletterqueue.copy.record.enable",
        Boolean,
        "false",
        "Whether a record that a share group gives up is copied whole.",
    ),
    def(
        "errors.deadletterqueue.topic.name",
        String,
        "",
        "Topic for the records that a share group gives up; empty for none.",
    ),
    of_broker("share.assignment.interval.ms", Int, "1000"),
    def(
        "share.auto.offset.reset",
        String,
        "latest",
        "Where a share group without a position begins: earliest, latest, or by_duration.",
    ),
    of_broker("share.delivery.count.limit", Int, "5"),
    of_broker("share.heartbeat.interval.ms", Int, "5000"),
    def(
        "share.isolation.level",
        String,
        "read_uncommitted",
        "Whether a share group reads the records of open and aborted transactions.",
    ),
    of_broker("share.partition.max.record.locks", Int, "2000"),
    of_broker("share.record.lock.duration.ms", Int, "30000"),
    def(
        "share.renew.acknowledge.enable",
        Boolean,
        "true",
        "Whether consumers of a share group may renew the lock of a record.",
    ),
    of_broker("share.session.timeout.ms", Int, "45000"),
    of_broker("streams.assignment.interval.ms", Int, "1000"),
    ResourceConfigDef {
        name: "streams.assignor.name",
        kind: String,
        default: None,
        doc: "Assignor of a streams group.",
    },
    of_broker("streams.heartbeat.interval.ms", Int, "5000"),
    of_broker("streams.initial.rebalance.delay.ms", Int, "3000"),
    of_broker("streams.num.standby.replicas", Int, "0"),
    of_broker("streams.rack.aware.assignment.tags", List, ""),
    of_broker("streams.session.timeout.ms", Int, "45000"),
];

/// Configs of client metrics subscriptions (KIP-714), sorted by name.
pub const CLIENT_METRICS_CONFIGS: &[ResourceConfigDef] = &[
    def("interval.ms", Int, "300000", "Time between a client's reports."),
    def("match", List, "", "Clients that the subscription is for; empty for all of them."),
    def("metrics", List, "", "Beginnings of the names of the metrics that clients report."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::broker_key;

    #[test]
    fn groups_inherit_from_the_brokers_keys() {
        for configs in [GROUP_CONFIGS, CLIENT_METRICS_CONFIGS] {
            assert!(configs.windows(2).all(|pair| pair[0].name < pair[1].name));
            assert!(configs.iter().all(|def| def.doc().ends_with('.')));
        }
        for def in GROUP_CONFIGS.iter().filter(|def| def.doc.is_empty()) {
            let key = broker_key(&format!("group.{}", def.name)).map(|key| key.default);
            assert_eq!(key, Some(def.default), "{}", def.name);
        }
    }
}
