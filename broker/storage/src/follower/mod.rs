//! The follower side: one fetch loop per leader broker, over one connection and one incremental
//! session, whatever the number of partitions. Orders come from the partitions' outbox; what
//! connects to a leader comes from outside.

mod dial;
mod fetch_loop;
mod orders;
mod replicas;
mod session;

use std::collections::HashMap;
use std::sync::Arc;

use base::{BrokerId, TopicPartition};

use crate::Storage;
use crate::partition::FetchOrder;
use crate::throttles::Throttles;
pub use dial::{Dial, FetchError, FetchLink, LinkFailure};
use orders::{Order, Orders};
use process::task::Tasks;

/// Distributes fetch orders to the loops until connections close.
pub async fn run<D: Dial>(storage: Arc<Storage>, dial: Arc<D>) {
    let closing = storage.shutdown.connections_closing();
    tokio::pin!(closing);
    let mut manager = Manager::new(storage.clone(), dial);
    manager.tasks.spawn(Throttles::follow(storage.clone()));
    loop {
        let orders = tokio::select! {
            biased;
            orders = storage.partitions.outbox().fetch_orders.take() => orders,
            () = &mut closing => return,
        };
        for (id, order) in orders {
            manager.obey(id, order);
        }
    }
}

struct Manager<D> {
    storage: Arc<Storage>,
    dial: Arc<D>,
    loops: HashMap<BrokerId, Arc<Orders>>,
    assigned: HashMap<TopicPartition, BrokerId>,
    tasks: Tasks<()>,
}

impl<D: Dial> Manager<D> {
    fn new(storage: Arc<Storage>, dial: Arc<D>) -> Manager<D> {
        let (loops, assigned, tasks) = Default::default();
        Manager { storage, dial, loops, assigned, tasks }
    }

    fn obey(&mut self, id: TopicPartition, order: FetchOrder) {
        let wanted = match &order {
            FetchOrder::Follow { leader, .. } => Some(*leader),
            FetchOrder::Stop => None,
        };
        if let Some(before) = self.assigned.remove(&id)
            && wanted != Some(before)
            && let Some(orders) = self.loops.get(&before)
        {
            orders.post(id.clone(), Order::Stop);
        }
        if let FetchOrder::Follow { partition, leader, epoch } = order {
            self.assigned.insert(id.clone(), leader);
            self.orders_of(leader).post(id, Order::Follow { partition, epoch });
        }
    }

    fn orders_of(&mut self, leader: BrokerId) -> Arc<Orders> {
        let orders = self.loops.entry(leader).or_insert_with(|| {
            let orders = Arc::new(Orders::default());
            let (storage, dial) = (self.storage.clone(), self.dial.clone());
            self.tasks.spawn(fetch_loop::run(storage, dial, leader, orders.clone()));
            orders
        });
        orders.clone()
    }
}
