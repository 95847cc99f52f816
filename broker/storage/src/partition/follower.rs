//! What a partition does as follower: appending what its leader sent, byte by byte, and truncating
//! where the leader's log diverges.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::{BrokerId, ErrorCode, LeaderEpoch, Offset};
use commitlog::{Log, LogError};
use replica::{FetchAnswer, FollowerStep};

use super::commits::epoch_end;
use super::hosted::{Partition, storage_error};
use super::state::State;
use process::clock;

/// Where to fetch from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogEnd {
    pub offset: Offset,
    /// Epoch of the last batch; -1 for an empty log.
    pub last_epoch: LeaderEpoch,
    pub log_start: Offset,
}

/// What the fetch loop does next with a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FollowerProgress {
    /// Fetch on from the log's end, after this many bytes were appended.
    Continue {
        bytes: usize,
        in_sync: bool,
    },
    /// As `Continue`, once [`Partition::cut`] was called where waiting for the disk may be: what
    /// was appended must be durable before a fetch reports it.
    Sync {
        bytes: usize,
        in_sync: bool,
    },
    /// The log must be cut, which waits for the disk: call [`Partition::cut`] where that may be.
    Cut,
    Pause(ErrorCode),
}

impl Partition {
    /// Where to fetch from.
    pub fn follower_position(&self) -> LogEnd {
        self.look(|state| log_end(state.log()))
    }

    /// Whether the ISR, as it was last told, has this broker.
    pub fn is_in_sync(&self, broker: BrokerId) -> bool {
        self.look(|state| state.core().isr().contains(&broker))
    }

    /// Takes the leader's answer to a fetch: appends its records, or says what else to do.
    pub fn take_fetched(
        self: &Arc<Self>,
        broker: BrokerId,
        answer: &FetchAnswer,
        records: &[u8],
    ) -> FollowerProgress {
        self.follow(answer, |state, step| {
            let mut bytes = 0;
            match step {
                FollowerStep::Stale => {}
                FollowerStep::Append { log_start } => {
                    let take = |log: &mut Log| append(log, records, log_start);
                    bytes = state.replicate(answer.high_watermark, take)?;
                }
                FollowerStep::Truncate { .. } | FollowerStep::RestartAt { .. } => {
                    return Ok(FollowerProgress::Cut);
                }
                FollowerStep::Backoff(code) => return Ok(FollowerProgress::Pause(code)),
            }
            let in_sync = state.core().isr().contains(&broker);
            Ok(if state.log().must_sync() {
                FollowerProgress::Sync { bytes, in_sync }
            } else {
                FollowerProgress::Continue { bytes, in_sync }
            })
        })
    }

    /// Truncates the log, or starts it anew, as the leader's answer demands, and syncs it if it
    /// must be. Waits for the disk. The answer is judged again: the role may have changed since
    /// `take_fetched`.
    pub fn cut(self: &Arc<Self>, answer: &FetchAnswer) -> FollowerProgress {
        if self.look(|state| state.log().must_sync())
            && let Err(code) = self.sync()
        {
            return FollowerProgress::Pause(code);
        }
        self.follow(answer, |state, step| {
            let before = log_end(state.log());
            let cleaned = state.log().cleaned_offset();
            match step {
                FollowerStep::Truncate { to } => {
                    let cut = state.mutate_log(|log| log.truncate_to(to))?;
                    let records = cut.removed_records;
                    if records > 0 {
                        tracing::info!(partition = %self.id, to, records, "truncate as the leader");
                    }
                }
                FollowerStep::RestartAt { offset } => {
                    tracing::warn!(partition = %self.id, offset, "restart at the leader's start");
                    let (now_ms, observer) = (clock::wall_ms(), self.outbox.observer.clone());
                    state.mutate_log(|log| {
                        if let Some(observer) = observer {
                            observer.before_restart(log);
                        }
                        log.truncate_fully_and_start_at(offset, now_ms)
                    })?;
                }
                FollowerStep::Stale | FollowerStep::Append { .. } | FollowerStep::Backoff(_) => {
                    return Ok(FollowerProgress::Continue { bytes: 0, in_sync: false });
                }
            }
            if state.log().cleaned_offset() < cleaned {
                self.outbox.cleaned_was_cut.store(true, Ordering::Release);
            }
            if log_end(state.log()) == before {
                // Asking again at once would lead to the same answer, for ever.
                tracing::warn!(partition = %self.id, ?answer, "diverges, but has nothing to cut");
                return Ok(FollowerProgress::Pause(ErrorCode::UnknownServerError));
            }
            Ok(FollowerProgress::Continue { bytes: 0, in_sync: false })
        })
    }

    /// Judges the answer and acts on it under one lock.
    fn follow(
        self: &Arc<Self>,
        answer: &FetchAnswer,
        act: impl FnOnce(&mut State, FollowerStep) -> Result<FollowerProgress, LogError>,
    ) -> FollowerProgress {
        let result = self.with(|state| {
            if state.is_removed {
                return Ok(FollowerProgress::Pause(ErrorCode::UnknownTopicOrPartition));
            }
            if state.is_offline() {
                return Ok(FollowerProgress::Pause(ErrorCode::KafkaStorageError));
            }
            let (core, log) = (state.core(), state.log());
            // The core asks for the largest epoch known; the log does not know those above it.
            let latest = log.latest_epoch().unwrap_or(-1);
            let step = core.fetch_answer(answer, &|epoch| epoch_end(log, epoch.min(latest)));
            act(state, step)
        });
        result.unwrap_or_else(|error| FollowerProgress::Pause(storage_error(&self.id, &error)))
    }
}

fn log_end(log: &Log) -> LogEnd {
    LogEnd {
        offset: log.end_offset(),
        last_epoch: log.latest_epoch().unwrap_or(-1),
        log_start: log.start_offset(),
    }
}

/// Appends whole batches; returns their bytes.
fn append(log: &mut Log, records: &[u8], log_start: Offset) -> Result<usize, LogError> {
    let mut bytes = 0;
    if !records.is_empty() {
        bytes = log.append_as_follower(records, clock::wall_ms())?.bytes;
    }
    if log_start > log.start_offset() && log_start <= log.end_offset() {
        // Bounded by the leader's high watermark there: nothing that could be needed goes.
        log.delete_records(log_start, log_start)?;
    }
    Ok(bytes)
}
