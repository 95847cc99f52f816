//! The typed sections of the configuration. Field names follow Kafka's keys.

/// Sockets and their memory.
#[derive(Clone, PartialEq, Debug)]
pub struct NetConfig {
    pub request_bytes_max: usize,
    /// Sum of the request buffers of all connections.
    pub request_memory_bytes: usize,
    pub send_buffer_bytes: Option<usize>,
    pub receive_buffer_bytes: Option<usize>,
    pub listen_backlog: i32,
    /// `None`: idle connections stay.
    pub idle_ms_max: Option<u64>,
    pub connections_max: usize,
    pub connections_per_ip_max: usize,
    pub partitions_per_request_max: usize,
}

/// Defaults of the topics' log settings and the schedule of background work.
#[derive(Clone, PartialEq, Debug)]
pub struct LogConfig {
    pub segment_bytes: u32,
    pub roll_ms: i64,
    pub roll_jitter_ms: i64,
    pub retention_ms: i64,
    pub retention_bytes: i64,
    pub retention_check_interval_ms: u64,
    pub cleanup_policy: String,
    pub delete_delay_ms: i64,
    pub index_bytes_max: u32,
    pub index_interval_bytes: u32,
    pub flush_messages: i64,
    pub flush_ms: Option<i64>,
    pub flush_checkpoint_interval_ms: u64,
    pub preallocate: bool,
    pub message_bytes_max: i32,
    pub log_append_time: bool,
    pub timestamp_before_ms_max: i64,
    pub timestamp_after_ms_max: i64,
    pub recovery_threads: usize,
    pub producer_id_expiration_ms: i64,
}

/// Topic creation and elections.
#[derive(Clone, PartialEq, Debug)]
pub struct TopicConfig {
    pub num_partitions: i32,
    pub replication_factor: i16,
    pub min_insync_replicas: i32,
    pub unclean_leader_election: bool,
    pub auto_create: bool,
    pub delete_enable: bool,
    pub auto_leader_rebalance: bool,
    pub imbalance_check_ms: u64,
}

/// Replication.
#[derive(Clone, PartialEq, Debug)]
pub struct ReplicaConfig {
    pub lag_time_ms_max: i64,
    pub fetch_bytes_max: i32,
    pub fetch_response_bytes_max: i32,
    pub fetch_wait_ms_max: i32,
    pub fetch_bytes_min: i32,
    pub fetch_backoff_ms: u64,
    pub hw_checkpoint_interval_ms: u64,
    /// Limit of a consumer's fetch response.
    pub consumer_fetch_bytes_max: i32,
    pub fetch_sessions_max: usize,
}

/// Classic groups.
#[derive(Clone, PartialEq, Debug)]
pub struct GroupConfig {
    pub initial_rebalance_delay_ms: i64,
    pub session_timeout_ms_min: i32,
    pub session_timeout_ms_max: i32,
    pub size_max: usize,
}

/// `__consumer_offsets`.
#[derive(Clone, PartialEq, Debug)]
pub struct OffsetsConfig {
    pub num_partitions: i32,
    pub replication_factor: i16,
    pub segment_bytes: u32,
    pub retention_ms: i64,
    pub retention_check_interval_ms: u64,
    pub metadata_bytes_max: usize,
    pub commit_timeout_ms: u64,
}

/// `__transaction_state`.
#[derive(Clone, PartialEq, Debug)]
pub struct TransactionConfig {
    pub timeout_ms_max: i32,
    pub num_partitions: i32,
    pub replication_factor: i16,
    pub min_isr: i32,
    pub segment_bytes: u32,
}

/// This broker's session with the active controller.
#[derive(Clone, PartialEq, Debug)]
pub struct SessionConfig {
    pub heartbeat_interval_ms: u64,
    pub grace_ms: i64,
    pub silence_ms: i64,
}

/// Raft timing.
#[derive(Clone, PartialEq, Debug)]
pub struct QuorumConfig {
    pub heartbeat_ms: u64,
    pub election_timeout_ms: u64,
}
