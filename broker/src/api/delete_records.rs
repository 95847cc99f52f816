//! DeleteRecords: moves the start of the log up. Followers take the new start over with their next
//! fetch; the answer carries the leader's.

use std::sync::Arc;

use base::ErrorCode;
use wire::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use wire::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use crate::broker::Broker;
use crate::request::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    _cx: &RequestContext,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let result = match broker.partitions.find(&topic.name, asked.partition_index) {
                Ok(partition) => {
                    let delete = move || partition.delete_records(asked.offset);
                    let done = broker.read_ahead.run(delete).await;
                    done.unwrap_or(Err(ErrorCode::BrokerNotAvailable))
                }
                Err(code) => Err(code),
            };
            partitions.push(DeleteRecordsPartitionResult {
                partition_index: asked.partition_index,
                low_watermark: result.unwrap_or(-1),
                error_code: result.err().unwrap_or(ErrorCode::None).code(),
            });
        }
        topics.push(DeleteRecordsTopicResult { name: topic.name, partitions });
    }
    DeleteRecordsResponse { throttle_time_ms: 0, topics }
}
