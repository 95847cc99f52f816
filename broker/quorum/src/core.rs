//! What the parts of one running node share. Built once by `Quorum::start`.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use base::BrokerId;
use openraft::async_runtime::WatchReceiver;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::api::{ControllerHandler, Leadership, Session};
use crate::config::{NodeAddress, QuorumConfig};
use crate::incoming::Incoming;
use crate::log::LogStore;
use crate::machine::MachineState;
use crate::machine::Raft;
use crate::messages::{Member, Standing};
use crate::rpc::{Connection, Dialer};
use crate::suspicion::Suspicion;
use crate::types::{NodeId, TypeConfig, broker_id, node_id};

pub type Metrics = openraft::RaftMetrics<TypeConfig>;

pub struct Core {
    pub config: QuorumConfig,
    pub id: NodeId,
    pub dialer: Dialer,
    pub log: LogStore,
    pub machine: Arc<MachineState>,
    pub controller: Arc<dyn ControllerHandler>,
    /// Set once the node is admitted; until then it neither votes nor takes entries.
    pub raft: OnceLock<Raft>,
    pub admitted: Mutex<bool>,
    pub admission: Notify,
    /// This node was a voter before it lost its disk, and becomes one again.
    pub returning: AtomicBool,
    pub suspicion: Arc<Suspicion>,
    pub leadership: watch::Sender<Leadership>,
    /// Since when this node leads, and in which term, as it sees itself.
    pub reign: Mutex<Option<(u64, Instant)>>,
    pub session: watch::Sender<Session>,
    /// The connection behind `session`.
    pub connection: Mutex<Option<Arc<Connection>>>,
    pub incoming_snapshot: Mutex<Option<Incoming>>,
    /// One change of the members at a time: concurrent ones could end in a joint configuration.
    pub members: tokio::sync::Mutex<()>,
    pub stop: watch::Sender<bool>,
}

impl Core {
    pub fn metrics(&self) -> Option<Metrics> {
        self.raft.get().map(|raft| self.metrics_of(raft))
    }

    pub fn metrics_of(&self, raft: &Raft) -> Metrics {
        raft.metrics().borrow_watched().clone()
    }

    /// The configured voters' ids.
    pub fn configured_voters(&self) -> BTreeSet<NodeId> {
        self.config.voters.iter().map(|v| node_id(v.id)).collect()
    }

    /// A leader that Raft names, unless it is this node.
    pub fn elsewhere(&self, leader: Option<NodeId>) -> Option<BrokerId> {
        leader.filter(|id| *id != self.id).map(broker_id)
    }

    pub fn myself(&self) -> Member {
        Member { id: self.id, address: self.config.advertised.clone() }
    }

    pub fn standing(&self) -> Standing {
        let content = self.log.content();
        if content.has_vote || content.has_entries || self.machine.applied_offset() >= 0 {
            Standing::Initialized
        } else if *self.admitted.lock() {
            Standing::Blank
        } else {
            Standing::Empty
        }
    }

    /// The node as this one's list of members has it.
    pub fn listed(&self, id: NodeId) -> Option<NodeAddress> {
        let metrics = self.raft.get()?.server_metrics();
        let now = metrics.borrow_watched();
        now.membership_config.membership().get_node(&id).cloned()
    }

    /// The leader that Raft knows, with the address to reach it.
    pub fn known_leader(&self) -> Option<Member> {
        let metrics = self.metrics()?;
        let id = metrics.current_leader?;
        if id == self.id {
            return Some(self.myself());
        }
        self.member(id)
    }

    /// Another node and where it is.
    pub fn member(&self, id: NodeId) -> Option<Member> {
        let listed = self.metrics()?.membership_config.membership().get_node(&id).cloned();
        let address = self.dialer.addresses.get(id).or(listed)?;
        Some(Member { id, address })
    }
}
