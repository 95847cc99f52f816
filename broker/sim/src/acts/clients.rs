//! The workload: idempotent producers, a consumer that reads everything committed, and members of
//! a group. Clients learn of leaders from any broker, which may be behind.

use base::LeaderEpoch;

use crate::client::{Client, Consumer, Member, Producer};
use crate::message::{Addr, Body, Tp};
use crate::world::{Action, World};

impl World {
    pub(crate) fn start_clients(&mut self) {
        for index in 0..self.plan.producers {
            let tp = index % self.plan.data_partitions;
            // The first one of each partition takes no chances.
            let acks =
                if index < self.plan.data_partitions { -1 } else { *self.rng.pick(&[-1, 1]) };
            let in_flight = self.rng.between(1, 5) as usize;
            let producer = Producer::new(1_000 + index as i64, tp, acks, in_flight);
            if acks != -1 {
                self.checks.sequences.lossy.insert(producer.id);
            }
            self.clients.push(Client::Producer(producer));
        }
        for index in 0..self.plan.consumers {
            let tp = index % self.plan.data_partitions;
            self.clients.push(Client::Consumer(Consumer::new(tp)));
        }
        for index in 0..self.plan.members {
            self.clients.push(Client::Member(Member::new(index)));
        }
        for client in 0..self.clients.len() {
            self.client_after(400, client);
        }
    }

    pub(crate) fn client_after(&mut self, ms: i64, client: usize) {
        self.schedule(ms, Action::Client { client });
    }

    pub(crate) fn client_timer(&mut self, client: usize) {
        match self.clients[client] {
            Client::Producer(_) => self.producer_timer(client),
            Client::Consumer(_) => self.consumer_timer(client),
            Client::Member(_) => self.member_timer(client),
        }
    }

    pub(crate) fn client_receives(&mut self, client: usize, body: Body) {
        match body {
            Body::ProduceAnswer { id, result } => self.produced(client, id, result),
            Body::ConsumeAnswer { id, data } => self.consumed(client, id, *data),
            Body::GroupAnswer { id, epoch, reply } => self.member_told(client, id, epoch, reply),
            _ => {}
        }
    }

    /// The leader of a partition as some live broker believes.
    pub(crate) fn find_leader(&mut self, tp: Tp) -> Option<usize> {
        self.find_leader_epoch(tp).map(|(leader, _)| leader)
    }

    pub(crate) fn find_leader_epoch(&mut self, tp: Tp) -> Option<(usize, LeaderEpoch)> {
        let asked = self.rng.below(self.nodes.len());
        let name = &self.tps[tp];
        let image = self.nodes[asked].process.as_ref()?.storage.image();
        let partition = image.partition(&name.topic, name.partition)?;
        partition.leader.map(|leader| (leader.0 as usize, partition.leader_epoch))
    }

    pub(crate) fn send_request(&mut self, client: usize, node: usize, body: Body) {
        self.send(Addr::Client(client), Addr::Node(node), body);
    }
}
