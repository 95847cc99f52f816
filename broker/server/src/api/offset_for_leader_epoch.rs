//! OffsetForLeaderEpoch: where an epoch ends on the leader, for clients that check whether what
//! they read was truncated away (KIP-320).

use std::sync::Arc;

use authorizer::{Operation, ResourceType};
use base::ErrorCode;
use replica::EpochEnd;
use wire::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use wire::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use wire::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use crate::broker::Broker;
use crate::request::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let refused = cx.sender.replica(request.replica_id).err();
    // A broker that nobody asks to prove it is one, too.
    let is_replica = request.replica_id >= 0 && cx.sender.is_broker();
    let permit = broker.permit(cx);
    let is_replica = is_replica || permit.sees_cluster(Operation::ClusterAction);
    let describe = |topic: &str| permit.check(Operation::Describe, ResourceType::Topic, topic);
    let topics = request.topics.into_iter().map(|topic| {
        let denied = if is_replica { None } else { describe(&topic.topic).err() };
        let partitions = topic.partitions.iter().map(|asked| match refused.or(denied) {
            Some(code) => end_offset(asked, Err(code)),
            None => look_up(broker, &topic.topic, asked),
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult { topic: topic.topic, partitions }
    });
    OffsetForLeaderEpochResponse { throttle_time_ms: 0, topics: topics.collect() }
}

fn look_up(broker: &Broker, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let found = broker.storage.partitions.find(topic, asked.partition).and_then(|partition| {
        partition.check_leader(asked.current_leader_epoch)?;
        Ok(partition.epoch_end_offset(asked.leader_epoch))
    });
    end_offset(asked, found)
}

fn end_offset(
    asked: &OffsetForLeaderPartition,
    found: Result<Option<EpochEnd>, ErrorCode>,
) -> EpochEndOffset {
    let code = found.err().unwrap_or(ErrorCode::None);
    let end = found.ok().flatten();
    EpochEndOffset {
        error_code: code.code(),
        partition: asked.partition,
        leader_epoch: end.map_or(-1, |end| end.epoch),
        end_offset: end.map_or(-1, |end| end.end_offset),
    }
}
