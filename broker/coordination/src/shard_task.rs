//! The task of one shard: waits for requests, deadlines and the high watermark, and performs what
//! the core answers. It never waits for anything while it performs.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base::{ErrorCode, LeaderEpoch, Offset};
use coordinator::{AppendId, Cluster, EffectOf, Shard, ShardEffect, Ticket};
use tokio::sync::{mpsc, oneshot, watch};

use super::append::{self, Content};
use super::errands::{Errands, Giver};
use super::high_watermark::HighWatermark;
use super::load::load;
use super::mailbox::{Command, Deletions, Mailbox};
use process::clock;
use process::task::{self, yield_if_long};
use process::time::sleep;
use storage::partition::Partition;

/// Requests handled in one round, whose records share a batch.
const ROUND_REQUESTS_MAX: usize = 64;
/// Pause before a load that failed is tried again.
const LOAD_RETRY: Duration = Duration::from_secs(1);

/// What a task starts with.
pub(super) struct ShardTask<S: Shard> {
    pub(super) partition: Arc<Partition>,
    pub(super) epoch: LeaderEpoch,
    pub(super) config: S::Config,
    pub(super) is_loaded: Arc<AtomicBool>,
    pub(super) deletions: Arc<Deletions>,
    /// The way to this task, for those who do its errands.
    pub(super) mailbox: Mailbox<S>,
    pub(super) errands: Arc<dyn Errands<S>>,
    pub(super) cluster: watch::Receiver<Option<Arc<dyn Cluster>>>,
}

impl<S: Shard> ShardTask<S> {
    /// Loads the shard and serves it until `stopped` resolves, which it does by being dropped on
    /// the other side.
    pub(super) async fn run(
        self,
        mut commands: mpsc::Receiver<Command<S>>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        let shard = tokio::select! {
            biased;
            _ = &mut stopped => return,
            shard = self.load() => shard,
        };
        let mut running = Running {
            high_watermark: HighWatermark::new(self.partition.clone(), self.epoch),
            partition: self.partition,
            epoch: self.epoch,
            shard,
            deletions: self.deletions,
            mailbox: self.mailbox,
            errands: self.errands,
            cluster: self.cluster,
            tickets: HashMap::new(),
            next_ticket: 0,
            appended: VecDeque::new(),
        };
        running.start();
        self.is_loaded.store(true, Ordering::Release);
        running.serve(&mut commands, &mut stopped).await;
        running.unload();
        commands.close();
        while let Ok(command) = commands.try_recv() {
            let refusal = S::refuse(&command.request, ErrorCode::NotCoordinator);
            let _ = command.answer.send(refusal);
        }
    }

    /// Replays the log, and waits until all of it is committed: what is served must not be taken
    /// back by a failover. That is at once if no commit was under way when the leader changed, with
    /// as few replicas in sync as there may be.
    ///
    /// Apache Kafka serves what lies below the high watermark meanwhile. That is only what this
    /// leader heard to be committed: the one before may have told members of later commits, and
    /// only the other replicas know. Whoever resumed from the older offset would go back, so here
    /// clients are told to wait (COORDINATOR_LOAD_IN_PROGRESS, which they retry).
    async fn load(&self) -> S {
        let started = clock::monotonic_ms();
        loop {
            let (partition, config) = (self.partition.clone(), self.config.clone());
            let loading = task::blocking(move || load::<S>(&partition, config));
            match loading.await {
                Some(Ok((shard, end))) => {
                    let mut committed = HighWatermark::new(self.partition.clone(), self.epoch);
                    committed.reaches(end).await;
                    let ms = clock::monotonic_ms() - started;
                    tracing::debug!(partition = %self.partition.id, end, ms, "loaded a shard");
                    return shard;
                }
                Some(Err(error)) => {
                    tracing::error!(partition = %self.partition.id, %error, "load a shard");
                }
                // Only at the end of the process.
                None => {}
            }
            sleep(LOAD_RETRY).await;
        }
    }
}

/// A loaded shard with everything that waits for it.
struct Running<S: Shard> {
    partition: Arc<Partition>,
    epoch: LeaderEpoch,
    shard: S,
    deletions: Arc<Deletions>,
    mailbox: Mailbox<S>,
    errands: Arc<dyn Errands<S>>,
    cluster: watch::Receiver<Option<Arc<dyn Cluster>>>,
    high_watermark: HighWatermark,
    /// Requests without a reply yet; bounded by the requests that connections may have in flight.
    tickets: HashMap<Ticket, oneshot::Sender<S::Reply>>,
    next_ticket: u64,
    /// Appends in the log, oldest first, with the offset that commits them.
    appended: VecDeque<(Offset, AppendId)>,
}

impl<S: Shard> Running<S> {
    fn start(&mut self) {
        // Seen or not: a shard that begins has seen nothing.
        self.cluster.mark_changed();
        self.look_at_cluster();
        let now_ms = clock::monotonic_ms();
        self.shard.set_offsets_of_time(clock::wall_ms() - now_ms, clock::expiry_ms() - now_ms);
        let mut effects = Vec::new();
        self.shard.start(now_ms, &mut effects);
        self.perform(effects);
        self.note_committed();
    }

    async fn serve(
        &mut self,
        commands: &mut mpsc::Receiver<Command<S>>,
        stopped: &mut oneshot::Receiver<()>,
    ) {
        let mut round = Vec::with_capacity(ROUND_REQUESTS_MAX);
        loop {
            let now_ms = clock::monotonic_ms();
            let deadline = self.shard.next_deadline().map(|at_ms| until(at_ms, now_ms));
            tokio::select! {
                biased;
                _ = &mut *stopped => return,
                received = commands.recv_many(&mut round, ROUND_REQUESTS_MAX) => {
                    if received == 0 {
                        return;
                    }
                }
                () = self.high_watermark.risen() => {}
                () = self.deletions.posted() => {}
                () = sleep(deadline.unwrap_or_default()), if deadline.is_some() => {}
            }
            self.round(&mut round, commands.is_empty()).await;
        }
    }

    /// Groups are compared with a new view when their members are heard of: nothing waits for it.
    fn look_at_cluster(&mut self) {
        if self.cluster.has_changed().unwrap_or(false) {
            let cluster = self.cluster.borrow_and_update().clone();
            if let Some(cluster) = cluster {
                self.shard.cluster_changed(cluster);
            }
        }
    }

    /// Everything that can be done now. `is_all`: no command waits behind these.
    async fn round(&mut self, commands: &mut Vec<Command<S>>, is_all: bool) {
        let now_ms = clock::monotonic_ms();
        self.shard.set_offsets_of_time(clock::wall_ms() - now_ms, clock::expiry_ms() - now_ms);
        self.look_at_cluster();
        let mut effects = Vec::new();
        for Command { request, answer, after } in commands.drain(..) {
            self.drop_topics(now_ms, after, &mut effects);
            self.next_ticket += 1;
            let ticket = Ticket(self.next_ticket);
            self.tickets.insert(ticket, answer);
            self.shard.handle(now_ms, ticket, request, &mut effects);
        }
        if is_all {
            self.drop_topics(now_ms, u64::MAX, &mut effects);
        }
        if self.shard.next_deadline().is_some_and(|at_ms| at_ms <= now_ms) {
            self.shard.tick(now_ms, &mut effects);
        }
        self.perform(effects);
        // The leadership may go and come back meanwhile.
        yield_if_long().await;
        self.note_committed();
    }

    /// Forgets what was committed of the topics in the first so many deletions.
    fn drop_topics(&mut self, now_ms: i64, before: u64, effects: &mut Vec<EffectOf<S>>) {
        while let Some(topics) = self.deletions.take_before(before) {
            self.shard.topics_deleted(now_ms, &topics, effects);
        }
    }

    /// Gives replies out and appends records; what follows from failed appends is performed too.
    fn perform(&mut self, mut effects: Vec<EffectOf<S>>) {
        while !effects.is_empty() {
            let mut appends = Vec::new();
            for effect in effects.drain(..) {
                match effect {
                    ShardEffect::Reply { ticket, reply } => self.reply(ticket, reply),
                    ShardEffect::Append { id, records } => appends.push((id, records)),
                    ShardEffect::Errand(errand) => {
                        let mailbox = self.mailbox.clone();
                        self.errands.take(Giver { epoch: self.epoch, mailbox }, errand);
                    }
                }
            }
            self.append(&appends, &mut effects);
        }
    }

    fn reply(&mut self, ticket: Ticket, reply: S::Reply) {
        let answer = self.tickets.remove(&ticket);
        debug_assert!(answer.is_some(), "a ticket is answered once");
        // The client may be gone.
        let _ = answer.map(|answer| answer.send(reply));
    }

    fn append(&mut self, appends: &[(AppendId, Vec<S::Record>)], effects: &mut Vec<EffectOf<S>>) {
        let (batches, unencodable) = append::batches::<S>(appends, clock::wall_ms());
        let mut failed = unencodable.map(|id| (id, ErrorCode::UnknownServerError));
        for (at, batch) in batches.iter().enumerate() {
            let appended = match &batch.content {
                Content::Records { bytes, guard } => {
                    self.partition.append_as_coordinator(bytes, self.epoch, *guard, None)
                }
                Content::Marker(marker) => {
                    self.partition.append_marker(marker, Some(self.epoch), None)
                }
            };
            match appended {
                Ok(appended) => {
                    self.appended.push_back((appended.info.last_offset + 1, batch.last));
                }
                Err(error) => {
                    tracing::warn!(partition = %self.partition.id, error = %error.code, "append");
                    failed = Some((batch.first, error.code));
                    if let Some(next) = batches.get(at + 1) {
                        // These failed by their place only; they may be tried again.
                        self.failed(next.first, ErrorCode::NotEnoughReplicas, effects);
                    }
                    break;
                }
            }
        }
        if let Some((first, error)) = failed {
            self.failed(first, error, effects);
        }
    }

    fn failed(&mut self, first: AppendId, error: ErrorCode, effects: &mut Vec<EffectOf<S>>) {
        self.shard.append_failed(clock::monotonic_ms(), first, error, effects);
    }

    /// Tells the core what is committed, and asks for news if something is not.
    fn note_committed(&mut self) {
        loop {
            if !self.appended.is_empty() {
                self.high_watermark.arm();
            }
            // The leadership is gone, or will be back in another epoch: who waits is told so when
            // the shard is unloaded.
            let Some(reached) = self.high_watermark.get() else { return };
            let mut last = None;
            while let Some((_, id)) = self.appended.pop_front_if(|(end, _)| *end <= reached) {
                last = Some(id);
            }
            let Some(id) = last else { return };
            let mut effects = Vec::new();
            self.shard.committed(clock::monotonic_ms(), id, &mut effects);
            self.perform(effects);
        }
    }

    fn unload(self) {
        let Running { shard, mut tickets, .. } = self;
        let mut effects = Vec::new();
        shard.unload(&mut effects);
        for effect in effects {
            if let ShardEffect::Reply { ticket, reply } = effect {
                let _ = tickets.remove(&ticket).map(|answer| answer.send(reply));
            }
        }
        debug_assert!(tickets.is_empty(), "an unloaded shard has answered everybody");
    }
}

fn until(at_ms: i64, now_ms: i64) -> Duration {
    Duration::from_millis(at_ms.saturating_sub(now_ms).max(0).unsigned_abs())
}

#[cfg(test)]
impl<S: Shard> Running<S> {
    /// A round in one go.
    fn round_now(&mut self, mut commands: Vec<Command<S>>, is_all: bool) {
        let round = std::pin::pin!(self.round(&mut commands, is_all));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(round.poll(&mut cx).is_ready(), "nothing took this task's turn");
    }
}

#[cfg(test)]
#[path = "shard_task_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "shard_task_txn_tests.rs"]
mod txn_tests;
