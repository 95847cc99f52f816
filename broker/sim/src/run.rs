//! A run: an action is taken from the queue, carried out, and the properties that it may have
//! touched are checked; the first violation ends the run.

use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;
use std::sync::Arc;

use base::TopicPartition;
use process::simulation;

use crate::check::{Checks, Violation};
use crate::disk_fault::DiskFaults;
use crate::fault::Faults;
use crate::node::{Disk, Node, config};
use crate::plan::{Options, Plan};
use crate::quorum::Quorum;
use crate::reassign::Reassigning;
use crate::replay::Running;
use crate::rng::Rng;
use crate::runtime::Runtime;
use crate::world::{Action, Connection, DATA_TOPIC, OFFSETS_TOPIC, START_MS, World};

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
}
