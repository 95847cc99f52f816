//! A small cluster that obeys the planner: a StatefulSet and its pods, brokers with topics that
//! replicate at their own pace, and a quorum. Every step that the planner takes is judged when it
//! is taken, by rules written down here and not in the planner. Failures that the planner has no
//! part in are no violations.
//!
//! The model of replication: a follower that is up joins the ISR after some ticks; a broker that
//! stops leaves every ISR; the last member is remembered and leads again when it is back; a
//! reassignment ends when all added replicas are in sync and somebody who stays is. Without a
//! majority of voters nothing of this changes.

pub mod execute;
mod observe;
mod tick;

use std::collections::{BTreeMap, BTreeSet};

use base::BrokerId;
use plan::{Desired, Plan, PodPhase};

pub use observe::{Blind, Lie};

/// Why pods of a template do not come up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    Unschedulable,
    Image,
    Crash,
    /// It runs, but never gets as far as registering.
    Unready,
    /// It is never started, and nothing says why: its volume cannot be mounted.
    Mount,
    /// It serves, but every other replica of it never gets in sync.
    Lags,
    /// It serves for a while, crashes, and serves again.
    Flaps,
}

/// What became of a broker's node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// Gone, and the broker's volume with it: no other node takes its pod.
    Gone,
    /// It is off and nobody said so: the pod never ends, and its volume is on that node.
    Silent,
    /// The same, but any node can have the volume.
    Detached,
    /// Kubernetes does not hear from it since then; the broker serves on.
    Mute(i64),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Template {
    pub revision: u32,
    /// Of two operators each makes pods its own way.
    pub by: usize,
    pub fault: Option<Fault>,
}

impl Template {
    /// The highest level of metadata that its release can read.
    pub fn readable(self) -> i16 {
        self.revision as i16 + 1
    }
}

#[derive(Clone, Debug)]
pub struct Set {
    pub replicas: i32,
    pub template: Template,
}

#[derive(Clone, Debug)]
pub struct Pod {
    pub uid: u32,
    pub template: Template,
    pub phase: PodPhase,
    pub ready: bool,
    pub since: i64,
    pub created: i64,
    pub marked: bool,
    /// Its process has registered: no other process of its broker counts.
    pub joined: bool,
    /// Ticks that it has been running for.
    pub age: u32,
    pub crashes: u32,
}

impl Pod {
    pub fn is_up(&self) -> bool {
        let serves = matches!(self.template.fault, None | Some(Fault::Lags | Fault::Flaps));
        self.phase == PodPhase::Running && serves
    }
}

#[derive(Clone, Debug, Default)]
pub struct Topic {
    pub min_isr: usize,
    pub partitions: Vec<Partition>,
}

#[derive(Clone, Debug, Default)]
pub struct Partition {
    pub replicas: Vec<BrokerId>,
    pub isr: Vec<BrokerId>,
    pub adding: Vec<BrokerId>,
    pub removing: Vec<BrokerId>,
    pub leader: Option<BrokerId>,
    /// Who was in the ISR last, while nobody is.
    pub last: Option<BrokerId>,
    /// Ticks until a replica is in sync.
    pub lag: BTreeMap<BrokerId, u32>,
}

#[derive(Clone, Debug, Default)]
pub struct World {
    pub now: i64,
    /// What the user wants.
    pub spec: Desired,
    /// How many brokers the user wants.
    pub replicas: i32,
    pub template: Template,
    pub racks: i32,
    /// Brokers with neighbouring ids that are in one rack.
    pub rack_of: i32,
    /// Brokers whose node is lost.
    pub lost: BTreeMap<BrokerId, Loss>,
    /// When the nodes of brokers that were lost were found again.
    pub back: BTreeMap<BrokerId, i64>,
    /// Brokers that were given up and have not been whole since.
    pub replaced: BTreeSet<BrokerId>,
    pub set: Option<Set>,
    pub pods: BTreeMap<BrokerId, Pod>,
    /// Volume claims, and since when their file systems wait for a restart to grow.
    pub claims: BTreeMap<BrokerId, Option<i64>>,
    /// Claims that are being deleted, and go with the pods that use them.
    pub going: BTreeSet<BrokerId>,
    /// Registered brokers, and whether they are fenced.
    pub brokers: BTreeMap<BrokerId, bool>,
    /// The level of the metadata; `None` where no release has one. Template by template, releases
    /// can read one level more.
    pub level: Option<i16>,
    /// Dynamic configs outlive registrations.
    pub cordoned: BTreeSet<BrokerId>,
    pub throttled: BTreeSet<BrokerId>,
    pub throttled_topics: BTreeSet<String>,
    pub topics: BTreeMap<String, Topic>,
    pub voters: BTreeSet<BrokerId>,
    pub controller: Option<BrokerId>,
    pub slow: BTreeSet<BrokerId>,
    /// Only the controller is believed: without one, nothing is observed of brokers.
    pub strict: bool,
    /// There are so many moves that brokers do not say the ISR of each.
    pub vague: bool,
    /// Kubernetes makes no pods: a quota, or a policy.
    pub quota: bool,
    /// Brokers that have no pod in the status, and since when.
    pub missing: BTreeMap<BrokerId, i64>,
    /// The condition in the status.
    pub rebalancing: bool,
    /// The voters in the status.
    pub last_voters: Vec<BrokerId>,
    /// The voter in the status that is added or removed.
    pub changing_voter: Option<BrokerId>,
    pub uids: u32,
    /// Two operators work here, and take turns.
    pub rivals: bool,
    pub turn: usize,
    /// Who looks after the cluster.
    pub owner: Option<String>,
    /// What the owner decided last.
    pub last: Option<Plan>,
    /// Names of the steps taken.
    pub taken: BTreeSet<&'static str>,
    /// What happened, for whoever reads a failure.
    pub log: Vec<String>,
    /// Rules that a step broke.
    pub violations: Vec<String>,
}

impl World {
    pub fn new(replicas: i32, voters: i32, racks: i32) -> World {
        let spec = Desired { voters, ..Desired::default() };
        World { spec, replicas, racks, rack_of: 1, ..World::default() }
    }

    pub fn rack(&self, id: BrokerId) -> Option<String> {
        (self.racks > 0).then(|| format!("rack-{}", id.0 / self.rack_of % self.racks))
    }

    pub fn is_up(&self, id: BrokerId) -> bool {
        self.pods.get(&id).is_some_and(Pod::is_up)
    }

    /// Registered, unfenced and running.
    pub fn is_active(&self, id: BrokerId) -> bool {
        let joined = self.pods.get(&id).is_some_and(|pod| pod.is_up() && pod.joined);
        self.brokers.get(&id) == Some(&false) && joined
    }

    /// Voters whose votes count.
    pub fn live_voters(&self) -> usize {
        self.voters.iter().filter(|id| self.is_up(**id)).count()
    }

    pub fn has_majority(&self) -> bool {
        self.live_voters() * 2 > self.voters.len()
    }

    pub fn partitions(&self) -> impl Iterator<Item = (&str, usize, &Topic, &Partition)> {
        self.topics.iter().flat_map(|(name, topic)| {
            let partitions = topic.partitions.iter().enumerate();
            partitions.map(move |(at, partition)| (name.as_str(), at, topic, partition))
        })
    }

    pub fn hosts(&self, id: BrokerId) -> bool {
        self.partitions().any(|(_, _, _, p)| p.replicas.contains(&id))
    }

    /// Whether nobody else has all that the broker has.
    pub fn is_sole(&self, id: BrokerId) -> bool {
        let alone = |p: &Partition| match p.isr.as_slice() {
            [] => p.last == Some(id),
            [one] => *one == id,
            _ => false,
        };
        let votes = self.voters.len() == 1 && self.voters.contains(&id);
        votes || self.partitions().any(|(_, _, _, p)| alone(p))
    }

    /// Whether no broker that is up is known to have some partition of this one.
    pub fn gives_up(&self, id: BrokerId) -> bool {
        let other =
            |p: &Partition| p.isr.iter().any(|other| *other != id && self.is_active(*other));
        self.partitions().any(|(_, _, _, p)| p.replicas.contains(&id) && !other(p))
    }

    /// Notes what happens; the same again and again once.
    pub fn note(&mut self, what: String) {
        if self.log.last() != Some(&what) {
            self.log.push(what);
        }
    }

    pub fn violation(&mut self, what: String) {
        self.note(format!("VIOLATION: {what}"));
        self.violations.push(what);
    }

    /// A user creates a topic; the controller places it on brokers that take replicas.
    pub fn create_topic(&mut self, name: &str, partitions: usize, rf: usize, min_isr: usize) {
        let able = self.brokers.keys().copied();
        let able: Vec<BrokerId> =
            able.filter(|id| self.is_active(*id) && !self.cordoned.contains(id)).collect();
        if self.controller.is_none() || able.len() < rf || self.topics.contains_key(name) {
            return;
        }
        let place = |at: usize| {
            let replicas: Vec<BrokerId> =
                (0..rf).map(|i| able[(at + i + name.len()) % able.len()]).collect();
            let leader = replicas.first().copied();
            Partition { isr: replicas.clone(), replicas, leader, ..Partition::default() }
        };
        let partitions = (0..partitions).map(place).collect();
        self.topics.insert(name.to_owned(), Topic { min_isr, partitions });
    }

    /// The node of a broker is lost.
    pub fn lose(&mut self, id: BrokerId, loss: Loss) {
        self.lost.insert(id, loss);
        self.replaced.remove(&id);
        if !matches!(loss, Loss::Mute(_)) {
            self.kill(id);
        }
    }

    /// The node of a broker is found again, where it was lost.
    pub fn find(&mut self, id: BrokerId) {
        if self.lost.remove(&id).is_some() {
            self.back.insert(id, self.now);
        }
    }

    /// Somebody else kills a pod.
    pub fn kill(&mut self, id: BrokerId) {
        if let Some(pod) = self.pods.get_mut(&id) {
            pod.phase = PodPhase::Terminating;
            pod.ready = false;
            pod.since = self.now;
        }
        self.after_stop();
    }
}
