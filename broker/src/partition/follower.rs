//! What a partition does as follower: appending what its leader sent, byte by byte, and truncating
//! where the leader's log diverges.

use std::sync::Arc;

use base::{ErrorCode, LeaderEpoch, Offset};
use commitlog::{Log, LogError};
use replica::{Event, FetchAnswer, FollowerStep};

use super::hosted::{Partition, State, epoch_end, log_offsets, storage_error};
use crate::clock;

/// What the fetch loop does next with a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FollowerProgress {
    /// Fetch on from the log's end.
    Continue,
    Pause(ErrorCode),
}

impl Partition {
    /// Where to fetch from: log end, epoch of the last batch, log start.
    pub fn follower_position(&self) -> (Offset, LeaderEpoch, Offset) {
        self.look(|state| {
            let log = &state.log;
            (log.end_offset(), log.latest_epoch().unwrap_or(-1), log.start_offset())
        })
    }

    /// Takes the leader's answer to a fetch: appends, truncates, or waits.
    pub fn take_fetched(
        self: &Arc<Self>,
        answer: &FetchAnswer,
        records: &[u8],
    ) -> FollowerProgress {
        let result = self.with(|state| {
            if state.is_removed {
                return Ok(FollowerProgress::Pause(ErrorCode::UnknownTopicOrPartition));
            }
            let State { core, log, .. } = state;
            match core.fetch_answer(answer, &|epoch| epoch_end(log, epoch)) {
                FollowerStep::Stale => Ok(FollowerProgress::Continue),
                FollowerStep::Append { log_start } => {
                    append(&mut state.log, records, log_start)?;
                    let log = log_offsets(&state.log);
                    let leader_high_watermark = answer.high_watermark;
                    state.on(Event::Replicated { log, leader_high_watermark });
                    Ok(FollowerProgress::Continue)
                }
                FollowerStep::Truncate { to } => {
                    let info = state.log.truncate_to(to)?;
                    tracing::info!(partition = %self.id, to, records = info.removed_records,
                        "truncate to the leader's log");
                    state.log_changed();
                    Ok(FollowerProgress::Continue)
                }
                FollowerStep::RestartAt { offset } => {
                    tracing::warn!(partition = %self.id, offset, "restart at the leader's start");
                    state.log.truncate_fully_and_start_at(offset, clock::wall_ms())?;
                    state.log_changed();
                    Ok(FollowerProgress::Continue)
                }
                FollowerStep::Backoff(code) => Ok(FollowerProgress::Pause(code)),
            }
        });
        result.unwrap_or_else(|error: LogError| {
            FollowerProgress::Pause(storage_error(&self.id, &error))
        })
    }
}

fn append(log: &mut Log, records: &[u8], log_start: Offset) -> Result<(), LogError> {
    if !records.is_empty() {
        log.append_as_follower(records, clock::wall_ms())?;
    }
    if log_start > log.start_offset() && log_start <= log.end_offset() {
        // Bounded by the leader's high watermark there: nothing that could be needed goes.
        log.delete_records(log_start, log_start)?;
    }
    Ok(())
}
