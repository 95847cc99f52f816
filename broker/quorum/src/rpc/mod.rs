//! The internal transport between brokers: small, over TCP or TLS, many requests at once per
//! connection.
//!
//! It carries Raft's messages and, opaque, the requests to the active controller. Both ends learn
//! at once when a connection breaks: a killed process closes its sockets, and that is the fastest
//! hint of a death that there is.

mod client;
mod connections;
mod frame;
mod handler;
mod handshake;
mod server;
mod socket;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use base::TopicId;
use parking_lot::Mutex;
use transport::{Acceptor, Connector};

use crate::config::{NodeAddress, Voter};
use crate::secret::Guard;
use crate::types::{NodeId, node_id};

pub use client::{Connection, Dialer, Link};
pub use frame::Channel;
pub use handler::{Refusal, RequestHandler};
pub use server::{Peer, serve};
pub use socket::ConnectError;

/// Kinds of requests.
pub mod kind {
    pub const VOTE: u8 = 1;
    pub const PRE_VOTE: u8 = 2;
    pub const APPEND: u8 = 3;
    pub const SNAPSHOT: u8 = 4;
    pub const TRANSFER_LEADER: u8 = 5;
    pub const STATUS: u8 = 6;
    pub const JOIN: u8 = 7;
    pub const REJOIN: u8 = 8;
    pub const BOOTSTRAP: u8 = 9;
    pub const CONTROLLER: u8 = 16;

    pub(super) const ANSWER: u8 = 0x80;
    pub(super) const REFUSED: u8 = 0x81;
    pub(super) const NOT_LEADER: u8 = 0x82;
}

/// Who this process is towards others.
#[derive(Clone, Debug)]
pub struct Identity {
    pub node: NodeId,
    pub cluster_id: Option<String>,
    pub incarnation: u64,
    pub directory: TopicId,
    pub guard: Guard,
    /// What lies under a connection, at either end.
    pub acceptor: Acceptor,
    pub connector: Connector,
}

impl Identity {
    /// Two clusters must not mix; a node that does not know its cluster yet may join any, where
    /// nothing has to be proved.
    fn same_cluster(&self, other: &Option<String>) -> bool {
        match (&self.cluster_id, other) {
            (Some(mine), Some(theirs)) => mine == theirs,
            _ => !self.guard.is_strict() || self.cluster_id == *other,
        }
    }
}

/// Where the nodes are: the configured voters (their names are stable), and what the members'
/// list says about the others.
#[derive(Debug)]
pub struct AddressBook {
    configured: HashMap<NodeId, NodeAddress>,
    learned: Mutex<HashMap<NodeId, NodeAddress>>,
}

impl AddressBook {
    pub fn new(voters: &[Voter]) -> AddressBook {
        let configured = voters.iter().map(|v| (node_id(v.id), v.address.clone())).collect();
        AddressBook { configured, learned: Mutex::default() }
    }

    /// The configured address comes first, but which disk is there only the members' list tells.
    pub fn get(&self, node: NodeId) -> Option<NodeAddress> {
        let learned = self.learned.lock().get(&node).cloned();
        let Some(configured) = self.configured.get(&node).cloned() else { return learned };
        Some(configured.in_directory(learned.map_or(TopicId::ZERO, |member| member.directory)))
    }

    /// Replaces what is known of the members.
    pub fn learn<'a>(&self, members: impl Iterator<Item = (&'a NodeId, &'a NodeAddress)>) {
        *self.learned.lock() = members.map(|(id, address)| (*id, address.clone())).collect();
    }
}
