//! Where effects of partitions go that others carry out: fetch orders to the follower tasks, ISR
//! proposals to the controller, leadership of internal topics to the coordinators. Posting never
//! blocks. All are bounded by the number of partitions: a newer order replaces an older one, and a
//! partition has one proposal in flight at most.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use base::{BrokerId, LeaderEpoch, TopicPartition};
use parking_lot::Mutex;
use process::metrics::Metrics;
use replica::IsrProposal;
use tokio::sync::Notify;

use super::coordinator_posts::CoordinatorPosts;
use super::{Partition, SyncQueue};

/// Sees every replica after each change of it, under its lock: for simulations.
pub trait Observer: Send + Sync {
    fn settled(&self, partition: &Partition, settled: &Settled<'_>);

    /// A log is about to begin anew. A simulation may break a rule here.
    fn before_restart(&self, _log: &mut commitlog::Log) {}
}

/// A replica after a change.
pub struct Settled<'a> {
    pub core: &'a replica::Partition,
    pub log: &'a commitlog::Log,
    /// Deleted or moved away.
    pub is_removed: bool,
}

/// What a follower task has to do for a partition.
#[derive(Clone, Debug)]
pub enum FetchOrder {
    Follow { partition: Arc<Partition>, leader: BrokerId, epoch: LeaderEpoch },
    Stop,
}

/// The newest order of each partition that the follower manager has not taken yet.
#[derive(Debug, Default)]
pub struct FetchOrders {
    orders: Mutex<BTreeMap<TopicPartition, FetchOrder>>,
    posted: Notify,
}

impl FetchOrders {
    pub(super) fn post(&self, partition: &TopicPartition, order: FetchOrder) {
        self.orders.lock().insert(partition.clone(), order);
        self.posted.notify_one();
    }

    /// Waits until there are orders, and takes them all.
    pub async fn take(&self) -> BTreeMap<TopicPartition, FetchOrder> {
        loop {
            let orders = std::mem::take(&mut *self.orders.lock());
            if !orders.is_empty() {
                return orders;
            }
            self.posted.notified().await;
        }
    }
}

/// ISR changes on their way to the controller.
#[derive(Debug, Default)]
pub struct IsrProposals {
    proposals: Mutex<Vec<(Arc<Partition>, IsrProposal)>>,
    posted: Notify,
}

impl IsrProposals {
    pub(super) fn post(&self, partition: Arc<Partition>, proposal: IsrProposal) {
        self.proposals.lock().push((partition, proposal));
        self.posted.notify_one();
    }

    /// What waits to be taken.
    pub fn waiting(&self) -> Vec<(Arc<Partition>, IsrProposal)> {
        self.proposals.lock().clone()
    }

    /// Waits until there are proposals, and takes them all.
    pub async fn take(&self) -> Vec<(Arc<Partition>, IsrProposal)> {
        loop {
            let proposals = std::mem::take(&mut *self.proposals.lock());
            if !proposals.is_empty() {
                return proposals;
            }
            self.posted.notified().await;
        }
    }
}

/// Everything that a partition posts to.
pub struct Outbox {
    pub fetch_orders: FetchOrders,
    pub isr_proposals: IsrProposals,
    pub syncs: SyncQueue,
    pub coordinators: CoordinatorPosts,
    pub metrics: Arc<Metrics>,
    /// A log was cut below what was cleaned: the checkpoint says too much.
    pub(super) cleaned_was_cut: AtomicBool,
    pub(super) observer: Option<Arc<dyn Observer>>,
}

impl Outbox {
    pub fn new(metrics: Arc<Metrics>) -> Outbox {
        let (fetch_orders, isr_proposals, syncs, coordinators) = Default::default();
        let (observer, cleaned_was_cut) = (None, AtomicBool::new(false));
        Outbox {
            fetch_orders,
            isr_proposals,
            syncs,
            coordinators,
            metrics,
            cleaned_was_cut,
            observer,
        }
    }

    /// The same, with somebody who looks at what becomes of partitions.
    pub fn observed(metrics: Arc<Metrics>, observer: Arc<dyn Observer>) -> Outbox {
        Outbox { observer: Some(observer), ..Outbox::new(metrics) }
    }
}
