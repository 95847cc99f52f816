//! The network: delays, losses, cuts, and what arrives.

use crate::message::{Addr, Body, Envelope};
use crate::world::{Action, World};

impl World {
    /// A delay of the network: mostly short, sometimes longer than timeouts.
    pub(crate) fn delay(&mut self) -> i64 {
        if self.healing() || !self.rng.chance(self.plan.slow_per_mille) {
            return self.rng.between(0, self.plan.delay_max_ms);
        }
        self.rng.between(50, 1_200)
    }

    pub(crate) fn send(&mut self, from: Addr, to: Addr, body: Body) {
        let to_incarnation = self.incarnation(to, from);
        self.send_to(from, to, to_incarnation, body);
    }

    /// Sends to a certain process: an answer goes to the one that asked.
    pub(crate) fn send_to(&mut self, from: Addr, to: Addr, to_incarnation: u64, body: Body) {
        let from_incarnation = self.incarnation(from, to);
        let envelope = Envelope { from, from_incarnation, to, to_incarnation, body };
        let local = from == to;
        if !local && (self.faults.is_cut(from, to) || self.is_lost()) {
            self.trace(|_| format!("lost {from:?} -> {to:?} {}", envelope.body.name()));
            if let Body::Control { session, .. } = envelope.body {
                self.connection_lost(from, to, session);
            }
            if let Some(link) = envelope.body.link() {
                self.lose_link(link);
            }
            if let (Addr::Client(client), _) | (_, Addr::Client(client)) = (from, to) {
                self.close_connections(client);
                self.producer_disconnected(client);
            }
            return;
        }
        let mut delay = if local { 0 } else { self.delay() };
        // One connection per client and broker, and what is sent on it stays in order.
        let (client, node, direction) = match (from, to) {
            (Addr::Client(client), Addr::Node(node)) => (client, node, 0),
            (Addr::Node(node), Addr::Client(client)) => (client, node, 1),
            _ => return self.schedule(delay, Action::Deliver(Box::new(envelope))),
        };
        let last_ms = &mut self.connections[client][node].last_arrival_ms[direction];
        *last_ms = (*last_ms).max(self.now_ms + delay);
        delay = *last_ms - self.now_ms;
        self.schedule(delay, Action::Deliver(Box::new(envelope)));
    }

    /// Identifies the process at `from`; of a client, its connection with `to`.
    fn incarnation(&self, from: Addr, to: Addr) -> u64 {
        match (from, to) {
            (Addr::Node(node), _) => self.nodes[node].incarnation,
            (Addr::Client(client), Addr::Node(node)) => self.connections[client][node].id,
            (Addr::Client(_), Addr::Client(_)) => 0,
        }
    }

    /// A client gives up its connections, and with them what is under way on them.
    pub(crate) fn close_connections(&mut self, client: usize) {
        for connection in &mut self.connections[client] {
            connection.id += 1;
        }
    }

    fn is_lost(&mut self) -> bool {
        !self.healing() && self.rng.chance(self.plan.drop_per_mille)
    }

    pub(crate) fn deliver(&mut self, envelope: Envelope) {
        let (from, to) = (envelope.from, envelope.to);
        let mut current = self.incarnation(to, from) == envelope.to_incarnation;
        if let Addr::Client(_) = from {
            // What was sent on a connection that was given up is not heard any more.
            current &= self.incarnation(from, to) == envelope.from_incarnation;
        }
        let cut = from != to && self.faults.is_cut(from, to);
        if !current || cut {
            if let Some(link) = envelope.body.link() {
                self.lose_link(link);
            }
            return;
        }
        match envelope.to {
            Addr::Node(node) => {
                if !self.nodes[node].up {
                    if let Some(link) = envelope.body.link() {
                        self.lose_link(link);
                    }
                    return;
                }
                let pause = self.nodes[node].paused_until_ms - self.now_ms;
                if pause > 0 {
                    return self.schedule(pause, Action::Deliver(Box::new(envelope)));
                }
                match self.disk_wait_ms(node, &envelope.body) {
                    Some(wait) => self.schedule(wait, Action::DiskServed(Box::new(envelope))),
                    None => self.node_takes(node, envelope),
                }
            }
            Addr::Client(client) => {
                self.mix(&[3, client as u64]);
                self.client_receives(client, envelope.body);
            }
        }
    }

    pub(crate) fn node_takes(&mut self, node: usize, envelope: Envelope) {
        self.trace(|_| format!("{:?} -> {node} {}", envelope.from, envelope.body.name()));
        self.mix(&[2, node as u64]);
        self.node_receives(node, envelope);
    }
}
