//! What is known of one transactional id: its producer and the transaction of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::{ProducerId, TimestampMs};

/// Cloning it does not copy the text.
pub type TransactionalId = Arc<str>;

/// Partitions by topic. No topic is without partitions.
pub type Partitions = BTreeMap<Arc<str>, BTreeSet<i32>>;

/// Where a transaction stands, as the log says. Kafka's `Dead` and `PrepareEpochFence` are states
/// of its memory only; here an append under way stands for them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TxnState {
    /// The producer has begun no transaction since its epoch was given out.
    Empty,
    Ongoing,
    /// Decided: markers are being written.
    PrepareCommit,
    PrepareAbort,
    /// All markers are written.
    CompleteCommit,
    CompleteAbort,
}

impl TxnState {
    pub const ALL: [TxnState; 6] = [
        TxnState::Empty,
        TxnState::Ongoing,
        TxnState::PrepareCommit,
        TxnState::PrepareAbort,
        TxnState::CompleteCommit,
        TxnState::CompleteAbort,
    ];

    /// Kafka's number of the state in records.
    pub(super) fn code(self) -> i8 {
        match self {
            TxnState::Empty => 0,
            TxnState::Ongoing => 1,
            TxnState::PrepareCommit => 2,
            TxnState::PrepareAbort => 3,
            TxnState::CompleteCommit => 4,
            TxnState::CompleteAbort => 5,
        }
    }

    pub(super) fn of(code: i8) -> Option<TxnState> {
        TxnState::ALL.into_iter().find(|state| state.code() == code)
    }

    /// Kafka's name of the state in answers.
    pub fn name(self) -> &'static str {
        match self {
            TxnState::Empty => "Empty",
            TxnState::Ongoing => "Ongoing",
            TxnState::PrepareCommit => "PrepareCommit",
            TxnState::PrepareAbort => "PrepareAbort",
            TxnState::CompleteCommit => "CompleteCommit",
            TxnState::CompleteAbort => "CompleteAbort",
        }
    }

    /// Whether markers are being written.
    pub fn is_prepared(self) -> bool {
        matches!(self, TxnState::PrepareCommit | TxnState::PrepareAbort)
    }

    pub(super) fn is_complete(self) -> bool {
        matches!(self, TxnState::CompleteCommit | TxnState::CompleteAbort)
    }
}

/// The last epoch that a producer may use. The one after it fences the last user and is given to
/// nobody: the transactional id goes on with a new producer id.
pub(super) const EPOCH_MAX: i16 = i16::MAX - 1;

pub(super) fn is_exhausted(epoch: i16) -> bool {
    epoch >= EPOCH_MAX
}

/// One value of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transaction {
    pub producer_id: ProducerId,
    /// The producer id before the last change; none in records of old brokers.
    pub previous_producer_id: Option<ProducerId>,
    /// With what the transactional id goes on once the markers are written.
    pub next_producer_id: Option<ProducerId>,
    pub producer_epoch: i16,
    pub timeout_ms: i32,
    pub state: TxnState,
    pub partitions: Partitions,
    pub started_ms: Option<TimestampMs>,
    pub updated_ms: TimestampMs,
    /// Level of `transaction.version` that the last change was made by; from 2 on, each end of a
    /// transaction raises the epoch (KIP-890).
    pub version: i16,
}

impl Transaction {
    pub(super) fn contains_all(&self, partitions: &Partitions) -> bool {
        partitions.iter().all(|(topic, indexes)| {
            self.partitions.get(topic).is_some_and(|known| indexes.is_subset(known))
        })
    }

    pub(super) fn contains(&self, topic: &str, partition: i32) -> bool {
        self.partitions.get(topic).is_some_and(|known| known.contains(&partition))
    }

    /// Whether the producer has exceeded what it asked for.
    pub(super) fn is_timed_out(&self, wall_ms: i64) -> bool {
        let started_ms = self.started_ms.unwrap_or(self.updated_ms);
        self.state == TxnState::Ongoing
            && started_ms.saturating_add(i64::from(self.timeout_ms)) < wall_ms
    }

    /// Panics on what no sequence of requests leads to.
    pub(super) fn validate(&self) {
        debug_assert!(self.producer_epoch >= 0, "an epoch is not negative: {self:?}");
        debug_assert!(self.partitions.values().all(|indexes| !indexes.is_empty()));
        let holds = match self.state {
            TxnState::Empty => self.partitions.is_empty() && self.started_ms.is_none(),
            TxnState::Ongoing => !self.partitions.is_empty() && self.started_ms.is_some(),
            TxnState::PrepareCommit => !self.partitions.is_empty(),
            TxnState::PrepareAbort => true,
            TxnState::CompleteCommit | TxnState::CompleteAbort => self.partitions.is_empty(),
        };
        debug_assert!(holds, "partitions are those of an open transaction: {self:?}");
        let changes_id = self.next_producer_id.is_some();
        debug_assert!(
            !changes_id || self.state.is_prepared(),
            "an id changes at the end: {self:?}"
        );
    }
}
