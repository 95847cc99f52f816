//! What goes wrong, and when it must stop: kills, power loss, wiped disks, clean stops, pauses,
//! cut links; `disk_fault` has the disks that misbehave under a live broker. Data is taken away
//! only where the promise of the system covers it: with `min.insync.replicas` 2 one broker at a
//! time may lose data, and no other may fail uncleanly before that one is in sync again everywhere.

use crate::check::Property;
use crate::client::Client;
use crate::message::Addr;
use crate::message::node_id;
use crate::node::Loss;
use crate::world::{Action, World};

const WATCH_MS: i64 = 100;

impl World {
    pub(crate) fn inject_fault(&mut self) {
        if self.healing() {
            return;
        }
        let pause = self.rng.between(1, 2 * self.plan.fault_every_ms);
        self.schedule(pause, Action::Fault);
        self.forgive_whole_brokers();
        let n = self.rng.below(self.nodes.len());
        if !self.nodes[n].up || self.nodes[n].stopping {
            return;
        }
        match self.rng.between(0, 99) {
            0..=24 => self.kill(n, Loss::Nothing),
            25..=38 => self.kill(n, Loss::Power),
            39..=44 => self.kill(n, Loss::Disk),
            45..=54 => self.ask_to_stop(n),
            55..=69 => self.pause(n),
            70..=92 => self.cut_links(n),
            _ => self.fill_disk(n),
        }
    }

    /// Brokers that are in sync everywhere again have nothing left to lose alone.
    fn forgive_whole_brokers(&mut self) {
        let whole: Vec<usize> = (0..self.nodes.len()).filter(|&n| self.is_whole(n)).collect();
        for n in whole {
            self.faults.lossy.remove(&n);
            if !self.disks[n].spoiled {
                self.faults.unclean.remove(&n);
            }
        }
    }

    fn is_whole(&self, n: usize) -> bool {
        let node = &self.nodes[n];
        let image = self.quorum.latest();
        let own = node.process.as_ref().map(|process| process.standing.borrow().epoch);
        let registered = image
            .broker(node.id)
            .is_some_and(|broker| broker.is_active() && Some(broker.epoch) == own);
        let in_sync = self.tps.iter().all(|tp| {
            image
                .partition(&tp.topic, tp.partition)
                .is_none_or(|partition| !partition.is_replica(node.id) || partition.in_isr(node.id))
        });
        node.up && registered && in_sync && !self.disks[n].lost
    }

    fn others_are_whole(&self, n: usize) -> bool {
        let faults = &self.faults;
        faults.lossy.iter().chain(&faults.unclean).all(|&other| other == n)
    }

    /// Nobody else has lost data: this broker may die uncleanly.
    pub(crate) fn loses_alone(&self, n: usize) -> bool {
        self.faults.lossy.iter().all(|&other| other == n)
    }

    /// The promise covers that this broker loses data.
    pub(crate) fn may_lose(&self, n: usize) -> bool {
        self.plan.min_isr > 1 && self.others_are_whole(n) && self.is_backed(n)
    }

    pub(crate) fn note_unclean(&mut self, n: usize) {
        self.faults.unclean.insert(n);
    }

    pub(crate) fn note_loss(&mut self, n: usize) {
        self.faults.lossy.insert(n);
    }

    fn kill(&mut self, n: usize, loss: Loss) {
        let allowed = match loss {
            Loss::Nothing => self.loses_alone(n),
            Loss::Power | Loss::Disk => self.may_lose(n),
        };
        if !allowed {
            return;
        }
        match loss {
            Loss::Nothing => self.note_unclean(n),
            Loss::Power | Loss::Disk => self.note_loss(n),
        }
        self.die(n, loss);
        let pause = *self.rng.pick(&[20, 150, 600, 1_500]);
        let pause = self.rng.between(0, pause);
        self.schedule(pause, Action::Restart { node: n });
    }

    /// Controlled shutdown; the broker comes back a while later.
    fn ask_to_stop(&mut self, n: usize) {
        self.trace(|_| format!("{n} is asked to stop"));
        self.nodes[n].stopping = true;
        if let Some(process) = self.nodes[n].process.as_ref() {
            process.storage.shutdown.start();
        }
        let pause = self.rng.between(1_000, 2_500);
        self.schedule(pause, Action::Restart { node: n });
    }

    /// The time to be back has come. A controlled stop that was not granted by now is cut short,
    /// where that is a death without consequences.
    pub(crate) fn come_back(&mut self, n: usize) {
        if self.nodes[n].up && self.nodes[n].stopping {
            self.forgive_whole_brokers();
            if !self.loses_alone(n) {
                return self.schedule(WATCH_MS, Action::Restart { node: n });
            }
            self.faults.unclean.insert(n);
            self.die(n, Loss::Nothing);
        }
        if !self.nodes[n].up {
            self.boot(n);
        }
    }

    fn pause(&mut self, n: usize) {
        let longest = *self.rng.pick(&[200, 800, 2_500]);
        let ms = self.rng.between(50, longest);
        self.trace(|_| format!("{n} pauses for {ms} ms"));
        self.nodes[n].paused_until_ms = self.now_ms + ms;
    }

    /// A broker loses touch with some or all of the others and maybe the clients, in one direction
    /// or both.
    fn cut_links(&mut self, n: usize) {
        let (all, both) = (self.rng.chance(600), self.rng.chance(700));
        let clients = self.rng.chance(300);
        let me = Addr::Node(n);
        let mut others: Vec<Addr> =
            (0..self.nodes.len()).filter(|&other| other != n).map(Addr::Node).collect();
        if clients {
            others.extend((0..self.clients.len()).map(Addr::Client));
        }
        for other in others {
            if all || self.rng.chance(500) {
                self.faults.cut.insert((me, other));
                if both {
                    self.faults.cut.insert((other, me));
                }
            }
        }
        self.trace(|world| format!("cut: {:?}", world.faults.cut));
        let pause = *self.rng.pick(&[200, 800, 2_500]);
        let pause = self.rng.between(50, pause);
        self.schedule(pause, Action::HealLinks);
    }

    // ---- the end ---------------------------------------------------------------------------

    /// After the last fault: repair everything once, then wait for the cluster to be whole.
    pub(crate) fn watch(&mut self) {
        let over = self.elapsed_ms() - self.plan.faults_until_ms;
        if over < WATCH_MS {
            self.repair();
        }
        match self.unconverged() {
            None => {
                for tp in 0..self.tps.len() {
                    self.check_final(tp);
                }
                self.finish();
            }
            Some(reason) if over > self.plan.heal_within_ms => {
                self.fail(Property::Convergence, reason);
            }
            Some(_) => self.schedule(WATCH_MS, Action::Watch),
        }
    }

    fn repair(&mut self) {
        self.trace(|_| "faults stop".to_owned());
        self.runtime.calm();
        self.faults.heal_links();
        for n in 0..self.nodes.len() {
            self.free_disk(n);
            self.disks[n].slow.until_ms = 0;
            self.nodes[n].paused_until_ms = 0;
            self.come_back(n);
        }
    }

    /// What is not as it should be, if anything.
    fn unconverged(&self) -> Option<String> {
        let image = self.quorum.latest();
        for n in 0..self.nodes.len() {
            if !self.nodes[n].up {
                return Some(format!("broker {n} is down"));
            }
            if !image.is_active(node_id(n)) {
                return Some(format!("broker {n} is fenced: {:?}", image.broker(node_id(n))));
            }
        }
        let partition = (0..self.tps.len()).find_map(|tp| self.partition_unconverged(tp));
        partition.or_else(|| self.clients_unconverged())
    }

    fn partition_unconverged(&self, tp: usize) -> Option<String> {
        let name = &self.tps[tp];
        let Some(partition) = self.quorum.latest().partition(&name.topic, name.partition) else {
            return Some(format!("{name} does not exist"));
        };
        if partition.is_reassigning()
            || partition.leader.is_none()
            || partition.isr.len() < partition.replicas.len()
        {
            return Some(format!("{name}: {partition:?}"));
        }
        for &id in &partition.replicas {
            let n = id.0 as usize;
            let Ok(replica) = self.hosted(n, tp) else {
                return Some(format!("{name} is not open on {n}"));
            };
            let end = self.checks.committed_end(tp);
            let offsets = replica.offsets();
            let (leo, high) = (offsets.log_end, offsets.high_watermark);
            if leo != end || high != end {
                return Some(format!("{name} on {n}: high watermark {high}, end {leo} of {end}"));
            }
        }
        None
    }

    fn clients_unconverged(&self) -> Option<String> {
        for (index, client) in self.clients.iter().enumerate() {
            let done = match client {
                Client::Producer(producer) => producer.is_drained(),
                Client::Consumer(consumer) => {
                    consumer.position() == self.checks.committed_end(consumer.partition())
                }
                Client::Member(member) => member.is_stable(),
            };
            if !done {
                return Some(format!("client {index} is not done: {}", client.text()));
            }
        }
        None
    }

    fn check_final(&mut self, tp: usize) {
        for n in 0..self.nodes.len() {
            if self.nodes[n].known.contains_key(&tp) {
                let check = self.checks.complete(tp, (n, i32::MAX), &self.disks[n].content[tp]);
                self.check(check);
            }
        }
    }
}
