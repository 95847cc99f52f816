//! What one loop fetches from its leader: each partition's position, what the session was told of
//! it, and the pause after an error.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{BrokerId, ErrorCode, LeaderEpoch, Offset, TopicId, TopicPartition};
use replica::{EpochEnd, FetchAnswer};
use wire::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState};
use wire::messages::{FetchRequest, FetchResponse};

use super::Change;
use crate::config::ReplicaConfig;
use crate::partition::{FollowerProgress, Partition};

/// The leader does not know yet that it leads, or that the partition exists.
const PAUSE_SHORT: Duration = Duration::from_millis(20);

/// Where a follower stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Position {
    epoch: LeaderEpoch,
    fetch_offset: Offset,
    last_fetched_epoch: LeaderEpoch,
    log_start: Offset,
}

struct Followed {
    partition: Arc<Partition>,
    position: Position,
    /// What the leader's session has; `None` if it is not in it.
    sent: Option<Position>,
    paused_until: Option<Instant>,
}

/// The partitions of one loop and its fetch session.
#[derive(Default)]
pub(super) struct Positions {
    followed: HashMap<(TopicId, i32), Followed>,
    ids: HashMap<TopicPartition, (TopicId, i32)>,
    /// In the leader's session, but no longer followed.
    forgotten: Vec<(TopicId, i32)>,
    session_id: i32,
    session_epoch: i32,
}

impl Positions {
    pub(super) fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Add { partition, epoch } => self.add(partition, epoch),
                Change::Remove(id) => self.remove(&id),
            }
        }
    }

    fn add(&mut self, partition: Arc<Partition>, epoch: LeaderEpoch) {
        let key = (partition.topic_id, partition.id.partition);
        if self.ids.get(&partition.id).is_some_and(|known| *known != key) {
            // The topic was created again.
            self.remove(&partition.id.clone());
        }
        let sent = self.followed.get(&key).and_then(|followed| followed.sent);
        let (fetch_offset, last_fetched_epoch, log_start) = partition.follower_position();
        let position = Position { epoch, fetch_offset, last_fetched_epoch, log_start };
        self.ids.insert(partition.id.clone(), key);
        let followed = Followed { partition, position, sent, paused_until: None };
        self.followed.insert(key, followed);
        self.forgotten.retain(|other| *other != key);
    }

    fn remove(&mut self, id: &TopicPartition) {
        let Some(key) = self.ids.remove(id) else { return };
        if self.followed.remove(&key).is_some_and(|followed| followed.sent.is_some()) {
            self.forgotten.push(key);
        }
    }

    /// Nothing is to be fetched now.
    pub(super) fn is_idle(&self) -> bool {
        self.followed.values().all(|followed| followed.paused_until.is_some())
    }

    /// The end of the next pause.
    pub(super) fn next_resume(&self) -> Option<Instant> {
        self.followed.values().filter_map(|followed| followed.paused_until).min()
    }

    /// Ends pauses that are over. True if there were any.
    pub(super) fn resume(&mut self) -> bool {
        let now = Instant::now();
        let mut resumed = false;
        for followed in self.followed.values_mut() {
            if followed.paused_until.is_some_and(|until| until <= now) {
                followed.paused_until = None;
                resumed = true;
            }
        }
        resumed
    }

    /// The connection is new: its leader knows no session.
    pub(super) fn reset_session(&mut self) {
        (self.session_id, self.session_epoch) = (0, 0);
        self.forgotten.clear();
        for followed in self.followed.values_mut() {
            followed.sent = None;
        }
    }

    /// The next request: everything for a new session, else what changed.
    pub(super) fn request(
        &mut self,
        broker: BrokerId,
        broker_epoch: i64,
        config: &ReplicaConfig,
    ) -> FetchRequest {
        let mut topics: HashMap<TopicId, Vec<FetchPartition>> = HashMap::new();
        for (&(topic, number), followed) in &mut self.followed {
            if followed.paused_until.is_some() {
                if followed.sent.take().is_some() {
                    self.forgotten.push((topic, number));
                }
                continue;
            }
            if followed.sent == Some(followed.position) {
                continue;
            }
            followed.sent = Some(followed.position);
            topics.entry(topic).or_default().push(FetchPartition {
                partition: number,
                current_leader_epoch: followed.position.epoch,
                fetch_offset: followed.position.fetch_offset,
                last_fetched_epoch: followed.position.last_fetched_epoch,
                log_start_offset: followed.position.log_start,
                partition_max_bytes: config.fetch_bytes_max,
                ..FetchPartition::default()
            });
        }
        let mut forgotten: HashMap<TopicId, Vec<i32>> = HashMap::new();
        for (topic, number) in self.forgotten.drain(..) {
            forgotten.entry(topic).or_default().push(number);
        }
        let topic =
            |(topic_id, partitions)| FetchTopic { topic_id, partitions, ..FetchTopic::default() };
        let forget = |(topic_id, partitions)| ForgottenTopic {
            topic_id,
            partitions,
            ..ForgottenTopic::default()
        };
        FetchRequest {
            replica_state: ReplicaState { replica_id: broker.0, replica_epoch: broker_epoch },
            max_wait_ms: config.fetch_wait_ms_max,
            min_bytes: config.fetch_bytes_min,
            max_bytes: config.fetch_response_bytes_max,
            session_id: self.session_id,
            session_epoch: self.session_epoch,
            topics: topics.into_iter().map(topic).collect(),
            forgotten_topics_data: forgotten.into_iter().map(forget).collect(),
            ..FetchRequest::default()
        }
    }

    /// Appends what came. Returns the bytes appended.
    pub(super) fn process(
        &mut self,
        leader: BrokerId,
        response: FetchResponse,
        pause: Duration,
    ) -> usize {
        match ErrorCode::from_i16(response.error_code) {
            Some(ErrorCode::None) => {}
            code => {
                tracing::debug!(%leader, ?code, "fetch session refused");
                self.reset_session();
                return 0;
            }
        }
        self.session_id = response.session_id;
        self.session_epoch = match self.session_id {
            0 => 0,
            _ if self.session_epoch == i32::MAX => 1,
            _ => self.session_epoch + 1,
        };
        if self.session_id == 0 {
            // The leader has no place for a session: everything is named in each request.
            self.reset_session();
        }
        let mut bytes = 0;
        for topic in response.responses {
            for data in topic.partitions {
                let key = (topic.topic_id, data.partition_index);
                let Some(followed) = self.followed.get_mut(&key) else { continue };
                bytes += data.records.len();
                followed.take(leader, data, pause);
            }
        }
        bytes
    }
}

impl Followed {
    fn take(
        &mut self,
        leader: BrokerId,
        data: wire::messages::fetch_response::PartitionData,
        pause: Duration,
    ) {
        let error = ErrorCode::from_i16(data.error_code).unwrap_or(ErrorCode::UnknownServerError);
        let end = &data.diverging_epoch;
        let answer = FetchAnswer {
            leader,
            leader_epoch: self.position.epoch,
            fetch_offset: self.position.fetch_offset,
            error,
            diverging: (end.epoch >= 0)
                .then_some(EpochEnd { epoch: end.epoch, end_offset: end.end_offset }),
            high_watermark: data.high_watermark,
            log_start: data.log_start_offset,
        };
        let records = data.records.into_bytes().unwrap_or_default();
        match self.partition.take_fetched(&answer, &records) {
            FollowerProgress::Continue => {
                let (fetch_offset, last_fetched_epoch, log_start) =
                    self.partition.follower_position();
                self.position =
                    Position { fetch_offset, last_fetched_epoch, log_start, ..self.position };
            }
            FollowerProgress::Pause(code) => {
                let pause = if is_short(code) { PAUSE_SHORT } else { pause };
                tracing::debug!(partition = %self.partition.id, %leader, ?code, "pause fetching");
                self.paused_until = Some(Instant::now() + pause);
            }
        }
    }
}

/// Errors that end with the next image, here or there.
fn is_short(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotLeaderOrFollower
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownLeaderEpoch
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::ReplicaNotAvailable
            | ErrorCode::StaleBrokerEpoch
    )
}
