//! AddPartitionsToTxn (key 24): partitions become part of a transaction, so that its end reaches
//! them. Clients ask up to version 3, for one transaction; from version 4 on leaders ask, for
//! several, and may only want to know whether partitions were added.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use authorizer::{Operation, ResourceType};
use base::ErrorCode;
use coordinator::txn::{
    AddPartitions, Partitions, Producer, TxnReply, TxnRequest, VerifyPartitions,
};
use futures::future::join_all;
use metadata::Image;
use wire::Str;
use wire::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use wire::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use wire::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};

use super::transactions::{ask, fenced_before, level};
use crate::{Broker, RequestContext};

/// First version of brokers.
const BATCHED: i16 = 4;
/// First version for producers whose epoch rises with each transaction (KIP-890).
const RAISING: i16 = 5;
/// First version whose clients know PRODUCER_FENCED.
const FENCED: i16 = 2;

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    if cx.version < BATCHED {
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: request.v3_and_below_transactional_id,
            producer_id: request.v3_and_below_producer_id,
            producer_epoch: request.v3_and_below_producer_epoch,
            verify_only: false,
            topics: request.v3_and_below_topics,
        };
        return AddPartitionsToTxnResponse {
            results_by_topic_v3_and_below: add(broker, cx, transaction).await.topic_results,
            ..Default::default()
        };
    }
    if !cx.sender.is_broker() {
        let error_code = ErrorCode::ClusterAuthorizationFailed.code();
        return AddPartitionsToTxnResponse { error_code, ..Default::default() };
    }
    let transactions = request.transactions.into_iter();
    AddPartitionsToTxnResponse {
        results_by_transaction: join_all(transactions.map(|t| add(broker, cx, t))).await,
        ..Default::default()
    }
}

/// All partitions of a transaction, or none.
async fn add(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    transaction: AddPartitionsToTxnTransaction,
) -> AddPartitionsToTxnResult {
    let AddPartitionsToTxnTransaction { transactional_id, topics, .. } = &transaction;
    let (image, permit, version) = (broker.image(), broker.permit(cx), cx.version);
    // Leaders ask for what their clients were allowed.
    let may = |resource_type, name: &str| {
        version >= BATCHED || permit.may(Operation::Write, resource_type, name)
    };
    let denied: BTreeSet<&str> = match may(ResourceType::TransactionalId, transactional_id) {
        true => {
            let names = topics.iter().map(|topic| topic.name.as_str());
            names.filter(|name| !may(ResourceType::Topic, name)).collect()
        }
        false => {
            let code = ErrorCode::TransactionalIdAuthorizationFailed;
            let topic_results = results(topics, |_, _| code);
            let transactional_id = transaction.transactional_id;
            return AddPartitionsToTxnResult { transactional_id, topic_results };
        }
    };
    let topic_results = if transactional_id.is_empty() {
        results(topics, |_, _| ErrorCode::InvalidRequest)
    } else if !denied.is_empty() {
        results(topics, |topic, index| match image.partition(topic, index) {
            _ if denied.contains(topic.as_str()) => ErrorCode::TopicAuthorizationFailed,
            Some(_) => ErrorCode::OperationNotAttempted,
            None => ErrorCode::UnknownTopicOrPartition,
        })
    } else if topics.iter().any(|topic| unknown(&image, topic).next().is_some()) {
        results(topics, |topic, index| match image.partition(topic, index) {
            Some(_) => ErrorCode::OperationNotAttempted,
            None => ErrorCode::UnknownTopicOrPartition,
        })
    } else {
        let reply = ask(broker, to_request(&image, version, &transaction)).await;
        answered(topics, version, reply)
    };
    let transactional_id = transaction.transactional_id;
    AddPartitionsToTxnResult { transactional_id, topic_results }
}

fn unknown<'a>(
    image: &'a Image,
    topic: &'a AddPartitionsToTxnTopic,
) -> impl Iterator<Item = i32> + 'a {
    topic.partitions.iter().copied().filter(|&i| image.partition(&topic.name, i).is_none())
}

fn to_request(
    image: &Image,
    version: i16,
    transaction: &AddPartitionsToTxnTransaction,
) -> TxnRequest {
    let id = transaction.transactional_id.to_arc();
    let producer = Producer { id: transaction.producer_id, epoch: transaction.producer_epoch };
    let mut partitions = Partitions::new();
    for topic in transaction.topics.iter().filter(|topic| !topic.partitions.is_empty()) {
        partitions.entry(topic.name.to_arc()).or_default().extend(&topic.partitions);
    }
    if transaction.verify_only {
        return TxnRequest::Verify(VerifyPartitions { id, producer, partitions });
    }
    let version = if version >= RAISING { 2 } else { 0 };
    let level = level(image);
    TxnRequest::Add(AddPartitions { id, producer, partitions, version, level })
}

fn answered(
    topics: &[AddPartitionsToTxnTopic],
    version: i16,
    reply: TxnReply,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let error = match reply {
        TxnReply::Add(error) | TxnReply::Verify(Err(error)) => error,
        TxnReply::Verify(Ok(verified)) => {
            let errors: HashMap<(Arc<str>, i32), ErrorCode> =
                verified.into_iter().map(|(topic, index, error)| ((topic, index), error)).collect();
            return results(topics, |topic, index| {
                errors.get(&(topic.to_arc(), index)).copied().unwrap_or(ErrorCode::None)
            });
        }
        _ => ErrorCode::UnknownServerError,
    };
    let error = fenced_before(FENCED, version, error);
    results(topics, |_, _| error)
}

fn results(
    topics: &[AddPartitionsToTxnTopic],
    error: impl Fn(&Str, i32) -> ErrorCode,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let of = |topic: &AddPartitionsToTxnTopic| {
        let partition = |&index: &i32| AddPartitionsToTxnPartitionResult {
            partition_index: index,
            partition_error_code: error(&topic.name, index).code(),
        };
        AddPartitionsToTxnTopicResult {
            name: topic.name.clone(),
            results_by_partition: topic.partitions.iter().map(partition).collect(),
        }
    };
    topics.iter().map(of).collect()
}
