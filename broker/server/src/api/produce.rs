//! Produce: appends to every partition at once while the frame is still in the connection's buffer,
//! then (acks=all) waits for all of them together. Batches that take long to validate go on in the
//! pool for that, and the connection starts nothing else until they are appended.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use authorizer::{Operation, ResourceType};
use base::{ErrorCode, topic_name};
use commitlog::{Effort, VerificationGuard};
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    TopicProduceResponse,
};
use wire::messages::{ProduceRequest, ProduceResponse};
use wire::{ApiKey, Reader, Str};

use super::leader_hint::LeaderHints;
use super::produce_transactional::{Verified, check};
use crate::authorize::Permit;
use crate::broker::Broker;
use crate::dispatch::{answer, malformed};
use crate::net::{Begun, Reply, Started};
use crate::quotas::Used;
use crate::request::RequestContext;
use storage::partition::{Appended, Partition, ProduceError, ProduceWait, Ticket};

/// Kafka's admin client may write to internal topics.
const ADMIN_CLIENT_ID: &str = "__admin_client";
/// First version that may carry zstd.
const ZSTD_VERSION_MIN: i16 = 7;
const LENGTH_AT: usize = 8;
/// What the smallest message of the oldest format has behind its length.
const LENGTH_MIN: i32 = 14;
const MAGIC_AT: usize = 16;
const ATTRIBUTES_AT: usize = 21;
const CODEC_MASK: u8 = 7;
const ZSTD: u8 = 4;

/// What a request may expand to on a network thread: some milliseconds of work.
const SHORT_EFFORT: Effort = Effort::of(4 << 20);
/// What it may expand to before others get their turn on the threads for that.
const LONG_EFFORT: Effort = Effort::at_least_one(64 << 20);

/// Decodes, appends, and waits where the request asks for it. Nothing keeps the frame's memory
/// when this is done.
pub fn start(broker: &Arc<Broker>, cx: RequestContext, body: &mut Reader) -> Started {
    let request = match ProduceRequest::decode(body, cx.version) {
        Ok(request) => request,
        Err(error) => return malformed(&cx, &error),
    };
    let permit = broker.permit(&cx);
    let checked = check(broker, &permit, cx.version, &request);
    let mut appending = Appending::new(cx, permit, request);
    match checked {
        Ok(None) => {}
        Err(code) => appending.refused = appending.refused.or(Some(code)),
        Ok(Some(asking)) if appending.refused.is_none() => {
            let broker = broker.clone();
            return Started::Held(Box::pin(async move {
                appending.verified = asking.ask(&broker).await;
                Begun { started: appending.go_on(&broker, SHORT_EFFORT), decoded: 0 }
            }));
        }
        Ok(Some(_)) => {}
    }
    appending.go_on(broker, SHORT_EFFORT)
}

/// A partition of the request after its append.
struct Slot {
    partition: Option<Arc<Partition>>,
    wanted: Option<Ticket>,
    code: ErrorCode,
}

/// A request whose batches are being appended, in their order.
struct Appending {
    cx: RequestContext,
    permit: Permit,
    acks: i16,
    timeout: Duration,
    refused: Option<ErrorCode>,
    /// Of the batches that begin a transaction.
    verified: Verified,
    topics: std::vec::IntoIter<TopicProduceData>,
    /// The partitions of the last topic in `pending` that are still to come.
    partitions: std::vec::IntoIter<PartitionProduceData>,
    /// Why that topic is not written to.
    denied: Option<ErrorCode>,
    pending: Pending,
}

/// Why a topic is not written to; nothing where it does not exist.
pub(super) fn denied(
    broker: &Broker,
    permit: &Permit,
    version: i16,
    topic: &TopicProduceData,
) -> Option<ErrorCode> {
    if permit.is_open() {
        return None;
    }
    let check = |name: &str| permit.check(Operation::Write, ResourceType::Topic, name).err();
    match version {
        13.. => broker.image().topic_by_id(topic.topic_id).and_then(|topic| check(&topic.name)),
        _ => check(&topic.name),
    }
}

impl Appending {
    fn new(cx: RequestContext, permit: Permit, request: ProduceRequest) -> Appending {
        let count = request.topic_data.iter().map(|topic| topic.partition_data.len()).sum();
        let wait = (request.acks == -1).then(|| ProduceWait::new(count));
        let pending = Pending {
            topics: Vec::with_capacity(request.topic_data.len()),
            slots: Vec::with_capacity(count),
            wait,
        };
        Appending {
            cx,
            permit,
            acks: request.acks,
            timeout: Duration::from_millis(request.timeout_ms.max(0).unsigned_abs().into()),
            refused: refused_as_a_whole(&request),
            verified: Verified::new(),
            topics: request.topic_data.into_iter(),
            partitions: Vec::new().into_iter(),
            denied: None,
            pending,
        }
    }

    /// Appends what is left. What takes too long here goes on where it may.
    fn go_on(mut self, broker: &Arc<Broker>, mut effort: Effort) -> Started {
        while self.has_more(broker) {
            if !self.append(broker, &mut effort) {
                let (broker, this) = (broker.clone(), Box::new(self));
                return Started::Long(Box::new(move || Begun {
                    started: this.go_on(&broker, LONG_EFFORT),
                    decoded: 0,
                }));
            }
        }
        self.appended(broker)
    }

    /// Whether there is a batch in front of `partitions`.
    fn has_more(&mut self, broker: &Broker) -> bool {
        while self.partitions.as_slice().is_empty() {
            let Some(topic) = self.topics.next() else { return false };
            self.denied = denied(broker, &self.permit, self.cx.version, &topic);
            self.pending.topics.push(TopicProduceResponse {
                name: topic.name,
                topic_id: topic.topic_id,
                partition_responses: Vec::with_capacity(topic.partition_data.len()),
            });
            self.partitions = topic.partition_data.into_iter();
        }
        true
    }

    /// Appends the next batch. False, with nothing done, if that takes too long.
    fn append(&mut self, broker: &Broker, effort: &mut Effort) -> bool {
        let cx = &self.cx;
        let Pending { topics, slots, wait } = &mut self.pending;
        let next = self.partitions.as_slice().first();
        let (Some(topic), Some(next)) = (topics.last_mut(), next) else { return true };
        let (index, records) = (next.index, next.records.as_deref().unwrap_or_default());
        let found = match self.refused.or(self.denied) {
            Some(code) => Err(code),
            None if cx.version >= 13 => broker.storage.partitions.find_by_id(topic.topic_id, index),
            None => broker.storage.partitions.find(&topic.name, index),
        };
        let (partition, result) = match found {
            Ok(partition) => {
                let commit = wait.as_ref().map(|wait| (wait, slots.len()));
                let guard = self.verified.get(&slots.len()).cloned().transpose();
                let appended = guard.and_then(|guard| {
                    append_one(cx, &partition, records, self.acks, commit, guard, effort)
                });
                match appended {
                    Ok(None) => return false,
                    Ok(Some(appended)) => (Some(partition), Ok(appended)),
                    Err(error) => (Some(partition), Err(error)),
                }
            }
            Err(code) => (None, Err(code.into())),
        };
        self.partitions.next();
        if let Ok(Appended { info, .. }) = &result
            && !info.duplicate
        {
            broker.metrics.produced_bytes.inc_by(info.bytes as u64);
            broker.metrics.produced_records.inc_by(info.records.unsigned_abs().into());
        }
        let code = result.as_ref().err().map_or(ErrorCode::None, |error| error.code);
        let wanted = result.as_ref().ok().and_then(|appended| appended.ticket);
        slots.push(Slot { partition, wanted, code });
        topic.partition_responses.push(response_of(index, result));
        true
    }

    /// Everything is in the log that may be.
    fn appended(self, broker: &Arc<Broker>) -> Started {
        let Appending { cx, acks, timeout, pending, .. } = self;
        if let Some(wait) = &pending.wait {
            wait.registered();
        }
        if acks == 0 {
            let pause = broker.quotas.spend(&broker.image(), &cx, Used::Produced(cx.bytes));
            return Started::Done(pending.silent().pausing(pause));
        }
        let Some(wait) = pending.wait.clone().filter(|wait| !wait.is_over()) else {
            return Started::Done(pending.respond(broker, &cx));
        };
        let broker = broker.clone();
        Started::Later(Box::pin(async move {
            // Given up with its connection, it waits for no commit any more either.
            let pending = Waiting(Some(pending));
            let is_over = tokio::time::timeout(timeout, poll_fn(|cx| wait.poll(cx))).await.is_ok();
            pending.end(is_over).respond(&broker, &cx)
        }))
    }
}

/// A request that waits for its commits. Without an end it was dropped.
struct Waiting(Option<Pending>);

impl Waiting {
    fn end(mut self, is_over: bool) -> Pending {
        let pending = self.0.take().unwrap_or_default();
        if !is_over {
            pending.cancel();
        }
        pending
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(pending) = &self.0 {
            pending.cancel();
        }
    }
}

/// A request whose batches are appended.
#[derive(Default)]
struct Pending {
    topics: Vec<TopicProduceResponse>,
    /// In the order of the partitions in `topics`.
    slots: Vec<Slot>,
    wait: Option<Arc<ProduceWait>>,
}

impl Pending {
    /// acks=0 has no response: an error is told by closing the connection, as Kafka does.
    fn silent(&self) -> Reply {
        if self.slots.iter().any(|slot| slot.code.is_error()) {
            Reply::Close("produce with acks=0 failed")
        } else {
            Reply::Silent
        }
    }

    /// The time is up: nobody waits for these commits any more.
    fn cancel(&self) {
        for slot in &self.slots {
            if let (Some(partition), Some(ticket)) = (&slot.partition, slot.wanted) {
                partition.cancel_commit(ticket);
            }
        }
    }

    fn respond(mut self, broker: &Broker, cx: &RequestContext) -> Reply {
        let mut hints = LeaderHints::default();
        let mut all = self.slots.iter_mut().enumerate();
        for topic in &mut self.topics {
            let (topic_id, asked_name) = (topic.topic_id, topic.name.clone());
            for response in &mut topic.partition_responses {
                let Some((at, slot)) = all.next() else { break };
                if let (Some(wait), Some(_)) = (&self.wait, slot.wanted) {
                    slot.code = wait.result(at);
                    response.error_code = slot.code.code();
                }
                if cx.version >= 10 && LeaderHints::is_asked_for(slot.code) {
                    let image = broker.image();
                    let by_id = image.topic_by_id(topic_id).map(|topic| Str::from(&topic.name));
                    let name = by_id.unwrap_or_else(|| asked_name.clone());
                    let partition = slot.partition.as_deref();
                    let leader = hints.note(&image, &name, response.index, partition);
                    if let Some((leader, epoch)) = leader {
                        response.current_leader =
                            LeaderIdAndEpoch { leader_id: leader.0, leader_epoch: epoch };
                    }
                }
            }
        }
        let response = ProduceResponse {
            responses: self.topics,
            throttle_time_ms: 0,
            node_endpoints: node_endpoints(broker, cx, &hints),
        };
        answer(broker, ApiKey::Produce, cx, response, Used::Produced(cx.bytes))
    }
}

fn node_endpoints(broker: &Broker, cx: &RequestContext, hints: &LeaderHints) -> Vec<NodeEndpoint> {
    let nodes = hints.nodes(&broker.image(), &cx.listener).into_iter();
    nodes
        .map(|node| NodeEndpoint {
            node_id: node.id.0,
            host: Str::from(&node.endpoint.host),
            port: node.endpoint.port.into(),
            rack: node.rack.map(Str::from),
        })
        .collect()
}

fn refused_as_a_whole(request: &ProduceRequest) -> Option<ErrorCode> {
    (![-1, 0, 1].contains(&request.acks)).then_some(ErrorCode::InvalidRequiredAcks)
}

fn append_one(
    cx: &RequestContext,
    partition: &Arc<Partition>,
    records: &[u8],
    acks: i16,
    commit: Option<(&Arc<ProduceWait>, usize)>,
    guard: Option<VerificationGuard>,
    effort: &mut Effort,
) -> Result<Option<Appended>, ProduceError> {
    let may_be_internal = cx.sender.is_broker() && *cx.client_id == *ADMIN_CLIENT_ID;
    if topic_name::is_internal(&partition.id.topic) && !may_be_internal {
        return Err(ErrorCode::InvalidTopicException.into());
    }
    let batch = only_batch(records, cx.version)?;
    partition.append_within(batch, acks, commit, guard, effort)
}

/// The rules of the request, as opposed to those of the log: exactly one batch, of the current
/// format, and no codec that consumers of this version could not read. Bytes after it that are no
/// whole batch are left out, as Kafka does.
fn only_batch(records: &[u8], version: i16) -> Result<&[u8], ProduceError> {
    let invalid = |message: &str| ProduceError {
        code: ErrorCode::InvalidRecord,
        message: Some(message.to_owned()),
        records: Vec::new(),
    };
    let Some((batch, rest)) = split_batch(records)? else {
        return Err(invalid("a produce request must have a record batch for each partition"));
    };
    let magic = batch.get(MAGIC_AT).copied().unwrap_or_default() as i8;
    if magic != record::MAGIC {
        let message = format!("a record batch must have the format version 2, not {magic}");
        return Err(invalid(&message));
    }
    let Some(attributes) = batch.get(ATTRIBUTES_AT + 1) else {
        return Err(ErrorCode::CorruptMessage.into());
    };
    if attributes & CODEC_MASK == ZSTD && version < ZSTD_VERSION_MIN {
        return Err(ErrorCode::UnsupportedCompressionType.into());
    }
    if split_batch(rest)?.is_some() {
        return Err(invalid("a produce request must have exactly one record batch per partition"));
    }
    Ok(batch)
}

/// A batch and what follows it.
type Split<'a> = (&'a [u8], &'a [u8]);

/// The whole batch, of any format, at the front of the bytes, and what follows it; none where less
/// is left than a batch. An error if what is there can be no batch.
fn split_batch(records: &[u8]) -> Result<Option<Split<'_>>, ErrorCode> {
    let length = records.get(LENGTH_AT..).and_then(|rest| rest.first_chunk::<4>());
    let Some(length) = length else { return Ok(None) };
    let length = i32::from_be_bytes(*length);
    if length < LENGTH_MIN {
        return Err(ErrorCode::CorruptMessage);
    }
    let Some(magic) = records.get(MAGIC_AT) else { return Ok(None) };
    if !(0..=record::MAGIC).contains(&(*magic as i8)) {
        return Err(ErrorCode::CorruptMessage);
    }
    let size = length as usize + LENGTH_AT + 4;
    Ok(records.split_at_checked(size))
}

fn response_of(index: i32, result: Result<Appended, ProduceError>) -> PartitionProduceResponse {
    match result {
        Ok(Appended { info, .. }) => PartitionProduceResponse {
            index,
            base_offset: info.first_offset,
            log_append_time_ms: info.log_append_time,
            log_start_offset: info.log_start_offset,
            ..PartitionProduceResponse::default()
        },
        Err(error) => PartitionProduceResponse {
            index,
            error_code: error.code.code(),
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
            record_errors: error
                .records
                .into_iter()
                .map(|record| BatchIndexAndErrorMessage {
                    batch_index: record.index,
                    batch_index_error_message: record.message.map(Str::from),
                })
                .collect(),
            error_message: error.message.map(Str::from),
            ..PartitionProduceResponse::default()
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use storage::partition::testing::{self, ME, OTHER, Rig};

    fn batch(len: usize, codec: u8) -> Vec<u8> {
        let mut bytes = vec![0; len];
        bytes[8..12].copy_from_slice(&((len - 12) as i32).to_be_bytes());
        bytes[MAGIC_AT] = 2;
        bytes[22] = codec;
        bytes
    }

    fn code(records: &[u8], version: i16) -> ErrorCode {
        only_batch(records, version).unwrap_err().code
    }

    /// Its client is gone: nobody is to be told any more, however long the commit takes.
    #[test]
    fn a_request_that_is_dropped_waits_for_no_commit() {
        let rig = Rig::new(i64::MAX);
        rig.assign_in(ME, 1, &[ME, OTHER]);
        let partition = rig.partitions.find("t", 0).unwrap();
        let wait = ProduceWait::new(1);
        let commit = Some((&wait, 0));
        let appended = partition.append(&testing::batch(), -1, commit).unwrap();
        wait.registered();
        assert!(!wait.is_over() && partition.commits_awaited() == 1);
        let (wanted, code) = (appended.ticket, ErrorCode::None);
        let slots = vec![Slot { partition: Some(partition.clone()), wanted, code }];
        let pending = Pending { topics: Vec::new(), slots, wait: Some(wait) };
        drop(Waiting(Some(pending)));
        assert_eq!(partition.commits_awaited(), 0);
    }

    #[test]
    fn one_batch_per_partition() {
        assert_eq!(only_batch(&batch(70, 0), 9).unwrap(), batch(70, 0));
        assert_eq!(code(&[], 9), ErrorCode::InvalidRecord);
        assert_eq!(code(&[0; 20], 9), ErrorCode::CorruptMessage);
        let two = [batch(70, 0), batch(70, 0)].concat();
        assert_eq!(code(&two, 9), ErrorCode::InvalidRecord);
        assert_eq!(code(&batch(70, 0)[..69], 9), ErrorCode::InvalidRecord, "cut off");
        // What follows and is no batch is not appended.
        for tail in [&[0; 3][..], &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 99, 1][..]] {
            let bytes = [batch(70, 0), tail.to_vec()].concat();
            assert_eq!(only_batch(&bytes, 9).unwrap(), batch(70, 0));
        }
        let garbage = [batch(70, 0), vec![0; 30]].concat();
        assert_eq!(code(&garbage, 9), ErrorCode::CorruptMessage);
    }

    #[test]
    fn older_formats_are_refused_for_good() {
        for magic in [0, 1] {
            let mut old = batch(70, 0);
            old[MAGIC_AT] = magic;
            assert_eq!(code(&old, 9), ErrorCode::InvalidRecord, "{magic}");
            // The smallest of them is shorter than a header of today.
            let mut small = batch(30, 0);
            small[MAGIC_AT] = magic;
            assert_eq!(code(&small, 9), ErrorCode::InvalidRecord, "{magic}");
        }
        let mut unknown = batch(70, 0);
        unknown[MAGIC_AT] = 3;
        assert_eq!(code(&unknown, 9), ErrorCode::CorruptMessage);
    }

    #[test]
    fn zstd_needs_version_7() {
        assert_eq!(code(&batch(70, 4), 6), ErrorCode::UnsupportedCompressionType);
        assert!(only_batch(&batch(70, 4), 7).is_ok());
    }
}
