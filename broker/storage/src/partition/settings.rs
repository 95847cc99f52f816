//! From a topic's effective configs to the settings of its logs and replica cores.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::BrokerId;
use commitlog::{LogConfig, TargetCompression, TimestampType};
use metadata::Image;
use metadata::config::{self, CompressionType, ConfigLayers, TopicSettings};
use record::Compression;
use replica::Settings;

use ::config::Config;
use process::random;

const VERIFICATION: &str = "transaction.partition.verification.enable";

/// What brokers are told about producers, as opposed to topics.
struct Producers {
    expiration_ms: i64,
    transaction_verification: bool,
}

/// Settings of the partitions of one topic.
#[derive(Clone, Debug)]
pub(super) struct PartitionSettings {
    pub(super) log: Arc<LogConfig>,
    pub(super) replica: Settings,
}

/// Resolves a topic's settings as this broker sees them.
pub(super) fn of_topic(config: &Config, image: &Image, topic: &str) -> PartitionSettings {
    let layers = ConfigLayers::of_topic(image, topic, Some(config.broker_id), &config.explicit);
    let expiration = image.dynamic_broker_value(config.broker_id, "producer.id.expiration.ms");
    let expiration = expiration.and_then(|value| value.trim().parse().ok());
    let verifies = image.dynamic_broker_value(config.broker_id, VERIFICATION);
    let verifies = verifies.and_then(|value| value.trim().to_ascii_lowercase().parse().ok());
    let producers = Producers {
        expiration_ms: expiration.unwrap_or(config.log.producer_id_expiration_ms),
        transaction_verification: verifies.unwrap_or(config.log.transaction_verification),
    };
    from_layers(config, &layers, producers)
}

/// The settings of a log whose topic is not known yet: recovery runs before the first image.
pub(super) fn before_metadata(config: &Config) -> PartitionSettings {
    let image = Image::new("");
    let explicit: &BTreeMap<String, String> = &config.explicit;
    let broker: Option<BrokerId> = Some(config.broker_id);
    let layers = ConfigLayers::of_broker(&image, broker, explicit);
    let producers = Producers {
        expiration_ms: config.log.producer_id_expiration_ms,
        transaction_verification: config.log.transaction_verification,
    };
    from_layers(config, &layers, producers)
}

fn from_layers(
    config: &Config,
    layers: &ConfigLayers<'_>,
    producers: Producers,
) -> PartitionSettings {
    let topic = TopicSettings::resolve(layers);
    let replica = Settings {
        min_insync_replicas: usize::try_from(topic.min_insync_replicas).unwrap_or(1),
        lag_time_max_ms: config.replica.lag_time_ms_max,
        tells_commits: config.replica.rack_aware_reads,
    };
    let log = LogConfig {
        segment_bytes: topic.segment_bytes.unsigned_abs(),
        segment_ms: topic.segment_ms,
        segment_jitter_ms: jitter(topic.segment_jitter_ms),
        segment_index_bytes: topic.segment_index_bytes.unsigned_abs(),
        index_interval_bytes: topic.index_interval_bytes.unsigned_abs(),
        retention_ms: topic.retention_ms,
        retention_bytes: topic.retention_bytes,
        file_delete_delay_ms: topic.file_delete_delay_ms,
        max_decompressed_message_bytes: topic.max_decompressed_message_bytes,
        max_message_bytes: topic.max_message_bytes.unsigned_abs(),
        delete_retention_ms: topic.delete_retention_ms,
        min_cleanable_ratio_ppm: (topic.min_cleanable_dirty_ratio * 1e6).round() as u32,
        min_compaction_lag_ms: topic.min_compaction_lag_ms,
        max_compaction_lag_ms: topic.max_compaction_lag_ms,
        delete: topic.cleanup_policy.delete,
        compact: topic.cleanup_policy.compact,
        compression: compression(&topic),
        message_timestamp_type: match topic.message_timestamp_type {
            config::TimestampType::CreateTime => TimestampType::CreateTime,
            config::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
        },
        message_timestamp_before_max_ms: topic.message_timestamp_before_max_ms,
        message_timestamp_after_max_ms: topic.message_timestamp_after_max_ms,
        flush_messages: topic.flush_messages,
        flush_ms: topic.flush_ms,
        producer_id_expiration_ms: producers.expiration_ms,
        transaction_verification: producers.transaction_verification,
    };
    PartitionSettings { log: Arc::new(log), replica }
}

/// A number from 0 to the limit, so that partitions created together do not roll together.
fn jitter(limit_ms: i64) -> i64 {
    if limit_ms <= 0 {
        return 0;
    }
    (random::bits() % (limit_ms as u128 + 1)) as i64
}

fn compression(topic: &TopicSettings) -> TargetCompression {
    match topic.compression_type {
        CompressionType::Producer => TargetCompression::Producer,
        CompressionType::Uncompressed => TargetCompression::Codec(Compression::None, None),
        CompressionType::Gzip => {
            TargetCompression::Codec(Compression::Gzip, Some(topic.compression_gzip_level))
        }
        CompressionType::Snappy => TargetCompression::Codec(Compression::Snappy, None),
        CompressionType::Lz4 => {
            TargetCompression::Codec(Compression::Lz4, Some(topic.compression_lz4_level))
        }
        CompressionType::Zstd => {
            TargetCompression::Codec(Compression::Zstd, Some(topic.compression_zstd_level))
        }
    }
}
