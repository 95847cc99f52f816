//! How a broker's process starts and ends: booting from its disk, what comes by the clock, a clean
//! stop, death with or without loss of what the disk had not synced.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use base::ErrorCode;
use commitlog::checkpoint::OffsetCheckpoint;
use control::controller_client::ControllerClient;
use metadata::{CreateTopic, CreateTopicsRequest};
use parking_lot::Mutex;
use process::simulation::Simulation as _;
use process::time::sleep;
use storage::Storage;

use crate::node::seen::Eyes;
use crate::node::{Disk, Loss, Outside, Process, Timer};
use crate::world::{Action, DATA_TOPIC, OFFSETS_TOPIC, World};

const CHECKPOINT_MS: i64 = 400;
const TOPICS_PAUSE: Duration = Duration::from_millis(50);
const TOPICS_LIMIT: Duration = Duration::from_millis(500);

impl World {
    pub(crate) fn boot(&mut self, n: usize) {
        let session = self.fresh_id();
        let node = &mut self.nodes[n];
        node.incarnation += 1;
        node.booted_ms = self.now_ms;
        node.up = true;
        node.stopping = false;
        node.works = false;
        node.session = session;
        let incarnation = node.incarnation;
        self.mix(&[7, n as u64, incarnation]);
        self.runtime.enter(n);
        let (posts, ids) = (self.posts.clone(), self.link_ids());
        let outside = Outside { node: n, incarnation, posts, ids };
        let eyes = Eyes {
            node: n,
            incarnation,
            tps: self.tps.clone(),
            fs: self.disks[n].fs.clone(),
            mutation: self.mutation,
            logs: Mutex::default(),
            seen: self.seen.clone(),
        };
        let image = self.quorum.images[self.nodes[n].image_at].clone();
        let runtime = self.runtime.clone();
        let mut spawn = |task| {
            runtime.spawn(n, task);
        };
        match Process::start(self.configs[n].clone(), outside, eyes, image, &mut spawn) {
            Ok(process) => self.nodes[n].process = Some(process),
            Err(error) => return self.abort(n, Loss::Nothing, &error),
        }
        self.trace(|_| format!("{n} boots"));
        self.note_replicas(n);
        self.after(self.plan.lag_time_max_ms / 2, n, Timer::Tick);
        self.after(CHECKPOINT_MS, n, Timer::Checkpoint);
        if n == 0 && self.quorum.latest().topic_count() == 0 {
            self.create_topics(n);
        }
    }

    fn link_ids(&self) -> Arc<AtomicU64> {
        self.link_ids.clone()
    }

    /// Creates the topics of the run, once enough brokers are there; repeated until it worked.
    fn create_topics(&mut self, n: usize) {
        let min_isr = Some(self.plan.min_isr.to_string().into());
        let retention = Some(self.plan.retention_bytes.to_string().into());
        let topic = |name: &str, partitions: usize| CreateTopic {
            name: name.into(),
            partitions: partitions as i32,
            replication_factor: self.plan.replication_factor as i16,
            assignments: Vec::new(),
            configs: vec![("min.insync.replicas".into(), min_isr.clone())],
        };
        let mut data = topic(DATA_TOPIC, self.plan.data_partitions);
        data.configs.push(("retention.bytes".into(), retention));
        // Groups are rebuilt from the whole log.
        let topics = vec![data, topic(OFFSETS_TOPIC, 1)];
        let Some(process) = self.nodes[n].process.as_ref() else { return };
        let (storage, controller) = (process.storage.clone(), process.controller.clone());
        self.spawn_now(n, create(storage, controller, self.plan.nodes, topics));
    }

    pub(crate) fn tick_replicas(&mut self, n: usize) {
        if let Some(process) = self.nodes[n].process.as_ref() {
            process.storage.partitions.tick();
        }
        self.after(self.plan.lag_time_max_ms / 2, n, Timer::Tick);
    }

    /// Makes logs, discards them, and syncs what must be, as threads of their own do.
    pub(crate) fn work_on_disk(&mut self, n: usize) {
        self.nodes[n].works = false;
        if let Some(process) = self.nodes[n].process.as_ref() {
            process.storage.partitions.make_all();
            process.storage.partitions.outbox().syncs.run_posted();
        }
    }

    pub(crate) fn note_disk_work(&mut self, n: usize) {
        let Some(process) = self.nodes[n].process.as_ref() else { return };
        let partitions = &process.storage.partitions;
        let is_due = partitions.has_making_due() || !partitions.outbox().syncs.is_empty();
        if is_due && !self.nodes[n].works {
            self.nodes[n].works = true;
            let pause = self.rng.between(0, 3);
            self.after(pause, n, Timer::DiskWork);
        }
    }

    /// What comes by the clock: the checkpoints and retention always, the flush at times.
    pub(crate) fn checkpoint(&mut self, n: usize) {
        let slow_ms = self.disks[n].slow.until_ms - self.now_ms;
        if slow_ms > 0 {
            return self.after(slow_ms, n, Timer::Checkpoint);
        }
        self.after(CHECKPOINT_MS, n, Timer::Checkpoint);
        let flush = self.rng.chance(500);
        let Some(process) = self.nodes[n].process.as_ref() else { return };
        let partitions = process.storage.partitions.clone();
        partitions.measure_room();
        partitions.flush_due();
        for partition in partitions.all().iter().filter(|_| flush) {
            partition.flush();
        }
        partitions.retain();
        self.delete_by_request(n);
        partitions.remove_deleted();
        let kinds = [
            OffsetCheckpoint::RecoveryPoint,
            OffsetCheckpoint::LogStart,
            OffsetCheckpoint::HighWatermark,
        ];
        // What cannot be written (the disk is full) leaves the old one.
        if let Err(error) = partitions.write_checkpoints(&kinds) {
            self.trace(|_| format!("  {n} checkpoints: {error}"));
        }
    }

    /// DeleteRecords on leaders, now and then.
    fn delete_by_request(&mut self, n: usize) {
        if self.plan.retention_bytes < 0 {
            return;
        }
        for tp in 0..self.offsets_tp() {
            let (chosen, at) = (self.rng.chance(100), self.rng.next());
            let Ok(partition) = self.hosted(n, tp) else { continue };
            let offsets = partition.offsets();
            let committed = &self.checks.committed[tp];
            let below = committed.partition_point(|batch| batch.last < offsets.high_watermark);
            if chosen && below > 0 {
                let upto = committed[at as usize % below].base;
                let deleted = partition.delete_records(upto.max(offsets.log_start));
                self.trace(|_| format!("  {n}/{tp} deletes below {upto}: {deleted:?}"));
            }
        }
    }

    /// What needs no message: the end of a process whose disk failed, or that may stop.
    pub(crate) fn look_after(&mut self, n: usize) {
        let Some(process) = self.nodes[n].process.as_ref() else { return };
        if let Some(why) = process.storage.partitions.dirs().end_of_process() {
            let loss = match why.contains(": sync ") {
                true => self.loss_of_failed_sync(n),
                false => Loss::Nothing,
            };
            return self.abort(n, loss, &why);
        }
        if self.nodes[n].stopping && process.standing.borrow().may_stop {
            self.stop_cleanly(n);
        }
    }

    /// Controlled shutdown was granted: everything is flushed, the marker comes last.
    fn stop_cleanly(&mut self, n: usize) {
        let Some(process) = self.nodes[n].process.as_ref() else { return };
        let (partitions, epoch) =
            (process.storage.partitions.clone(), process.standing.borrow().epoch);
        self.runtime.kill(n);
        partitions.stop_making();
        let closed = partitions.close(epoch);
        self.trace(|_| format!("{n} stops: {closed:?}"));
        self.take_seen();
        let failed = partitions.dirs().end_of_process().is_some_and(|why| why.contains(": sync "));
        let loss = if failed { self.loss_of_failed_sync(n) } else { Loss::Nothing };
        self.die(n, loss);
    }

    pub(crate) fn abort(&mut self, n: usize, loss: Loss, reason: &str) {
        self.trace(|_| format!("{n} aborts: {reason}"));
        self.die(n, loss);
        let pause = self.rng.between(100, 600);
        self.schedule(pause, Action::Restart { node: n });
    }

    /// The process ends here and now.
    pub(crate) fn die(&mut self, n: usize, loss: Loss) {
        if !self.nodes[n].up {
            return;
        }
        self.mix(&[8, n as u64, loss as u64]);
        self.trace(|_| format!("{n} dies, loses {loss:?}"));
        self.take_seen();
        let node = &mut self.nodes[n];
        node.up = false;
        node.paused_until_ms = 0;
        let (process, session) = (node.process.take(), node.session);
        for (&tp, known) in &std::mem::take(&mut node.known) {
            if !self.disks[n].torn[tp] {
                self.disks[n].synced[tp] = known.recovery_point;
            }
        }
        self.runtime.kill(n);
        drop(process);
        self.break_links(n);
        self.calls.retain(|_, (caller, _)| *caller != n);
        if self.quorum.leader == Some(n) {
            // It may be back soon, but not as the leader that it was.
            self.quorum.leader = None;
        }
        self.lose(n, loss);
        // Its connections break, and everybody who can be reached notices.
        for other in 0..self.nodes.len() {
            let (delay, of) = (self.delay(), n);
            let closed = Action::SessionClosed { node: other, of, session, ended: true };
            self.schedule(delay, closed);
        }
    }

    fn lose(&mut self, n: usize, loss: Loss) {
        match loss {
            Loss::Nothing => {}
            Loss::Power => {
                let mut seed = self.rng.next();
                self.disks[n].fs.crash(&mut seed);
                self.disks[n].torn.fill(true);
                self.disks[n].lost = true;
            }
            Loss::Disk => {
                self.disks[n] = Disk::new(self.tps.len());
                self.disks[n].lost = true;
            }
        }
    }
}

async fn create(
    storage: Arc<Storage>,
    controller: ControllerClient,
    brokers: usize,
    topics: Vec<CreateTopic>,
) {
    loop {
        sleep(TOPICS_PAUSE).await;
        if storage.image().brokers().filter(|broker| broker.is_active()).count() < brokers {
            continue;
        }
        let request = CreateTopicsRequest { topics: topics.clone(), validate_only: false };
        let answer = controller.call_within(request, TOPICS_LIMIT).await;
        if let Ok(results) = answer
            && results.iter().all(|result| match &result.result {
                Ok(_) => true,
                Err(error) => error.code == ErrorCode::TopicAlreadyExists,
            })
        {
            return;
        }
    }
}
