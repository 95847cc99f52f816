//! The `config` map: what is wrong with it, which keys a running broker takes, and the hash that
//! stands for everything else.

use std::collections::BTreeMap;
use std::fmt;

use crd::{KafkaCluster, is_reserved_broker_key};
use metadata::config::{broker_key, nearest_broker_key};

use crate::listeners;
use crate::names::CLUSTER_ID_ANNOTATION;

/// Most characters of a value: a ConfigMap has a limit too.
const VALUE_CHARS_MAX: usize = 4_096;

/// One key that brokers would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    pub key: String,
    pub problem: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spec.config.{}: {}", self.key, self.problem)
    }
}

/// Every key that brokers would refuse, with the reason. With any of them nothing may be applied:
/// the brokers would not start again.
pub fn check_config(cluster: &KafkaCluster) -> Vec<ConfigProblem> {
    let check = |key: &str, value: &crd::ConfigValue| -> Result<(), String> {
        if is_reserved_broker_key(key) {
            return Err("follows from the rest of the spec and cannot be set".into());
        }
        let Some(known) = broker_key(key) else {
            let hint = nearest_broker_key(key).map(|near| format!("; did you mean {near}?"));
            return Err(format!("is not a key of Kafka{}", hint.unwrap_or_default()));
        };
        let value = value.scalar().ok_or("is not a string, number or boolean")?;
        if value.chars().count() > VALUE_CHARS_MAX {
            return Err(format!("is longer than {VALUE_CHARS_MAX} characters"));
        }
        known.validate(&value).map_err(|error| error.to_string())
    };
    let problem = |(key, value): (&String, &crd::ConfigValue)| {
        let problem = check(key, value).err()?;
        Some(ConfigProblem { key: key.clone(), problem })
    };
    cluster.spec.config.iter().filter_map(problem).collect()
}

fn is_dynamic(key: &str) -> bool {
    broker_key(key).is_some_and(|known| known.is_dynamic())
}

/// Keys that running brokers take: the operator sets them for all brokers by
/// `IncrementalAlterConfigs`, and resets those that are set there but not in this map. They are in
/// no file, or a removed one would live on until the next restart.
pub fn dynamic_config(cluster: &KafkaCluster) -> BTreeMap<String, String> {
    config_where(cluster, is_dynamic)
}

/// Keys that brokers read from their file, at the start only.
pub fn static_config(cluster: &KafkaCluster) -> BTreeMap<String, String> {
    config_where(cluster, |key| !is_dynamic(key))
}

fn config_where(cluster: &KafkaCluster, wanted: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
    let config = cluster.spec.config.iter();
    config
        .filter(|(key, _)| wanted(key) && !is_reserved_broker_key(key))
        .map(|(key, value)| (key.clone(), value.to_string()))
        .collect()
}

/// Stands for all configuration that brokers read at the start and act upon. Voters, addresses,
/// dynamic keys and keys without effect are no part of it.
pub fn config_hash(cluster: &KafkaCluster) -> String {
    let own = listeners::binding(cluster);
    let effective = static_config(cluster)
        .into_iter()
        .filter(|(key, _)| broker_key(key).is_none_or(|known| known.has_effect()));
    let mut hash = Fnv::new();
    for (key, value) in own.into_iter().chain(effective) {
        hash.update(&key);
        hash.update(&value);
    }
    format!("{:016x}", hash.0)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The cluster's id in Kafka, 22 characters as Kafka writes ids: from the annotation, for volumes
/// that outlived their cluster know its id; else from the resource's UID.
pub fn cluster_id(cluster: &KafkaCluster) -> String {
    let annotations = cluster.metadata.annotations.as_ref();
    let given = annotations.and_then(|all| all.get(CLUSTER_ID_ANNOTATION));
    if let Some(id) = given.filter(|id| is_cluster_id(id)) {
        return id.clone();
    }
    let uid = cluster.metadata.uid.as_deref().unwrap_or_default();
    let digits = uid.chars().filter_map(|c| c.to_digit(16)).chain(std::iter::repeat(0)).take(32);
    let mut bits = digits.fold(0, |value, nibble| value << 4 | u128::from(nibble));
    // No id begins with `-`: command lines would take it for an option.
    if bits >> 122 == 62 {
        bits ^= 1 << 127;
    }
    // 22 characters hold 132 bits: the last one has two bits and four zero bits.
    let digit = |i: u32| if i < 21 { bits >> (122 - 6 * i) } else { bits << 4 };
    (0..22).map(|i| char::from(ALPHABET[(digit(i) & 63) as usize])).collect()
}

fn is_cluster_id(id: &str) -> bool {
    id.len() == 22 && id.bytes().all(|byte| ALPHABET.contains(&byte))
}

/// FNV-1a: the hash has to be the same in every build of the operator, and only tells changes.
struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    /// The zero byte keeps `ab` + `c` apart from `a` + `bc`.
    fn update(&mut self, text: &str) {
        for byte in text.bytes().chain([0]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
