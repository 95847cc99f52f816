//! The world: virtual time, one queue of what will happen, and everything that exists. An action
//! is taken from the queue, carried out, and the properties it may have touched are checked; the
//! first violation ends the run.

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
use process::simulation::{self, Simulation as _};
use quorum::CallError;
use tokio::sync::oneshot;

use crate::check::{Check, Checks, Property, Violation};
use crate::client::Client;
use crate::disk_fault::DiskFaults;
use crate::fault::Faults;
use crate::message::{Addr, Body, Envelope, Tp};
use crate::node::{Disk, Link, Node, Posts, Seen, Timer, config};
use crate::plan::{Mutation, Options, Plan};
use crate::quorum::Quorum;
use crate::reassign::Reassigning;
use crate::replay::Running;
use crate::rng::Rng;
use crate::runtime::Runtime;

/// The end of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    pub seed: u64,
    /// Of every event in its order: two runs of one seed are the same run.
    pub trace_hash: u64,
    pub steps: u64,
    pub virtual_ms: i64,
    pub committed_batches: usize,
    pub violation: Option<Violation>,
}

/// Runs one seed to its end.
pub fn run(options: &Options) -> Report {
    let _running = Running::new(options);
    let runtime = Rc::new(Runtime::new(options.seed));
    let _entered = simulation::enter(runtime.clone());
    World::new(options, runtime).run()
}

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

struct Scheduled {
    at_ms: i64,
    /// Ties are broken by the order of scheduling.
    seq: u64,
    action: Action,
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
struct Connection {
    id: u64,
    /// To the broker, and back.
    last_arrival_ms: [i64; 2],
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
    timers_at_ms: Option<i64>,
    /// Of each client to each broker.
    connections: Vec<Vec<Connection>>,
    options: Options,
    queue: BinaryHeap<Scheduled>,
    scheduled: u64,
    next_id: u64,
    steps: u64,
    hash: u64,
    pub(crate) violation: Option<Violation>,
    done: bool,
}

pub(crate) const DATA_TOPIC: &str = "data";
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Time starts well above 0, so that "long ago" is a time, too.
const START_MS: i64 = 1_000_000;
/// How many tasks run late, and how late.
const LATE_PER_MILLE: i64 = 10;
const LATE_MS_MAX: i64 = 80;

impl World {
    pub(crate) fn new(options: &Options, runtime: Rc<Runtime>) -> World {
        let mut rng = Rng::new(options.seed);
        let plan = Plan::draw(&mut rng);
        let mut tps: Vec<TopicPartition> = (0..plan.data_partitions)
            .map(|index| TopicPartition::new(DATA_TOPIC, index as i32))
            .collect();
        tps.push(TopicPartition::new(OFFSETS_TOPIC, 0));
        let mut world = World {
            mutation: options.mutation,
            now_ms: START_MS,
            nodes: (0..plan.nodes).map(Node::new).collect(),
            disks: (0..plan.nodes).map(|_| Disk::new(tps.len())).collect(),
            clients: Vec::new(),
            configs: (0..plan.nodes).map(|node| config(node, &plan)).collect(),
            runtime,
            seen: Arc::default(),
            posts: Arc::default(),
            links: BTreeMap::new(),
            link_ids: Arc::default(),
            calls: BTreeMap::new(),
            timers_at_ms: None,
            quorum: Quorum::new(),
            faults: Faults::default(),
            disk_faults: DiskFaults::new(options.seed),
            reassigning: Reassigning::new(options.seed),
            checks: Checks::new(tps.len()),
            connections: Vec::new(),
            options: options.clone(),
            queue: BinaryHeap::new(),
            scheduled: 0,
            next_id: 0,
            steps: 0,
            hash: 0xCBF2_9CE4_8422_2325,
            violation: None,
            done: false,
            tps,
            plan,
            rng,
        };
        world.trace(|world| format!("{:?}", world.plan));
        world.runtime.set_now(START_MS);
        world.schedule(0, Action::QuorumTick);
        for node in 0..world.plan.nodes {
            world.boot(node);
        }
        world.settle();
        world.start_clients();
        world.connections =
            vec![vec![Connection::default(); world.plan.nodes]; world.clients.len()];
        world.schedule(world.plan.fault_every_ms + 1_500, Action::Fault);
        world.schedule(world.plan.faults_until_ms, Action::Watch);
        if world.plan.impostor_every_ms > 0 {
            world.schedule(1_000, Action::Impostor);
        }
        if world.reassigning.every_ms > 0 {
            world.schedule(world.reassigning.every_ms + 1_000, Action::Reassign);
        }
        if world.disk_faults.every_ms > 0 {
            world.schedule(world.disk_faults.every_ms + 1_200, Action::DiskFault);
        }
        world
    }

    pub fn run(mut self) -> Report {
        while !self.done && self.violation.is_none() {
            let Some(next) = self.queue.pop() else { break };
            self.now_ms = next.at_ms;
            self.runtime.set_now(self.now_ms);
            self.steps += 1;
            self.mix(&[next.at_ms as u64, next.seq]);
            self.act(next.action);
            self.settle();
        }
        if let Some(violation) = self.violation.clone() {
            self.trace(|_| format!("VIOLATED {:?}: {}", violation.property, violation.detail));
        }
        Report {
            seed: self.options.seed,
            trace_hash: self.hash,
            steps: self.steps,
            virtual_ms: self.now_ms - START_MS,
            committed_batches: self.checks.committed.iter().map(Vec::len).sum(),
            violation: self.violation,
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Deliver(envelope) => self.deliver(*envelope),
            Action::Node { node, incarnation, timer } => {
                if !self.nodes[node].is_up(incarnation) {
                    return;
                }
                if self.nodes[node].paused_until_ms > self.now_ms {
                    let pause = self.nodes[node].paused_until_ms - self.now_ms;
                    return self.schedule(pause, Action::Node { node, incarnation, timer });
                }
                self.mix(&[1, node as u64]);
                self.node_timer(node, timer);
            }
            Action::Client { client } => self.client_timer(client),
            Action::SessionClosed { node, of, session, ended } => {
                self.session_closed(node, of, session, ended);
            }
            Action::Commit { epoch } => self.commit_next(epoch),
            Action::QuorumTick => self.quorum_tick(),
            Action::Metadata { node, entries } => self.metadata_arrived(node, entries),
            Action::Fault => self.inject_fault(),
            Action::Reassign => self.reassign(),
            Action::Restart { node } => self.come_back(node),
            Action::HealLinks => self.faults.heal_links(),
            Action::Impostor => self.claim_to_be_a_broker(),
            Action::DiskFault => self.inject_disk_fault(),
            Action::DiskServed(envelope) => self.served_by_disk(*envelope),
            Action::DiskFreed { node } => self.free_disk(node),
            Action::Poll { task } => self.poll(task),
            Action::Timers => {
                self.timers_at_ms = None;
                self.runtime.fire_timers();
            }
            Action::LinkBroken { link } => self.link_broken(link),
            Action::Watch => self.watch(),
        }
    }

    // ---- tasks -----------------------------------------------------------------------------

    /// What follows from an action at once.
    fn settle(&mut self) {
        self.take_seen();
        self.take_posts();
        for n in 0..self.nodes.len() {
            self.look_after(n);
            self.see_proposals(n);
            self.note_disk_work(n);
        }
        for task in self.runtime.take_woken() {
            let is_late = !self.healing() && self.rng.chance(LATE_PER_MILLE);
            let delay = if is_late { self.rng.between(1, LATE_MS_MAX) } else { 0 };
            self.schedule(delay, Action::Poll { task });
        }
        if let Some(at_ms) = self.runtime.next_timer()
            && self.timers_at_ms.is_none_or(|due_ms| at_ms < due_ms)
        {
            self.timers_at_ms = Some(at_ms);
            self.schedule((at_ms - self.now_ms).max(0), Action::Timers);
        }
    }

    fn poll(&mut self, task: u64) {
        let Some(node) = self.runtime.place_of(task) else { return };
        let pause = self.nodes[node].paused_until_ms - self.now_ms;
        if pause > 0 {
            return self.schedule(pause, Action::Poll { task });
        }
        self.mix(&[12, node as u64]);
        self.runtime.poll(task);
    }

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

    // ---- time ------------------------------------------------------------------------------

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

    // ---- network ---------------------------------------------------------------------------

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

    fn deliver(&mut self, envelope: Envelope) {
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

    // ---- observation -----------------------------------------------------------------------

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

pub(crate) fn node_id(node: usize) -> BrokerId {
    BrokerId(node as i32)
}
