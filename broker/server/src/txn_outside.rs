//! What the transaction coordinator asks of this broker: markers at other brokers (and at this one,
//! over the same road), and producer ids.

use std::sync::Arc;
use std::time::Duration;

use base::{BrokerId, ErrorCode, ProducerId};
use coordination::{LeaderMarkers, Outside, PartitionWritten};
use futures::future::BoxFuture;
use wire::Str;
use wire::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use wire::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};

use crate::Broker;

const WRITE_TXN_MARKERS_VERSION: i16 = 2;
/// Kafka's `request.timeout.ms`: a leader answers once its replicas have the markers.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// The broker, as its transaction coordinator sees it.
pub struct TxnOutside(pub Arc<Broker>);

impl Outside for TxnOutside {
    fn write_markers(
        &self,
        leader: BrokerId,
        markers: Vec<LeaderMarkers>,
    ) -> BoxFuture<'static, Option<Vec<PartitionWritten>>> {
        let broker = self.0.clone();
        Box::pin(async move {
            let markers = markers.iter().map(to_wire).collect();
            let request = WriteTxnMarkersRequest { markers };
            let version = WRITE_TXN_MARKERS_VERSION;
            match broker.peers.ask(leader, &request, version, ANSWER_MAX).await {
                Ok(response) => Some(from_wire(response)),
                Err(error) => {
                    tracing::info!(%leader, %error, "write markers");
                    None
                }
            }
        })
    }

    fn new_producer_id(&self) -> BoxFuture<'static, Result<ProducerId, ErrorCode>> {
        let broker = self.0.clone();
        Box::pin(async move { broker.producer_ids.next().await })
    }
}

fn to_wire(markers: &LeaderMarkers) -> WritableTxnMarker {
    let topics = markers.partitions.iter().map(|(name, indexes)| WritableTxnMarkerTopic {
        name: Str::from(name),
        partition_indexes: indexes.iter().copied().collect(),
    });
    WritableTxnMarker {
        producer_id: markers.producer.id,
        producer_epoch: markers.producer.epoch,
        transaction_result: markers.is_commit,
        topics: topics.collect(),
        coordinator_epoch: markers.coordinator_epoch,
        transaction_version: i8::try_from(markers.version).unwrap_or(i8::MAX),
    }
}

fn from_wire(response: WriteTxnMarkersResponse) -> Vec<PartitionWritten> {
    let mut written = Vec::new();
    for marker in response.markers {
        for topic in marker.topics {
            let name = topic.name.into_arc();
            for partition in topic.partitions {
                written.push(PartitionWritten {
                    producer_id: marker.producer_id,
                    topic: name.clone(),
                    partition: partition.partition_index,
                    error: ErrorCode::from_i16(partition.error_code)
                        .unwrap_or(ErrorCode::UnknownServerError),
                });
            }
        }
    }
    written
}
