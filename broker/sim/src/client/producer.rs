//! An idempotent producer: batches with sequences, several in flight, retried in order until they
//! are acknowledged.

use std::collections::VecDeque;

use base::{ErrorCode, Offset};
use record::{BatchBuilder, BatchOptions};

use crate::message::{Body, Tp};
use crate::world::World;

use super::Client;

pub(crate) struct Producer {
    pub(crate) id: i64,
    epoch: i16,
    tp: Tp,
    acks: i16,
    in_flight_max: usize,
    /// A batch of this epoch was acknowledged. Before, a leader takes any sequence for the first
    /// one, so that a second batch must not be on its way.
    known: bool,
    next_sequence: i32,
    /// Not acknowledged, in order.
    window: VecDeque<Outgoing>,
    leader: Option<usize>,
    /// How often the oldest batch was refused for its sequence. Only a new epoch mends that, as
    /// in Kafka's client: acks 1 loses records, and a leader that was restarted remembers only
    /// the newest batch of those that it would recognise.
    refusals: u32,
}

struct Outgoing {
    sequence: i32,
    count: i32,
    bytes: Vec<u8>,
    /// Was on its way before: what comes next must not overtake it.
    sent: bool,
    request: Option<(u64, i64)>,
}

const TICK_MS: i64 = 25;
const REQUEST_TIMEOUT_MS: i64 = 900;
const WINDOW_MAX: usize = 6;
const REFUSALS_MAX: u32 = 5;

impl Producer {
    pub(crate) fn new(id: i64, tp: Tp, acks: i16, in_flight_max: usize) -> Producer {
        Producer {
            id,
            epoch: 0,
            tp,
            acks,
            in_flight_max,
            known: false,
            next_sequence: 0,
            window: VecDeque::new(),
            leader: None,
            refusals: 0,
        }
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.window.is_empty()
    }

    pub(crate) fn text(&self) -> String {
        let waiting: Vec<_> = self.window.iter().map(|o| (o.sequence, o.request)).collect();
        format!("producer {} of {} acks {}: {waiting:?}", self.id, self.tp, self.acks)
    }

    fn batch(&self, sequence: i32, count: i32, now_ms: i64) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchOptions {
            producer_id: self.id,
            producer_epoch: self.epoch,
            base_sequence: sequence,
            ..BatchOptions::default()
        });
        for index in 0..count {
            let text = format!("{}.{}-{}", self.id, self.epoch, sequence + index);
            builder.append(now_ms, None, Some(text.as_bytes()), &[]);
        }
        builder.finish()
    }

    /// A new epoch starts its sequence anew with whatever was not acknowledged.
    fn bump_epoch(&mut self, now_ms: i64) {
        self.epoch += 1;
        self.refusals = 0;
        self.known = false;
        let mut sequence = 0;
        let mut window = std::mem::take(&mut self.window);
        for outgoing in &mut window {
            outgoing.sequence = sequence;
            outgoing.bytes = self.batch(sequence, outgoing.count, now_ms);
            outgoing.request = None;
            outgoing.sent = false;
            sequence += outgoing.count;
        }
        self.window = window;
        self.next_sequence = sequence;
    }
}

impl World {
    fn producer(&mut self, client: usize) -> Option<&mut Producer> {
        match &mut self.clients[client] {
            Client::Producer(producer) => Some(producer),
            _ => None,
        }
    }

    pub(crate) fn producer_timer(&mut self, client: usize) {
        self.client_after(TICK_MS, client);
        let (now, healing) = (self.now_ms, self.healing());
        let (quiet_ms, elapsed_ms) = (self.plan.quiet_ms, self.elapsed_ms());
        let rests = quiet_ms > 0 && elapsed_ms / quiet_ms % 2 == 1;
        let (more, count) = (self.rng.chance(450), self.rng.between(1, 3) as i32);
        let Some(producer) = self.producer(client) else { return };
        if more && !rests && !healing && producer.window.len() < WINDOW_MAX {
            let sequence = producer.next_sequence;
            let bytes = producer.batch(sequence, count, now);
            producer.window.push_back(Outgoing {
                sequence,
                count,
                bytes,
                sent: false,
                request: None,
            });
            producer.next_sequence += count;
        }
        let mut timed_out = false;
        for outgoing in &mut producer.window {
            if outgoing.request.is_some_and(|(_, sent)| now - sent > REQUEST_TIMEOUT_MS) {
                outgoing.request = None;
                timed_out = true;
            }
        }
        if timed_out {
            producer.leader = None;
            self.close_connections(client);
        }
        self.pump(client);
    }

    /// The connection broke: whatever was on it is to be sent again.
    pub(crate) fn producer_disconnected(&mut self, client: usize) {
        if let Some(producer) = self.producer(client) {
            producer.leader = None;
            for outgoing in &mut producer.window {
                outgoing.request = None;
            }
        }
    }

    /// Sends what may be sent, oldest first. A retry, and a change of leader, wait until nothing
    /// is in flight: nothing may overtake what comes before it.
    fn pump(&mut self, client: usize) {
        let now = self.now_ms;
        let Some(producer) = self.producer(client) else { return };
        let (tp, acks) = (producer.tp, producer.acks);
        let in_flight = producer.window.iter().any(|o| o.request.is_some());
        let retries = producer.window.iter().any(|o| o.sent && o.request.is_none());
        if producer.window.is_empty() || in_flight && (retries || producer.leader.is_none()) {
            return;
        }
        if producer.leader.is_none() {
            let leader = self.find_leader(tp);
            let Some(producer) = self.producer(client) else { return };
            producer.leader = leader;
        }
        let first_id = self.fresh_id();
        for _ in 0..WINDOW_MAX {
            self.fresh_id();
        }
        let Some(producer) = self.producer(client) else { return };
        let Some(leader) = producer.leader else { return };
        let mut messages = Vec::new();
        let in_flight_max = if producer.known { producer.in_flight_max } else { 1 };
        let window = producer.window.iter_mut().take(in_flight_max);
        for (id, outgoing) in (first_id..).zip(window) {
            if outgoing.request.is_none() {
                outgoing.request = Some((id, now));
                outgoing.sent = true;
                let bytes = outgoing.bytes.clone();
                messages.push(Body::Produce { id, tp, acks, bytes });
            }
        }
        for body in messages {
            // When the connection breaks, what would come next on it is not sent either.
            if self.producer(client).is_some_and(|producer| producer.leader.is_some()) {
                self.send_request(client, leader, body);
            }
        }
    }

    pub(crate) fn produced(&mut self, client: usize, id: u64, result: Result<Offset, ErrorCode>) {
        let now = self.now_ms;
        let Some(producer) = self.producer(client) else { return };
        let at = producer.window.iter().position(|o| o.request.is_some_and(|(r, _)| r == id));
        let Some(at) = at else { return };
        let (tp, acks) = (producer.tp, producer.acks);
        match result {
            Ok(base) => {
                producer.refusals = 0;
                producer.known = true;
                let Some(outgoing) = producer.window.remove(at) else { return };
                let who = (producer.id, producer.epoch, outgoing.sequence);
                if acks == -1 {
                    let check = self.checks.acked(tp, base, who);
                    self.check(check);
                }
                self.mix(&[9, base as u64]);
            }
            Err(error) => {
                producer.window[at].request = None;
                let stuck = matches!(
                    error,
                    ErrorCode::OutOfOrderSequenceNumber
                        | ErrorCode::InvalidProducerEpoch
                        | ErrorCode::DuplicateSequenceNumber
                );
                if stuck && at == 0 {
                    producer.refusals += 1;
                    if producer.refusals > REFUSALS_MAX {
                        producer.bump_epoch(now);
                    }
                } else if !stuck {
                    producer.leader = None;
                }
                self.mix(&[10, error.code() as u64]);
            }
        }
    }
}
