//! The seam between a coordinator and whoever drives it: one shard is the state that a coordinator
//! keeps in one partition of its internal topic.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{ErrorCode, ProducerId, TopicId};
use bytes::Bytes;

use crate::{AppendId, Cluster};

/// The transaction that records are written in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transaction {
    pub producer_id: ProducerId,
    pub epoch: i16,
    /// By which the log knows that the coordinator of the transaction was asked.
    pub guard: Option<u64>,
}

impl Transaction {
    /// That of a producer, for what is only compared or taken back.
    pub(crate) fn of(producer_id: ProducerId) -> Transaction {
        Transaction { producer_id, epoch: -1, guard: None }
    }
}

/// The end of a producer's transaction in a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransactionEnd {
    pub producer_id: ProducerId,
    pub epoch: i16,
    pub coordinator_epoch: i32,
    pub commit: bool,
    pub transaction_version: i8,
}

/// The caller's number of a request; it comes back with the reply.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// What the driver must do, in this order.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect<Reply, Record, Errand> {
    /// Answer the request of this ticket.
    Reply { ticket: Ticket, reply: Reply },
    /// Append the records, all of them in one batch, then report [`Shard::append_failed`] at once
    /// or [`Shard::committed`] later.
    Append { id: AppendId, records: Vec<Record> },
    /// Have this done elsewhere. What comes of it, if anything, comes back as a request, as long
    /// as the shard is here: whoever loads it anew asks again for what is not done.
    Errand(Errand),
}

/// Effects of a shard's kind.
pub type EffectOf<S> = Effect<<S as Shard>::Reply, <S as Shard>::Record, <S as Shard>::Errand>;

/// The state of a coordinator in one partition. Times are milliseconds of the driver's monotonic
/// clock.
pub trait Shard: Sized + Send + 'static {
    /// The internal topic.
    const TOPIC: &'static str;
    type Config: Clone + Send + Sync + 'static;
    type Request: Send + 'static;
    type Reply: Send + 'static;
    type Record: Send + 'static;
    /// What the shard has others do, `Infallible` if it has nobody do anything.
    type Errand: Send + 'static;

    fn new(config: Self::Config) -> Self;

    /// Key and value of a record in the log. The error is for people.
    fn encode(record: &Self::Record) -> Result<(Bytes, Option<Bytes>), String>;

    /// Takes a record of the log over, before [`Shard::start`]. One that cannot be understood
    /// changes nothing; the error is for people.
    fn load(&mut self, key: Bytes, value: Option<Bytes>) -> Result<(), String>;

    /// The transaction that a record is written in: the same one for all records of an append.
    fn transaction(_record: &Self::Record) -> Option<Transaction> {
        None
    }

    /// The transaction that a record ends: it is written as a marker, and alone in its append.
    fn transaction_end(_record: &Self::Record) -> Option<TransactionEnd> {
        None
    }

    /// As [`Shard::load`], of a record that was written in a transaction.
    fn load_in_transaction(
        &mut self,
        _producer_id: ProducerId,
        _key: Bytes,
        _value: Option<Bytes>,
    ) -> Result<(), String> {
        Ok(())
    }

    /// As [`Shard::load`], of the marker that ends a transaction.
    fn load_end(&mut self, _producer_id: ProducerId, _is_committed: bool) {}

    /// The log is replayed and committed: timers begin, and what was under way goes on.
    fn start(&mut self, now_ms: i64, effects: &mut Vec<EffectOf<Self>>);

    /// What is to be added to the time of all other calls for wall time, and for wall time as far
    /// as things may expire by it.
    fn set_offsets_of_time(&mut self, wall_ms: i64, expiry_ms: i64);

    fn handle(
        &mut self,
        now_ms: i64,
        ticket: Ticket,
        request: Self::Request,
        effects: &mut Vec<EffectOf<Self>>,
    );

    /// When [`Shard::tick`] has something to do.
    fn next_deadline(&self) -> Option<i64>;

    fn tick(&mut self, now_ms: i64, effects: &mut Vec<EffectOf<Self>>);

    /// Topics by name, with the ids that they had.
    fn topics_deleted(
        &mut self,
        now_ms: i64,
        deleted: &BTreeMap<Arc<str>, TopicId>,
        effects: &mut Vec<EffectOf<Self>>,
    );

    /// Topics, or settings of groups, are not as they were in the view before.
    fn cluster_changed(&mut self, cluster: Arc<dyn Cluster>) {
        let _ = cluster;
    }

    /// This append and all before it are committed.
    fn committed(&mut self, now_ms: i64, id: AppendId, effects: &mut Vec<EffectOf<Self>>);

    /// This append and all after it are not in the log.
    fn append_failed(
        &mut self,
        now_ms: i64,
        first: AppendId,
        error: ErrorCode,
        effects: &mut Vec<EffectOf<Self>>,
    );

    /// Answers everybody who waits: the leadership is lost.
    fn unload(self, effects: &mut Vec<EffectOf<Self>>);

    /// The reply that refuses a whole request, as used where no shard can take it.
    fn refuse(request: &Self::Request, error: ErrorCode) -> Self::Reply;
}
