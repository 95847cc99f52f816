//! ListOffsets: first, last, and by timestamp, bounded by what the asker may see. Timestamp lookups
//! may wait for the disk and run on the threads for lookups.

use std::collections::BTreeSet;
use std::sync::Arc;

use authorizer::{Operation, ResourceType};
use base::{ErrorCode, LeaderEpoch, Offset};
use replica::Isolation;
use wire::Str;
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use wire::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use wire::messages::{ListOffsetsRequest, ListOffsetsResponse};

use crate::broker::Broker;
use crate::request::RequestContext;
use storage::partition::Partition;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;
const UNKNOWN: i64 = -1;
const LEADER_EPOCH_VERSION_MIN: i16 = 4;
/// Clients of older versions do not know the error and give up; this one they try again.
const OFFSET_NOT_AVAILABLE_VERSION_MIN: i16 = 5;

/// An offset with what the response says about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Answer {
    timestamp: i64,
    offset: Offset,
    leader_epoch: LeaderEpoch,
}

const NOTHING: Answer = Answer { timestamp: UNKNOWN, offset: UNKNOWN, leader_epoch: -1 };

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let isolation = match request.isolation_level {
        1 => Isolation::ReadCommitted,
        _ => Isolation::ReadUncommitted,
    };
    let repeated = repeated(&request.topics);
    let mut topics = Vec::with_capacity(request.topics.len());
    let permit = broker.permit(cx);
    for topic in request.topics {
        let allowed = permit.check(Operation::Describe, ResourceType::Topic, &topic.name);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let twice = repeated.contains(&(topic.name.clone(), asked.partition_index));
            let hosted = || broker.storage.partitions.find(&topic.name, asked.partition_index);
            let answer = match allowed.and_then(|()| hosted()) {
                Err(code) if allowed.is_err() => Err(code),
                _ if twice => Err(ErrorCode::InvalidRequest),
                _ if !is_timestamp(cx.version, asked.timestamp) => {
                    Err(ErrorCode::UnsupportedVersion)
                }
                Ok(partition) => look_up(broker, partition, &asked, isolation).await,
                Err(code) => Err(code),
            };
            partitions.push(response_of(cx.version, asked.partition_index, answer));
        }
        topics.push(ListOffsetsTopicResponse { name: topic.name, partitions });
    }
    ListOffsetsResponse { throttle_time_ms: 0, topics }
}

/// Partitions that the request names more than once.
fn repeated(topics: &[ListOffsetsTopic]) -> BTreeSet<(Str, i32)> {
    let mut seen = BTreeSet::new();
    let all = topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|asked| (topic.name.clone(), asked.partition_index))
    });
    all.filter(|partition| !seen.insert(partition.clone())).collect()
}

/// Whether a version has this meaning of a negative timestamp. Others are those of a time.
fn is_timestamp(version: i16, timestamp: i64) -> bool {
    let since = match timestamp {
        0.. | LATEST | EARLIEST => 1,
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        EARLIEST_PENDING_UPLOAD => 11,
        _ => return false,
    };
    version >= since
}

async fn look_up(
    broker: &Arc<Broker>,
    partition: Arc<Partition>,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<Answer, ErrorCode> {
    partition.check_leader(asked.current_leader_epoch)?;
    match asked.timestamp {
        LATEST => {
            let offset = partition.latest_offset(isolation)?;
            let leader_epoch = partition.leader_epoch().ok_or(ErrorCode::NotLeaderOrFollower)?;
            Ok(Answer { timestamp: UNKNOWN, offset, leader_epoch })
        }
        EARLIEST | EARLIEST_LOCAL => {
            let offset = partition.offsets().log_start;
            let leader_epoch = partition.epoch_of(offset).unwrap_or(-1);
            Ok(Answer { timestamp: UNKNOWN, offset, leader_epoch })
        }
        // There is no remote tier: nothing was uploaded and nothing waits for it.
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => Ok(NOTHING),
        timestamp => {
            let (end, otherwise) = partition.timestamp_bound(isolation)?;
            let search = move || match timestamp {
                MAX_TIMESTAMP => partition.offset_of_max_timestamp(),
                _ => partition.offset_for_timestamp(timestamp),
            };
            let found = broker.lookups.run(search).await;
            let found = found.ok_or(ErrorCode::BrokerNotAvailable)??;
            match (found.filter(|found| found.offset < end), otherwise) {
                (Some(found), _) => Ok(Answer {
                    timestamp: found.timestamp,
                    offset: found.offset,
                    leader_epoch: found.leader_epoch,
                }),
                (None, Some(code)) => Err(code),
                (None, None) => Ok(NOTHING),
            }
        }
    }
}

fn response_of(
    version: i16,
    index: i32,
    answer: Result<Answer, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let code = match answer.err().unwrap_or(ErrorCode::None) {
        ErrorCode::OffsetNotAvailable if version < OFFSET_NOT_AVAILABLE_VERSION_MIN => {
            ErrorCode::LeaderNotAvailable
        }
        code => code,
    };
    let answer = answer.unwrap_or(NOTHING);
    ListOffsetsPartitionResponse {
        partition_index: index,
        error_code: code.code(),
        timestamp: answer.timestamp,
        offset: answer.offset,
        // Older versions cannot say it, and the codec refuses to drop it silently.
        leader_epoch: if version >= LEADER_EPOCH_VERSION_MIN { answer.leader_epoch } else { -1 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_timestamp_means_something_from_some_version_on() {
        let first = |timestamp| (1..=11).find(|version| is_timestamp(*version, timestamp));
        assert_eq!([0, -1, -2].map(first), [Some(1); 3]);
        assert_eq!([-3, -4, -5, -6].map(first), [Some(7), Some(8), Some(9), Some(11)]);
        assert_eq!([-7, i64::MIN].map(first), [None; 2]);
    }

    #[test]
    fn a_high_watermark_that_lags_is_told_in_words_that_the_client_knows() {
        let code = |version| response_of(version, 0, Err(ErrorCode::OffsetNotAvailable)).error_code;
        for version in 1..=4 {
            assert_eq!(code(version), ErrorCode::LeaderNotAvailable.code(), "v{version}");
        }
        for version in 5..=11 {
            assert_eq!(code(version), ErrorCode::OffsetNotAvailable.code(), "v{version}");
        }
    }
}
