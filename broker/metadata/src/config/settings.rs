//! A topic's effective configs as typed values, for the code that acts on them.

use std::str::FromStr;

use super::resolve::effective;
use super::{ConfigLayers, TopicConfigDef, list_items, topic_config, validate_value};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CleanupPolicy {
    pub delete: bool,
    pub compact: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CompressionType {
    Producer,
    Uncompressed,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// Effective values of the configs that the broker acts on.
#[derive(Clone, PartialEq, Debug)]
pub struct TopicSettings {
    pub cleanup_policy: CleanupPolicy,
    pub compression_type: CompressionType,
    pub compression_gzip_level: i32,
    pub compression_lz4_level: i32,
    pub compression_zstd_level: i32,
    pub delete_retention_ms: i64,
    pub file_delete_delay_ms: i64,
    pub flush_messages: i64,
    pub flush_ms: i64,
    pub index_interval_bytes: i32,
    pub max_compaction_lag_ms: i64,
    pub max_message_bytes: i32,
    pub max_decompressed_message_bytes: i32,
    pub message_timestamp_after_max_ms: i64,
    pub message_timestamp_before_max_ms: i64,
    pub message_timestamp_type: TimestampType,
    pub min_cleanable_dirty_ratio: f64,
    pub min_compaction_lag_ms: i64,
    pub min_insync_replicas: i32,
    pub preallocate: bool,
    pub retention_bytes: i64,
    pub retention_ms: i64,
    pub segment_bytes: i32,
    pub segment_index_bytes: i32,
    pub segment_jitter_ms: i64,
    pub segment_ms: i64,
    pub unclean_leader_election_enable: bool,
}

impl TopicSettings {
    /// Values were validated when they were set; one that is invalid all the same (from a newer
    /// version, or in a configuration file that was not checked) counts as not set.
    pub fn resolve(layers: &ConfigLayers<'_>) -> TopicSettings {
        let policy = text("cleanup.policy", layers);
        let policies = list_items(&policy);
        TopicSettings {
            cleanup_policy: CleanupPolicy {
                delete: policies.contains(&"delete"),
                compact: policies.contains(&"compact"),
            },
            compression_type: compression_type(&text("compression.type", layers)),
            compression_gzip_level: parsed("compression.gzip.level", layers),
            compression_lz4_level: parsed("compression.lz4.level", layers),
            compression_zstd_level: parsed("compression.zstd.level", layers),
            delete_retention_ms: parsed("delete.retention.ms", layers),
            file_delete_delay_ms: parsed("file.delete.delay.ms", layers),
            flush_messages: parsed("flush.messages", layers),
            flush_ms: parsed("flush.ms", layers),
            index_interval_bytes: parsed("index.interval.bytes", layers),
            max_compaction_lag_ms: parsed("max.compaction.lag.ms", layers),
            max_message_bytes: parsed("max.message.bytes", layers),
            max_decompressed_message_bytes: parsed("max.decompressed.message.bytes", layers),
            message_timestamp_after_max_ms: parsed("message.timestamp.after.max.ms", layers),
            message_timestamp_before_max_ms: parsed("message.timestamp.before.max.ms", layers),
            message_timestamp_type: timestamp_type(&text("message.timestamp.type", layers)),
            min_cleanable_dirty_ratio: parsed("min.cleanable.dirty.ratio", layers),
            min_compaction_lag_ms: parsed("min.compaction.lag.ms", layers),
            min_insync_replicas: min_insync_replicas(layers),
            preallocate: flag("preallocate", layers),
            retention_bytes: parsed("retention.bytes", layers),
            retention_ms: parsed("retention.ms", layers),
            segment_bytes: segment_bytes(layers),
            segment_index_bytes: parsed("segment.index.bytes", layers),
            segment_jitter_ms: parsed("segment.jitter.ms", layers),
            segment_ms: parsed("segment.ms", layers),
            unclean_leader_election_enable: unclean_leader_election(layers),
        }
    }
}

/// The internal key counts where it is set.
fn segment_bytes(layers: &ConfigLayers<'_>) -> i32 {
    let is_set = |name: &str| layers.topic.is_some_and(|map| map.contains_key(name));
    let internal = "internal.segment.bytes";
    parsed(if is_set(internal) { internal } else { "segment.bytes" }, layers)
}

pub(crate) fn min_insync_replicas(layers: &ConfigLayers<'_>) -> i32 {
    parsed("min.insync.replicas", layers)
}

pub(crate) fn unclean_leader_election(layers: &ConfigLayers<'_>) -> bool {
    flag("unclean.leader.election.enable", layers)
}

fn def(name: &str) -> &'static TopicConfigDef {
    topic_config(name).expect("invariant: settings read registered configs only")
}

fn text(name: &str, layers: &ConfigLayers<'_>) -> String {
    let def = def(name);
    let value = effective(def, layers);
    match validate_value(name, def.kind, def.valid, &value) {
        Ok(()) => value.trim().to_owned(),
        Err(_) => def.default.to_owned(),
    }
}

fn parsed<T: FromStr>(name: &str, layers: &ConfigLayers<'_>) -> T {
    let text = text(name, layers);
    text.parse().ok().expect("invariant: a validated value and a default parse as their type")
}

fn flag(name: &str, layers: &ConfigLayers<'_>) -> bool {
    text(name, layers).eq_ignore_ascii_case("true")
}

fn compression_type(value: &str) -> CompressionType {
    match value {
        "uncompressed" => CompressionType::Uncompressed,
        "gzip" => CompressionType::Gzip,
        "snappy" => CompressionType::Snappy,
        "lz4" => CompressionType::Lz4,
        "zstd" => CompressionType::Zstd,
        _ => CompressionType::Producer,
    }
}

fn timestamp_type(value: &str) -> TimestampType {
    match value {
        "LogAppendTime" => TimestampType::LogAppendTime,
        _ => TimestampType::CreateTime,
    }
}
