//! What leaders ask the coordinators of transactions before the first batch of one (KIP-890), by
//! AddPartitionsToTxn from version 4 on: whether a partition is part of the transaction, or, for
//! producers of the second version of transactions, to make it a part.
//!
//! One task per coordinating broker has one request under way, and what comes meanwhile shares the
//! next one. It ends when nobody asks any more.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use base::{BrokerId, ErrorCode, ProducerId};
use coordination::{TRANSACTIONS_TOPIC, transaction_partition_of};
use metadata::Image;
use parking_lot::Mutex;
use storage::Storage;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use wire::Str;
use wire::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use wire::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};

use super::requests::Peers;

/// Version that brokers ask each other in.
const VERSION: i16 = 5;
/// Questions that may wait for one coordinator; beyond that producers have to try again.
const WAITING_MAX: usize = 1024;
/// Questions that share a request.
const TOGETHER_MAX: usize = 256;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_MAX: Duration = Duration::from_secs(60);

/// What the version of a producer's request says of its producer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Support {
    /// The partitions were added before.
    Verify,
    /// The same, and the producer knows TRANSACTION_ABORTABLE.
    VerifyAbortable,
    /// Partitions are added by their first batch (`transaction.version` 2).
    Add,
}

impl Support {
    /// `abortable`, `add`: the first versions of the request whose producers are such.
    pub fn of(version: i16, abortable: i16, add: i16) -> Support {
        match version {
            _ if version >= add => Support::Add,
            _ if version >= abortable => Support::VerifyAbortable,
            _ => Support::Verify,
        }
    }
}

/// One question.
#[derive(Clone, Debug)]
pub struct Asked {
    pub transactional_id: Str,
    pub producer_id: ProducerId,
    pub epoch: i16,
    pub support: Support,
    pub partitions: Vec<(Arc<str>, i32)>,
}

/// An error per partition, in the question's order.
type Answer = Vec<ErrorCode>;

struct Waiting {
    asked: Asked,
    answer: oneshot::Sender<Answer>,
}

/// Asks on behalf of this broker.
pub struct Verifier {
    storage: Arc<Storage>,
    peers: Arc<Peers>,
    tasks: Mutex<HashMap<BrokerId, mpsc::Sender<Waiting>>>,
}

impl Verifier {
    pub fn new(storage: Arc<Storage>, peers: Arc<Peers>) -> Verifier {
        Verifier { storage, peers, tasks: Mutex::default() }
    }

    /// The coordinator's answer. The transaction before may just be ending, which is worth a moment
    /// to producers that begin the next one by their first batch. `begin_again` comes before each
    /// further attempt: the markers of that transaction have ended the verification of the one
    /// before.
    pub async fn ask(&self, asked: Asked, mut begin_again: impl FnMut()) -> Answer {
        let config = &self.storage.config.log;
        let most = Duration::from_millis(config.transaction_retry_ms_max);
        let pause = Duration::from_millis(config.transaction_retry_ms);
        let begun = Instant::now();
        loop {
            let answer = self.ask_once(asked.clone()).await;
            let is_ending = answer.contains(&ErrorCode::ConcurrentTransactions);
            if asked.support != Support::Add || !is_ending || begun.elapsed() + pause > most {
                return answer;
            }
            sleep(pause).await;
            begin_again();
        }
    }

    async fn ask_once(&self, asked: Asked) -> Answer {
        let count = asked.partitions.len();
        let all = |code| vec![code; count];
        let Some(coordinator) = coordinator(&self.storage.image(), &asked.transactional_id) else {
            return all(ErrorCode::CoordinatorNotAvailable);
        };
        let (answer, answered) = oneshot::channel();
        if self.task(coordinator).try_send(Waiting { asked, answer }).is_err() {
            return all(ErrorCode::NetworkException);
        }
        answered.await.unwrap_or_else(|_| all(ErrorCode::NetworkException))
    }

    fn task(&self, coordinator: BrokerId) -> mpsc::Sender<Waiting> {
        let mut tasks = self.tasks.lock();
        if let Some(task) = tasks.get(&coordinator).filter(|task| !task.is_closed()) {
            return task.clone();
        }
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let (peers, waiting) = (self.peers.clone(), VecDeque::new());
        let task = Task { peers, coordinator, waiting };
        tokio::spawn(task.run(receiver));
        tasks.insert(coordinator, sender.clone());
        sender
    }
}

/// The broker that coordinates the transactions of this id.
fn coordinator(image: &Image, transactional_id: &str) -> Option<BrokerId> {
    let partition = transaction_partition_of(image, transactional_id)?;
    image.partition(TRANSACTIONS_TOPIC, partition)?.leader
}

struct Task {
    peers: Arc<Peers>,
    coordinator: BrokerId,
    waiting: VecDeque<Waiting>,
}

impl Task {
    async fn run(mut self, mut receiver: mpsc::Receiver<Waiting>) {
        loop {
            if self.waiting.is_empty() {
                match timeout(IDLE_MAX, receiver.recv()).await {
                    Ok(Some(first)) => self.waiting.push_back(first),
                    Ok(None) => return,
                    // Who finds it closed begins another task; what came by then is answered.
                    Err(_) => receiver.close(),
                }
            }
            while self.waiting.len() < TOGETHER_MAX
                && let Ok(next) = receiver.try_recv()
            {
                self.waiting.push_back(next);
            }
            let round = self.take_round();
            if !round.is_empty() {
                self.answer(round).await;
            }
        }
    }

    /// Questions for one request, each of another transactional id: that is what an answer names.
    fn take_round(&mut self) -> Vec<Waiting> {
        let mut ids = HashSet::new();
        let (round, later) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| ids.insert(waiting.asked.transactional_id.clone()));
        self.waiting = later;
        let round: VecDeque<Waiting> = round;
        round.into()
    }

    async fn answer(&self, round: Vec<Waiting>) {
        let asked: Vec<&Asked> = round.iter().map(|waiting| &waiting.asked).collect();
        let (to, request) = (self.coordinator, request_of(&asked));
        let response = self.peers.ask(to, &request, VERSION, ANSWER_TIMEOUT).await;
        let response = response.inspect_err(|error| {
            tracing::debug!(coordinator = %to, %error, "ask for transactions failed");
        });
        for Waiting { asked, answer } in round {
            let _ = answer.send(match &response {
                Ok(response) => codes(&asked, response),
                Err(_) => vec![ErrorCode::NetworkException; asked.partitions.len()],
            });
        }
    }
}

fn request_of(asked: &[&Asked]) -> AddPartitionsToTxnRequest {
    let transaction = |asked: &&Asked| {
        let mut topics: Vec<AddPartitionsToTxnTopic> = Vec::new();
        for (topic, partition) in &asked.partitions {
            match topics.last_mut().filter(|last| *last.name == **topic) {
                Some(last) => last.partitions.push(*partition),
                None => topics.push(AddPartitionsToTxnTopic {
                    name: Str::from(topic),
                    partitions: vec![*partition],
                }),
            }
        }
        AddPartitionsToTxnTransaction {
            transactional_id: asked.transactional_id.clone(),
            producer_id: asked.producer_id,
            producer_epoch: asked.epoch,
            verify_only: asked.support != Support::Add,
            topics,
        }
    };
    let transactions = asked.iter().map(transaction).collect();
    AddPartitionsToTxnRequest { transactions, ..Default::default() }
}

fn codes(asked: &Asked, response: &AddPartitionsToTxnResponse) -> Answer {
    let unknown = ErrorCode::UnknownServerError;
    let code = |code| ErrorCode::from_i16(code).unwrap_or(unknown);
    let whole = code(response.error_code);
    if whole.is_error() {
        // Whether this broker may ask is no business of the producer's: nothing was verified.
        let refused = whole == ErrorCode::ClusterAuthorizationFailed;
        let told = if refused { ErrorCode::InvalidTxnState } else { whole };
        return vec![told; asked.partitions.len()];
    }
    let of_id = |id: &Str| **id == *asked.transactional_id;
    let found = response.results_by_transaction.iter().find(|r| of_id(&r.transactional_id));
    let results: HashMap<(&str, i32), ErrorCode> = found
        .into_iter()
        .flat_map(|result| &result.topic_results)
        .flat_map(|topic| {
            topic
                .results_by_partition
                .iter()
                .map(move |p| ((&*topic.name, p.partition_index), code(p.partition_error_code)))
        })
        .collect();
    let told = |(topic, partition): &(Arc<str>, i32)| {
        let code = results.get(&(&**topic, *partition)).copied().unwrap_or(unknown);
        producer_code(code, asked.support)
    };
    asked.partitions.iter().map(told).collect()
}

/// As producers of that version know it.
fn producer_code(code: ErrorCode, support: Support) -> ErrorCode {
    match code {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if support == Support::Verify => ErrorCode::InvalidTxnState,
        code => code,
    }
}

#[cfg(test)]
#[path = "verifier_tests.rs"]
mod tests;
