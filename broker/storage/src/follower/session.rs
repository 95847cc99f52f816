//! The pure part of a fetch loop: what its leader's fetch session (KIP-227) knows, what the next
//! request must say, and which partitions pause after an error. It has no clock and no socket;
//! answers are judged by the replica core.

use std::collections::{BTreeSet, HashMap, HashSet};

use base::{BrokerEpoch, BrokerId, ErrorCode, LeaderEpoch, Offset, TopicId};
use replica::{EpochEnd, FetchAnswer};
use wire::messages::FetchRequest;
use wire::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState};
use wire::messages::fetch_response::PartitionData;

use crate::partition::LogEnd;
use config::ReplicaConfig;

/// A partition as requests name it.
pub(super) type Key = (TopicId, i32);

/// First pause after an error that the next image ends, here or at the leader.
const PASSING_PAUSE_MS: i64 = 2;
/// Longest pause after an error of the own disk.
const STORAGE_PAUSE_MS_MAX: i64 = 30_000;
/// How often a replica outside the ISR says where it is: a leader that could not let it in when it
/// asked first (its metadata was behind, the controller was moving) hears it again.
const JOIN_INTERVAL_MS: i64 = 100;
/// Longest poll while a log is being cut, so that its partition is fetched soon afterwards.
const HELD_WAIT_MS_MAX: i64 = 20;
/// End of a pause that another event ends.
const HELD: i64 = i64::MAX;

/// Where a replica stands, as its requests say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Position {
    /// The leader epoch in which it follows.
    pub(super) epoch: LeaderEpoch,
    pub(super) fetch_offset: Offset,
    pub(super) last_fetched_epoch: LeaderEpoch,
    pub(super) log_start: Offset,
}

impl Position {
    pub(super) fn new(epoch: LeaderEpoch, end: LogEnd) -> Position {
        let LogEnd { offset, last_epoch, log_start } = end;
        Position { epoch, fetch_offset: offset, last_fetched_epoch: last_epoch, log_start }
    }
}

#[derive(Debug)]
struct Entry {
    position: Position,
    /// What the leader was told last; `None` when its session does not have the partition.
    told: Option<Position>,
    is_queued: bool,
    paused_until_ms: Option<i64>,
    /// Errors in a row.
    failures: u32,
}

/// Who fetches: this broker and its registration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fetcher {
    pub(super) broker: BrokerId,
    pub(super) epoch: BrokerEpoch,
}

/// The partitions of one loop and what the leader's session knows of them.
#[derive(Debug, Default)]
pub(super) struct FetchSession {
    id: i32,
    epoch: i32,
    entries: HashMap<Key, Entry>,
    /// To be named in the next request. May hold keys that are gone or paused by now.
    queued: Vec<Key>,
    /// In the leader's session, but not to be fetched any more.
    forgotten: HashSet<Key>,
    paused: BTreeSet<(i64, Key)>,
    /// Not in the ISR yet.
    joining: HashSet<Key>,
    join_due_ms: i64,
}

impl FetchSession {
    /// Fetches a partition from this position on, whatever was fetched before.
    pub(super) fn follow(&mut self, key: Key, position: Position) {
        self.unpause(key);
        let entry = self.entries.entry(key).or_insert(Entry {
            position,
            told: None,
            is_queued: false,
            paused_until_ms: None,
            failures: 0,
        });
        entry.position = position;
        entry.failures = 0;
        self.queue(key);
    }

    pub(super) fn remove(&mut self, key: Key) {
        self.unpause(key);
        self.joining.remove(&key);
        if self.entries.remove(&key).is_some_and(|entry| entry.told.is_some()) {
            self.forgotten.insert(key);
        }
    }

    /// Nothing is followed.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// There is nothing to fetch now.
    pub(super) fn is_idle(&self) -> bool {
        self.entries.len() == self.paused.len()
    }

    /// There is something to fetch that the request under way does not ask for.
    pub(super) fn has_news(&self) -> bool {
        self.queued().next().is_some()
    }

    /// What the leader was told, and thus what its answer is an answer to.
    pub(super) fn told(&self, key: Key) -> Option<Position> {
        self.entries.get(&key)?.told
    }

    /// The leader epoch in which the replica follows now.
    pub(super) fn epoch_of(&self, key: Key) -> Option<LeaderEpoch> {
        Some(self.entries.get(&key)?.position.epoch)
    }

    /// An answer was taken without error; the replica stands here now.
    pub(super) fn advance(&mut self, key: Key, end: LogEnd) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.failures = 0;
        entry.position = Position::new(entry.position.epoch, end);
        if entry.told != Some(entry.position) {
            self.queue(key);
        }
    }

    fn queue(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(&key)
            && entry.paused_until_ms.is_none()
            && !entry.is_queued
        {
            entry.is_queued = true;
            self.queued.push(key);
        }
    }

    // ---- replicas outside the ISR ---------------------------------------------------------

    /// The replica is outside the ISR: its position is told again from time to time.
    pub(super) fn join(&mut self, key: Key) {
        if self.entries.contains_key(&key) {
            self.joining.insert(key);
        }
    }

    /// Tells again the positions of replicas that still are outside the ISR, if it is time.
    pub(super) fn tell_joining(&mut self, now_ms: i64, is_in_sync: impl Fn(Key) -> bool) {
        if self.joining.is_empty() || now_ms < self.join_due_ms {
            return;
        }
        self.join_due_ms = now_ms + JOIN_INTERVAL_MS;
        self.joining.retain(|key| !is_in_sync(*key));
        let keys: Vec<Key> = self.joining.iter().copied().collect();
        for key in keys {
            self.queue(key);
        }
    }

    // ---- pauses ---------------------------------------------------------------------------

    /// The partition is not fetched for a while, which grows with errors in a row.
    pub(super) fn pause(&mut self, key: Key, now_ms: i64, code: ErrorCode, backoff_ms: i64) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let pause = pause_ms(code, entry.failures, backoff_ms);
        entry.failures += 1;
        self.pause_until(key, now_ms + pause);
    }

    /// The partition is not fetched until it is released.
    pub(super) fn hold(&mut self, key: Key) {
        self.pause_until(key, HELD);
    }

    /// Ends a hold. The hold's partition may be gone, or followed anew.
    pub(super) fn release(&mut self, key: Key) {
        self.unpause(key);
        self.queue(key);
    }

    /// What the next request is going to name.
    pub(super) fn queued(&self) -> impl Iterator<Item = Key> + '_ {
        let is_queued = |key: &Key| self.entries.get(key).is_some_and(|entry| entry.is_queued);
        self.queued.iter().copied().filter(is_queued)
    }

    /// The partition is not fetched before this time.
    pub(super) fn pause_until(&mut self, key: Key, until_ms: i64) {
        self.unpause(key);
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.paused_until_ms = Some(until_ms);
        entry.is_queued = false;
        self.paused.insert((until_ms, key));
        if entry.told.take().is_some() {
            // Else the leader would answer the next request with the same error at once.
            self.forgotten.insert(key);
        }
    }

    fn unpause(&mut self, key: Key) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if let Some(until_ms) = entry.paused_until_ms.take() {
            self.paused.remove(&(until_ms, key));
        }
    }

    /// Ends the pauses that are over.
    pub(super) fn resume(&mut self, now_ms: i64) {
        while let Some(&(until_ms, key)) = self.paused.first()
            && until_ms <= now_ms
        {
            self.unpause(key);
            self.queue(key);
        }
    }

    /// The end of the next pause that ends by itself.
    pub(super) fn next_resume_ms(&self) -> Option<i64> {
        self.paused.first().map(|&(until_ms, _)| until_ms).filter(|&until_ms| until_ms != HELD)
    }

    // ---- requests and responses -----------------------------------------------------------

    /// The leader knows no session: the next request names everything.
    pub(super) fn restart(&mut self) {
        (self.id, self.epoch) = (0, 0);
        self.forgotten.clear();
        for entry in self.entries.values_mut() {
            entry.told = None;
        }
        self.tell_all();
    }

    /// The next request names everything once more: this broker's registration changed.
    pub(super) fn tell_all(&mut self) {
        let keys: Vec<Key> = self.entries.keys().copied().collect();
        for key in keys {
            self.queue(key);
        }
    }

    /// The next request: everything for a new session, else what changed.
    pub(super) fn request(
        &mut self,
        now_ms: i64,
        fetcher: Fetcher,
        config: &ReplicaConfig,
    ) -> FetchRequest {
        let named = self.take_named(config.fetch_bytes_max);
        let forgotten = std::mem::take(&mut self.forgotten).into_iter().collect();
        let topics = by_topic(named)
            .map(|(topic_id, partitions)| FetchTopic {
                topic_id,
                partitions,
                ..FetchTopic::default()
            })
            .collect();
        let forgotten_topics_data = by_topic(numbers(forgotten))
            .map(|(topic_id, partitions)| ForgottenTopic {
                topic_id,
                partitions,
                ..ForgottenTopic::default()
            })
            .collect();
        FetchRequest {
            replica_state: ReplicaState {
                replica_id: fetcher.broker.0,
                replica_epoch: fetcher.epoch,
            },
            max_wait_ms: self.max_wait_ms(now_ms, config),
            min_bytes: config.fetch_bytes_min,
            max_bytes: config.fetch_response_bytes_max,
            session_id: self.id,
            session_epoch: self.epoch,
            topics,
            forgotten_topics_data,
            ..FetchRequest::default()
        }
    }

    fn take_named(&mut self, partition_max_bytes: i32) -> Vec<(Key, FetchPartition)> {
        let mut named = Vec::with_capacity(self.queued.len());
        for key in std::mem::take(&mut self.queued) {
            let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.is_queued) else {
                continue;
            };
            entry.is_queued = false;
            entry.told = Some(entry.position);
            self.forgotten.remove(&key);
            let position = entry.position;
            let partition = FetchPartition {
                partition: key.1,
                current_leader_epoch: position.epoch,
                fetch_offset: position.fetch_offset,
                last_fetched_epoch: position.last_fetched_epoch,
                log_start_offset: position.log_start,
                partition_max_bytes,
                ..FetchPartition::default()
            };
            named.push((key, partition));
        }
        named
    }

    /// As configured, unless something must be asked again earlier.
    fn max_wait_ms(&self, now_ms: i64, config: &ReplicaConfig) -> i32 {
        let mut wait = i64::from(config.fetch_wait_ms_max);
        if let Some(resume_ms) = self.next_resume_ms() {
            wait = wait.min(resume_ms - now_ms);
        }
        if !self.joining.is_empty() {
            wait = wait.min(self.join_due_ms - now_ms);
        }
        if self.paused.last().is_some_and(|&(until_ms, _)| until_ms == HELD) {
            wait = wait.min(HELD_WAIT_MS_MAX);
        }
        i32::try_from(wait.max(0)).unwrap_or(i32::MAX)
    }

    /// The leader answered with this session id: the next request continues it.
    pub(super) fn answered(&mut self, session_id: i32) {
        if session_id == 0 {
            // It has no place for a session: every request names everything.
            self.restart();
            return;
        }
        self.id = session_id;
        self.epoch = if self.epoch == i32::MAX { 1 } else { self.epoch + 1 };
    }
}

/// What the replica core has to know of an answer.
pub(super) fn fetch_answer(leader: BrokerId, told: Position, data: &PartitionData) -> FetchAnswer {
    let end = &data.diverging_epoch;
    let diverging = EpochEnd { epoch: end.epoch, end_offset: end.end_offset };
    FetchAnswer {
        leader,
        leader_epoch: told.epoch,
        fetch_offset: told.fetch_offset,
        last_fetched_epoch: told.last_fetched_epoch,
        error: ErrorCode::from_i16(data.error_code).unwrap_or(ErrorCode::UnknownServerError),
        diverging: (diverging.epoch >= 0).then_some(diverging),
        high_watermark: data.high_watermark,
        log_start: data.log_start_offset,
    }
}

fn pause_ms(code: ErrorCode, failures: u32, backoff_ms: i64) -> i64 {
    let (first, longest) = match code {
        ErrorCode::NotLeaderOrFollower
        | ErrorCode::FencedLeaderEpoch
        | ErrorCode::UnknownLeaderEpoch
        | ErrorCode::UnknownTopicOrPartition
        | ErrorCode::UnknownTopicId
        | ErrorCode::InconsistentTopicId
        | ErrorCode::ReplicaNotAvailable
        | ErrorCode::StaleBrokerEpoch => (PASSING_PAUSE_MS, backoff_ms),
        ErrorCode::KafkaStorageError => (backoff_ms, STORAGE_PAUSE_MS_MAX),
        _ => (backoff_ms, backoff_ms),
    };
    first.saturating_mul(1 << failures.min(20)).min(longest).max(PASSING_PAUSE_MS)
}

fn numbers(keys: Vec<Key>) -> Vec<(Key, i32)> {
    keys.into_iter().map(|key| (key, key.1)).collect()
}

/// Groups what belongs to partitions by topic, in the order of their keys.
fn by_topic<T>(mut items: Vec<(Key, T)>) -> impl Iterator<Item = (TopicId, Vec<T>)> {
    items.sort_unstable_by_key(|&(key, _)| key);
    let mut items = items.into_iter().peekable();
    std::iter::from_fn(move || {
        let ((topic, _), first) = items.next()?;
        let mut of_topic = vec![first];
        while let Some((_, item)) = items.next_if(|((next, _), _)| *next == topic) {
            of_topic.push(item);
        }
        Some((topic, of_topic))
    })
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
