//! What partitions of internal topics, and deletions of topics, tell the coordinators. Posting
//! never blocks; whoever asks a coordinator has what was posted before carried out first, so that
//! no answer is older than the metadata that led to the question.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base::{LeaderEpoch, TopicId, TopicPartition};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Partition;

/// One piece of news for the coordinators.
#[derive(Clone, Debug)]
pub enum CoordinatorPost {
    /// This broker leads a partition of an internal topic from this epoch on.
    Leads { partition: Arc<Partition>, epoch: LeaderEpoch },
    /// It no longer does.
    LeadsNoMore(TopicPartition),
    /// These topics were deleted: name and id.
    TopicsDeleted(Vec<(Arc<str>, TopicId)>),
}

impl CoordinatorPost {
    fn partition(&self) -> Option<&TopicPartition> {
        match self {
            CoordinatorPost::Leads { partition, .. } => Some(&partition.id),
            CoordinatorPost::LeadsNoMore(id) => Some(id),
            CoordinatorPost::TopicsDeleted(_) => None,
        }
    }
}

/// What was posted and not carried out yet. Of each partition only the newest post is kept.
#[derive(Debug, Default)]
pub struct CoordinatorPosts {
    posts: Mutex<Vec<CoordinatorPost>>,
    /// Cleared only once all of them are carried out.
    are_pending: AtomicBool,
    posted: Notify,
}

impl CoordinatorPosts {
    pub(super) fn post(&self, post: CoordinatorPost) {
        let mut posts = self.posts.lock();
        if let Some(partition) = post.partition() {
            posts.retain(|earlier| earlier.partition() != Some(partition));
        }
        posts.push(post);
        self.are_pending.store(true, Ordering::Release);
        drop(posts);
        self.posted.notify_one();
    }

    /// Carries out what was posted before this call, in order. `act` must neither block nor take a
    /// partition's lock: partitions post under theirs.
    pub fn carry_out(&self, mut act: impl FnMut(CoordinatorPost)) {
        if !self.are_pending.load(Ordering::Acquire) {
            return;
        }
        // The lock is kept meanwhile: nobody finds nothing to do while somebody is still at it.
        let mut posts = self.posts.lock();
        posts.drain(..).for_each(&mut act);
        self.are_pending.store(false, Ordering::Release);
    }

    /// Resolves after a post.
    pub async fn posted(&self) {
        self.posted.notified().await;
    }
}
