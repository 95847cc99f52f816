//! WriteTxnMarkers (key 27): ends transactions in the partitions that this broker leads. Sent by
//! the coordinator of a transaction. Whoever may send it may end any transaction, so that while
//! clients are not authenticated only a broker may.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use authorizer::Operation;
use base::ErrorCode;
use base::topic_name::OFFSETS;
use commitlog::TransactionMarker;
use coordination::GroupCoordinator;
use coordinator::TransactionEnd;
use futures::future::join_all;
use tokio::time::timeout;
use wire::ApiKey;
use wire::messages::write_txn_markers_request::WritableTxnMarker;
use wire::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use wire::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};

use crate::broker::Broker;
use crate::request::RequestContext;
use storage::partition::{Partition, ProduceWait, Ticket};

/// How long markers may wait for their commit, as Kafka's `request.timeout.ms`.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);
/// Markers that are appended before others of the thread get their turn.
const TURN: usize = 64;

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: WriteTxnMarkersRequest,
) -> WriteTxnMarkersResponse {
    if !may_end_transactions(broker, cx) {
        return response(request, std::iter::repeat(ErrorCode::ClusterAuthorizationFailed));
    }
    let mut appending = Appending::new(&request);
    for marker in &request.markers {
        for topic in &marker.topics {
            for &index in &topic.partition_indexes {
                appending.append(broker, marker, &topic.name, index).await;
            }
        }
    }
    let codes = appending.codes(&broker.groups).await;
    response(request, codes.into_iter())
}

/// Brokers may, and whom the rules let act as one or alter the cluster.
fn may_end_transactions(broker: &Broker, cx: &RequestContext) -> bool {
    let permit = broker.permit(cx);
    let is_ruled = broker.authorization.is_some();
    cx.sender.may_send(ApiKey::WriteTxnMarkers)
        || is_ruled
            && (permit.sees_cluster(Operation::ClusterAction)
                || permit.may_cluster(Operation::Alter))
}

/// A code for each partition, in the order of the request.
fn response(
    request: WriteTxnMarkersRequest,
    mut codes: impl Iterator<Item = ErrorCode>,
) -> WriteTxnMarkersResponse {
    let mut result = |partition_index| {
        let error_code = codes.next().unwrap_or(ErrorCode::UnknownServerError).code();
        WritableTxnMarkerPartitionResult { partition_index, error_code }
    };
    let markers = request.markers.into_iter().map(|marker| WritableTxnMarkerResult {
        producer_id: marker.producer_id,
        topics: marker
            .topics
            .into_iter()
            .map(|topic| WritableTxnMarkerTopicResult {
                partitions: topic.partition_indexes.iter().map(|p| result(*p)).collect(),
                name: topic.name,
            })
            .collect(),
    });
    WriteTxnMarkersResponse { markers: markers.collect() }
}

fn marker_of(marker: &WritableTxnMarker) -> TransactionMarker {
    TransactionMarker {
        producer_id: marker.producer_id,
        producer_epoch: marker.producer_epoch,
        coordinator_epoch: marker.coordinator_epoch,
        commit: marker.transaction_result,
        transaction_version: marker.transaction_version,
    }
}

/// What became of one marker in one partition.
enum Slot {
    Refused(ErrorCode),
    /// In the log of the partition, and waited for.
    Appended(Arc<Partition>, Option<Ticket>),
    /// The coordinator of groups has it: at this place among those.
    OfGroups(usize),
}

/// The markers of a request, in its order.
struct Appending {
    wait: Arc<ProduceWait>,
    slots: Vec<Slot>,
    of_groups: Vec<(i32, TransactionEnd)>,
}

impl Appending {
    fn new(request: &WriteTxnMarkersRequest) -> Appending {
        let topics = request.markers.iter().flat_map(|marker| &marker.topics);
        let count = topics.map(|topic| topic.partition_indexes.len()).sum();
        let (wait, slots) = (ProduceWait::new(count), Vec::with_capacity(count));
        Appending { wait, slots, of_groups: Vec::new() }
    }

    async fn append(
        &mut self,
        broker: &Broker,
        marker: &WritableTxnMarker,
        topic: &str,
        index: i32,
    ) {
        let slot = match broker.storage.partitions.find(topic, index) {
            Err(code) => Slot::Refused(code),
            // Its state and its log change together.
            Ok(_) if topic == OFFSETS => {
                self.of_groups.push((index, end_of(marker)));
                Slot::OfGroups(self.of_groups.len() - 1)
            }
            Ok(partition) => {
                let commit = Some((&self.wait, self.slots.len()));
                match partition.append_marker(&marker_of(marker), None, commit) {
                    Ok(appended) => Slot::Appended(partition, appended.ticket),
                    Err(error) => Slot::Refused(error.code),
                }
            }
        };
        self.slots.push(slot);
        if self.slots.len().is_multiple_of(TURN) {
            tokio::task::yield_now().await;
        }
    }

    /// Waits for the commits.
    async fn codes(mut self, groups: &GroupCoordinator) -> Vec<ErrorCode> {
        self.wait.registered();
        let ends = std::mem::take(&mut self.of_groups)
            .into_iter()
            .map(async |(index, end)| leader_code(groups.end_transaction(index, end).await));
        let ends = timeout(COMMIT_TIMEOUT, join_all(ends));
        let commits = timeout(COMMIT_TIMEOUT, poll_fn(|cx| self.wait.poll(cx)));
        let (ends, committed) = futures::future::join(ends, commits).await;
        if committed.is_err() {
            self.cancel();
        }
        let code = |(at, slot): (usize, &Slot)| match slot {
            Slot::Refused(code) => *code,
            Slot::Appended(..) => self.wait.result(at),
            Slot::OfGroups(at) => {
                let told = ends.as_ref().ok().and_then(|ends| ends.get(*at));
                told.copied().unwrap_or(ErrorCode::RequestTimedOut)
            }
        };
        self.slots.iter().enumerate().map(code).collect()
    }

    fn cancel(&self) {
        for slot in &self.slots {
            if let Slot::Appended(partition, Some(ticket)) = slot {
                partition.cancel_commit(*ticket);
            }
        }
    }
}

fn end_of(marker: &WritableTxnMarker) -> TransactionEnd {
    TransactionEnd {
        producer_id: marker.producer_id,
        epoch: marker.producer_epoch,
        coordinator_epoch: marker.coordinator_epoch,
        commit: marker.transaction_result,
        transaction_version: marker.transaction_version,
    }
}

/// As a leader says it: who sends markers knows of no coordinator of groups.
fn leader_code(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::CoordinatorNotAvailable
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::NotCoordinator => ErrorCode::NotLeaderOrFollower,
        code => code,
    }
}
