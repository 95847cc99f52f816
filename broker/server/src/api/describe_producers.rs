//! DescribeProducers (key 61, KIP-664): the producers that a partition's leader remembers.

use std::sync::Arc;

use authorizer::{Operation, ResourceType};
use base::{ErrorCode, topic_name};
use wire::Str;
use wire::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use wire::messages::{DescribeProducersRequest, DescribeProducersResponse};

use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let permit = broker.permit(cx);
    let read = |topic: &str| permit.check(Operation::Read, ResourceType::Topic, topic);
    let topics = request.topics.into_iter().map(|topic| TopicResponse {
        partitions: topic
            .partition_indexes
            .into_iter()
            .map(|index| {
                match read(&topic.name).and_then(|()| producers(broker, &topic.name, index)) {
                    Ok(active_producers) => PartitionResponse {
                        partition_index: index,
                        active_producers,
                        ..Default::default()
                    },
                    Err(code) => PartitionResponse {
                        partition_index: index,
                        error_code: code.code(),
                        error_message: Some(Str::from(code.message())),
                        ..Default::default()
                    },
                }
            })
            .collect(),
        name: topic.name,
    });
    DescribeProducersResponse { topics: topics.collect(), ..Default::default() }
}

fn producers(broker: &Broker, topic: &str, index: i32) -> Result<Vec<ProducerState>, ErrorCode> {
    if topic_name::check(topic).is_err() {
        return Err(ErrorCode::InvalidTopicException);
    }
    let partition = broker.storage.partitions.find(topic, index)?;
    partition.check_leader(-1)?;
    let told = partition.producers().into_iter().map(|producer| ProducerState {
        producer_id: producer.producer_id,
        producer_epoch: producer.producer_epoch.into(),
        last_sequence: producer.last_sequence,
        last_timestamp: producer.last_timestamp,
        coordinator_epoch: producer.coordinator_epoch,
        current_txn_start_offset: producer.current_txn_first_offset.unwrap_or(-1),
    });
    Ok(told.collect())
}
