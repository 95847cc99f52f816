//! What may follow upon a transaction: Kafka 4.4's rules, as functions of what the log says. An
//! append under way and markers that are being written were asked about before
//! ([`ErrorCode::ConcurrentTransactions`]).

use base::{ErrorCode, ProducerId, TimestampMs};

use super::request::{AddPartitions, EndTransaction, InitProducer, Producer};
use super::transaction::{Partitions, Transaction, TxnState, is_exhausted};

/// From this level on, each end of a transaction raises the epoch (KIP-890).
pub(super) const EPOCH_RAISING: i16 = 2;

/// What is known of a transactional id.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Known {
    pub(super) value: Transaction,
    /// The epoch that the current one was given out for, so that a repeated request gets the same
    /// again. Not in the log: after a failover such a repetition is fenced, as in Kafka.
    pub(super) last_epoch: Option<i16>,
}

/// What a request leads to.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Transit {
    /// This becomes known once it is committed.
    To(Known),
    NeedsProducerId,
    /// It was so already.
    Already,
}

type Decision = Result<Transit, ErrorCode>;

impl Known {
    pub(super) fn producer(&self) -> Producer {
        Producer { id: self.value.producer_id, epoch: self.value.producer_epoch }
    }

    /// Whom the transactional id belongs to once the markers are written.
    pub(super) fn next_producer(&self) -> Producer {
        match self.value.next_producer_id {
            Some(id) => Producer { id, epoch: 0 },
            None => self.producer(),
        }
    }

    /// The same, as the next change begins.
    fn next(&self, now_ms: TimestampMs) -> Known {
        let value = Transaction {
            previous_producer_id: Some(self.value.producer_id),
            next_producer_id: None,
            updated_ms: now_ms,
            ..self.value.clone()
        };
        Known { value, last_epoch: self.last_epoch }
    }

    fn empty(&self, timeout_ms: i32, now_ms: TimestampMs) -> Known {
        let mut next = self.next(now_ms);
        next.value.state = TxnState::Empty;
        next.value.partitions = Partitions::new();
        next.value.started_ms = None;
        next.value.timeout_ms = timeout_ms;
        next
    }

    fn is_exhausted(&self) -> bool {
        is_exhausted(self.value.producer_epoch)
    }
}

/// The first word on a transactional id.
pub(super) fn create(request: &InitProducer, now_ms: TimestampMs) -> Transit {
    let Some(producer_id) = request.new_producer_id else { return Transit::NeedsProducerId };
    let value = Transaction {
        producer_id,
        previous_producer_id: Some(producer_id),
        next_producer_id: None,
        producer_epoch: 0,
        timeout_ms: request.timeout_ms,
        state: TxnState::Empty,
        partitions: Partitions::new(),
        started_ms: None,
        updated_ms: now_ms,
        version: 0,
    };
    Transit::To(Known { value, last_epoch: None })
}

/// InitProducerId. An ongoing transaction is aborted first, and its producer fenced; the client
/// asks again.
pub(super) fn init(known: &Known, request: &InitProducer, now_ms: TimestampMs) -> Decision {
    let value = &known.value;
    if let Some(expected) = request.expected {
        let is_current = expected.id == value.producer_id;
        let is_previous = Some(expected.id) == value.previous_producer_id;
        let is_last = is_previous && is_exhausted(expected.epoch);
        if !(is_current || is_last) {
            return Err(ErrorCode::ProducerFenced);
        }
    }
    if value.state == TxnState::Ongoing {
        return Ok(fence(known, request.level, request.new_producer_id, now_ms));
    }
    let expected_epoch = request.expected.map(|expected| expected.epoch);
    let is_retry = expected_epoch.is_some() && expected_epoch == known.last_epoch;
    let current = value.producer_epoch;
    let mut next = known.empty(request.timeout_ms, now_ms);
    if known.is_exhausted() && expected_epoch.is_none_or(|epoch| epoch == current) {
        let Some(id) = request.new_producer_id else { return Ok(Transit::NeedsProducerId) };
        next.value.producer_id = id;
        next.value.producer_epoch = 0;
        next.last_epoch = expected_epoch;
    } else if expected_epoch.is_none_or(|epoch| epoch == current) {
        next.value.producer_epoch = current + 1;
        next.last_epoch = expected_epoch;
    } else if !is_retry {
        return Err(ErrorCode::ProducerFenced);
    }
    Ok(Transit::To(next))
}

/// AddPartitionsToTxn and AddOffsetsToTxn.
pub(super) fn add(known: &Known, request: &AddPartitions, now_ms: TimestampMs) -> Decision {
    check_producer(known, request.producer)?;
    let value = &known.value;
    if value.state == TxnState::Ongoing && value.contains_all(&request.partitions) {
        return Ok(Transit::Already);
    }
    let mut next = known.next(now_ms);
    if value.state != TxnState::Ongoing {
        next.value.started_ms = Some(now_ms);
    }
    next.value.state = TxnState::Ongoing;
    next.value.version = request.version;
    for (topic, indexes) in &request.partitions {
        next.value.partitions.entry(topic.clone()).or_default().extend(indexes);
    }
    Ok(Transit::To(next))
}

/// Whether the request comes from the producer whom the transactional id belongs to.
pub(super) fn check_producer(known: &Known, producer: Producer) -> Result<(), ErrorCode> {
    if known.value.producer_id != producer.id {
        Err(ErrorCode::InvalidProducerIdMapping)
    } else if known.value.producer_epoch != producer.epoch {
        Err(ErrorCode::ProducerFenced)
    } else {
        Ok(())
    }
}

/// EndTxn of clients whose epochs outlive a transaction. Being busy comes after being fenced.
pub(super) fn end(
    known: &Known,
    request: &EndTransaction,
    is_busy: bool,
    now_ms: TimestampMs,
) -> Decision {
    check_producer(known, request.producer)?;
    if is_busy {
        return Err(ErrorCode::ConcurrentTransactions);
    }
    match (known.value.state, request.is_commit) {
        (TxnState::CompleteCommit, true) | (TxnState::CompleteAbort, false) => Ok(Transit::Already),
        (TxnState::Ongoing, is_commit) => {
            let mut next = known.next(now_ms);
            next.value.state = prepared(is_commit);
            next.value.version = 0;
            Ok(Transit::To(next))
        }
        _ => Err(ErrorCode::InvalidTxnState),
    }
}

/// EndTxn from version 5 on (KIP-890): the epoch rises, and a producer id whose epochs are used up
/// gets a successor. The epoch tells a repetition from the next end.
///
/// Kafka takes the epoch before the current one for a repetition whoever ended the transaction. A
/// client of the earlier generation may have, whose epoch does not rise: then the one before is
/// that of a producer which it has fenced, and whose commit must not seem to succeed.
pub(super) fn end_raising(
    known: &Known,
    request: &EndTransaction,
    is_busy: bool,
    now_ms: TimestampMs,
) -> Decision {
    if is_busy {
        return Err(ErrorCode::ConcurrentTransactions);
    }
    let (value, producer) = (&known.value, request.producer);
    let has_raised = value.version >= EPOCH_RAISING;
    let over_raise = has_raised && producer.epoch.checked_add(1) == Some(value.producer_epoch);
    let over_change = has_raised
        && value.previous_producer_id == Some(producer.id)
        && producer.epoch == i16::MAX - 1
        && value.producer_epoch == 0;
    if value.producer_id != producer.id && !over_change {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    let is_current = producer.epoch == value.producer_epoch;
    let is_retry = over_raise || over_change;
    if !(is_current || (value.state.is_complete() && is_retry)) {
        return Err(ErrorCode::ProducerFenced);
    }
    match (value.state, request.is_commit) {
        (TxnState::CompleteCommit, true) | (TxnState::CompleteAbort, false) if is_retry => {
            Ok(Transit::Already)
        }
        (TxnState::Ongoing, is_commit) => {
            Ok(raise(known, prepared(is_commit), request.new_producer_id, now_ms))
        }
        // A producer that added nothing may abort all the same: its epoch rises.
        (TxnState::Empty | TxnState::CompleteCommit | TxnState::CompleteAbort, false)
            if !is_retry =>
        {
            Ok(raise(known, TxnState::PrepareAbort, request.new_producer_id, now_ms))
        }
        _ => Err(ErrorCode::InvalidTxnState),
    }
}

fn prepared(is_commit: bool) -> TxnState {
    if is_commit { TxnState::PrepareCommit } else { TxnState::PrepareAbort }
}

/// Ends a transaction and raises the epoch.
fn raise(
    known: &Known,
    state: TxnState,
    new_producer_id: Option<ProducerId>,
    now_ms: TimestampMs,
) -> Transit {
    let mut next = known.next(now_ms);
    if known.is_exhausted() {
        let Some(id) = new_producer_id else { return Transit::NeedsProducerId };
        next.value.next_producer_id = Some(id);
    }
    if known.value.state != TxnState::Ongoing {
        next.value.started_ms = Some(now_ms);
    }
    let current = known.value.producer_epoch;
    next.last_epoch = Some(current);
    next.value.producer_epoch = current.saturating_add(1);
    next.value.state = state;
    next.value.version = EPOCH_RAISING;
    Transit::To(next)
}

/// The coordinator aborts an ongoing transaction by itself: its producer is fenced by the epoch of
/// the markers, which nobody is given.
pub(super) fn fence(
    known: &Known,
    level: i16,
    new_producer_id: Option<ProducerId>,
    now_ms: TimestampMs,
) -> Transit {
    debug_assert_eq!(known.value.state, TxnState::Ongoing, "only what is open is fenced");
    if level.max(known.value.version) >= EPOCH_RAISING {
        return raise(known, TxnState::PrepareAbort, new_producer_id, now_ms);
    }
    let mut next = known.next(now_ms);
    next.last_epoch = None;
    next.value.producer_epoch = known.value.producer_epoch.saturating_add(1);
    next.value.state = TxnState::PrepareAbort;
    next.value.version = 0;
    Transit::To(next)
}

/// All markers are written.
pub(super) fn complete(known: &Known, now_ms: TimestampMs) -> Known {
    debug_assert!(known.value.state.is_prepared(), "only what is decided is completed");
    let Producer { id, epoch } = known.next_producer();
    let mut next = known.next(now_ms);
    next.value.producer_id = id;
    next.value.producer_epoch = epoch;
    next.value.partitions = Partitions::new();
    next.value.state = match known.value.state {
        TxnState::PrepareCommit => TxnState::CompleteCommit,
        _ => TxnState::CompleteAbort,
    };
    next
}
