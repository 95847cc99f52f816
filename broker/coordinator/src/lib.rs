//! The coordinators' cores: the state of one partition of `__consumer_offsets`, or in [`txn`] of
//! `__transaction_state`, as a pure state machine, and the records that it is rebuilt from.
//!
//! Entry points: [`Shard::handle`] takes a request, [`Shard::tick`] the time,
//! [`Shard::committed`] and [`Shard::append_failed`] the fate of what was appended, and
//! [`GroupShard::replay`] one record of the log. All of them answer with [`Effect`]s. Nothing here
//! reads a clock, draws a random number or performs IO, and no type carries a protocol version.

mod append_id;
mod booking;
mod classic;
mod cluster;
mod config;
mod consumer;
mod group;
mod offsets;
mod partitioning;
mod pending;
mod protocol;
mod record;
mod request;
mod seam;
mod shard;
mod timers;
pub mod txn;

pub use append_id::AppendId;
pub use booking::Booking;
pub use classic::state::GroupState;
pub use cluster::{Cluster, TopicShape};
pub use config::{ConsumerConfig, GroupConfig};
pub use consumer::assignor::Assignor;
pub use consumer::request::{
    ConsumerHeartbeat, ConsumerHeartbeatReply, DescribedConsumer, DescribedConsumerGroup,
    DescribedPartitions, Sight, TopicPartitionList,
};
pub use consumer::value::{
    ClassicMetadata, ConsumerGroupState, ConsumerRecord, Current, GroupEpoch, MemberState,
    OwnedPartitions, Partitions, ResolvedRegex, Subscription, TargetEpoch,
};
pub use offsets::CommittedOffset;
pub use partitioning::{java_string_hash, partition_for};
pub use protocol::Protocol;
pub use record::{DecodeRecordError, GroupRecord, GroupValue, MemberValue};
pub use request::{
    CommitOffsets, CommitReply, CommittedPosition, DeleteOffsets, DeleteOffsetsReply,
    DescribedGroup, DescribedMember, Effect, FetchOffsets, FetchReply, FetchTopic, FetchedOffset,
    FetchedTopic, GroupReply, GroupRequest, Heartbeat, JoinGroup, JoinReply, JoinedMember,
    LeaveGroup, LeaveReply, LeavingMember, LeftMember, ListFilter, ListedGroup, OffsetToCommit,
    SyncGroup, SyncReply, TransactionalCommit,
};
pub use seam::{Effect as ShardEffect, EffectOf, Shard, Ticket, Transaction, TransactionEnd};
pub use shard::GroupShard;

/// Id of a group; cloning it does not copy the text.
pub type GroupId = std::sync::Arc<str>;
/// Id of a member, given out by the coordinator or brought by the member.
pub type MemberId = std::sync::Arc<str>;
