//! What a produce request with transactional batches needs before anything of it is appended: a
//! transactional id, one producer, and for each partition where a transaction begins the word of
//! the transaction's coordinator (KIP-890).

use std::collections::BTreeMap;
use std::sync::Arc;

use authorizer::{Operation, ResourceType};
use base::{ErrorCode, topic_name};
use commitlog::{VerificationGuard, VerificationStart};
use record::BatchHeader;
use wire::messages::ProduceRequest;

use super::produce::denied;
use crate::authorize::Permit;
use crate::broker::Broker;
use crate::peer::{Asked, Support};
use storage::partition::{Partition, ProduceError};

/// First versions whose producers know TRANSACTION_ABORTABLE, and whose first batch adds its
/// partition to the transaction.
const ABORTABLE: i16 = 11;
const ADD: i16 = 12;

/// What the coordinator said of the batches that had to be asked about, by their places in the
/// request.
pub(super) type Verified = BTreeMap<usize, Result<VerificationGuard, ProduceError>>;

/// A question to the coordinator, and for which batches it is.
pub(super) struct Asking {
    asked: Asked,
    begun: Vec<Begun>,
}

/// The verification of one batch.
struct Begun {
    place: usize,
    partition: Arc<Partition>,
    start: VerificationStart,
    guard: VerificationGuard,
}

impl Begun {
    /// Something has ended it, or it goes on.
    fn again(&mut self) {
        if let Ok(Some(guard)) = self.partition.start_verification(self.start) {
            self.guard = guard;
        }
    }
}

fn support(version: i16) -> Support {
    Support::of(version, ABORTABLE, ADD)
}

/// The error is one of the whole request. `None`: nobody has to be asked.
pub(super) fn check(
    broker: &Broker,
    permit: &Permit,
    version: i16,
    request: &ProduceRequest,
) -> Result<Option<Asking>, ErrorCode> {
    let data = request.topic_data.iter().flat_map(|topic| {
        topic.partition_data.iter().map(move |data| (topic, data.index, data.records.as_deref()))
    });
    let batches = data.enumerate().filter_map(|(place, (topic, index, records))| {
        let header = BatchHeader::parse(records?).ok()?;
        header.is_transactional().then_some((place, topic, index, header))
    });
    let batches: Vec<_> = batches.collect();
    if batches.is_empty() {
        return Ok(None);
    }
    let Some(transactional_id) = request.transactional_id.clone() else {
        return Err(ErrorCode::TransactionalIdAuthorizationFailed);
    };
    permit.check(Operation::Write, ResourceType::TransactionalId, &transactional_id)?;
    let batches = batches.iter().filter(|(_, _, _, header)| header.has_producer_id());
    let producers = batches.clone().map(|(_, _, _, h)| (h.producer_id, h.producer_epoch));
    let Some((producer_id, epoch)) = producers.clone().next() else { return Ok(None) };
    if producers.clone().any(|producer| producer != (producer_id, epoch)) {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    let support = support(version);
    let (mut partitions, mut begun) = (Vec::new(), Vec::new());
    for (place, topic, index, header) in batches {
        // Said when the batch is to be appended; until then nobody hears of it.
        if denied(broker, permit, version, topic).is_some() {
            continue;
        }
        let hosted = match version {
            13.. => broker.storage.partitions.find_by_id(topic.topic_id, *index),
            _ => broker.storage.partitions.find(&topic.name, *index),
        };
        let start = VerificationStart {
            producer_id,
            epoch,
            sequence: header.base_sequence,
            bumps_epoch: support == Support::Add,
        };
        // Who does not lead, or refuses the topic, says so when the batch is to be appended.
        if let Ok(partition) = hosted
            && !topic_name::is_internal(&partition.id.topic)
            && let Ok(Some(guard)) = partition.start_verification(start)
        {
            partitions.push((partition.id.topic.clone(), *index));
            begun.push(Begun { place: *place, partition, start, guard });
        }
    }
    let asked = Asked { transactional_id, producer_id, epoch, support, partitions };
    Ok((!begun.is_empty()).then_some(Asking { asked, begun }))
}

impl Asking {
    pub(super) async fn ask(self, broker: &Broker) -> Verified {
        let Asking { asked, mut begun } = self;
        let support = asked.support;
        let begin_again = || begun.iter_mut().for_each(Begun::again);
        let codes = broker.verifier.ask(asked, begin_again).await;
        let answers = begun.into_iter().zip(codes);
        let verified = answers.map(|(Begun { place, guard, .. }, code)| {
            let verified = match code {
                ErrorCode::None => Ok(guard),
                code => Err(refusal(code, support)),
            };
            (place, verified)
        });
        verified.collect()
    }
}

/// As Kafka's leaders tell it. Older producers know few errors of a coordinator: they are told
/// one that they try again after, and that has them ask nobody for another leader.
fn refusal(code: ErrorCode, support: Support) -> ProduceError {
    let is_retried = match code {
        ErrorCode::ConcurrentTransactions => support != Support::Add,
        ErrorCode::NetworkException
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator => true,
        _ => false,
    };
    let told = if is_retried { ErrorCode::NotEnoughReplicas } else { code };
    let message = match code {
        ErrorCode::InvalidTxnState => Some("Partition was not added to the transaction".into()),
        code if is_retried => Some(format!(
            "Unable to verify the partition has been added to the transaction. Underlying error: \
             {code:?}"
        )),
        _ => None,
    };
    ProduceError { code: told, message, records: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_producers_are_told_errors_that_they_try_again_after() {
        let code = |code, support| refusal(code, support).code;
        let (old, new) = (Support::Verify, Support::Add);
        for retried in [
            ErrorCode::NetworkException,
            ErrorCode::CoordinatorLoadInProgress,
            ErrorCode::CoordinatorNotAvailable,
            ErrorCode::NotCoordinator,
        ] {
            assert_eq!(code(retried, old), ErrorCode::NotEnoughReplicas);
            assert_eq!(code(retried, new), ErrorCode::NotEnoughReplicas);
        }
        let concurrent = ErrorCode::ConcurrentTransactions;
        assert_eq!(code(concurrent, old), ErrorCode::NotEnoughReplicas);
        assert_eq!(code(concurrent, new), concurrent);
        for told in [ErrorCode::InvalidTxnState, ErrorCode::InvalidProducerEpoch] {
            assert_eq!(code(told, old), told);
        }
    }

    #[test]
    fn versions_say_what_their_producers_know() {
        let all: Vec<Support> = (9..=13).map(support).collect();
        let (verify, add) = (Support::Verify, Support::Add);
        assert_eq!(all, [verify, verify, Support::VerifyAbortable, add, add]);
    }
}
