//! What happens by itself as time passes.

use base::BrokerId;
use plan::PodPhase;

use super::{Fault, Loss, Partition, Pod, World};

const TICK_MS: i64 = 5_000;
/// Ticks until a follower is in sync again.
const LAG: u32 = 3;
const LAG_SLOW: u32 = 12;
/// Ticks that a process runs for before it crashes, and some more.
const FLAP: u32 = 4;

impl World {
    pub fn tick(&mut self) {
        self.now += TICK_MS;
        self.stateful_set();
        self.start_pods();
        self.flap();
        self.elect_controller();
        if self.controller.is_some() {
            self.register();
            self.replicate();
        }
        self.probe();
    }

    fn stateful_set(&mut self) {
        let Some(set) = self.set.clone() else { return };
        // A node that is off ends nothing.
        let off = |id| matches!(self.lost.get(id), Some(Loss::Silent | Loss::Detached));
        let gone = |id, pod: &Pod| pod.phase == PodPhase::Terminating && !off(id);
        let gone = self.pods.iter().filter(|(id, pod)| gone(id, pod)).map(|(id, _)| *id);
        for id in gone.collect::<Vec<_>>() {
            self.pods.remove(&id);
            if matches!(self.lost.get(&id), Some(Loss::Mute(_))) {
                self.lost.remove(&id);
            }
            // The set makes a new one, which is empty.
            if self.going.remove(&id) {
                self.claims.remove(&id);
            }
        }
        for (_, pod) in self.pods.iter_mut().filter(|(id, _)| id.0 >= set.replicas) {
            pod.phase = PodPhase::Terminating;
            pod.ready = false;
        }
        for id in (0..set.replicas).map(BrokerId) {
            if self.pods.contains_key(&id) || self.quota {
                continue;
            }
            self.uids += 1;
            let pod = Pod {
                uid: self.uids,
                template: set.template,
                phase: PodPhase::Creating,
                ready: false,
                since: self.now,
                created: self.now,
                marked: false,
                joined: false,
                age: 0,
                crashes: 0,
            };
            self.pods.insert(id, pod);
            self.claims.entry(id).or_insert(None);
        }
        self.after_stop();
    }

    fn start_pods(&mut self) {
        for (id, pod) in &mut self.pods {
            pod.age += u32::from(pod.phase == PodPhase::Running);
            let lost = self.lost.get(id) == Some(&Loss::Gone);
            if pod.phase == PodPhase::Unschedulable && !lost {
                pod.phase = PodPhase::Creating;
            }
            if pod.phase == PodPhase::Creating {
                self.claims.insert(*id, None);
                pod.phase = match pod.template.fault {
                    _ if lost => PodPhase::Unschedulable,
                    Some(Fault::Unschedulable) => PodPhase::Unschedulable,
                    Some(Fault::Image) => PodPhase::ImageError,
                    Some(Fault::Crash) => PodPhase::CrashLoop,
                    Some(Fault::Mount) => PodPhase::Creating,
                    Some(Fault::Unready | Fault::Lags | Fault::Flaps) | None => PodPhase::Running,
                };
            }
        }
    }

    /// Processes that crash now and then: each after a time of its own, and back after one tick.
    fn flap(&mut self) {
        let now = self.now;
        let flaps = |pod: &&mut Pod| pod.template.fault == Some(Fault::Flaps);
        for pod in self.pods.values_mut().filter(flaps) {
            match pod.phase {
                PodPhase::CrashLoop => {
                    (pod.phase, pod.age) = (PodPhase::Running, 0);
                }
                PodPhase::Running if pod.age >= FLAP + pod.uid % 5 => {
                    pod.phase = PodPhase::CrashLoop;
                    pod.crashes += 1;
                    pod.joined = false;
                    if std::mem::take(&mut pod.ready) {
                        pod.since = now;
                    }
                }
                _ => {}
            }
        }
        self.after_stop();
    }

    pub fn elect_controller(&mut self) {
        let live = self.voters.iter().copied().filter(|id| self.is_up(*id));
        let live: Vec<BrokerId> = live.collect();
        let stays = self.controller.filter(|id| live.contains(id));
        self.controller = stays.or(live.first().copied()).filter(|_| self.has_majority());
    }

    fn register(&mut self) {
        for (id, pod) in self.pods.iter_mut().filter(|(_, pod)| pod.is_up()) {
            pod.joined = true;
            self.brokers.insert(*id, false);
        }
        self.after_stop();
    }

    /// Brokers that are down are fenced and leave every ISR; who leads is decided anew.
    pub fn after_stop(&mut self) {
        self.elect_controller();
        if self.controller.is_none() {
            return;
        }
        let up: Vec<BrokerId> = self.pods.iter().filter(|(_, p)| p.is_up()).map(|p| *p.0).collect();
        for (id, fenced) in &mut self.brokers {
            *fenced |= !up.contains(id);
        }
        let active = |id: &BrokerId| self.brokers.get(id) == Some(&false);
        for p in self.topics.values_mut().flat_map(|t| &mut t.partitions) {
            p.settle(active);
        }
    }

    fn replicate(&mut self) {
        let active = |id: &BrokerId| self.brokers.get(id) == Some(&false);
        // One at a time: two may each be the last in sync where the other lags, and then no step is
        // safe, which is for a user to decide.
        let half = self.pods.iter().find(|(_, pod)| pod.template.fault == Some(Fault::Lags));
        let half = half.map(|(id, _)| *id);
        let partitions = self.topics.values_mut().flat_map(|t| t.partitions.iter_mut().enumerate());
        for (at, p) in partitions {
            if p.leader.is_none() {
                continue;
            }
            for id in p.replicas.clone() {
                // What is being added gets there: a move that can never end has to be taken back
                // by its user.
                let never = at % 2 == 1 && half == Some(id) && !p.adding.contains(&id);
                if p.isr.contains(&id) || !active(&id) || never {
                    continue;
                }
                let lag = if self.slow.contains(&id) { LAG_SLOW } else { LAG };
                let left = p.lag.entry(id).or_insert(lag);
                *left = left.saturating_sub(1).min(lag);
                if *left == 0 {
                    p.lag.remove(&id);
                    p.isr.push(id);
                }
            }
            p.complete();
            p.settle(active);
        }
    }

    fn probe(&mut self) {
        let ready: Vec<(BrokerId, bool)> =
            self.pods.keys().map(|id| (*id, self.answers_ready(*id))).collect();
        for (id, ready) in ready {
            let now = self.now;
            let pod = self.pods.get_mut(&id).expect("a pod that was listed");
            if pod.ready != ready {
                pod.ready = ready;
                pod.since = now;
            }
            if ready {
                self.replaced.remove(&id);
            }
        }
    }

    fn answers_ready(&self, id: BrokerId) -> bool {
        let owed = |p: &Partition| p.replicas.contains(&id) && !p.adding.contains(&id);
        let in_sync = self.partitions().all(|(_, _, _, p)| !owed(p) || p.isr.contains(&id));
        self.controller.is_some() && self.is_active(id) && in_sync
    }
}

impl Partition {
    fn settle(&mut self, active: impl Fn(&BrokerId) -> bool) {
        let before = self.isr.clone();
        self.isr.retain(&active);
        self.lag.retain(|id, _| active(id));
        if self.isr.is_empty() {
            let leader = self.leader.or(before.first().copied());
            self.last = self.last.or(leader);
            self.isr.extend(self.last.filter(&active));
        }
        if !self.isr.is_empty() {
            self.last = None;
        }
        let stays = self.leader.filter(|id| self.isr.contains(id));
        let first = self.replicas.iter().copied().find(|id| self.isr.contains(id));
        self.leader = stays.or(first);
    }

    fn complete(&mut self) {
        let stays = |id: &BrokerId| !self.removing.contains(id);
        let isr: Vec<BrokerId> = self.isr.iter().copied().filter(stays).collect();
        let moving = !self.adding.is_empty() || !self.removing.is_empty();
        if !moving || isr.is_empty() || !self.adding.iter().all(|id| isr.contains(id)) {
            return;
        }
        self.replicas = self.replicas.iter().copied().filter(stays).collect();
        self.isr = isr;
        self.adding.clear();
        self.removing.clear();
    }
}
