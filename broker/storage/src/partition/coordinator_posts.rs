//! What partitions of internal topics, and deletions of topics, tell the coordinators. Posting
//! never blocks; whoever asks a coordinator has what was posted before carried out first, so that
//! no answer is older than the metadata that led to the question.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base::{LeaderEpoch, TopicId, TopicPartition, topic_name};
use metadata::Image;
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
    /// Topics were made, deleted or grown, or configs of groups were set.
    ClusterChanged(Arc<Image>),
}

impl CoordinatorPost {
    fn partition(&self) -> Option<&TopicPartition> {
        match self {
            CoordinatorPost::Leads { partition, .. } => Some(&partition.id),
            CoordinatorPost::LeadsNoMore(id) => Some(id),
            CoordinatorPost::TopicsDeleted(_) | CoordinatorPost::ClusterChanged(_) => None,
        }
    }
}

/// What was posted and not carried out yet, apart for each coordinator.
#[derive(Debug, Default)]
pub struct CoordinatorPosts {
    groups: Posts,
    transactions: Posts,
}

/// Posts for one coordinator. Of each partition, and of the cluster, only the newest is kept.
#[derive(Debug, Default)]
struct Posts {
    posts: Mutex<Vec<CoordinatorPost>>,
    /// Cleared only once all of them are carried out.
    are_pending: AtomicBool,
    posted: Notify,
}

impl CoordinatorPosts {
    /// To the coordinator of the partition's topic; the deletion of topics to all of them.
    pub(super) fn post(&self, post: CoordinatorPost) {
        match post.partition().map(|id| &*id.topic) {
            Some(topic) => {
                if let Some(posts) = self.of(topic) {
                    posts.post(post);
                }
            }
            None => {
                self.groups.post(post.clone());
                self.transactions.post(post);
            }
        }
    }

    /// None for a topic whose coordinator is not built.
    fn of(&self, topic: &str) -> Option<&Posts> {
        match topic {
            topic_name::OFFSETS => Some(&self.groups),
            topic_name::TRANSACTIONS => Some(&self.transactions),
            _ => None,
        }
    }

    /// Carries out what was posted for the coordinator of the topic before this call, in order.
    /// `act` must neither block nor take a partition's lock: partitions post under theirs.
    pub fn carry_out(&self, topic: &str, act: impl FnMut(CoordinatorPost)) {
        if let Some(posts) = self.of(topic) {
            posts.carry_out(act);
        }
    }

    /// Resolves after a post for the coordinator of the topic.
    pub async fn posted(&self, topic: &str) {
        match self.of(topic) {
            Some(posts) => posts.posted.notified().await,
            None => std::future::pending().await,
        }
    }
}

impl Posts {
    fn post(&self, post: CoordinatorPost) {
        let mut posts = self.posts.lock();
        if let Some(partition) = post.partition() {
            posts.retain(|earlier| earlier.partition() != Some(partition));
        }
        if matches!(post, CoordinatorPost::ClusterChanged(_)) {
            posts.retain(|earlier| !matches!(earlier, CoordinatorPost::ClusterChanged(_)));
        }
        posts.push(post);
        self.are_pending.store(true, Ordering::Release);
        drop(posts);
        self.posted.notify_one();
    }

    fn carry_out(&self, mut act: impl FnMut(CoordinatorPost)) {
        if !self.are_pending.load(Ordering::Acquire) {
            return;
        }
        // The lock is kept meanwhile: nobody finds nothing to do while somebody is still at it.
        let mut posts = self.posts.lock();
        posts.drain(..).for_each(&mut act);
        self.are_pending.store(false, Ordering::Release);
    }
}
