//! TxnOffsetCommit (key 28): offsets that count once their transaction is committed. The partition
//! of `__consumer_offsets` is a part of the transaction, and its coordinator is asked as for any
//! other.

use std::sync::Arc;

use authorizer::{Operation, ResourceType};
use base::ErrorCode;
use commitlog::VerificationStart;
use coordination::{OFFSETS_TOPIC, partition_of};
use coordinator::{
    CommitOffsets, GroupReply, GroupRequest, OffsetToCommit, Transaction, TransactionalCommit,
};
use metadata::Image;
use wire::Str;
use wire::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use wire::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use wire::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};

use super::offsets_to_commit::{AskedTopic, fill_in};
use crate::peer::{Asked, Support};
use crate::{Broker, RequestContext};

/// First versions: whose clients try a coordinator that loads again, that know
/// TRANSACTION_ABORTABLE, that need no AddOffsetsToTxn, that name topics by id.
const LOADING: i16 = 2;
const ABORTABLE: i16 = 4;
const ADD: i16 = 5;
const TOPIC_IDS: i16 = 6;

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let (image, permit) = (broker.image(), broker.permit(cx));
    let may_read = |topic: &str| permit.may(Operation::Read, ResourceType::Topic, topic);
    let mut offsets = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        topics.push(split(&image, cx.version, topic, &mut offsets, &may_read));
    }
    let count = offsets.len();
    if count > 0 {
        let commit = CommitOffsets {
            knows_epochs: true,
            group: request.group_id.into_arc(),
            member_id: request.member_id.into_arc(),
            instance_id: request.group_instance_id.map(Str::into_arc),
            generation: request.generation_id_or_member_epoch,
            retention_ms: None,
            unknown_group: ErrorCode::IllegalGeneration,
            offsets,
        };
        let transaction = Transaction {
            producer_id: request.producer_id,
            epoch: request.producer_epoch,
            guard: None,
        };
        let asked = (request.transactional_id, support(cx.version));
        let result = commit_verified(broker, &image, asked, transaction, commit).await;
        let errors = result.unwrap_or_else(|code| vec![code; count]);
        let partitions = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        let told = errors.into_iter().map(|code| told(cx.version, code));
        fill_in(partitions.map(|p| &mut p.error_code), told);
    }
    TxnOffsetCommitResponse { topics, ..Default::default() }
}

fn support(version: i16) -> Support {
    Support::of(version, ABORTABLE, ADD)
}

/// One error per offset, or one for all of them.
async fn commit_verified(
    broker: &Broker,
    image: &Image,
    (transactional_id, support): (Str, Support),
    mut transaction: Transaction,
    commit: CommitOffsets,
) -> Result<Vec<ErrorCode>, ErrorCode> {
    if commit.group.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let index = partition_of(image, &commit.group).ok_or(ErrorCode::NotCoordinator)?;
    let partition = broker.storage.partitions.find(OFFSETS_TOPIC, index);
    let partition = partition.map_err(|_| ErrorCode::NotCoordinator)?;
    let start = VerificationStart {
        producer_id: transaction.producer_id,
        epoch: transaction.epoch,
        sequence: record::NO_SEQUENCE,
        bumps_epoch: support == Support::Add,
    };
    let guard = partition.start_verification(start).map_err(|_| ErrorCode::NotCoordinator)?;
    if let Some(mut guard) = guard {
        let asked = Asked {
            transactional_id,
            producer_id: transaction.producer_id,
            epoch: transaction.epoch,
            support,
            partitions: vec![(OFFSETS_TOPIC.into(), index)],
        };
        let begin_again = || {
            if let Ok(Some(again)) = partition.start_verification(start) {
                guard = again;
            }
        };
        let codes = broker.verifier.ask(asked, begin_again).await;
        match codes.first() {
            Some(ErrorCode::None) => transaction.guard = Some(guard.number()),
            // Clients try that again without looking for the coordinator, in every version.
            Some(ErrorCode::NetworkException) | None => {
                return Err(ErrorCode::CoordinatorLoadInProgress);
            }
            Some(code) => return Err(*code),
        }
    }
    let request = TransactionalCommit { transaction, commit };
    match broker.groups.call(image, GroupRequest::CommitInTransaction(request)).await {
        GroupReply::Commit(reply) => Ok(reply.errors),
        _ => Err(ErrorCode::UnknownServerError),
    }
}

fn told(version: i16, code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::CoordinatorLoadInProgress if version < LOADING => {
            ErrorCode::CoordinatorNotAvailable
        }
        code => code,
    }
}

/// The response for one topic, with what can be committed put aside.
fn split(
    image: &Image,
    version: i16,
    asked: TxnOffsetCommitRequestTopic,
    offsets: &mut Vec<OffsetToCommit>,
    may_read: &dyn Fn(&str) -> bool,
) -> TxnOffsetCommitResponseTopic {
    let topic = AskedTopic::of(image, version >= TOPIC_IDS, &asked.name, asked.topic_id, may_read);
    let partition = |p: TxnOffsetCommitRequestPartition| {
        let position = (p.committed_offset, p.committed_leader_epoch);
        let partition_index = p.partition_index;
        let error_code = topic.put(offsets, partition_index, position, p.committed_metadata);
        TxnOffsetCommitResponsePartition { partition_index, error_code }
    };
    let partitions = asked.partitions.into_iter().map(partition).collect();
    TxnOffsetCommitResponseTopic { name: asked.name, topic_id: asked.topic_id, partitions }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_say_what_their_producers_know() {
        let all: Vec<Support> = (0..=6).map(support).collect();
        let (verify, abortable, add) = (Support::Verify, Support::VerifyAbortable, Support::Add);
        assert_eq!(all, [verify, verify, verify, verify, abortable, add, add]);
    }

    #[test]
    fn old_producers_look_for_another_coordinator_than_one_that_loads() {
        let code = |version| told(version, ErrorCode::CoordinatorLoadInProgress);
        assert_eq!([0, 1].map(code), [ErrorCode::CoordinatorNotAvailable; 2]);
        assert_eq!([2, 5].map(code), [ErrorCode::CoordinatorLoadInProgress; 2]);
    }
}
