//! The records that groups leave in `__consumer_offsets`, as values. Their encoding
//! is Kafka's (`record/codec.rs`); a missing value is a tombstone, so that compaction keeps exactly
//! the last word on every key.

mod codec;
mod consumer_codec;

use std::sync::Arc;

use bytes::Bytes;

pub use codec::DecodeRecordError;

use crate::consumer::value::ConsumerRecord;
use crate::offsets::CommittedOffset;
use crate::{GroupId, MemberId, Transaction, TransactionEnd};

/// One record of a shard's log.
#[derive(Clone, PartialEq, Debug)]
pub enum GroupRecord {
    /// A committed offset, or that there is none any more.
    Offset { group: GroupId, topic: Arc<str>, partition: i32, value: Option<CommittedOffset> },
    /// A committed offset of an open transaction, whose value is the same. It has a value in the
    /// log.
    PendingOffset {
        transaction: Transaction,
        group: GroupId,
        topic: Arc<str>,
        partition: i32,
        value: Option<CommittedOffset>,
    },
    /// The end of a transaction. In the log it is a marker.
    TransactionEnd(TransactionEnd),
    /// A generation of a group, or that the group is gone.
    Group { group: GroupId, value: Option<GroupValue> },
    /// A part of a consumer group.
    Consumer { group: GroupId, record: ConsumerRecord },
}

impl GroupRecord {
    /// The group that the record is of; the end of a transaction may concern several.
    pub(crate) fn group(&self) -> Option<&GroupId> {
        match self {
            GroupRecord::Offset { group, .. }
            | GroupRecord::PendingOffset { group, .. }
            | GroupRecord::Group { group, .. }
            | GroupRecord::Consumer { group, .. } => Some(group),
            GroupRecord::TransactionEnd(_) => None,
        }
    }
}

/// What is kept of a group: its generation, its members and their assignments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupValue {
    pub protocol_type: Arc<str>,
    pub generation: i32,
    pub protocol: Option<Arc<str>>,
    pub leader: Option<MemberId>,
    /// When the group entered its state; `None` in records of very old brokers.
    pub state_since_ms: Option<i64>,
    pub members: Vec<MemberValue>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberValue {
    pub member_id: MemberId,
    pub instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    /// Metadata of the chosen protocol.
    pub subscription: Bytes,
    pub assignment: Bytes,
}
