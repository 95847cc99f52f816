//! What a producer knows.

use std::collections::VecDeque;

use record::{BatchBuilder, BatchOptions};

use crate::message::Tp;

pub(crate) struct Producer {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    pub(crate) tp: Tp,
    pub(crate) acks: i16,
    pub(crate) in_flight_max: usize,
    /// A batch of this epoch was acknowledged. Before, a leader takes any sequence for the first
    /// one, so that a second batch must not be on its way.
    pub(crate) known: bool,
    pub(crate) next_sequence: i32,
    /// Not acknowledged, in order.
    pub(crate) window: VecDeque<Outgoing>,
    pub(crate) leader: Option<usize>,
    /// How often the oldest batch was refused for its sequence. Only a new epoch mends that, as
    /// in Kafka's client: acks 1 loses records, and a leader that was restarted remembers only
    /// the newest batch of those that it would recognise.
    pub(crate) refusals: u32,
}

pub(crate) struct Outgoing {
    pub(crate) sequence: i32,
    pub(crate) count: i32,
    pub(crate) bytes: Vec<u8>,
    /// Was on its way before: what comes next must not overtake it.
    pub(crate) sent: bool,
    pub(crate) request: Option<(u64, i64)>,
}

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

    pub(crate) fn batch(&self, sequence: i32, count: i32, now_ms: i64) -> Vec<u8> {
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
    pub(crate) fn bump_epoch(&mut self, now_ms: i64) {
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
