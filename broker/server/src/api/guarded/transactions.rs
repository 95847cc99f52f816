//! Of requests that are about one transactional id, or one producer.

use authorizer::{Operation, ResourceType};
use wire::Str;
use wire::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use wire::messages::*;

use crate::guard::{Demand, Guarded, Refusal};

fn writes(id: &Str) -> Demand<'_> {
    Demand::Of(Operation::Write, ResourceType::TransactionalId, id)
}

fn reads(group: &Str) -> Demand<'_> {
    Demand::Of(Operation::Read, ResourceType::Group, group)
}

impl Guarded for InitProducerIdRequest {
    fn demands(&self) -> Vec<Demand<'_>> {
        vec![self.transactional_id.as_ref().map_or(Demand::Idempotence, writes)]
    }

    fn refuse(&self, _: i16, refusal: &Refusal) -> InitProducerIdResponse {
        InitProducerIdResponse { error_code: refusal.code.code(), ..Default::default() }
    }
}

impl Guarded for EndTxnRequest {
    fn demands(&self) -> Vec<Demand<'_>> {
        vec![writes(&self.transactional_id)]
    }

    fn refuse(&self, _: i16, refusal: &Refusal) -> EndTxnResponse {
        EndTxnResponse { error_code: refusal.code.code(), ..Default::default() }
    }
}

impl Guarded for AddOffsetsToTxnRequest {
    fn demands(&self) -> Vec<Demand<'_>> {
        vec![writes(&self.transactional_id), reads(&self.group_id)]
    }

    fn refuse(&self, _: i16, refusal: &Refusal) -> AddOffsetsToTxnResponse {
        AddOffsetsToTxnResponse { error_code: refusal.code.code(), ..Default::default() }
    }
}

impl Guarded for TxnOffsetCommitRequest {
    fn demands(&self) -> Vec<Demand<'_>> {
        vec![writes(&self.transactional_id), reads(&self.group_id)]
    }

    fn refuse(&self, _: i16, refusal: &Refusal) -> TxnOffsetCommitResponse {
        let topics = self.topics.iter().map(|topic| TxnOffsetCommitResponseTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: topic
                .partitions
                .iter()
                .map(|partition| TxnOffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: refusal.code.code(),
                })
                .collect(),
        });
        TxnOffsetCommitResponse { topics: topics.collect(), ..Default::default() }
    }
}
