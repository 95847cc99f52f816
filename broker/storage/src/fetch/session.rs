//! Incremental fetch sessions: a client names its partitions once and then only what changes. While
//! a fetch runs, its session's partitions are out of the cache and belong to that fetch.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use base::ErrorCode;
use parking_lot::Mutex;
use tokio::time::Instant;
use wire::messages::FetchRequest;
use wire::messages::fetch_request::{FetchPartition, FetchTopic};

use super::want::{SessionState, Update, WantKey};
use crate::partition::Partitions;
use process::metrics::Metrics;
use process::random;
use process::time::now;

/// A session that was not used for this long gives its place to a new one.
const UNUSED_MAX: Duration = Duration::from_secs(120);
const NO_SESSION: i32 = 0;
const EPOCH_INITIAL: i32 = 0;
const EPOCH_FINAL: i32 = -1;

/// What the response has to contain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Every partition of the request.
    Full,
    /// Only what has news.
    Incremental,
}

/// A fetch that may go on.
#[derive(Debug)]
pub(super) struct Opened<'a> {
    /// The id to answer; 0 without a session.
    pub(super) id: i32,
    pub(super) kind: Kind,
    pub(super) session: Lease<'a>,
}

/// A session's partitions while a fetch runs. Given up without an answer (the connection broke),
/// the session ends: what its client knows of it is unknown.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    sessions: &'a FetchSessions,
    id: i32,
    state: SessionState,
    is_answered: bool,
}

impl Deref for Lease<'_> {
    type Target = SessionState;

    fn deref(&self) -> &SessionState {
        &self.state
    }
}

impl DerefMut for Lease<'_> {
    fn deref_mut(&mut self) -> &mut SessionState {
        &mut self.state
    }
}

impl Lease<'_> {
    /// The fetch is answered: its partitions go back into the session.
    pub(super) fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.id == NO_SESSION {
            return;
        }
        let state = std::mem::replace(&mut self.state, SessionState::new());
        let mut entries = self.sessions.entries.lock();
        if !self.is_answered {
            entries.remove(&self.id);
        } else if let Some(entry) = entries.get_mut(&self.id) {
            entry.partitions = state.len();
            entry.used = now();
            entry.state = Some(state);
        }
    }
}

#[derive(Debug)]
struct Entry {
    next_epoch: i32,
    /// `None` while a fetch of the session runs.
    state: Option<SessionState>,
    is_follower: bool,
    uses_ids: bool,
    partitions: usize,
    used: Instant,
}

/// All sessions of this broker.
#[derive(Debug)]
pub struct FetchSessions {
    entries: Mutex<HashMap<i32, Entry>>,
    sessions_max: usize,
    metrics: Arc<Metrics>,
}

type Refused = (i32, ErrorCode);

impl FetchSessions {
    pub fn new(sessions_max: usize, metrics: Arc<Metrics>) -> FetchSessions {
        FetchSessions { entries: Mutex::default(), sessions_max, metrics }
    }

    /// Finds, makes or ends the session that the request names, and applies what it says.
    pub(super) fn open(
        &self,
        partitions: &Partitions,
        version: i16,
        is_follower: bool,
        request: FetchRequest,
    ) -> Result<Opened<'_>, Refused> {
        let (id, epoch) = (request.session_id, request.session_epoch);
        let uses_ids = version >= 13;
        if epoch != EPOCH_INITIAL && epoch != EPOCH_FINAL {
            return self.resume(partitions, uses_ids, request);
        }
        if id != NO_SESSION {
            self.entries.lock().remove(&id);
        }
        let mut session = SessionState::new();
        apply(partitions, uses_ids, &mut session, request);
        let id = if epoch == EPOCH_INITIAL && version >= 7 {
            self.create(is_follower, uses_ids, session.len())
        } else {
            NO_SESSION
        };
        Ok(Opened { id, kind: Kind::Full, session: self.lease(id, session) })
    }

    fn lease(&self, id: i32, state: SessionState) -> Lease<'_> {
        Lease { sessions: self, id, state, is_answered: false }
    }

    fn resume(
        &self,
        partitions: &Partitions,
        uses_ids: bool,
        request: FetchRequest,
    ) -> Result<Opened<'_>, Refused> {
        let id = request.session_id;
        let mut session = {
            let mut entries = self.entries.lock();
            let entry =
                entries.get_mut(&id).ok_or((NO_SESSION, ErrorCode::FetchSessionIdNotFound))?;
            if entry.next_epoch != request.session_epoch {
                return Err((NO_SESSION, ErrorCode::InvalidFetchSessionEpoch));
            }
            if entry.uses_ids != uses_ids {
                return Err((NO_SESSION, ErrorCode::FetchSessionTopicIdError));
            }
            // A second fetch of a session before the first is answered has a wrong epoch, since
            // the client cannot know yet that the first one succeeded.
            let state =
                entry.state.take().ok_or((NO_SESSION, ErrorCode::InvalidFetchSessionEpoch))?;
            entry.next_epoch = next_epoch(entry.next_epoch);
            entry.used = now();
            state
        };
        session.collect_news();
        apply(partitions, uses_ids, &mut session, request);
        Ok(Opened { id, kind: Kind::Incremental, session: self.lease(id, session) })
    }

    /// Takes a place for a new session, if one is free or may be taken from another.
    fn create(&self, is_follower: bool, uses_ids: bool, partitions: usize) -> i32 {
        let mut entries = self.entries.lock();
        if entries.len() >= self.sessions_max {
            match victim(&entries, is_follower, partitions) {
                Some(id) => entries.remove(&id),
                None => return NO_SESSION,
            };
        }
        let mut id = NO_SESSION;
        while id == NO_SESSION || entries.contains_key(&id) {
            id = (random::bits() as i32) & i32::MAX;
        }
        let entry = Entry {
            next_epoch: next_epoch(EPOCH_INITIAL),
            state: None,
            is_follower,
            uses_ids,
            partitions,
            used: now(),
        };
        entries.insert(id, entry);
        self.metrics.fetch_sessions.set(entries.len() as i64);
        id
    }
}

fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

/// Whose place a new session may take: one that is unused for long, else a consumer's if a
/// follower asks, else a smaller one of the same kind.
fn victim(entries: &HashMap<i32, Entry>, is_follower: bool, partitions: usize) -> Option<i32> {
    let oldest = entries.iter().min_by_key(|(_, entry)| entry.used)?;
    if now() > oldest.1.used + UNUSED_MAX {
        return Some(*oldest.0);
    }
    let weakest = entries.iter().min_by_key(|(_, e)| (e.is_follower, e.partitions, e.used))?;
    let (id, entry) = weakest;
    let gives_way = (is_follower && !entry.is_follower)
        || (is_follower == entry.is_follower && entry.partitions < partitions);
    gives_way.then_some(*id)
}

fn apply(hosted: &Partitions, uses_ids: bool, session: &mut SessionState, request: FetchRequest) {
    for topic in request.forgotten_topics_data {
        for number in topic.partitions {
            let key = key(uses_ids, &topic.topic, topic.topic_id, number);
            session.forget(&key);
        }
    }
    for FetchTopic { topic, topic_id, partitions } in request.topics {
        for partition in partitions {
            let key = key(uses_ids, &topic, topic_id, partition.partition);
            session.update(hosted, update(key, &partition));
        }
    }
}

fn key(uses_ids: bool, topic: &wire::Str, topic_id: base::TopicId, number: i32) -> WantKey {
    if uses_ids {
        WantKey { topic: wire::Str::default(), topic_id, number }
    } else {
        WantKey { topic: topic.clone(), topic_id: base::TopicId::ZERO, number }
    }
}

fn update(key: WantKey, partition: &FetchPartition) -> Update {
    Update {
        key,
        fetch_offset: partition.fetch_offset,
        current_leader_epoch: partition.current_leader_epoch,
        last_fetched_epoch: partition.last_fetched_epoch,
        log_start: partition.log_start_offset,
        bytes_max: partition.partition_max_bytes.max(0) as usize,
    }
}
