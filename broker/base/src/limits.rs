//! Limits that several crates must agree on, with their relations asserted.

/// Largest name of a topic, in bytes (Kafka's `Topic.MAX_NAME_LENGTH`).
pub const TOPIC_NAME_BYTES_MAX: usize = 249;
/// Header of a record batch v2, in bytes.
pub const BATCH_HEADER_BYTES: usize = 61;
/// Partitions one request may create (`max.request.partition.size.limit` is per request; this is
/// the bound of one CreateTopics or CreatePartitions).
pub const PARTITIONS_PER_REQUEST_MAX: usize = 10_000;
/// Batches per producer and partition that are remembered to recognise a retry.
pub const PRODUCER_BATCHES_REMEMBERED: usize = 5;

const _: () = assert!(BATCH_HEADER_BYTES == 8 + 4 + 4 + 1 + 4 + 2 + 4 + 8 + 8 + 8 + 2 + 4 + 4);
