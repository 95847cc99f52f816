//! How a shard's task is reached. Requests wait for room. The news that topics were deleted cannot
//! wait, and must keep their place: a commit that was asked for before is of the old topic and goes
//! with it, one that was asked for afterwards may be of a new topic of the same name. So they lie
//! beside the requests, each of which says how many of them came before it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use base::TopicId;
use coordinator::Shard;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};

/// Requests that may wait for one shard. Beyond that handlers wait, and with them the sockets.
const REQUESTS_MAX: usize = 1024;

/// Deleted topics by name, with the ids that they had.
pub(super) type Topics = Arc<BTreeMap<Arc<str>, TopicId>>;

/// A request on its way to a shard's task.
pub(super) struct Command<S: Shard> {
    pub(super) request: S::Request,
    pub(super) answer: oneshot::Sender<S::Reply>,
    /// The number of deletions that came before.
    pub(super) after: u64,
}

/// The way to a task.
pub(super) struct Mailbox<S: Shard> {
    commands: mpsc::Sender<Command<S>>,
    deletions: Arc<Deletions>,
}

impl<S: Shard> Clone for Mailbox<S> {
    fn clone(&self) -> Mailbox<S> {
        Mailbox { commands: self.commands.clone(), deletions: self.deletions.clone() }
    }
}

/// The deletions that a task has not taken yet: those of one round of its.
#[derive(Default)]
pub(super) struct Deletions {
    waiting: Mutex<Waiting>,
    posted: Notify,
}

#[derive(Default)]
struct Waiting {
    /// How many came, ever.
    count: u64,
    topics: VecDeque<Topics>,
}

impl<S: Shard> Mailbox<S> {
    pub(super) fn new() -> (Mailbox<S>, mpsc::Receiver<Command<S>>, Arc<Deletions>) {
        let (commands, receiver) = mpsc::channel(REQUESTS_MAX);
        let deletions = Arc::<Deletions>::default();
        (Mailbox { commands, deletions: deletions.clone() }, receiver, deletions)
    }

    /// The answer; `None` once the task has ended.
    pub(super) async fn ask(&self, request: S::Request) -> Option<S::Reply> {
        let (answer, answered) = oneshot::channel();
        let after = self.deletions.waiting.lock().count;
        self.commands.send(Command { request, answer, after }).await.ok()?;
        answered.await.ok()
    }

    /// Whether the task has ended: another one may have its partition.
    pub(super) fn is_closed(&self) -> bool {
        self.commands.is_closed()
    }

    /// Does not block.
    pub(super) fn topics_deleted(&self, topics: Topics) {
        self.deletions.post(topics);
    }
}

impl Deletions {
    pub(super) fn post(&self, topics: Topics) {
        let mut waiting = self.waiting.lock();
        waiting.count += 1;
        waiting.topics.push_back(topics);
        self.posted.notify_one();
    }

    pub(super) async fn posted(&self) {
        self.posted.notified().await;
    }

    /// The next one of the first so many.
    pub(super) fn take_before(&self, count: u64) -> Option<Topics> {
        let mut waiting = self.waiting.lock();
        let taken = waiting.count - waiting.topics.len() as u64;
        if taken < count { waiting.topics.pop_front() } else { None }
    }
}
