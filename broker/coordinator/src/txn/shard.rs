//! The transactional ids of one partition of `__transaction_state`.
//!
//! Invariants:
//! - what a transactional id is known for is committed: a record that was asked for changes nothing
//!   before, and requests that would change something are told to wait meanwhile;
//! - replaying the log yields what is known here, except for `last_epoch`;
//! - a decided transaction has its markers under way, or its completion appended or due;
//! - a ticket is answered exactly once.

mod invariants;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use base::{ErrorCode, TopicId, topic_name};
use bytes::Bytes;

use super::config::TxnConfig;
use super::record::TxnRecord;
use super::request::{
    AddPartitions, DescribedTransaction, EndTransaction, InitProducer, ListedTransaction, Markers,
    Producer, TxnErrand, TxnFilter, TxnReply, TxnRequest, VerifyPartitions,
};
use super::transaction::{Transaction, TransactionalId, TxnState};
use super::transit::{self, EPOCH_RAISING, Known, Transit};
use crate::pending::{TIMED_OUT, client_error};
use crate::{AppendId, EffectOf, Shard, ShardEffect, Ticket};

type Effects = Vec<EffectOf<TxnShard>>;

#[derive(Debug)]
pub struct TxnShard {
    config: TxnConfig,
    ids: BTreeMap<TransactionalId, Entry>,
    /// Not committed yet, in the order of the log.
    appends: VecDeque<Appended>,
    last_append: AppendId,
    last_errand: u64,
    /// Level of `transaction.version`, as the last request said it; before the first, what the log
    /// shows of it.
    level: i16,
    next_abort_check_ms: i64,
    next_expiry_check_ms: i64,
    /// Completions that could not be appended.
    retries: BTreeSet<(i64, TransactionalId)>,
    wall_offset_ms: i64,
    expiry_offset_ms: i64,
}

#[derive(Debug, Default)]
struct Entry {
    /// None only while the first word on the id is being appended.
    known: Option<Known>,
    is_appending: bool,
    /// The number of the errand whose markers are being written.
    errand: Option<u64>,
}

impl Entry {
    fn is_busy(&self) -> bool {
        self.is_appending
            || self.known.as_ref().is_some_and(|known| known.value.state.is_prepared())
    }
}

#[derive(Debug)]
struct Appended {
    append: AppendId,
    id: TransactionalId,
    /// None: the id is forgotten.
    next: Option<Known>,
    reply: Option<(Ticket, TxnReply)>,
    /// When the reply gives up; the record stays under way.
    deadline_ms: i64,
}

impl Shard for TxnShard {
    const TOPIC: &'static str = topic_name::TRANSACTIONS;
    type Config = TxnConfig;
    type Request = TxnRequest;
    type Reply = TxnReply;
    type Record = TxnRecord;
    type Errand = TxnErrand;

    fn new(config: TxnConfig) -> TxnShard {
        TxnShard {
            config,
            ids: BTreeMap::new(),
            appends: VecDeque::new(),
            last_append: AppendId::default(),
            last_errand: 0,
            level: 0,
            next_abort_check_ms: i64::MAX,
            next_expiry_check_ms: i64::MAX,
            retries: BTreeSet::new(),
            wall_offset_ms: 0,
            expiry_offset_ms: 0,
        }
    }

    fn encode(record: &TxnRecord) -> Result<(Bytes, Option<Bytes>), String> {
        record.encode().map_err(|error| error.to_string())
    }

    fn load(&mut self, key: Bytes, value: Option<Bytes>) -> Result<(), String> {
        let TxnRecord { id, value, level } = TxnRecord::decode(key, value)?;
        self.level = self.level.max(level);
        match value {
            Some(value) => {
                let known = Some(Known { value, last_epoch: None });
                self.ids.insert(id, Entry { known, ..Entry::default() });
            }
            None => {
                self.ids.remove(&id);
            }
        }
        Ok(())
    }

    fn start(&mut self, now_ms: i64, effects: &mut Effects) {
        self.next_abort_check_ms = now_ms + self.config.abort_check_ms;
        self.next_expiry_check_ms = now_ms + self.config.expiry_check_ms;
        let decided = self.ids.iter().filter(|(_, entry)| entry.is_busy());
        let ids: Vec<_> = decided.map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.carry_on(now_ms, &id, effects);
        }
        self.validate();
    }

    fn set_offsets_of_time(&mut self, wall_ms: i64, expiry_ms: i64) {
        self.wall_offset_ms = wall_ms;
        self.expiry_offset_ms = expiry_ms;
    }

    fn handle(&mut self, now_ms: i64, ticket: Ticket, request: TxnRequest, effects: &mut Effects) {
        let refusal = request.refuse(ErrorCode::None);
        let answered = match request {
            TxnRequest::Init(request) => self.init(now_ms, ticket, request, effects),
            TxnRequest::Add(request) => self.add(now_ms, ticket, request, effects),
            TxnRequest::Verify(request) => self.verify(&request).map(Some),
            TxnRequest::End(request) => self.end(now_ms, ticket, request, effects),
            TxnRequest::MarkersWritten { id, number } => {
                self.markers_written(now_ms, &id, number, effects);
                Ok(Some(TxnReply::Noted(ErrorCode::None)))
            }
            TxnRequest::Abort { id, producer, new_producer_id } => {
                self.abort(now_ms, &id, producer, Some(new_producer_id), effects);
                Ok(Some(TxnReply::Noted(ErrorCode::None)))
            }
            TxnRequest::Describe(id) => self.describe(&id).map(Some),
            TxnRequest::List(filter) => Ok(Some(TxnReply::List(Ok(self.list(now_ms, &filter))))),
        };
        match answered {
            Ok(None) => {}
            Ok(Some(reply)) => effects.push(ShardEffect::Reply { ticket, reply }),
            Err(error) => {
                effects.push(ShardEffect::Reply { ticket, reply: refusal.into_error(error) });
            }
        }
        self.validate();
    }

    fn next_deadline(&self) -> Option<i64> {
        let replies = self.appends.iter().find(|a| a.reply.is_some()).map(|a| a.deadline_ms);
        let retry = self.retries.first().map(|(at_ms, _)| *at_ms);
        let checks = [self.next_abort_check_ms, self.next_expiry_check_ms];
        replies.into_iter().chain(retry).chain(checks).min()
    }

    fn tick(&mut self, now_ms: i64, effects: &mut Effects) {
        while self.retries.first().is_some_and(|(at_ms, _)| *at_ms <= now_ms) {
            let Some((_, id)) = self.retries.pop_first() else { break };
            self.complete(now_ms, &id, effects);
        }
        if self.next_abort_check_ms <= now_ms {
            self.next_abort_check_ms = now_ms + self.config.abort_check_ms;
            self.abort_timed_out(now_ms, effects);
        }
        if self.next_expiry_check_ms <= now_ms {
            self.next_expiry_check_ms = now_ms + self.config.expiry_check_ms;
            self.forget_expired(now_ms, effects);
        }
        for append in self.appends.iter_mut().take_while(|a| a.deadline_ms <= now_ms) {
            if let Some((ticket, reply)) = append.reply.take() {
                effects.push(ShardEffect::Reply { ticket, reply: reply.into_error(TIMED_OUT) });
            }
        }
        self.validate();
    }

    /// Whoever writes the markers drops what is gone: a topic of the same name may come.
    fn topics_deleted(&mut self, _: i64, _: &BTreeMap<Arc<str>, TopicId>, _: &mut Effects) {}

    fn committed(&mut self, now_ms: i64, id: AppendId, effects: &mut Effects) {
        while let Some(appended) = self.appends.pop_front_if(|a| a.append <= id) {
            let Appended { id, next, reply, .. } = appended;
            match next {
                Some(known) => {
                    let entry = Entry { known: Some(known), ..Entry::default() };
                    self.ids.insert(id.clone(), entry);
                }
                None => {
                    self.ids.remove(&id);
                }
            }
            if let Some((ticket, reply)) = reply {
                effects.push(ShardEffect::Reply { ticket, reply });
            }
            self.carry_on(now_ms, &id, effects);
        }
        self.validate();
    }

    fn append_failed(
        &mut self,
        now_ms: i64,
        first: AppendId,
        error: ErrorCode,
        effects: &mut Effects,
    ) {
        while let Some(appended) = self.appends.pop_back_if(|a| a.append >= first) {
            let Appended { id, next, reply, .. } = appended;
            if let Some((ticket, reply)) = reply {
                let reply = reply.into_error(client_error(error));
                effects.push(ShardEffect::Reply { ticket, reply });
            }
            let Some(entry) = self.ids.get_mut(&id) else { continue };
            entry.is_appending = false;
            if entry.known.is_none() {
                self.ids.remove(&id);
            } else if next.is_some_and(|next| next.value.state.is_complete()) {
                self.retries.insert((now_ms + self.config.retry_ms, id));
            }
        }
        self.validate();
    }

    fn unload(self, effects: &mut Effects) {
        for (ticket, reply) in self.appends.into_iter().filter_map(|append| append.reply) {
            let reply = reply.into_error(ErrorCode::NotCoordinator);
            effects.push(ShardEffect::Reply { ticket, reply });
        }
    }

    fn refuse(request: &TxnRequest, error: ErrorCode) -> TxnReply {
        request.refuse(error)
    }
}

/// A reply that can be given at once, or none if it waits for a record.
type Answer = Result<Option<TxnReply>, ErrorCode>;

impl TxnShard {
    fn known(&self, id: &str) -> Result<&Known, ErrorCode> {
        let known = self.ids.get(id).and_then(|entry| entry.known.as_ref());
        known.ok_or(ErrorCode::InvalidProducerIdMapping)
    }

    fn init(
        &mut self,
        now_ms: i64,
        ticket: Ticket,
        request: InitProducer,
        effects: &mut Effects,
    ) -> Answer {
        self.level = request.level;
        if request.timeout_ms <= 0 || request.timeout_ms > self.config.timeout_ms_max {
            return Err(ErrorCode::InvalidTransactionTimeout);
        }
        let wall_ms = now_ms + self.wall_offset_ms;
        let entry = self.ids.get(&request.id);
        if entry.is_some_and(Entry::is_busy) {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        let transit = match entry.and_then(|entry| entry.known.as_ref()) {
            None => transit::create(&request, wall_ms),
            Some(known) => transit::init(known, &request, wall_ms)?,
        };
        let next = match transit {
            Transit::NeedsProducerId => return Ok(Some(TxnReply::NeedsProducerId)),
            Transit::Already => return Err(ErrorCode::UnknownServerError),
            Transit::To(next) => next,
        };
        // Who fences a transaction asks again, and is given an epoch of its own then.
        let reply = match next.value.state.is_prepared() {
            true => Err(ErrorCode::ConcurrentTransactions),
            false => Ok(next.producer()),
        };
        let reply = Some((ticket, TxnReply::Init(reply)));
        self.append(now_ms, request.id, Some(next), reply, effects);
        Ok(None)
    }

    fn add(
        &mut self,
        now_ms: i64,
        ticket: Ticket,
        request: AddPartitions,
        effects: &mut Effects,
    ) -> Answer {
        self.level = request.level;
        let wall_ms = now_ms + self.wall_offset_ms;
        let known = self.known(&request.id)?;
        // First: what is under way may change the producer.
        if self.ids.get(&request.id).is_some_and(Entry::is_busy) {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        match transit::add(known, &request, wall_ms)? {
            Transit::To(next) => {
                let reply = Some((ticket, TxnReply::Add(ErrorCode::None)));
                self.append(now_ms, request.id, Some(next), reply, effects);
                Ok(None)
            }
            Transit::Already | Transit::NeedsProducerId => Ok(Some(TxnReply::Add(ErrorCode::None))),
        }
    }

    /// What is under way is not asked: the leader that asks checks once more when it appends.
    fn verify(&self, request: &VerifyPartitions) -> Result<TxnReply, ErrorCode> {
        let known = self.known(&request.id)?;
        transit::check_producer(known, request.producer)?;
        if known.value.state.is_prepared() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        let mut verified = Vec::new();
        for (topic, indexes) in &request.partitions {
            for &index in indexes {
                let error = match known.value.contains(topic, index) {
                    true => ErrorCode::None,
                    false => ErrorCode::TransactionAbortable,
                };
                verified.push((topic.clone(), index, error));
            }
        }
        Ok(TxnReply::Verify(Ok(verified)))
    }

    fn end(
        &mut self,
        now_ms: i64,
        ticket: Ticket,
        request: EndTransaction,
        effects: &mut Effects,
    ) -> Answer {
        self.level = request.level;
        let wall_ms = now_ms + self.wall_offset_ms;
        let known = self.known(&request.id)?;
        let is_busy = self.ids.get(&request.id).is_some_and(Entry::is_busy);
        let transit = match request.version >= EPOCH_RAISING {
            true => transit::end_raising(known, &request, is_busy, wall_ms)?,
            false => transit::end(known, &request, is_busy, wall_ms)?,
        };
        match transit {
            Transit::Already => Ok(Some(TxnReply::End(Ok(known.producer())))),
            Transit::NeedsProducerId => Ok(Some(TxnReply::NeedsProducerId)),
            Transit::To(next) => {
                let reply = Some((ticket, TxnReply::End(Ok(next.next_producer()))));
                self.append(now_ms, request.id, Some(next), reply, effects);
                Ok(None)
            }
        }
    }

    /// A report that comes twice, or late, is of no errand: the next transaction of a producer may
    /// have the same epoch.
    fn markers_written(
        &mut self,
        now_ms: i64,
        id: &TransactionalId,
        number: u64,
        effects: &mut Effects,
    ) {
        let Some(entry) = self.ids.get_mut(id) else { return };
        if entry.errand.take_if(|errand| *errand == number).is_some() {
            self.complete(now_ms, id, effects);
        }
    }

    /// Appends that the markers of a decided transaction are written.
    fn complete(&mut self, now_ms: i64, id: &TransactionalId, effects: &mut Effects) {
        let wall_ms = now_ms + self.wall_offset_ms;
        let Some(Entry { known: Some(known), is_appending: false, .. }) = self.ids.get(id) else {
            return;
        };
        if known.value.state.is_prepared() {
            let next = transit::complete(known, wall_ms);
            self.append(now_ms, id.clone(), Some(next), None, effects);
        }
    }

    /// Has the markers of a transaction written that is decided.
    fn carry_on(&mut self, now_ms: i64, id: &TransactionalId, effects: &mut Effects) {
        let Some(entry) = self.ids.get_mut(id) else { return };
        let Entry { known: Some(known), is_appending: false, errand } = entry else { return };
        let value = &known.value;
        if !value.state.is_prepared() {
            return;
        }
        if value.partitions.is_empty() {
            return self.complete(now_ms, id, effects);
        }
        self.last_errand += 1;
        *errand = Some(self.last_errand);
        effects.push(ShardEffect::Errand(TxnErrand::WriteMarkers(Markers {
            number: self.last_errand,
            id: id.clone(),
            producer: known.producer(),
            is_commit: value.state == TxnState::PrepareCommit,
            version: value.version,
            partitions: value.partitions.clone(),
        })));
    }

    fn abort_timed_out(&mut self, now_ms: i64, effects: &mut Effects) {
        let wall_ms = now_ms + self.wall_offset_ms;
        let is_due = |entry: &Entry| {
            let known = entry.known.as_ref().filter(|_| !entry.is_appending)?;
            known.value.is_timed_out(wall_ms).then(|| known.producer())
        };
        let due: Vec<_> =
            self.ids.iter().filter_map(|(id, e)| Some((id.clone(), is_due(e)?))).collect();
        for (id, producer) in due {
            self.abort(now_ms, &id, producer, None, effects);
        }
    }

    /// Aborts the ongoing transaction of a producer, if it still is.
    fn abort(
        &mut self,
        now_ms: i64,
        id: &TransactionalId,
        producer: Producer,
        new_producer_id: Option<i64>,
        effects: &mut Effects,
    ) {
        let wall_ms = now_ms + self.wall_offset_ms;
        let Some(Entry { known: Some(known), is_appending: false, .. }) = self.ids.get(id) else {
            return;
        };
        if known.producer() != producer || !known.value.is_timed_out(wall_ms) {
            return;
        }
        match transit::fence(known, self.level, new_producer_id, wall_ms) {
            Transit::To(next) => self.append(now_ms, id.clone(), Some(next), None, effects),
            Transit::NeedsProducerId => {
                let id = id.clone();
                effects.push(ShardEffect::Errand(TxnErrand::Abort { id, producer }));
            }
            Transit::Already => {}
        }
    }

    fn forget_expired(&mut self, now_ms: i64, effects: &mut Effects) {
        let expired_ms = now_ms + self.expiry_offset_ms - self.config.id_expiration_ms;
        let is_expired = |entry: &Entry| {
            !entry.is_busy()
                && entry.known.as_ref().is_some_and(|known| {
                    known.value.state != TxnState::Ongoing && known.value.updated_ms <= expired_ms
                })
        };
        let expired: Vec<_> =
            self.ids.iter().filter(|(_, e)| is_expired(e)).map(|(id, _)| id.clone()).collect();
        for id in expired {
            self.append(now_ms, id, None, None, effects);
        }
    }

    fn append(
        &mut self,
        now_ms: i64,
        id: TransactionalId,
        next: Option<Known>,
        reply: Option<(Ticket, TxnReply)>,
        effects: &mut Effects,
    ) {
        self.last_append.0 += 1;
        let append = self.last_append;
        let entry = self.ids.entry(id.clone()).or_default();
        debug_assert!(!entry.is_appending, "an id has one record under way");
        entry.is_appending = true;
        let value = next.as_ref().map(|known| known.value.clone());
        let record = TxnRecord { id: id.clone(), value, level: self.level };
        effects.push(ShardEffect::Append { id: append, records: vec![record] });
        let deadline_ms = now_ms + self.config.append_timeout_ms;
        self.appends.push_back(Appended { append, id, next, reply, deadline_ms });
    }

    fn describe(&self, id: &str) -> Result<TxnReply, ErrorCode> {
        let known = self.known(id).map_err(|_| ErrorCode::TransactionalIdNotFound)?;
        let Transaction { state, timeout_ms, started_ms, ref partitions, .. } = known.value;
        Ok(TxnReply::Describe(Ok(DescribedTransaction {
            producer: known.producer(),
            state,
            timeout_ms,
            started_ms,
            partitions: partitions.clone(),
        })))
    }

    fn list(&self, now_ms: i64, filter: &TxnFilter) -> Vec<ListedTransaction> {
        let wall_ms = now_ms + self.wall_offset_ms;
        let is_wanted = |value: &Transaction| {
            // As in Kafka, what has not begun is older than everything.
            let age_ms = wall_ms.saturating_sub(value.started_ms.unwrap_or(-1));
            (filter.states.is_empty() || filter.states.contains(&value.state))
                && (filter.producer_ids.is_empty()
                    || filter.producer_ids.contains(&value.producer_id))
                && filter.longer_than_ms.is_none_or(|min_ms| age_ms > min_ms)
        };
        let known = self.ids.iter().filter_map(|(id, e)| Some((id, &e.known.as_ref()?.value)));
        known
            .filter(|(_, value)| is_wanted(value))
            .map(|(id, value)| ListedTransaction {
                id: id.clone(),
                producer_id: value.producer_id,
                state: value.state,
            })
            .collect()
    }

    /// What is known of all ids, for tests: the log has to say the same.
    pub fn transactions(&self) -> impl Iterator<Item = (&TransactionalId, &Transaction)> {
        self.ids.iter().filter_map(|(id, entry)| Some((id, &entry.known.as_ref()?.value)))
    }
}
