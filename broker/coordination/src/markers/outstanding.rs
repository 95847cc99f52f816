//! Which markers are not written yet, where they belong, and when they are due. No IO, and the time
//! is passed in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::{BrokerId, ErrorCode, ProducerId};
use coordinator::txn::{Markers, TransactionalId, TxnShard};
use metadata::Image;

use super::{LeaderMarkers, PartitionWritten};
use crate::errands::Giver;

/// Pause before a marker is tried again; it doubles with each attempt.
const RETRY_MS_MIN: i64 = 20;
const RETRY_MS_MAX: i64 = 1_000;
/// Markers in one request.
const REQUEST_PARTITIONS_MAX: usize = 2_000;

type PartitionKey = (Arc<str>, i32);

/// All transactions whose markers are being written, by a number of their own.
#[derive(Default)]
pub(super) struct Outstanding {
    jobs: BTreeMap<u64, Job>,
    last: u64,
    /// Leaders that have a request.
    busy: BTreeSet<BrokerId>,
}

struct Job {
    giver: Giver<TxnShard>,
    markers: Markers,
    left: BTreeMap<PartitionKey, Attempts>,
}

#[derive(Clone, Copy, Default)]
struct Attempts {
    is_under_way: bool,
    not_before_ms: i64,
    pause_ms: i64,
}

impl Attempts {
    fn failed(&mut self, now_ms: i64) {
        self.is_under_way = false;
        self.pause_ms = (self.pause_ms * 2).clamp(RETRY_MS_MIN, RETRY_MS_MAX);
        self.not_before_ms = now_ms + self.pause_ms;
    }
}

/// What a request was about.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) leader: BrokerId,
    partitions: Vec<(u64, PartitionKey)>,
}

/// What is to be done now.
pub(super) struct Due {
    pub(super) requests: Vec<(Sent, Vec<LeaderMarkers>)>,
    /// Transactions without markers left, with the numbers of their errands.
    pub(super) written: Vec<(Giver<TxnShard>, TransactionalId, u64)>,
    /// When the next attempt is due, `i64::MAX` if only an answer or new metadata leads to one.
    pub(super) wake_ms: i64,
}

impl Outstanding {
    pub(super) fn add(&mut self, giver: Giver<TxnShard>, markers: Markers) {
        self.last += 1;
        let keys = markers.partitions.iter();
        let keys = keys.flat_map(|(topic, indexes)| indexes.iter().map(|i| (topic.clone(), *i)));
        let left = keys.map(|key| (key, Attempts::default())).collect();
        self.jobs.insert(self.last, Job { giver, markers, left });
    }

    pub(super) fn due(&mut self, image: &Image, now_ms: i64) -> Due {
        let mut due = Due { requests: Vec::new(), written: Vec::new(), wake_ms: i64::MAX };
        self.jobs.retain(|_, job| !job.giver.mailbox.is_closed());
        let mut by_leader: BTreeMap<BrokerId, Sent> = BTreeMap::new();
        for (number, job) in &mut self.jobs {
            drop_deleted(image, job);
            for (key, attempts) in &mut job.left {
                let leader = image.partition(&key.0, key.1).and_then(|p| p.leader);
                let Some(leader) = leader.filter(|id| !self.busy.contains(id)) else { continue };
                if attempts.is_under_way {
                    continue;
                }
                if attempts.not_before_ms > now_ms {
                    due.wake_ms = due.wake_ms.min(attempts.not_before_ms);
                    continue;
                }
                let sent = by_leader.entry(leader);
                let sent = sent.or_insert_with(|| Sent { leader, partitions: Vec::new() });
                if sent.partitions.len() < REQUEST_PARTITIONS_MAX {
                    attempts.is_under_way = true;
                    sent.partitions.push((*number, key.clone()));
                }
            }
        }
        for (leader, sent) in by_leader {
            self.busy.insert(leader);
            let markers = self.markers(&sent);
            due.requests.push((sent, markers));
        }
        for (_, job) in self.jobs.extract_if(.., |_, job| job.left.is_empty()) {
            due.written.push((job.giver, job.markers.id, job.markers.number));
        }
        due
    }

    fn markers(&self, sent: &Sent) -> Vec<LeaderMarkers> {
        let mut by_job: BTreeMap<u64, LeaderMarkers> = BTreeMap::new();
        for (number, (topic, index)) in &sent.partitions {
            let Some(job) = self.jobs.get(number) else { continue };
            let markers = by_job.entry(*number).or_insert_with(|| LeaderMarkers {
                producer: job.markers.producer,
                is_commit: job.markers.is_commit,
                version: job.markers.version,
                coordinator_epoch: job.giver.epoch,
                partitions: BTreeMap::new(),
            });
            markers.partitions.entry(topic.clone()).or_default().insert(*index);
        }
        by_job.into_values().collect()
    }

    /// What the leader said; none if nothing is known of what it did.
    pub(super) fn answered(
        &mut self,
        sent: &Sent,
        answer: Option<Vec<PartitionWritten>>,
        now_ms: i64,
    ) {
        self.busy.remove(&sent.leader);
        let written = answer.unwrap_or_default().into_iter();
        let errors: BTreeMap<(ProducerId, Arc<str>, i32), ErrorCode> =
            written.map(|w| ((w.producer_id, w.topic, w.partition), w.error)).collect();
        for (number, key) in &sent.partitions {
            let Some(job) = self.jobs.get_mut(number) else { continue };
            let producer_id = job.markers.producer.id;
            let error = errors.get(&(producer_id, key.0.clone(), key.1)).copied();
            if error.is_some_and(is_settled) {
                job.left.remove(key);
            } else if let Some(attempts) = job.left.get_mut(key) {
                attempts.failed(now_ms);
                if attempts.pause_ms == RETRY_MS_MAX {
                    let (topic, partition) = (&*key.0, key.1);
                    let error = error.map_or("no answer", |error| error.message());
                    let id = &*job.markers.id;
                    let leader = sent.leader;
                    tracing::warn!(id, topic, partition, %leader, error, "write a marker");
                }
            }
        }
    }
}

/// Whether nothing is left to be written. A leader that knows a newer epoch of the producer has the
/// marker already, from here or from a coordinator after this one; if that is so, the completion
/// that follows cannot be appended here.
fn is_settled(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::None
            | ErrorCode::InvalidProducerEpoch
            | ErrorCode::UnsupportedVersion
            | ErrorCode::UnsupportedForMessageFormat
    )
}

/// Partitions that are in no metadata have no transaction either. The image is not older than the
/// leadership of the shard that decided, and the partition was there when it was added.
fn drop_deleted(image: &Image, job: &mut Job) {
    job.left
        .retain(|key, attempts| attempts.is_under_way || image.partition(&key.0, key.1).is_some());
}

#[cfg(test)]
#[path = "outstanding_tests.rs"]
mod tests;
