//! The world: virtual time, one queue of what will happen, and everything that exists. What happens
//! to it is in `acts`.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use base::{BrokerId, TopicPartition};
use bytes::Bytes;
use config::Config;
use parking_lot::Mutex;
use process::simulation::Simulation as _;
use quorum::CallError;
use tokio::sync::oneshot;

use crate::check::{Check, Checks, Property, Violation};
use crate::client::Client;
use crate::disk_fault::DiskFaults;
use crate::fault::Faults;
use crate::message::{Envelope, Tp, node_id};
use crate::node::{Disk, Link, Node, Posts, Seen, Timer};
use crate::plan::{Mutation, Options, Plan};
use crate::quorum::Quorum;
use crate::reassign::Reassigning;
use crate::rng::Rng;
use crate::runtime::Runtime;

#[derive(Debug)]
pub(crate) enum Action {
    Deliver(Box<Envelope>),
    Node {
        node: usize,
        incarnation: u64,
        timer: Timer,
    },
    Client {
        client: usize,
    },
    /// A controller hears that a broker's connection broke.
    SessionClosed {
        node: usize,
        of: usize,
        session: u64,
        /// So did the broker's process.
        ended: bool,
    },
    /// The quorum's next proposal may be committed.
    Commit {
        epoch: u64,
    },
    QuorumTick,
    /// Committed metadata up to this entry reaches a broker.
    Metadata {
        node: usize,
        entries: usize,
    },
    Fault,
    Reassign,
    Restart {
        node: usize,
    },
    HealLinks,
    /// Somebody claims to be a broker.
    Impostor,
    DiskFault,
    /// A message that had to wait for a slow disk.
    DiskServed(Box<Envelope>),
    DiskFreed {
        node: usize,
    },
    /// A task of a broker was woken.
    Poll {
        task: u64,
    },
    Timers,
    LinkBroken {
        link: u64,
    },
    Watch,
}

pub(crate) struct Scheduled {
    pub(crate) at_ms: i64,
    /// Ties are broken by the order of scheduling.
    pub(crate) seq: u64,
    pub(crate) action: Action,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        (self.at_ms, self.seq) == (other.at_ms, other.seq)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    /// Reversed: the heap's top is the earliest.
    fn cmp(&self, other: &Scheduled) -> Ordering {
        (other.at_ms, other.seq).cmp(&(self.at_ms, self.seq))
    }
}

#[derive(Clone, Default)]
pub(crate) struct Connection {
    pub(crate) id: u64,
    /// To the broker, and back.
    pub(crate) last_arrival_ms: [i64; 2],
}

pub struct World {
    pub(crate) plan: Plan,
    pub(crate) mutation: Mutation,
    pub(crate) rng: Rng,
    pub(crate) now_ms: i64,
    pub(crate) tps: Vec<TopicPartition>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) disks: Vec<Disk>,
    pub(crate) clients: Vec<Client>,
    pub(crate) quorum: Quorum,
    pub(crate) faults: Faults,
    pub(crate) disk_faults: DiskFaults,
    pub(crate) reassigning: Reassigning,
    pub(crate) checks: Checks,
    pub(crate) runtime: Rc<Runtime>,
    pub(crate) configs: Vec<Arc<Config>>,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    pub(crate) posts: Posts,
    pub(crate) links: BTreeMap<u64, Link>,
    pub(crate) link_ids: Arc<AtomicU64>,
    /// Requests to the active controller that have no answer yet, and who waits.
    pub(crate) calls: BTreeMap<u64, (usize, oneshot::Sender<Result<Bytes, CallError>>)>,
    /// When timers are looked at next.
    pub(crate) timers_at_ms: Option<i64>,
    /// Of each client to each broker.
    pub(crate) connections: Vec<Vec<Connection>>,
    pub(crate) options: Options,
    pub(crate) queue: BinaryHeap<Scheduled>,
    pub(crate) scheduled: u64,
    pub(crate) next_id: u64,
    pub(crate) steps: u64,
    pub(crate) hash: u64,
    pub(crate) violation: Option<Violation>,
    pub(crate) done: bool,
}

pub(crate) const DATA_TOPIC: &str = "data";

pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Time starts well above 0, so that "long ago" is a time, too.
pub(crate) const START_MS: i64 = 1_000_000;

impl World {
    /// Starts a task of a process and runs it up to its first pause.
    pub(crate) fn spawn_now(
        &mut self,
        node: usize,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> u64 {
        let task = self.runtime.spawn(node, Box::pin(task));
        self.runtime.poll(task);
        task
    }

    pub(crate) fn abort_task(&mut self, task: Option<u64>) {
        if let Some(task) = task {
            self.runtime.abort(task);
        }
    }

    pub(crate) fn elapsed_ms(&self) -> i64 {
        self.now_ms - START_MS
    }

    pub(crate) fn schedule(&mut self, after_ms: i64, action: Action) {
        self.scheduled += 1;
        let at_ms = self.now_ms + after_ms;
        self.queue.push(Scheduled { at_ms, seq: self.scheduled, action });
    }

    pub(crate) fn after(&mut self, after_ms: i64, node: usize, timer: Timer) {
        let incarnation = self.nodes[node].incarnation;
        self.schedule(after_ms, Action::Node { node, incarnation, timer });
    }

    pub(crate) fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn check(&mut self, check: Check) {
        if let Err(violation) = check
            && self.violation.is_none()
        {
            self.violation = Some(violation);
        }
    }

    pub(crate) fn fail(&mut self, property: Property, detail: String) {
        self.check(Err(Violation { property, detail }));
    }

    pub(crate) fn finish(&mut self) {
        self.done = true;
    }

    pub(crate) fn trace(&self, line: impl FnOnce(&World) -> String) {
        if self.options.trace {
            println!("{:>7} {}", self.now_ms - START_MS, line(self));
        }
    }

    /// Adds to the hash of the trace (FNV-1a over words).
    pub(crate) fn mix(&mut self, words: &[u64]) {
        for word in words {
            self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01B3);
            self.hash ^= self.hash >> 29;
        }
    }

    /// Faults are over; what is broken is being repaired.
    pub(crate) fn healing(&self) -> bool {
        self.elapsed_ms() >= self.plan.faults_until_ms
    }

    pub(crate) fn tp_of(&self, name: &TopicPartition) -> Option<Tp> {
        self.tps.iter().position(|tp| tp == name)
    }

    pub(crate) fn offsets_tp(&self) -> Tp {
        self.tps.len() - 1
    }

    /// The metadata's view of a partition against the logs.
    pub(crate) fn check_in_sync(&mut self, tp: Tp) {
        let name = &self.tps[tp];
        let image = self.quorum.latest();
        let Some(partition) = image.partition(&name.topic, name.partition).cloned() else { return };
        let lossy: BTreeSet<BrokerId> =
            (0..self.nodes.len()).filter(|&n| self.disks[n].lost).map(node_id).collect();
        let content = |id: BrokerId| self.disks[id.0 as usize].content[tp].as_slice();
        let check = self.checks.in_sync(tp, &partition, &lossy, content);
        self.check(check);
    }
}
