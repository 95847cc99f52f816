//! What a client wants to fetch: its partitions in the order of priority, which of them may have
//! news, and how each was told last.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base::{ErrorCode, LeaderEpoch, Offset, TopicId};
use process::time::now;
use tokio::time::Instant;
use wire::Str;

use crate::partition::{FetchWait, Partition, Partitions};

/// How often a busy session looks at its idle partitions.
const SCAN_INTERVAL: Duration = Duration::from_millis(200);

/// One partition of a fetch.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) topic: Str,
    pub(super) topic_id: TopicId,
    pub(super) number: i32,
    pub(super) fetch_offset: Offset,
    pub(super) current_leader_epoch: LeaderEpoch,
    pub(super) last_fetched_epoch: LeaderEpoch,
    /// Where a follower's log starts.
    pub(super) log_start: Offset,
    pub(super) bytes_max: usize,
    /// The replica here, or what the client is told in its place.
    pub(super) hosted: Result<Arc<Partition>, ErrorCode>,
    /// What the last response said; -1 before the first.
    pub(super) told_high_watermark: Offset,
    pub(super) told_log_start: Offset,
    /// The request named it: a follower's position is still to be noted.
    pub(super) is_updated: bool,
    is_dirty: bool,
    /// The response that told of it last, as the session counts them.
    told_in: u64,
}

/// Identifies a partition in a session: by id where the client uses ids, else by name.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct WantKey {
    pub(super) topic: Str,
    pub(super) topic_id: TopicId,
    pub(super) number: i32,
}

/// A partition as a request names it.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) key: WantKey,
    pub(super) fetch_offset: Offset,
    pub(super) current_leader_epoch: LeaderEpoch,
    pub(super) last_fetched_epoch: LeaderEpoch,
    pub(super) log_start: Offset,
    pub(super) bytes_max: usize,
}

/// The partitions of a fetch session, or of one fetch without a session.
#[derive(Debug)]
pub(super) struct SessionState {
    /// Indexes are stable: a forgotten partition leaves a gap that is used again.
    pub(super) want: Vec<Option<Want>>,
    by_key: HashMap<WantKey, u32>,
    gaps: Vec<u32>,
    /// Indexes that must be looked at: updated, with news, or not read to their end.
    dirty: Vec<u32>,
    /// Indexes that the request named and whose positions are to be noted.
    updated: Vec<u32>,
    /// Responses so far.
    responses: u64,
    wait: Arc<FetchWait>,
    /// When high watermarks without records were told last.
    scanned: Instant,
}

impl SessionState {
    pub(super) fn new() -> SessionState {
        SessionState {
            want: Vec::new(),
            by_key: HashMap::new(),
            gaps: Vec::new(),
            dirty: Vec::new(),
            updated: Vec::new(),
            responses: 0,
            wait: FetchWait::new(),
            scanned: now(),
        }
    }

    pub(super) fn wait(&self) -> &Arc<FetchWait> {
        &self.wait
    }

    /// Adds a partition, or changes its position.
    pub(super) fn update(&mut self, partitions: &Partitions, update: Update) {
        if let Some(&index) = self.by_key.get(&update.key)
            && let Some(Some(want)) = self.want.get_mut(index as usize)
        {
            want.fetch_offset = update.fetch_offset;
            want.current_leader_epoch = update.current_leader_epoch;
            want.last_fetched_epoch = update.last_fetched_epoch;
            want.log_start = update.log_start;
            want.bytes_max = update.bytes_max;
            want.is_updated = true;
            self.updated.push(index);
            self.mark(index);
            return;
        }
        let WantKey { topic, topic_id, number } = update.key.clone();
        let want = Want {
            topic,
            topic_id,
            number,
            fetch_offset: update.fetch_offset,
            current_leader_epoch: update.current_leader_epoch,
            last_fetched_epoch: update.last_fetched_epoch,
            log_start: update.log_start,
            bytes_max: update.bytes_max,
            hosted: Err(ErrorCode::UnknownTopicOrPartition),
            told_high_watermark: -1,
            told_log_start: -1,
            is_updated: true,
            is_dirty: false,
            told_in: 0,
        };
        let index = match self.gaps.pop() {
            Some(index) => index,
            None => {
                self.want.push(None);
                self.want.len() as u32 - 1
            }
        };
        self.want[index as usize] = Some(want);
        self.by_key.insert(update.key, index);
        self.updated.push(index);
        self.find_replica(partitions, index);
        self.mark(index);
    }

    pub(super) fn forget(&mut self, key: &WantKey) {
        if let Some(index) = self.by_key.remove(key) {
            self.want[index as usize] = None;
            self.gaps.push(index);
        }
    }

    /// Looks for the replica again where the last one is gone or there was none.
    pub(super) fn find_replica(&mut self, partitions: &Partitions, index: u32) {
        let Some(Some(want)) = self.want.get_mut(index as usize) else { return };
        want.hosted = if want.topic_id.is_zero() {
            partitions.find(&want.topic, want.number)
        } else {
            partitions.find_by_id(want.topic_id, want.number)
        };
    }

    /// The partition must be looked at in the next round.
    pub(super) fn mark(&mut self, index: u32) {
        if let Some(Some(want)) = self.want.get_mut(index as usize)
            && !want.is_dirty
        {
            want.is_dirty = true;
            self.dirty.push(index);
        }
    }

    /// Takes what is to be looked at, in order and each once. Who is not marked again is done with.
    pub(super) fn take_dirty(&mut self) -> Vec<u32> {
        let mut dirty = std::mem::take(&mut self.dirty);
        // A forgotten partition leaves its index behind, and the next one in its gap adds it again.
        dirty.retain(|&index| match self.want.get_mut(index as usize) {
            Some(Some(want)) => std::mem::take(&mut want.is_dirty),
            _ => false,
        });
        dirty
    }

    /// Takes what the request named. Whose position is noted later is not named again.
    pub(super) fn take_updated(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.updated)
    }

    /// Begins a response.
    pub(super) fn begin_response(&mut self) {
        self.responses += 1;
    }

    /// Notes that the response tells of a partition.
    pub(super) fn is_told(&mut self, index: u32) {
        if let Some(Some(want)) = self.want.get_mut(index as usize) {
            want.told_in = self.responses;
        }
    }

    /// The partitions that the response does not tell of yet.
    pub(super) fn untold(&mut self) -> impl Iterator<Item = &mut Want> {
        let current = self.responses;
        self.want.iter_mut().flatten().filter(move |want| want.told_in != current)
    }

    /// Ready when registered partitions have news, with their indexes; they are marked then.
    pub(super) fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<Vec<u32>> {
        let mut news = Vec::new();
        let polled = self.wait.poll(cx, &mut news);
        for &index in &news {
            self.mark(index);
        }
        polled.map(|()| news)
    }

    /// Marks what came in between two requests.
    pub(super) fn collect_news(&mut self) {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let _ = self.poll_news(&mut cx);
    }

    /// Whether it is time to tell high watermarks that moved without records: they are of no
    /// hurry, and looking at every partition of a large session is not free.
    pub(super) fn is_scan_due(&mut self) -> bool {
        let due = now() >= self.scanned + SCAN_INTERVAL;
        if due {
            self.scanned = now();
        }
        due
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

impl Drop for SessionState {
    fn drop(&mut self) {
        // Registrations that are left in partitions are swept out there.
        self.wait.finish();
    }
}
