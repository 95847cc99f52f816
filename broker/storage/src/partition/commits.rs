//! What the core of a replica asks its driver for: who waits for a commit, and where an epoch ends.

use std::collections::VecDeque;
use std::sync::Arc;

use base::LeaderEpoch;
use commitlog::Log;
use replica::EpochEnd;

use super::waits::ProduceWait;

/// The log's answer to the core's question for the end of an epoch.
pub(super) fn epoch_end(log: &Log, epoch: LeaderEpoch) -> Option<EpochEnd> {
    let end = log.epoch_end_offset(epoch);
    (end.epoch >= 0).then_some(EpochEnd { epoch: end.epoch, end_offset: end.end_offset })
}

/// The produce requests behind the core's tickets. Tickets grow by one and mostly end in order, so
/// that a queue with gaps is enough.
#[derive(Debug, Default)]
pub(super) struct CommitTickets {
    first: u64,
    waiting: VecDeque<Option<(Arc<ProduceWait>, usize)>>,
}

impl CommitTickets {
    pub(super) fn issue(&mut self, wait: &Arc<ProduceWait>, slot: usize) -> u64 {
        wait.expect_one();
        self.waiting.push_back(Some((wait.clone(), slot)));
        self.first + self.waiting.len() as u64 - 1
    }

    pub(super) fn take(&mut self, ticket: u64) -> Option<(Arc<ProduceWait>, usize)> {
        let index = usize::try_from(ticket.checked_sub(self.first)?).ok()?;
        let taken = self.waiting.get_mut(index)?.take();
        while self.waiting.pop_front_if(|entry| entry.is_none()).is_some() {
            self.first += 1;
        }
        taken
    }

    /// How many wait.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.iter().flatten().count()
    }
}
