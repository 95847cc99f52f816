//! Produces that wait for the high watermark, in the order of the offset that they need. A ticket
//! is completed once: by the commit or by the loss of leadership.

use std::collections::VecDeque;

use base::{ErrorCode, Offset};

use crate::effect::Effect;

/// Bounded by the requests in flight, which the broker's memory budget bounds.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// `(required, ticket)`, ascending by `required`.
    queue: VecDeque<(Offset, u64)>,
}

impl Waiters {
    pub(crate) fn push(&mut self, required: Offset, ticket: u64) {
        // Appends come in order, so only the retry of an old batch moves forward from the back.
        let at = self.queue.partition_point(|&(other, _)| other <= required);
        self.queue.insert(at, (required, ticket));
    }

    /// Takes a wait out, found by the offset that it was pushed with: many are cancelled at once
    /// when connections break, and none of them may take a look at all.
    pub(crate) fn cancel(&mut self, required: Offset, ticket: u64) {
        let from = self.queue.partition_point(|&(other, _)| other < required);
        let same = self.queue.range(from..).take_while(|&&(other, _)| other == required);
        let at = same.zip(from..).find_map(|(&(_, id), at)| (id == ticket).then_some(at));
        if let Some(at) = at {
            self.queue.remove(at);
        }
    }

    pub(crate) fn complete_up_to(&mut self, high_watermark: Offset, effects: &mut Vec<Effect>) {
        while let Some(&(required, ticket)) = self.queue.front() {
            if required > high_watermark {
                break;
            }
            self.queue.pop_front();
            effects.push(Effect::Complete { ticket, result: Ok(()) });
        }
        if self.queue.is_empty() && self.queue.capacity() > 64 {
            // A burst must not leave its buffer behind in an idle partition.
            self.queue = VecDeque::new();
        }
    }

    pub(crate) fn fail_all(&mut self, error: ErrorCode, effects: &mut Vec<Effect>) {
        for (_, ticket) in self.queue.drain(..) {
            effects.push(Effect::Complete { ticket, result: Err(error) });
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether the queue is in the order of the offsets.
    pub(crate) fn is_sorted(&self) -> bool {
        self.queue.iter().is_sorted_by_key(|&(required, _)| required)
    }

    pub(crate) fn first_required(&self) -> Option<Offset> {
        self.queue.front().map(|&(required, _)| required)
    }
}
