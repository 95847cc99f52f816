//! DeleteRecords: moves the start of the log up. Followers take the new start over with their next
//! fetch, and the answer waits for that: once told, no election brings a deleted record back.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use authorizer::{Operation, ResourceType};
use base::{ErrorCode, Offset, topic_name};
use tokio::time::{Instant, sleep_until};
use wire::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use wire::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use crate::broker::Broker;
use crate::request::RequestContext;
use storage::partition::{FetchWait, Partition, Registration};

/// The low watermark that is told with every error but a timeout.
const UNKNOWN: Offset = -1;

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let max_wait = Duration::from_millis(request.timeout_ms.max(0).unsigned_abs().into());
    let deadline = Instant::from_std(cx.received) + max_wait;
    let mut deletions = Deletions::default();
    let permit = broker.permit(cx);
    for topic in &request.topics {
        let allowed = permit.check(Operation::Delete, ResourceType::Topic, &topic.name);
        for asked in &topic.partitions {
            let deleted = match allowed {
                Ok(()) => delete(broker, &topic.name, asked.partition_index, asked.offset).await,
                Err(code) => Err(code),
            };
            deletions.push(deleted);
        }
    }
    deletions.wait_for_replicas(broker, deadline).await;
    let mut results = deletions.all.iter().map(Deletion::result);
    let mut result = |partition_index| {
        let (low_watermark, code) = results.next().unwrap_or((UNKNOWN, ErrorCode::None));
        DeleteRecordsPartitionResult { partition_index, low_watermark, error_code: code.code() }
    };
    let topics = request.topics.into_iter().map(|topic| DeleteRecordsTopicResult {
        partitions: topic.partitions.iter().map(|p| result(p.partition_index)).collect(),
        name: topic.name,
    });
    DeleteRecordsResponse { throttle_time_ms: 0, topics: topics.collect() }
}

/// Moves the start of this replica's log, if it leads.
async fn delete(
    broker: &Arc<Broker>,
    topic: &str,
    number: i32,
    offset: Offset,
) -> Result<(Arc<Partition>, Offset), ErrorCode> {
    let hosted = broker.storage.partitions.find(topic, number);
    // As Kafka: whoever leads it, an internal topic is none of the client's.
    let exists = !matches!(hosted, Err(ErrorCode::UnknownTopicOrPartition));
    if exists && topic_name::is_internal(topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    let partition = hosted?;
    let deleting = partition.clone();
    let required = broker.lookups.run(move || deleting.delete_records(offset)).await;
    Ok((partition, required.unwrap_or(Err(ErrorCode::BrokerNotAvailable))?))
}

/// What became of one partition of the request.
enum Deletion {
    /// Deleted here; others may lack behind.
    Waits {
        partition: Arc<Partition>,
        required: Offset,
        low_watermark: Offset,
    },
    Done(Result<Offset, ErrorCode>),
}

impl Deletion {
    fn result(&self) -> (Offset, ErrorCode) {
        match self {
            Deletion::Waits { low_watermark, .. } => (*low_watermark, ErrorCode::RequestTimedOut),
            Deletion::Done(Ok(low_watermark)) => (*low_watermark, ErrorCode::None),
            Deletion::Done(Err(code)) => (UNKNOWN, *code),
        }
    }
}

/// The partitions of the request, in its order.
#[derive(Default)]
struct Deletions {
    all: Vec<Deletion>,
    waiting: BTreeSet<usize>,
    wait: Arc<FetchWait>,
}

impl Deletions {
    fn push(&mut self, deleted: Result<(Arc<Partition>, Offset), ErrorCode>) {
        self.all.push(match deleted {
            Ok((partition, required)) => {
                self.waiting.insert(self.all.len());
                Deletion::Waits { partition, required, low_watermark: UNKNOWN }
            }
            Err(code) => Deletion::Done(Err(code)),
        });
    }

    /// Until every live replica has moved its log start, or the time is over. Followers tell of
    /// theirs; who is alive, and who leads, comes with images.
    async fn wait_for_replicas(&mut self, broker: &Broker, deadline: Instant) {
        let mut applied = broker.storage.partitions.applied();
        let mut news: Vec<u32> = Vec::new();
        self.look_at_all(broker);
        while !self.waiting.is_empty() {
            let wait = self.wait.clone();
            tokio::select! {
                () = poll_fn(|cx| wait.poll(cx, &mut news)) => {
                    for index in news.drain(..) {
                        self.look(broker, index as usize);
                    }
                }
                changed = applied.changed() => match changed {
                    Ok(()) => self.look_at_all(broker),
                    Err(_) => return,
                },
                () = sleep_until(deadline) => return,
            }
        }
    }

    fn look_at_all(&mut self, broker: &Broker) {
        let waiting: Vec<usize> = self.waiting.iter().copied().collect();
        waiting.into_iter().for_each(|index| self.look(broker, index));
    }

    fn look(&mut self, broker: &Broker, index: usize) {
        let Some(deletion) = self.all.get_mut(index) else { return };
        let Deletion::Waits { partition, required, low_watermark } = deletion else { return };
        let registration = Registration { wait: &self.wait, index: index as u32 };
        match partition.low_watermark(&broker.image(), *required, registration) {
            Ok(low) if low < *required => *low_watermark = low,
            done => {
                self.waiting.remove(&index);
                *deletion = Deletion::Done(done);
            }
        }
    }
}

impl Drop for Deletions {
    fn drop(&mut self) {
        // Registrations that are left in partitions are swept out there.
        self.wait.finish();
    }
}
