//! What a loop was told to fetch and has not taken up yet: the newest order of each partition, so
//! that it is bounded by their number.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{LeaderEpoch, TopicPartition};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::partition::Partition;

#[derive(Debug)]
pub(super) enum Order {
    Follow { partition: Arc<Partition>, epoch: LeaderEpoch },
    Stop,
}

#[derive(Debug, Default)]
pub(super) struct Orders {
    newest: Mutex<BTreeMap<TopicPartition, Order>>,
    posted: Notify,
}

impl Orders {
    pub(super) fn post(&self, partition: TopicPartition, order: Order) {
        self.newest.lock().insert(partition, order);
        self.posted.notify_one();
    }

    pub(super) fn take(&self) -> BTreeMap<TopicPartition, Order> {
        std::mem::take(&mut *self.newest.lock())
    }

    /// Ready when there are orders.
    pub(super) async fn posted(&self) {
        while self.newest.lock().is_empty() {
            self.posted.notified().await;
        }
    }
}
