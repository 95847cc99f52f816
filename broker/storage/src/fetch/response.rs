//! From what a round found to the response, and what the session remembers of it.

use base::{ErrorCode, Offset};
use wire::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, PartitionData,
};
use wire::messages::{FetchRequest, FetchResponse};

use super::round::{Found, Reader, Round};
use super::session::Kind;
use super::want::{SessionState, Want};
use crate::Storage;

/// The answer to who is no broker and says to be one: Kafka refuses it by partition.
pub fn refused(request: FetchRequest, code: ErrorCode) -> FetchResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let refused = topic.partitions.iter().map(|partition| PartitionData {
            partition_index: partition.partition,
            error_code: code.code(),
            high_watermark: -1,
            ..PartitionData::default()
        });
        FetchableTopicResponse {
            topic: topic.topic,
            topic_id: topic.topic_id,
            partitions: refused.collect(),
        }
    });
    FetchResponse { responses: topics.collect(), ..FetchResponse::default() }
}

pub(super) fn build(
    storage: &Storage,
    reader: &Reader,
    session_id: i32,
    kind: Kind,
    round: &Round,
    session: &mut SessionState,
) -> FetchResponse {
    let mut response = Topics::default();
    session.begin_response();
    let mut bytes = 0;
    for found in &round.found {
        let Some(Some(want)) = session.want.get_mut(found.index as usize) else { continue };
        bytes += found.records.len();
        // A follower that has to truncate takes no high watermark: it is told again when it has.
        let high_watermark = if found.diverging.is_some() { -1 } else { found.high_watermark };
        let is_news = note_told(want, high_watermark, found.log_start);
        let has_content =
            !found.records.is_empty() || found.code.is_error() || found.diverging.is_some();
        let has_content = has_content || found.preferred.is_some();
        if kind == Kind::Full || is_news || has_content {
            response.push(want, partition_data(found));
        }
        session.is_told(found.index);
    }
    let scans = kind == Kind::Full || round.found.is_empty() || session.is_scan_due();
    // High watermarks that moved without records to send: followers and consumers learn them here.
    for want in session.untold().take_while(|_| scans) {
        let Ok(partition) = &want.hosted else { continue };
        let told = (want.told_high_watermark, want.told_log_start);
        if kind == Kind::Incremental && partition.last_told() == told {
            continue;
        }
        let offsets = partition.offsets();
        let (high_watermark, log_start) = (offsets.high_watermark, offsets.log_start);
        if note_told(want, high_watermark, log_start) || kind == Kind::Full {
            let found = Found::unchanged(high_watermark, offsets.last_stable, log_start);
            response.push(want, partition_data(&found));
        }
    }
    if !reader.is_follower() {
        storage.metrics.fetched_bytes.inc_by(bytes as u64);
    }
    FetchResponse { session_id, responses: response.topics, ..FetchResponse::default() }
}

/// Remembers what the client is told; true if it differs from the last time.
fn note_told(want: &mut Want, high_watermark: Offset, log_start: Offset) -> bool {
    let is_news = (want.told_high_watermark, want.told_log_start) != (high_watermark, log_start);
    (want.told_high_watermark, want.told_log_start) = (high_watermark, log_start);
    is_news
}

fn partition_data(found: &Found) -> PartitionData {
    let aborted = |txn: &commitlog::AbortedTransaction| AbortedTransaction {
        producer_id: txn.producer_id,
        first_offset: txn.first_offset,
    };
    let mut data = PartitionData {
        error_code: found.code.code(),
        high_watermark: found.high_watermark,
        last_stable_offset: found.last_stable,
        log_start_offset: found.log_start,
        aborted_transactions: found.aborted.as_ref().map(|all| all.iter().map(aborted).collect()),
        preferred_read_replica: found.preferred.map_or(-1, |id| id.0),
        records: found.records.clone(),
        ..PartitionData::default()
    };
    if let Some(end) = found.diverging {
        data.diverging_epoch = EpochEndOffset { epoch: end.epoch, end_offset: end.end_offset };
    }
    data
}

/// Collects partitions by topic: neighbours of one topic share an entry.
#[derive(Default)]
struct Topics {
    topics: Vec<FetchableTopicResponse>,
}

impl Topics {
    fn push(&mut self, want: &Want, mut data: PartitionData) {
        data.partition_index = want.number;
        let last = self.topics.last_mut();
        match last.filter(|last| last.topic_id == want.topic_id && last.topic == want.topic) {
            Some(topic) => topic.partitions.push(data),
            None => self.topics.push(FetchableTopicResponse {
                topic: want.topic.clone(),
                topic_id: want.topic_id,
                partitions: vec![data],
            }),
        }
    }
}
