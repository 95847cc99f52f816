//! The typed sections of the configuration. Field names follow Kafka's keys.

use std::path::PathBuf;

/// Sockets and their memory.
#[derive(Clone, PartialEq, Debug)]
pub struct NetConfig {
    pub request_bytes_max: usize,
    /// Sum of the requests and replies of all connections.
    pub request_memory_bytes: usize,
    pub send_buffer_bytes: Option<usize>,
    pub receive_buffer_bytes: Option<usize>,
    pub listen_backlog: i32,
    /// `None`: idle connections stay.
    pub idle_ms_max: Option<u64>,
    pub connections_max: usize,
    /// Before a client hears that it did not authenticate.
    pub failed_auth_delay_ms: u64,
    pub connections_per_ip_max: usize,
    pub partitions_per_request_max: usize,
    /// Threads that read for consumers and followers what is not in the page cache.
    pub io_threads: usize,
    /// How long an answer that would name a broker whose process ended waits for the election.
    pub suspect_wait_ms: u64,
}

/// Over which times the use of clients is measured.
#[derive(Clone, PartialEq, Debug)]
pub struct QuotaConfig {
    pub samples: usize,
    pub sample_seconds: i64,
    /// The same for changes of metadata.
    pub controller_samples: usize,
    pub controller_sample_seconds: i64,
}

/// Logs, beside what topics say themselves: those settings, with the broker keys below them, are
/// resolved from the metadata (`partition::settings`).
#[derive(Clone, PartialEq, Debug)]
pub struct LogConfig {
    pub retention_check_interval_ms: u64,
    pub delete_delay_ms: i64,
    pub flush_checkpoint_interval_ms: u64,
    pub recovery_threads: usize,
    pub producer_id_expiration_ms: i64,
    /// Of the first batch of a transaction, by its coordinator.
    pub transaction_verification: bool,
    /// Between questions whether the transaction before has ended, and how long they go on.
    pub transaction_retry_ms: u64,
    pub transaction_retry_ms_max: u64,
    /// Room on the volume of each log directory that records of clients leave free.
    pub reserve_bytes: u64,
    pub cleaner: CleanerConfig,
}

/// The log cleaner (`log.cleaner.*`).
#[derive(Clone, PartialEq, Debug)]
pub struct CleanerConfig {
    pub enable: bool,
    pub threads: usize,
    /// Memory of all threads for keys, and the share of it that is used.
    pub dedupe_bytes: u64,
    pub load_factor: f64,
    /// Memory of all threads for reading and writing.
    pub io_bytes: u64,
    pub io_bytes_per_second_max: f64,
    pub backoff_ms: u64,
}

/// Topic creation and elections.
#[derive(Clone, PartialEq, Debug)]
pub struct TopicConfig {
    pub num_partitions: i32,
    pub replication_factor: i16,
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
    /// Consumers read from the replica in their rack (KIP-392).
    pub rack_aware_reads: bool,
}

/// Groups.
#[derive(Clone, PartialEq, Debug)]
pub struct GroupConfig {
    pub initial_rebalance_delay_ms: i64,
    pub session_timeout_ms_min: i32,
    pub session_timeout_ms_max: i32,
    pub size_max: usize,
    /// Memory of the members of all groups coordinated here.
    pub memory_bytes: usize,
    pub consumer: ConsumerGroupConfig,
}

/// Groups of the consumer protocol (KIP-848).
#[derive(Clone, PartialEq, Debug)]
pub struct ConsumerGroupConfig {
    pub session_timeout_ms: i32,
    pub session_timeout_ms_min: i32,
    pub session_timeout_ms_max: i32,
    pub heartbeat_interval_ms: i32,
    pub heartbeat_interval_ms_min: i32,
    pub heartbeat_interval_ms_max: i32,
    pub assignment_interval_ms: i32,
    pub size_max: usize,
    /// At least one; the first is the default.
    pub assignors: Vec<Assignor>,
}

/// Who decides which member of a consumer group has which partitions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Assignor {
    Uniform,
    Range,
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

/// Transactional ids, and `__transaction_state`, where they are kept.
#[derive(Clone, PartialEq, Debug)]
pub struct TransactionConfig {
    pub num_partitions: i32,
    pub replication_factor: i16,
    pub min_isr: i32,
    pub segment_bytes: u32,
    pub timeout_ms_max: i32,
    pub id_expiration_ms: i64,
    pub abort_check_interval_ms: i64,
    pub expiry_check_interval_ms: i64,
}

/// This broker's session with the active controller.
#[derive(Clone, PartialEq, Debug)]
pub struct SessionConfig {
    pub heartbeat_interval_ms: u64,
    pub grace_ms: i64,
    pub silence_ms: i64,
}

/// What brokers prove to each other.
#[derive(Clone, PartialEq, Debug)]
pub struct SecretConfig {
    /// `None`: it is made in the metadata directory.
    pub file: Option<PathBuf>,
    pub required: bool,
}

/// Raft timing.
#[derive(Clone, PartialEq, Debug)]
pub struct QuorumConfig {
    pub may_begin: bool,
    pub heartbeat_ms: u64,
    pub election_timeout_ms: u64,
}
