//! What is asked, and how the answers are told.

use wire::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};

use super::*;

fn asked(id: &str, support: Support) -> Asked {
    let partitions = [("a", 0), ("a", 1), ("b", 0)];
    Asked {
        transactional_id: Str::from(id),
        producer_id: 7,
        epoch: 3,
        support,
        partitions: partitions.map(|(topic, partition)| (topic.into(), partition)).to_vec(),
    }
}

fn response(id: &str, results: &[(&str, i32, ErrorCode)]) -> AddPartitionsToTxnResponse {
    let topic_results = results.iter().map(|(topic, partition_index, code)| {
        let partition_error_code = code.code();
        AddPartitionsToTxnTopicResult {
            name: Str::from(*topic),
            results_by_partition: vec![AddPartitionsToTxnPartitionResult {
                partition_index: *partition_index,
                partition_error_code,
            }],
        }
    });
    let result = AddPartitionsToTxnResult {
        transactional_id: Str::from(id),
        topic_results: topic_results.collect(),
    };
    AddPartitionsToTxnResponse { results_by_transaction: vec![result], ..Default::default() }
}

#[test]
fn only_producers_of_the_second_version_add_their_partitions() {
    let (first, second) = (asked("x", Support::Verify), asked("y", Support::Add));
    let request = request_of(&[&first, &second]);
    let told: Vec<_> = request
        .transactions
        .iter()
        .map(|t| {
            let topics = t.topics.iter().map(|topic| topic.partitions.clone()).collect::<Vec<_>>();
            (&*t.transactional_id, t.producer_id, t.producer_epoch, t.verify_only, topics)
        })
        .collect();
    let topics = || vec![vec![0, 1], vec![0]];
    assert_eq!(told, [("x", 7, 3, true, topics()), ("y", 7, 3, false, topics())]);
}

#[test]
fn answers_are_told_in_the_order_of_the_question() {
    let none = ErrorCode::None;
    let (fenced, abortable) = (ErrorCode::ProducerFenced, ErrorCode::TransactionAbortable);
    let response = response("x", &[("b", 0, abortable), ("a", 1, fenced), ("a", 0, none)]);
    let old = codes(&asked("x", Support::Verify), &response);
    assert_eq!(old, [none, ErrorCode::InvalidProducerEpoch, ErrorCode::InvalidTxnState]);
    let new = codes(&asked("x", Support::VerifyAbortable), &response);
    assert_eq!(new, [none, ErrorCode::InvalidProducerEpoch, abortable]);
    let missing = codes(&asked("y", Support::Verify), &response);
    assert!(missing.iter().all(|code| code.is_error()), "{missing:?}");
}

#[test]
fn a_refusal_of_this_broker_is_no_business_of_the_producer() {
    let refused = ErrorCode::ClusterAuthorizationFailed.code();
    let response = AddPartitionsToTxnResponse { error_code: refused, ..Default::default() };
    let told = codes(&asked("x", Support::Verify), &response);
    assert_eq!(told, [ErrorCode::InvalidTxnState; 3]);
}
