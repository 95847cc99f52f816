//! An idempotent producer: batches with sequences, several in flight, retried in order until they
//! are acknowledged.

use base::{ErrorCode, Offset};

use crate::client::{Client, Outgoing, Producer};
use crate::message::Body;
use crate::world::World;

const TICK_MS: i64 = 25;
const REQUEST_TIMEOUT_MS: i64 = 900;
const WINDOW_MAX: usize = 6;
const REFUSALS_MAX: u32 = 5;

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
