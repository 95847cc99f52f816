//! What a follower makes of its leader's answers: append, or truncate to the last point on which
//! both histories agree. A follower never decides anything about the ISR or the high watermark:
//! it takes the leader's, bounded by its own log end.

use base::{BrokerId, ErrorCode, LeaderEpoch};

use crate::effect::FollowerStep;
use crate::event::{EpochEnd, EpochLookup, FetchAnswer};
use crate::partition::{Partition, Role};

impl Partition {
    /// What to do with the leader's answer to a fetch of this replica.
    pub fn fetch_answer(&self, answer: &FetchAnswer, lookup: EpochLookup<'_>) -> FollowerStep {
        if !self.follows(answer.leader)
            || answer.leader_epoch != self.leader_epoch
            || answer.fetch_offset != self.log.end
            || !self.ends_with(answer.last_fetched_epoch, lookup)
        {
            return FollowerStep::Stale;
        }
        match answer.error {
            ErrorCode::None => {}
            // Below the leader's log start, or on a history that it does not know at all.
            ErrorCode::OffsetOutOfRange if answer.log_start >= 0 => {
                return FollowerStep::RestartAt { offset: answer.log_start };
            }
            error => return FollowerStep::Backoff(error),
        }
        match answer.diverging {
            Some(leaders) => {
                let to = self.common_end(leaders, lookup);
                if to <= answer.log_start && answer.log_start > self.log.start {
                    // The leader has deleted all that both logs could have in common: what is
                    // left here below its start may be of another history.
                    return FollowerStep::RestartAt { offset: answer.log_start };
                }
                FollowerStep::Truncate { to }
            }
            // All that is here lies below the leader's start. Whether it is the same history nobody
            // can tell any more, and nobody needs it.
            None if answer.log_start >= self.log.end && answer.log_start > self.log.start => {
                FollowerStep::RestartAt { offset: answer.log_start }
            }
            None => FollowerStep::Append { log_start: answer.log_start },
        }
    }

    /// Whether the log's last batch is of this epoch (-1: the log has none, or knows none).
    fn ends_with(&self, epoch: LeaderEpoch, lookup: EpochLookup<'_>) -> bool {
        let end = EpochEnd { epoch, end_offset: self.log.end };
        epoch < 0 || lookup(epoch) == Some(end)
    }

    fn follows(&self, leader: BrokerId) -> bool {
        self.role() == Role::Follower { leader }
    }

    /// Up to where the own log can agree with the leader's, whose last epoch not above our last
    /// one ends at `leaders`. Where the own epoch is smaller still, the next fetch, with that
    /// epoch, goes one step further back.
    fn common_end(&self, leaders: EpochEnd, lookup: EpochLookup<'_>) -> base::Offset {
        let end = self.log.end;
        let to = match lookup(leaders.epoch) {
            Some(own) if own.epoch == leaders.epoch => own.end_offset.min(leaders.end_offset),
            Some(own) => own.end_offset,
            None => leaders.end_offset,
        };
        to.min(end).max(self.log.start)
    }
}
