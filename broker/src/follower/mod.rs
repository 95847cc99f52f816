//! The follower side: one fetch loop per leader broker, over one connection and one incremental
//! session, whatever the number of partitions. Orders come from the partitions' outbox.

mod fetch_loop;
mod link;
mod orders;
mod replicas;
mod session;

use std::collections::HashMap;
use std::sync::Arc;

use base::{BrokerId, TopicPartition};
use tokio::task::JoinSet;

use crate::broker::Broker;
use crate::partition::FetchOrder;
use crate::throttles::Throttles;
use orders::{Order, Orders};

/// Distributes fetch orders to the loops until connections close.
pub async fn run(broker: Arc<Broker>) {
    let closing = broker.shutdown.connections_closing();
    tokio::pin!(closing);
    let mut manager = Manager::default();
    manager.tasks.spawn(Throttles::follow(broker.clone()));
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
    loops: HashMap<BrokerId, Arc<Orders>>,
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
            && let Some(orders) = self.loops.get(&before)
        {
            orders.post(id.clone(), Order::Stop);
        }
        if let FetchOrder::Follow { partition, leader, epoch } = order {
            self.assigned.insert(id.clone(), leader);
            self.orders_of(broker, leader).post(id, Order::Follow { partition, epoch });
        }
    }

    fn orders_of(&mut self, broker: &Arc<Broker>, leader: BrokerId) -> Arc<Orders> {
        let orders = self.loops.entry(leader).or_insert_with(|| {
            let orders = Arc::new(Orders::default());
            self.tasks.spawn(fetch_loop::run(broker.clone(), leader, orders.clone()));
            orders
        });
        orders.clone()
    }
}
