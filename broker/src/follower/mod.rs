//! The follower side: one fetch loop per leader broker, over one connection and one incremental
//! session, whatever the number of partitions. Orders come from the partitions' outbox.

mod fetch_loop;
mod link;
mod positions;

use std::collections::HashMap;
use std::sync::Arc;

use base::{BrokerId, LeaderEpoch, TopicPartition};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::broker::Broker;
use crate::partition::{FetchOrder, Partition};

/// A change of what one loop has to fetch.
#[derive(Debug)]
enum Change {
    Add { partition: Arc<Partition>, epoch: LeaderEpoch },
    Remove(TopicPartition),
}

/// Changes that a loop has not taken up yet: bounded by the number of partitions, since the
/// manager's orders are.
#[derive(Debug, Default)]
struct Changes {
    queued: Mutex<Vec<Change>>,
    posted: Notify,
}

impl Changes {
    fn post(&self, change: Change) {
        self.queued.lock().push(change);
        self.posted.notify_one();
    }

    fn take(&self) -> Vec<Change> {
        std::mem::take(&mut *self.queued.lock())
    }

    /// Ready when a change may have been posted since the last `take`.
    async fn posted(&self) {
        self.posted.notified().await;
    }
}

/// Distributes fetch orders to the loops until connections close.
pub async fn run(broker: Arc<Broker>) {
    let closing = broker.shutdown.connections_closing();
    tokio::pin!(closing);
    let mut manager = Manager::default();
    loop {
        let orders = tokio::select! {
            orders = broker.partitions.outbox().fetch_orders.take() => orders,
            () = &mut closing => return,
        };
        for (id, order) in orders {
            manager.obey(&broker, id, order);
        }
    }
}

#[derive(Default)]
struct Manager {
    loops: HashMap<BrokerId, Arc<Changes>>,
    assigned: HashMap<TopicPartition, BrokerId>,
    tasks: JoinSet<()>,
}

impl Manager {
    fn obey(&mut self, broker: &Arc<Broker>, id: TopicPartition, order: FetchOrder) {
        let wanted = match &order {
            FetchOrder::Follow { leader, .. } => Some(*leader),
            FetchOrder::Stop => None,
        };
        if let Some(before) = self.assigned.remove(&id)
            && wanted != Some(before)
            && let Some(changes) = self.loops.get(&before)
        {
            changes.post(Change::Remove(id.clone()));
        }
        if let FetchOrder::Follow { partition, leader, epoch } = order {
            self.assigned.insert(id, leader);
            self.changes_of(broker, leader).post(Change::Add { partition, epoch });
        }
    }

    fn changes_of(&mut self, broker: &Arc<Broker>, leader: BrokerId) -> Arc<Changes> {
        if let Some(changes) = self.loops.get(&leader) {
            return changes.clone();
        }
        let changes = Arc::new(Changes::default());
        self.tasks.spawn(fetch_loop::run(broker.clone(), leader, changes.clone()));
        self.loops.insert(leader, changes.clone());
        changes
    }
}
