//! What the operator of a cluster can set about groups.

use crate::Assignor;

/// Settings of one coordinator, named after the broker's configuration keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.min.session.timeout.ms`
    pub session_timeout_ms_min: i32,
    /// `group.max.session.timeout.ms`
    pub session_timeout_ms_max: i32,
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`
    pub members_max: usize,
    /// `offset.metadata.max.bytes`
    pub offset_metadata_bytes_max: usize,
    /// `offsets.retention.minutes`, in milliseconds
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check_ms: i64,
    /// `offsets.commit.timeout.ms`: how long a reply waits for its records to be committed
    pub commit_timeout_ms: i64,
    /// How long a new member may wait in its first join before it is thought gone (Kafka: 5 min).
    pub new_member_join_timeout_ms: i64,
    pub consumer: ConsumerConfig,
}

/// Settings of consumer groups: `group.consumer.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerConfig {
    /// `group.consumer.session.timeout.ms`, and what a group may set between.
    pub session_timeout_ms: i32,
    pub session_timeout_ms_min: i32,
    pub session_timeout_ms_max: i32,
    /// `group.consumer.heartbeat.interval.ms`, and what a group may set between.
    pub heartbeat_interval_ms: i32,
    pub heartbeat_interval_ms_min: i32,
    pub heartbeat_interval_ms_max: i32,
    /// `group.consumer.assignment.interval.ms`
    pub assignment_interval_ms: i32,
    /// `group.consumer.max.size`
    pub members_max: usize,
    /// `group.consumer.assignors`; the first is the default.
    pub assignors: Vec<Assignor>,
}

impl ConsumerConfig {
    /// Kafka's defaults.
    pub fn kafka_defaults() -> ConsumerConfig {
        ConsumerConfig {
            session_timeout_ms: 45_000,
            session_timeout_ms_min: 45_000,
            session_timeout_ms_max: 60_000,
            heartbeat_interval_ms: 5_000,
            heartbeat_interval_ms_min: 5_000,
            heartbeat_interval_ms_max: 15_000,
            assignment_interval_ms: 1_000,
            members_max: i32::MAX as usize,
            assignors: vec![Assignor::Uniform, Assignor::Range],
        }
    }
}

impl GroupConfig {
    /// Kafka's defaults.
    pub fn kafka_defaults() -> GroupConfig {
        GroupConfig {
            session_timeout_ms_min: 6_000,
            session_timeout_ms_max: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            members_max: i32::MAX as usize,
            offset_metadata_bytes_max: 4_096,
            offsets_retention_ms: 10_080 * 60_000,
            offsets_retention_check_ms: 600_000,
            commit_timeout_ms: 5_000,
            new_member_join_timeout_ms: 300_000,
            consumer: ConsumerConfig::kafka_defaults(),
        }
    }
}
