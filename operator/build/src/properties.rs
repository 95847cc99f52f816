//! The brokers' configuration files: one that all share, and one per broker that wins over it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use crate::config::{cluster_id, static_config};
use crate::input::ClusterInput;
use crate::listeners::binding;
use crate::metadata_of::object_meta;
use crate::place;
use crate::text::text_of;
use crd::CONTROLLER_PORT;

/// Key of the common file.
pub(crate) const COMMON_FILE: &str = "server.properties";

/// What all brokers share.
pub fn common_properties(input: &ClusterInput<'_>) -> String {
    let names = input.names();
    let voters: Vec<String> = input
        .voters
        .iter()
        .map(|id| format!("{id}@{}:{CONTROLLER_PORT}", names.broker_host(*id)))
        .collect();
    let mut all = binding(input.cluster);
    let mut push = |key: &str, value: String| all.push((key.to_owned(), value));
    push("barnabas.cluster.id", cluster_id(input.cluster));
    push("barnabas.quorum.begin", input.begin.to_string());
    push("controller.quorum.voters", voters.join(","));
    all.extend(static_config(input.cluster));
    text_of(all.iter().map(|(key, value)| (key.as_str(), value.clone())))
}

/// What is one broker's own, as far as it is known before its pod runs.
pub fn broker_properties(input: &ClusterInput<'_>, broker: i32) -> String {
    place::broker_file(input.cluster, broker, input.facts)
}

pub(crate) fn config_map(input: &ClusterInput<'_>) -> ConfigMap {
    let names = input.names();
    let files = input.ordinals().map(|id| (names.broker_file(id), broker_properties(input, id)));
    let common = (COMMON_FILE.to_owned(), common_properties(input));
    let data: BTreeMap<String, String> = files.chain([common]).collect();
    ConfigMap {
        metadata: object_meta(input, names.config()),
        data: Some(data),
        ..ConfigMap::default()
    }
}
