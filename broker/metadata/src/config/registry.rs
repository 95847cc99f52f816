//! Kafka's topic configs, as its release 4.4 has them: names, types, defaults and ranges.

use super::ConfigKind::{Boolean, Double, Int, List, Long, String};
use super::Valid::{Any, AtLeast, Between, DefaultOr, Fraction, ListOf, OneOf, ThrottledReplicas};
use super::{BrokerSynonym, ConfigKind, TopicConfigDef, Valid};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// All topic configs, sorted by name.
pub fn topic_configs() -> &'static [TopicConfigDef] {
    TOPIC_CONFIGS
}

const fn def(
    name: &'static str,
    kind: ConfigKind,
    default: &'static str,
    valid: Valid,
    broker_keys: &'static [BrokerSynonym],
    doc: &'static str,
) -> TopicConfigDef {
    TopicConfigDef { name, kind, default, valid, broker_keys, doc }
}

/// A broker key in the topic config's own unit.
const fn key(name: &'static str) -> BrokerSynonym {
    BrokerSynonym { name, unit: 1 }
}

const fn key_in(unit: i64, name: &'static str) -> BrokerSynonym {
    BrokerSynonym { name, unit }
}

/// Topic configs that Kafka has for tests, its own and those of others: valid where they are set,
/// not described otherwise.
pub fn internal_topic_configs() -> &'static [TopicConfigDef] {
    INTERNAL
}

const INTERNAL: &[TopicConfigDef] = &[def(
    "internal.segment.bytes",
    Int,
    "1073741824",
    AtLeast(1),
    &[],
    "Takes the place of segment.bytes, without its minimum.",
)];

const TOPIC_CONFIGS: &[TopicConfigDef] = &[
    def(
        "cleanup.policy",
        List,
        "delete",
        ListOf(&["compact", "delete"]),
        &[key("log.cleanup.policy")],
        "What happens to old segments: `delete` removes them by age and size, `compact` keeps \
         the newest record of each key; both may be given, and an empty list keeps \
         everything.",
    ),
    def(
        "compression.gzip.level",
        Int,
        "-1",
        DefaultOr(1, 9),
        &[key("compression.gzip.level")],
        "Level used when compression.type is gzip.",
    ),
    def(
        "compression.lz4.level",
        Int,
        "9",
        Between(1, 17),
        &[key("compression.lz4.level")],
        "Level used when compression.type is lz4.",
    ),
    def(
        "compression.type",
        String,
        "producer",
        OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        &[key("compression.type")],
        "Codec of stored batches; `producer` keeps what the producer chose.",
    ),
    def(
        "compression.zstd.level",
        Int,
        "3",
        Between(-131072, 22),
        &[key("compression.zstd.level")],
        "Level used when compression.type is zstd.",
    ),
    def(
        "delete.retention.ms",
        Long,
        "86400000",
        AtLeast(0),
        &[key("log.cleaner.delete.retention.ms")],
        "How long a compacted topic keeps tombstones, so that readers from the start see \
         them.",
    ),
    def(
        "errors.deadletterqueue.group.enable",
        Boolean,
        "false",
        Any,
        &[],
        "Whether share groups may write the records that they give up to this topic; has no effect \
         before there are share groups.",
    ),
    def(
        "file.delete.delay.ms",
        Long,
        "60000",
        AtLeast(0),
        &[key("log.segment.delete.delay.ms")],
        "Time between taking a file out of the log and removing it from disk.",
    ),
    def(
        "flush.messages",
        Long,
        "9223372036854775807",
        AtLeast(1),
        &[key("log.flush.interval.messages")],
        "Records after which the log is forced to disk; replication makes this unnecessary as \
         a rule.",
    ),
    def(
        "flush.ms",
        Long,
        "9223372036854775807",
        AtLeast(0),
        &[key("log.flush.interval.ms"), key("log.flush.scheduler.interval.ms")],
        "Time after which the log is forced to disk; replication makes this unnecessary as a \
         rule.",
    ),
    def(
        "follower.replication.throttled.replicas",
        List,
        "",
        ThrottledReplicas,
        &[],
        "Replicas whose fetching from the leader is throttled: `partition:broker` pairs, or \
         `*` for all.",
    ),
    def(
        "index.interval.bytes",
        Int,
        "4096",
        AtLeast(0),
        &[key("log.index.interval.bytes")],
        "Bytes of records per entry of the offset index.",
    ),
    def(
        "leader.replication.throttled.replicas",
        List,
        "",
        ThrottledReplicas,
        &[],
        "Replicas whose leader's sending is throttled: `partition:broker` pairs, or `*` for \
         all.",
    ),
    def(
        "local.retention.bytes",
        Long,
        "-2",
        AtLeast(-2),
        &[key("log.local.retention.bytes")],
        "Bytes kept on local disk when tiered storage is on; -2 means retention.bytes.",
    ),
    def(
        "local.retention.ms",
        Long,
        "-2",
        AtLeast(-2),
        &[key("log.local.retention.ms")],
        "Time that segments stay on local disk when tiered storage is on; -2 means \
         retention.ms.",
    ),
    def(
        "max.compaction.lag.ms",
        Long,
        "9223372036854775807",
        AtLeast(1),
        &[key("log.cleaner.max.compaction.lag.ms")],
        "Longest time that a record of a compacted topic may stay uncompacted.",
    ),
    def(
        "max.decompressed.message.bytes",
        Int,
        "2147483639",
        Between(1, 2_147_483_639),
        &[key("max.decompressed.message.bytes")],
        "Largest record in a compressed batch, decompressed. A batch as a whole may expand to 256 \
         MiB at most, whatever this says.",
    ),
    def(
        "max.message.bytes",
        Int,
        "1048588",
        AtLeast(0),
        &[key("message.max.bytes")],
        "Largest record batch that the topic accepts, after compression.",
    ),
    def(
        "message.timestamp.after.max.ms",
        Long,
        "3600000",
        AtLeast(0),
        &[key("log.message.timestamp.after.max.ms")],
        "How far a record's timestamp may lie in the broker's future; later ones are refused.",
    ),
    def(
        "message.timestamp.before.max.ms",
        Long,
        "9223372036854775807",
        AtLeast(0),
        &[key("log.message.timestamp.before.max.ms")],
        "How far a record's timestamp may lie in the broker's past; earlier ones are refused.",
    ),
    def(
        "message.timestamp.type",
        String,
        "CreateTime",
        OneOf(&["CreateTime", "LogAppendTime"]),
        &[key("log.message.timestamp.type")],
        "Whether records keep the producer's timestamp or get the time of their append.",
    ),
    def(
        "min.cleanable.dirty.ratio",
        Double,
        "0.5",
        Fraction,
        &[key("log.cleaner.min.cleanable.ratio")],
        "Share of not yet compacted bytes from which the cleaner takes up a log.",
    ),
    def(
        "min.compaction.lag.ms",
        Long,
        "0",
        AtLeast(0),
        &[key("log.cleaner.min.compaction.lag.ms")],
        "Time that a record stays uncompacted at least.",
    ),
    def(
        "min.insync.replicas",
        Int,
        "1",
        AtLeast(1),
        &[key("min.insync.replicas")],
        "In-sync replicas that a write with acks=all needs; also the bar for eligible leader \
         replicas.",
    ),
    def(
        "preallocate",
        Boolean,
        "false",
        Any,
        &[key("log.preallocate")],
        "Whether a new segment's file gets its full size at once.",
    ),
    def(
        "remote.copy.lag.bytes",
        Long,
        "-1",
        AtLeast(-1),
        &[key("log.remote.copy.lag.bytes")],
        "Bytes that may wait on local disk before segments are copied to tiered storage; -1 stands \
         for the local retention.",
    ),
    def(
        "remote.copy.lag.ms",
        Long,
        "0",
        AtLeast(-1),
        &[key("log.remote.copy.lag.ms")],
        "Time that segments may wait on local disk before they are copied to tiered storage.",
    ),
    def(
        "remote.log.copy.disable",
        Boolean,
        "false",
        Any,
        &[],
        "Stops copying to tiered storage; what is there stays readable.",
    ),
    def(
        "remote.log.delete.on.disable",
        Boolean,
        "false",
        Any,
        &[],
        "Deletes the tiered data when tiered storage is switched off.",
    ),
    def("remote.storage.enable", Boolean, "false", Any, &[], "Switches tiered storage on."),
    def(
        "retention.bytes",
        Long,
        "-1",
        Any,
        &[key("log.retention.bytes")],
        "Size that a partition may reach before its oldest segments are deleted; -1 means no \
         limit.",
    ),
    def(
        "retention.ms",
        Long,
        "604800000",
        AtLeast(-1),
        &[
            key("log.retention.ms"),
            key_in(MINUTE_MS, "log.retention.minutes"),
            key_in(HOUR_MS, "log.retention.hours"),
        ],
        "Age from which segments are deleted; -1 means never.",
    ),
    def(
        "segment.bytes",
        Int,
        "1073741824",
        AtLeast(1048576),
        &[key("log.segment.bytes")],
        "Size at which a new segment begins.",
    ),
    def(
        "segment.index.bytes",
        Int,
        "10485760",
        AtLeast(4),
        &[key("log.index.size.max.bytes")],
        "Largest size of a segment's index.",
    ),
    def(
        "segment.jitter.ms",
        Long,
        "0",
        AtLeast(0),
        &[key("log.roll.jitter.ms"), key_in(HOUR_MS, "log.roll.jitter.hours")],
        "Random part of segment.ms, so that many segments do not roll at once.",
    ),
    def(
        "segment.ms",
        Long,
        "604800000",
        AtLeast(1),
        &[key("log.roll.ms"), key_in(HOUR_MS, "log.roll.hours")],
        "Age at which a new segment begins even if the old one is not full.",
    ),
    def(
        "unclean.leader.election.enable",
        Boolean,
        "false",
        Any,
        &[key("unclean.leader.election.enable")],
        "Whether a replica that may lack committed records may lead when no other can: \
         available, but it can lose data.",
    ),
];
