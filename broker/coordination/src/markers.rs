//! Markers on their way to the leaders of partitions, for all transactions that shards here have
//! decided. A leader has one request at a time, with everything that is due for it. What a leader
//! refuses or does not answer is tried again, at whoever leads by then, for as long as the shard
//! that decided is here: its successor asks anew.

mod outstanding;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base::{BrokerId, ErrorCode, LeaderEpoch, ProducerId};
use coordinator::txn::{Partitions, Producer, TransactionalId, TxnErrand, TxnRequest, TxnShard};
use parking_lot::Mutex;
use process::clock;
use process::task::{Failed, Tasks};
use process::time::sleep;
use storage::Storage;
use tokio::sync::Notify;

use crate::errands::{Errands, Giver};
use outstanding::{Outstanding, Sent};

/// The markers of one transaction for one leader.
#[derive(Clone, PartialEq, Debug)]
pub struct LeaderMarkers {
    pub producer: Producer,
    pub is_commit: bool,
    /// Level of `transaction.version` that the transaction was ended by.
    pub version: i16,
    pub coordinator_epoch: LeaderEpoch,
    pub partitions: Partitions,
}

/// What a leader says of one marker.
#[derive(Clone, PartialEq, Debug)]
pub struct PartitionWritten {
    pub producer_id: ProducerId,
    pub topic: Arc<str>,
    pub partition: i32,
    pub error: ErrorCode,
}

type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What the transaction coordinator asks of the rest of the broker.
pub trait Outside: Send + Sync + 'static {
    /// Has a leader write markers. None if it did not answer; what it did is not known then.
    fn write_markers(
        &self,
        leader: BrokerId,
        markers: Vec<LeaderMarkers>,
    ) -> Answer<Option<Vec<PartitionWritten>>>;

    /// A producer id that nobody had.
    fn new_producer_id(&self) -> Answer<Result<ProducerId, ErrorCode>>;
}

/// Takes the errands of transaction shards.
#[derive(Default)]
pub(crate) struct MarkerSender {
    given: Mutex<Given>,
    posted: Notify,
}

/// Bounded by the transactional ids of the shards: each has one errand at a time.
#[derive(Default)]
struct Given {
    outstanding: Outstanding,
    aborts: Vec<(Giver<TxnShard>, TransactionalId, Producer)>,
}

/// What a task ended with.
enum Done {
    Answered(Sent, Option<Vec<PartitionWritten>>),
    Told,
}

impl Errands<TxnShard> for MarkerSender {
    fn take(&self, from: Giver<TxnShard>, errand: TxnErrand) {
        let mut given = self.given.lock();
        match errand {
            TxnErrand::WriteMarkers(markers) => given.outstanding.add(from, markers),
            TxnErrand::Abort { id, producer } => given.aborts.push((from, id, producer)),
        }
        drop(given);
        self.posted.notify_one();
    }
}

impl MarkerSender {
    /// Does what is given, for ever.
    pub(crate) async fn run(&self, storage: &Storage, outside: Arc<dyn Outside>) {
        let mut tasks: Tasks<Done> = Tasks::new();
        let mut applied = storage.partitions.applied();
        loop {
            let wake_ms = self.begin(storage, &outside, &mut tasks);
            let pause = wake_ms.saturating_sub(clock::monotonic_ms()).max(0).unsigned_abs();
            tokio::select! {
                () = self.posted.notified() => {}
                Some(done) = tasks.join_next() => self.end(done),
                // Leaders may have changed. That this broker ends is for the caller to see.
                Ok(()) = applied.changed() => {}
                () = sleep(Duration::from_millis(pause)), if wake_ms < i64::MAX => {}
            }
        }
    }

    /// Begins everything that is due; returns when something will be.
    fn begin(&self, storage: &Storage, outside: &Arc<dyn Outside>, tasks: &mut Tasks<Done>) -> i64 {
        let mut given = self.given.lock();
        let due = given.outstanding.due(&storage.image(), clock::monotonic_ms());
        let aborts = std::mem::take(&mut given.aborts);
        drop(given);
        for (giver, id, number) in due.written {
            tasks.spawn(tell(giver, TxnRequest::MarkersWritten { id, number }));
        }
        for (giver, id, producer) in aborts {
            let new_producer_id = outside.new_producer_id();
            tasks.spawn(async move {
                match new_producer_id.await {
                    Ok(new_producer_id) => {
                        tell(giver, TxnRequest::Abort { id, producer, new_producer_id }).await
                    }
                    // The shard asks again.
                    Err(_) => Done::Told,
                }
            });
        }
        for (sent, markers) in due.requests {
            let answer = outside.write_markers(sent.leader, markers);
            tasks.spawn(async move { Done::Answered(sent, answer.await) });
        }
        due.wake_ms
    }

    fn end(&self, done: Result<Done, Failed>) {
        match done {
            Ok(Done::Answered(sent, answer)) => {
                let mut given = self.given.lock();
                given.outstanding.answered(&sent, answer, clock::monotonic_ms());
            }
            Ok(Done::Told) => {}
            // Only at the end of the process.
            Err(error) => tracing::error!(%error, "a task of the markers ended"),
        }
    }
}

async fn tell(giver: Giver<TxnShard>, request: TxnRequest) -> Done {
    // A shard that is gone has a successor that asks anew.
    let _ = giver.mailbox.ask(request).await;
    Done::Told
}
