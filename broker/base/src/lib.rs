//! The vocabulary shared by every crate: identifiers, epochs, error codes and limits.
//!
//! Entry rule: a type lives here only if at least three crates need it and it depends on nothing.

mod error_code;
mod ids;
pub mod limits;
mod principal;
#[cfg(feature = "serde")]
mod serialized;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tls;
pub mod topic_name;

pub use error_code::ErrorCode;
pub use ids::{BrokerId, ParseTopicIdError, TopicId, TopicPartition};
pub use principal::{ParsePrincipalError, Principal};

/// Offset of a record in a partition's log. The first record has offset 0.
pub type Offset = i64;
/// Epoch of a partition's leadership; grows by one with every new leader. -1 is "unknown".
pub type LeaderEpoch = i32;
/// Version of a partition's metadata record; grows with every change, compare-and-set key of ISR
/// changes.
pub type PartitionEpoch = i32;
/// Identity of one incarnation of a broker, assigned at registration. -1 is "unknown".
pub type BrokerEpoch = i64;
/// Identity of a producer, assigned by InitProducerId. -1 is "none".
pub type ProducerId = i64;
/// Milliseconds since the Unix epoch (record timestamps, commit times).
pub type TimestampMs = i64;
