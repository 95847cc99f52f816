//! DescribeTopicPartitions (key 75, KIP-966): partitions with their eligible leader replicas, page
//! by page in the order of topic names.

use std::sync::Arc;

use authorizer::{Operation, ResourceType};
use base::ErrorCode;
use metadata::{Image, Topic};
use wire::Str;
use wire::messages::describe_topic_partitions_request::Cursor;
use wire::messages::describe_topic_partitions_response as response;
use wire::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};

use super::forward::ids;
use super::topology::{leader_on, offline_replicas};
use crate::authorize::Permit;
use crate::suspects::Suspects;
use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let limit = broker.config.net.partitions_per_request_max;
    let limit = usize::try_from(request.response_partition_limit).unwrap_or(0).clamp(1, limit);
    let (image, permit) = (broker.image(), broker.permit(cx));
    let view =
        View { image: &image, suspects: &broker.suspects, listener: &cx.listener, permit: &permit };
    view.page(request, limit)
}

/// What one client sees of the cluster.
struct View<'a> {
    image: &'a Image,
    suspects: &'a Suspects,
    listener: &'a str,
    permit: &'a Permit,
}

impl View<'_> {
    fn page(
        &self,
        request: DescribeTopicPartitionsRequest,
        limit: usize,
    ) -> DescribeTopicPartitionsResponse {
        let (image, permit) = (self.image, self.permit);
        let (describe, resource) = (Operation::Describe, ResourceType::Topic);
        let cursor =
            request.cursor.unwrap_or(Cursor { topic_name: Str::from(""), partition_index: 0 });
        let mut names: Vec<Str> = request.topics.into_iter().map(|t| t.name).collect();
        if names.is_empty() {
            let topics = image.topics_from(&cursor.topic_name);
            let seen = topics.filter(|t| permit.sees(describe, resource, &t.name));
            names = seen.map(|t| Str::from(&t.name)).collect();
        }
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        names.retain(|name| name.as_str() >= cursor.topic_name.as_str());

        let (mut out, mut room) = (DescribeTopicPartitionsResponse::default(), limit);
        for name in names {
            let topic = match permit.check(describe, resource, &name) {
                Ok(()) => image.topic(&name).ok_or(ErrorCode::UnknownTopicOrPartition),
                Err(code) => Err(code),
            };
            let topic = match topic {
                Ok(topic) => topic,
                Err(code) => {
                    let mut told = response::DescribeTopicPartitionsResponseTopic {
                        error_code: code.code(),
                        ..Default::default()
                    };
                    if code == ErrorCode::UnknownTopicOrPartition {
                        told.topic_authorized_operations = permit.operations(resource, &name);
                    }
                    told.name = Some(name);
                    out.topics.push(told);
                    continue;
                }
            };
            let first = match name == cursor.topic_name {
                true => usize::try_from(cursor.partition_index).unwrap_or(0),
                false => 0,
            };
            let last = topic.partitions.len().min(first.saturating_add(room));
            if last > first || topic.partitions.is_empty() {
                out.topics.push(self.describe(topic, first..last));
                room -= last - first;
            }
            if last < topic.partitions.len() {
                let next = first.max(last) as i32;
                out.next_cursor =
                    Some(response::Cursor { topic_name: name, partition_index: next });
                break;
            }
        }
        out
    }

    fn describe(
        &self,
        topic: &Topic,
        range: std::ops::Range<usize>,
    ) -> response::DescribeTopicPartitionsResponseTopic {
        let partitions = topic.partitions.iter().enumerate().skip(range.start).take(range.len());
        let partition = |(index, p): (usize, &Arc<metadata::Partition>)| {
            let leader = leader_on(self.image, self.suspects, p, self.listener);
            response::DescribeTopicPartitionsResponsePartition {
                error_code: leader.err().unwrap_or(ErrorCode::None).code(),
                partition_index: index as i32,
                leader_id: leader.map_or(-1, |id| id.0),
                leader_epoch: p.leader_epoch,
                replica_nodes: ids(&p.replicas),
                isr_nodes: ids(&p.isr),
                eligible_leader_replicas: Some(ids(&p.elr)),
                last_known_elr: Some(ids(&p.last_known_elr)),
                offline_replicas: offline_replicas(self.image, p),
            }
        };
        response::DescribeTopicPartitionsResponseTopic {
            name: Some(Str::from(&topic.name)),
            topic_id: topic.id,
            is_internal: topic.is_internal(),
            partitions: partitions.map(partition).collect(),
            topic_authorized_operations: self.permit.operations(ResourceType::Topic, &topic.name),
            ..Default::default()
        }
    }
}
