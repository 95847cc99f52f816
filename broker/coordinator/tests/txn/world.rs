//! A shard with a log of its own and a clock: what the driver does, in a few lines. Appends are
//! committed at once unless a test holds them back; producer ids come when they are asked for, and
//! errands wait for the test.

use std::collections::BTreeMap;

use base::ErrorCode;
use coordinator::txn::*;
use coordinator::{AppendId, EffectOf, Shard, ShardEffect, Ticket};

use crate::cleaning::{Stored, replayed};

/// What is added to the shard's time for wall time.
pub const WALL_MS: i64 = 1_000_000;
pub const TIMEOUT_MS: i32 = 60_000;
/// The first producer id that is given out.
pub const FIRST_ID: i64 = 1_000;

pub struct World {
    pub shard: TxnShard,
    pub config: TxnConfig,
    pub now_ms: i64,
    /// What is in the log, with the append that wrote it.
    pub log: Vec<(AppendId, TxnRecord)>,
    /// So many of them are committed.
    pub committed: usize,
    /// In the order in which they were given.
    pub replies: Vec<(Ticket, TxnReply)>,
    pub markers: Vec<Markers>,
    pub aborts: Vec<(TransactionalId, Producer)>,
    pub auto_commit: bool,
    /// Every append fails with this.
    pub append_error: Option<ErrorCode>,
    /// Unanswered requests, which may have to be repeated.
    requests: BTreeMap<Ticket, TxnRequest>,
    next_ticket: u64,
    next_producer_id: i64,
}

impl World {
    pub fn new() -> World {
        World::with_log(Vec::new())
    }

    /// Begins with these values.
    pub fn with_log(values: Vec<(&str, Transaction)>) -> World {
        let config = TxnConfig::kafka_defaults();
        let record = |(id, value): (&str, Transaction)| {
            (AppendId(0), TxnRecord { id: id.into(), value: Some(value), level: 2 })
        };
        let mut world = World {
            shard: TxnShard::new(config.clone()),
            config,
            now_ms: 1_000,
            committed: values.len(),
            log: values.into_iter().map(record).collect(),
            replies: Vec::new(),
            markers: Vec::new(),
            aborts: Vec::new(),
            auto_commit: true,
            append_error: None,
            requests: BTreeMap::new(),
            next_ticket: 0,
            next_producer_id: FIRST_ID,
        };
        world.fail_over();
        world
    }

    pub fn send(&mut self, request: TxnRequest) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.handle(ticket, request);
        ticket
    }

    fn handle(&mut self, ticket: Ticket, request: TxnRequest) {
        self.requests.insert(ticket, request.clone());
        let mut effects = Vec::new();
        self.shard.set_offsets_of_time(WALL_MS, WALL_MS);
        self.shard.handle(self.now_ms, ticket, request, &mut effects);
        self.perform(effects);
    }

    /// Sends a request that is answered at once.
    pub fn ask(&mut self, request: TxnRequest) -> TxnReply {
        let ticket = self.send(request);
        self.take(ticket).expect("answered at once")
    }

    pub fn take(&mut self, ticket: Ticket) -> Option<TxnReply> {
        let at = self.replies.iter().position(|(answered, _)| *answered == ticket)?;
        Some(self.replies.remove(at).1)
    }

    pub fn unanswered(&self) -> usize {
        self.requests.len()
    }

    pub fn perform(&mut self, effects: Vec<EffectOf<TxnShard>>) {
        for effect in effects {
            match effect {
                ShardEffect::Reply { ticket, reply } => self.reply(ticket, reply),
                ShardEffect::Append { id, records } => self.append(id, records),
                ShardEffect::Errand(TxnErrand::WriteMarkers(markers)) => self.markers.push(markers),
                ShardEffect::Errand(TxnErrand::Abort { id, producer }) => {
                    self.aborts.push((id, producer));
                }
            }
        }
    }

    fn reply(&mut self, ticket: Ticket, reply: TxnReply) {
        let request = self.requests.remove(&ticket).expect("a ticket is answered once");
        if reply != TxnReply::NeedsProducerId {
            return self.replies.push((ticket, reply));
        }
        let new = Some(self.new_producer_id());
        let again = match request {
            TxnRequest::Init(request) if request.new_producer_id.is_none() => {
                TxnRequest::Init(InitProducer { new_producer_id: new, ..request })
            }
            TxnRequest::End(request) if request.new_producer_id.is_none() => {
                TxnRequest::End(EndTransaction { new_producer_id: new, ..request })
            }
            other => panic!("{other:?} needs no producer id"),
        };
        self.handle(ticket, again);
    }

    fn new_producer_id(&mut self) -> i64 {
        self.next_producer_id += 1;
        self.next_producer_id - 1
    }

    fn append(&mut self, id: AppendId, records: Vec<TxnRecord>) {
        if let Some(error) = self.append_error {
            let mut effects = Vec::new();
            self.shard.append_failed(self.now_ms, id, error, &mut effects);
            return self.perform(effects);
        }
        self.log.extend(records.into_iter().map(|r| (id, r)));
        if self.auto_commit {
            self.commit_all();
        }
    }

    pub fn commit_all(&mut self) {
        let Some((last, _)) = self.log.last() else { return };
        self.committed = self.log.len();
        let mut effects = Vec::new();
        self.shard.committed(self.now_ms, *last, &mut effects);
        self.perform(effects);
    }

    /// Lets time pass, stopping at every deadline on the way.
    pub fn advance(&mut self, ms: i64) {
        let end_ms = self.now_ms + ms;
        self.shard.set_offsets_of_time(WALL_MS, WALL_MS);
        while let Some(at_ms) = self.shard.next_deadline().filter(|at_ms| *at_ms <= end_ms) {
            self.now_ms = self.now_ms.max(at_ms);
            let mut effects = Vec::new();
            self.shard.tick(self.now_ms, &mut effects);
            self.perform(effects);
        }
        self.now_ms = end_ms;
    }

    /// Another broker takes over: it has the log, nothing else. Who wrote markers is not heard.
    pub fn fail_over(&mut self) {
        self.committed = self.log.len();
        let new = self.replayed();
        let mut effects = Vec::new();
        std::mem::replace(&mut self.shard, new).unload(&mut effects);
        self.perform(effects);
        self.markers.clear();
        self.aborts.clear();
        self.log.iter_mut().for_each(|(append, _)| *append = AppendId(0));
        let mut effects = Vec::new();
        self.shard.start(self.now_ms, &mut effects);
        self.perform(effects);
    }

    /// A shard that was loaded from what is committed, through Kafka's bytes.
    pub fn replayed(&self) -> TxnShard {
        let log = &self.log[..self.committed];
        let log: Vec<Stored> = log.iter().map(|(_, r)| TxnShard::encode(r).unwrap()).collect();
        let load = |log: &[Stored]| {
            let mut shard = TxnShard::new(self.config.clone());
            for (key, value) in log {
                shard.load(key.clone(), value.clone()).unwrap();
            }
            shard
        };
        replayed(&log, load, view)
    }

    /// Tells the shard that the markers of the oldest errand are written.
    pub fn write_markers(&mut self) -> Markers {
        let markers = self.markers.remove(0);
        let (id, number) = (markers.id.clone(), markers.number);
        let reply = self.ask(TxnRequest::MarkersWritten { id, number });
        assert_eq!(reply, TxnReply::Noted(ErrorCode::None));
        markers
    }

    /// Brings the producer id for the oldest abort.
    pub fn bring_producer_id(&mut self) {
        let (id, producer) = self.aborts.remove(0);
        let new_producer_id = self.new_producer_id();
        self.ask(TxnRequest::Abort { id, producer, new_producer_id });
    }

    pub fn state(&self, id: &str) -> Option<&Transaction> {
        self.shard.transactions().find(|(known, _)| &***known == id).map(|(_, value)| value)
    }

    pub fn init(&mut self, expected: Option<Producer>) -> Result<Producer, ErrorCode> {
        match self.ask(init("x", expected)) {
            TxnReply::Init(result) => result,
            other => panic!("{other:?}"),
        }
    }

    pub fn add(&mut self, producer: Producer, version: i16, partition: i32) -> ErrorCode {
        match self.ask(add("x", producer, version, partition)) {
            TxnReply::Add(error) => error,
            other => panic!("{other:?}"),
        }
    }

    pub fn end(
        &mut self,
        producer: Producer,
        version: i16,
        is_commit: bool,
    ) -> Result<Producer, ErrorCode> {
        match self.ask(end("x", producer, version, is_commit)) {
            TxnReply::End(result) => result,
            other => panic!("{other:?}"),
        }
    }
}

pub fn init(id: &str, expected: Option<Producer>) -> TxnRequest {
    TxnRequest::Init(InitProducer {
        id: id.into(),
        timeout_ms: TIMEOUT_MS,
        expected,
        new_producer_id: None,
        level: 2,
    })
}

pub fn add(id: &str, producer: Producer, version: i16, partition: i32) -> TxnRequest {
    let partitions = partitions(&[partition]);
    TxnRequest::Add(AddPartitions { id: id.into(), producer, partitions, version, level: 2 })
}

pub fn verify(producer: Producer, indexes: &[i32]) -> TxnRequest {
    let partitions = partitions(indexes);
    TxnRequest::Verify(VerifyPartitions { id: "x".into(), producer, partitions })
}

pub fn end(id: &str, producer: Producer, version: i16, is_commit: bool) -> TxnRequest {
    TxnRequest::End(EndTransaction {
        id: id.into(),
        producer,
        is_commit,
        version,
        new_producer_id: None,
        level: 2,
    })
}

pub fn partitions(indexes: &[i32]) -> Partitions {
    [("t".into(), indexes.iter().copied().collect())].into()
}

/// A producer that has committed, and has this epoch.
pub fn committed(producer: Producer) -> Transaction {
    Transaction {
        producer_id: producer.id,
        previous_producer_id: Some(producer.id),
        next_producer_id: None,
        producer_epoch: producer.epoch,
        timeout_ms: TIMEOUT_MS,
        state: TxnState::CompleteCommit,
        partitions: Partitions::new(),
        started_ms: Some(WALL_MS),
        updated_ms: WALL_MS,
        version: 2,
    }
}

/// What a shard knows of transactions.
fn view(shard: &TxnShard) -> String {
    format!("{:?}", shard.transactions().collect::<Vec<_>>())
}
