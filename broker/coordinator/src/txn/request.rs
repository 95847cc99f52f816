//! Requests, replies and errands of the transaction coordinator. They are Kafka's requests without
//! their versions.

use std::collections::BTreeSet;
use std::sync::Arc;

use base::{ErrorCode, ProducerId, TimestampMs};

use super::transaction::{Partitions, TransactionalId, TxnState};

/// A producer id with its epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Producer {
    pub id: ProducerId,
    pub epoch: i16,
}

/// A request that may change something says the level of `transaction.version` in the cluster.
#[derive(Clone, PartialEq, Debug)]
pub enum TxnRequest {
    Init(InitProducer),
    Add(AddPartitions),
    Verify(VerifyPartitions),
    End(EndTransaction),
    /// [`TxnErrand::WriteMarkers`] is done.
    MarkersWritten {
        id: TransactionalId,
        number: u64,
    },
    /// [`TxnErrand::Abort`] comes back with what it takes.
    Abort {
        id: TransactionalId,
        producer: Producer,
        new_producer_id: ProducerId,
    },
    Describe(TransactionalId),
    List(TxnFilter),
}

#[derive(Clone, PartialEq, Debug)]
pub struct InitProducer {
    pub id: TransactionalId,
    pub timeout_ms: i32,
    /// Who the producer thinks to be, if it goes on after an error.
    pub expected: Option<Producer>,
    /// Given with the repetition of a request that was answered [`TxnReply::NeedsProducerId`].
    pub new_producer_id: Option<ProducerId>,
    pub level: i16,
}

#[derive(Clone, PartialEq, Debug)]
pub struct AddPartitions {
    pub id: TransactionalId,
    pub producer: Producer,
    pub partitions: Partitions,
    /// Level of `transaction.version` that the client goes by.
    pub version: i16,
    pub level: i16,
}

#[derive(Clone, PartialEq, Debug)]
pub struct VerifyPartitions {
    pub id: TransactionalId,
    pub producer: Producer,
    pub partitions: Partitions,
}

#[derive(Clone, PartialEq, Debug)]
pub struct EndTransaction {
    pub id: TransactionalId,
    pub producer: Producer,
    pub is_commit: bool,
    /// Level of `transaction.version` that the client goes by.
    pub version: i16,
    /// As in [`InitProducer`].
    pub new_producer_id: Option<ProducerId>,
    pub level: i16,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TxnFilter {
    /// Empty: all.
    pub states: Vec<TxnState>,
    /// Set: only those of these producers.
    pub producer_ids: BTreeSet<ProducerId>,
    /// Only those that are open for longer.
    pub longer_than_ms: Option<i64>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum TxnReply {
    /// The request needs a producer id that nobody had, and is to be repeated with one.
    NeedsProducerId,
    Init(Result<Producer, ErrorCode>),
    Add(ErrorCode),
    /// One error code for each partition that was asked for.
    Verify(Result<Vec<(Arc<str>, i32, ErrorCode)>, ErrorCode>),
    End(Result<Producer, ErrorCode>),
    /// To what others report.
    Noted(ErrorCode),
    Describe(Result<DescribedTransaction, ErrorCode>),
    List(Result<Vec<ListedTransaction>, ErrorCode>),
}

impl TxnReply {
    /// The reply of the same kind that says that nothing was done.
    pub fn into_error(self, error: ErrorCode) -> TxnReply {
        match self {
            TxnReply::NeedsProducerId => TxnReply::NeedsProducerId,
            TxnReply::Init(_) => TxnReply::Init(Err(error)),
            TxnReply::Add(_) => TxnReply::Add(error),
            TxnReply::Verify(_) => TxnReply::Verify(Err(error)),
            TxnReply::End(_) => TxnReply::End(Err(error)),
            TxnReply::Noted(_) => TxnReply::Noted(error),
            TxnReply::Describe(_) => TxnReply::Describe(Err(error)),
            TxnReply::List(_) => TxnReply::List(Err(error)),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedTransaction {
    pub producer: Producer,
    pub state: TxnState,
    pub timeout_ms: i32,
    pub started_ms: Option<TimestampMs>,
    pub partitions: Partitions,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedTransaction {
    pub id: TransactionalId,
    pub producer_id: ProducerId,
    pub state: TxnState,
}

/// What a shard has others do.
#[derive(Clone, PartialEq, Debug)]
pub enum TxnErrand {
    /// Write the markers, however long it takes, then tell by [`TxnRequest::MarkersWritten`].
    WriteMarkers(Markers),
    /// A transaction has timed out whose end takes a producer id that nobody had: fetch one and
    /// bring it with [`TxnRequest::Abort`]. If that fails, the shard asks again.
    Abort { id: TransactionalId, producer: Producer },
}

/// The markers of one transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Markers {
    /// Of the errand; it comes back with the report.
    pub number: u64,
    pub id: TransactionalId,
    pub producer: Producer,
    pub is_commit: bool,
    /// Level of `transaction.version` that the transaction was ended by.
    pub version: i16,
    pub partitions: Partitions,
}

impl TxnRequest {
    /// Whose partition has to take the request; none if that of all does.
    pub fn id(&self) -> Option<&TransactionalId> {
        match self {
            TxnRequest::Init(InitProducer { id, .. })
            | TxnRequest::Add(AddPartitions { id, .. })
            | TxnRequest::Verify(VerifyPartitions { id, .. })
            | TxnRequest::End(EndTransaction { id, .. })
            | TxnRequest::MarkersWritten { id, .. }
            | TxnRequest::Abort { id, .. }
            | TxnRequest::Describe(id) => Some(id),
            TxnRequest::List(_) => None,
        }
    }

    pub fn refuse(&self, error: ErrorCode) -> TxnReply {
        match self {
            TxnRequest::Init(_) => TxnReply::Init(Err(error)),
            TxnRequest::Add(_) => TxnReply::Add(error),
            TxnRequest::Verify(_) => TxnReply::Verify(Err(error)),
            TxnRequest::End(_) => TxnReply::End(Err(error)),
            TxnRequest::MarkersWritten { .. } | TxnRequest::Abort { .. } => TxnReply::Noted(error),
            TxnRequest::Describe(_) => TxnReply::Describe(Err(error)),
            TxnRequest::List(_) => TxnReply::List(Err(error)),
        }
    }
}
