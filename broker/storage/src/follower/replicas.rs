//! The replicas that one loop follows: orders and answers go from here to the session's bookkeeping
//! and to the partitions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use base::{BrokerId, ErrorCode, TopicPartition};
use replica::FetchAnswer;
use wire::messages::fetch_response::PartitionData;
use wire::messages::{FetchRequest, FetchResponse};

use super::orders::Order;
use super::session::{FetchSession, Fetcher, Key, Position, fetch_answer};
use crate::Storage;
use crate::partition::{FollowerProgress, Partition};
use crate::throttles::Throttles;
use config::ReplicaConfig;
use process::clock;

/// A log that diverges from its leader's, to be cut where the disk may be waited for.
#[derive(Debug)]
pub(super) struct Cut {
    key: Key,
    partition: Arc<Partition>,
    answer: FetchAnswer,
}

/// A cut that was made, or failed.
#[derive(Debug)]
pub(super) struct CutDone {
    cut: Cut,
    progress: FollowerProgress,
}

/// What a response led to.
#[derive(Debug, Default)]
pub(super) struct Processed {
    /// Bytes appended.
    pub(super) bytes: usize,
    pub(super) cuts: Vec<Cut>,
}

#[derive(Debug)]
pub(super) struct Replicas {
    broker: BrokerId,
    leader: BrokerId,
    backoff_ms: i64,
    throttles: Arc<Throttles>,
    session: FetchSession,
    partitions: HashMap<Key, Arc<Partition>>,
    keys: HashMap<TopicPartition, Key>,
}

impl Replicas {
    pub(super) fn new(storage: &Storage, leader: BrokerId) -> Replicas {
        let backoff_ms = storage.config.replica.fetch_backoff_ms;
        Replicas {
            broker: storage.id,
            leader,
            backoff_ms: i64::try_from(backoff_ms).unwrap_or(i64::MAX),
            throttles: storage.throttles.clone(),
            session: FetchSession::default(),
            partitions: HashMap::new(),
            keys: HashMap::new(),
        }
    }

    pub(super) fn session(&self) -> &FetchSession {
        &self.session
    }

    pub(super) fn obey(&mut self, orders: BTreeMap<TopicPartition, Order>) {
        for (id, order) in orders {
            match order {
                Order::Follow { partition, epoch } => {
                    let key = (partition.topic_id, id.partition);
                    if self.keys.get(&id).is_some_and(|known| *known != key) {
                        // The topic was deleted and created again.
                        self.remove(&id);
                    }
                    let position = Position::new(epoch, partition.follower_position());
                    self.session.follow(key, position);
                    if !partition.is_in_sync(self.broker) {
                        self.session.join(key);
                    }
                    self.partitions.insert(key, partition);
                    self.keys.insert(id, key);
                }
                Order::Stop => self.remove(&id),
            }
        }
    }

    fn remove(&mut self, id: &TopicPartition) {
        if let Some(key) = self.keys.remove(id) {
            self.partitions.remove(&key);
            self.session.remove(key);
        }
    }

    /// This broker is registered anew, or unfenced: its leaders must hear of every replica again.
    pub(super) fn registered(&mut self) {
        for (&key, partition) in &self.partitions {
            if !partition.is_in_sync(self.broker) {
                self.session.join(key);
            }
        }
        self.session.tell_all();
    }

    /// The connection is new.
    pub(super) fn restart_session(&mut self) {
        self.session.restart();
    }

    /// Ends the pauses that are over.
    pub(super) fn resume(&mut self) {
        self.session.resume(clock::monotonic_ms());
    }

    pub(super) fn request(&mut self, epoch: i64, config: &ReplicaConfig) -> FetchRequest {
        let now_ms = clock::monotonic_ms();
        let (partitions, broker) = (&self.partitions, self.broker);
        self.session.tell_joining(now_ms, |key| {
            partitions.get(&key).is_none_or(|partition| partition.is_in_sync(broker))
        });
        self.hold_back(now_ms);
        self.session.request(now_ms, Fetcher { broker, epoch }, config)
    }

    /// Leaves throttled replicas out of the next request while there is no room for them.
    fn hold_back(&mut self, now_ms: i64) {
        let side = &self.throttles.follower;
        let Some(pause_ms) = side.pause_ms() else { return };
        let is_held = |key: &Key| {
            let partition = self.partitions.get(key);
            partition.is_some_and(|p| side.names(&p.id) && !p.is_in_sync(self.broker))
        };
        for key in self.session.queued().filter(is_held).collect::<Vec<Key>>() {
            self.session.pause_until(key, now_ms + pause_ms);
        }
    }

    /// Appends what came, and notes what must be cut.
    pub(super) fn process(&mut self, response: FetchResponse) -> Result<Processed, ErrorCode> {
        match ErrorCode::from_i16(response.error_code) {
            Some(ErrorCode::None) => self.session.answered(response.session_id),
            code => return Err(code.unwrap_or(ErrorCode::UnknownServerError)),
        }
        let mut processed = Processed::default();
        for topic in response.responses {
            for data in topic.partitions {
                self.take(&mut processed, (topic.topic_id, data.partition_index), data);
            }
        }
        Ok(processed)
    }

    fn take(&mut self, processed: &mut Processed, key: Key, data: PartitionData) {
        let Some(told) = self.session.told(key) else { return };
        let Some(partition) = self.partitions.get(&key) else { return };
        let answer = fetch_answer(self.leader, told, &data);
        let records = data.records.into_bytes().unwrap_or_default();
        let progress = partition.take_fetched(self.broker, &answer, &records);
        match progress {
            FollowerProgress::Continue { bytes, in_sync }
            | FollowerProgress::Sync { bytes, in_sync } => {
                processed.bytes += bytes;
                if matches!(progress, FollowerProgress::Sync { .. }) {
                    self.session.hold(key);
                    processed.cuts.push(Cut { key, partition: partition.clone(), answer });
                } else {
                    self.session.advance(key, partition.follower_position());
                }
                if !in_sync {
                    self.session.join(key);
                    if self.throttles.follower.names(&partition.id) {
                        self.throttles.follower.spend(bytes);
                    }
                }
            }
            FollowerProgress::Cut => {
                self.session.hold(key);
                processed.cuts.push(Cut { key, partition: partition.clone(), answer });
            }
            FollowerProgress::Pause(code) => self.pause(key, &answer, code),
        }
    }

    fn pause(&mut self, key: Key, answer: &FetchAnswer, code: ErrorCode) {
        if self.session.epoch_of(key) != Some(answer.leader_epoch) {
            // It says nothing about the epoch that has begun since it was asked.
            return;
        }
        if let Some(partition) = self.partitions.get(&key) {
            let (partition, leader) = (&partition.id, self.leader);
            tracing::debug!(%partition, %leader, ?code, "fetch pauses");
        }
        self.session.pause(key, clock::monotonic_ms(), code, self.backoff_ms);
    }

    /// Takes up again what was held for a cut.
    pub(super) fn cut_done(&mut self, done: CutDone) {
        let CutDone { cut: Cut { key, partition, answer }, progress } = done;
        if self.partitions.get(&key).is_some_and(|now| Arc::ptr_eq(now, &partition)) {
            self.session.release(key);
            match progress {
                FollowerProgress::Pause(code) => self.pause(key, &answer, code),
                _ => self.session.advance(key, partition.follower_position()),
            }
        }
    }
}

impl Cut {
    /// Waits for the disk.
    pub(super) fn make(self) -> CutDone {
        let progress = self.partition.cut(&self.answer);
        CutDone { cut: self, progress }
    }
}
