//! Disks that misbehave while their brokers live: full ones, where a part of a write may still fit;
//! slow ones, on which replication lags while the broker is alive and well for the controller; and
//! ones that fail a few reads, writes or syncs. A failed sync ends the broker, and what was not
//! synced goes with it wherever the promise of the system covers that.

use commitlog::fs::Faults as FsFaults;

use crate::message::{Addr, Body, Envelope};
use crate::node::Loss;
use crate::world::{Action, World};

impl World {
    pub(crate) fn inject_disk_fault(&mut self) {
        if self.healing() {
            return;
        }
        let rng = &mut self.disk_faults.rng;
        let pause = rng.between(1, 2 * self.disk_faults.every_ms);
        let n = rng.below(self.nodes.len());
        let kind = rng.between(0, 99);
        self.schedule(pause, Action::DiskFault);
        if !self.nodes[n].up {
            return;
        }
        match kind {
            0..=54 => self.slow_disk(n),
            55..=69 => self.fill_disk(n),
            _ => self.fail_disk(n),
        }
    }

    /// Longer than the lag that is allowed, at times.
    fn slow_disk(&mut self, n: usize) {
        let rng = &mut self.disk_faults.rng;
        let longest = *rng.pick(&[300, 1_200, 4_000]);
        let ms = rng.between(longest / 4, longest);
        let longest_ms = *rng.pick(&[50, 400, 1_500]);
        self.trace(|_| format!("{n}'s disk is slow for {ms} ms, up to {longest_ms} ms each"));
        let slow = &mut self.disks[n].slow;
        slow.until_ms = slow.until_ms.max(self.now_ms + ms);
        slow.longest_ms = longest_ms;
    }

    /// What waits for the disk before a broker can act on it: not its dealings with the controller.
    pub(crate) fn disk_wait_ms(&mut self, n: usize, body: &Body) -> Option<i64> {
        let waits =
            matches!(body, Body::Produce { .. } | Body::Fetch { .. } | Body::FetchAnswer { .. });
        if !waits {
            return None;
        }
        let now = self.now_ms;
        self.disks[n].slow.wait_ms(now, &mut self.disk_faults.rng)
    }

    /// A message has had its time on the disk. It was read from its connection before, so that a
    /// client that has given up by now does not undo it.
    pub(crate) fn served_by_disk(&mut self, envelope: Envelope) {
        let Addr::Node(n) = envelope.to else { return };
        if self.nodes[n].is_up(envelope.to_incarnation) {
            let pause = self.nodes[n].paused_until_ms - self.now_ms;
            if pause > 0 {
                return self.schedule(pause, Action::DiskServed(Box::new(envelope)));
            }
            self.node_takes(n, envelope);
        }
    }

    /// Few bytes more fit, or none; the broker may die of it at any time.
    pub(crate) fn fill_disk(&mut self, n: usize) {
        if !self.may_spoil(n) {
            return;
        }
        let rng = &mut self.disk_faults.rng;
        let room = if rng.chance(300) { 0 } else { rng.between(0, 2_000) as u64 };
        let pause = rng.between(100, 1_200);
        self.trace(|_| format!("{n}'s disk has room for {room} bytes"));
        let capacity_bytes = Some(self.disks[n].fs.used_bytes() + room);
        self.disks[n].fs.set_faults(FsFaults { capacity_bytes, ..FsFaults::default() });
        self.schedule(pause, Action::DiskFreed { node: n });
    }

    /// The next few operations of a kind fail.
    fn fail_disk(&mut self, n: usize) {
        if !self.may_spoil(n) {
            return;
        }
        let rng = &mut self.disk_faults.rng;
        let (kind, count) = (rng.between(0, 2), rng.between(1, 3) as u32);
        let pause = rng.between(100, 1_200);
        let mut faults = FsFaults::default();
        match kind {
            0 => faults.fail_reads = count,
            1 => faults.fail_writes = count,
            _ => faults.fail_syncs = count,
        }
        self.trace(|_| format!("{n}'s disk fails: {faults:?}"));
        self.disks[n].fs.set_faults(faults);
        self.schedule(pause, Action::DiskFreed { node: n });
    }

    /// A deposed leader is about to truncate what was never committed: at times its disk fails in
    /// the middle of that.
    pub(crate) fn fail_a_cut(&mut self, n: usize) {
        let rng = &mut self.disk_faults.rng;
        let (is_chosen, step) = (rng.chance(400), rng.between(0, 30) as u32);
        let pause = rng.between(50, 800);
        if !is_chosen || self.disk_faults.every_ms == 0 || self.healing() || !self.may_spoil(n) {
            return;
        }
        self.trace(|_| format!("{n}'s disk fails at its operation {step} from now"));
        self.disks[n].fs.set_faults(FsFaults { fail_step: Some(step), ..FsFaults::default() });
        self.schedule(pause, Action::DiskFreed { node: n });
    }

    /// Marks the disk; false where the death that may follow is not covered, or where it is
    /// spoiled already.
    fn may_spoil(&mut self, n: usize) -> bool {
        let allowed = !self.disks[n].spoiled && self.loses_alone(n);
        if allowed {
            self.disks[n].spoiled = true;
            self.disks[n].was_spoiled.fill(true);
            self.note_unclean(n);
        }
        allowed
    }

    pub(crate) fn free_disk(&mut self, n: usize) {
        self.disks[n].fs.set_faults(FsFaults::default());
        self.disks[n].spoiled = false;
    }

    /// What a failed sync takes along: the kernel may have dropped what it could not write.
    pub(crate) fn loss_of_failed_sync(&mut self, n: usize) -> Loss {
        if self.may_lose(n) {
            self.note_loss(n);
            return Loss::Power;
        }
        Loss::Nothing
    }
}
