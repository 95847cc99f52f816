//! What a partition does as leader: appending, reading for consumers and followers, answering
//! questions about offsets.

use std::sync::Arc;

use base::{BrokerId, ErrorCode, LeaderEpoch, Offset, topic_name};
use commitlog::{
    AppendError, AppendInfo, Effort, InvalidRecord, LogReader, Origin, ProducerSnapshotEntry,
    TimestampOffset, TransactionMarker, Validated, VerificationGuard, VerificationStart,
};
use metadata::Image;
use replica::{ConsumerFetch, EpochEnd, Event, FollowerFetch, Isolation, IsrAnswer, ReadPlan};

use super::commits::epoch_end;
use super::hosted::{Partition, storage_error};
use super::state::State;
use super::waits::{FetchWait, ProduceWait};
use process::clock;

/// A batch is in the log (not yet committed). `ticket` cancels the wait for its commit.
#[derive(Clone, Copy, Debug)]
pub struct Appended {
    pub info: AppendInfo,
    pub ticket: Option<Ticket>,
}

/// A wait for a commit, and the high watermark that it waits for.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    id: u64,
    required: Offset,
}

/// Why a batch was refused, as the produce response says it.
#[derive(Clone, Debug)]
pub struct ProduceError {
    pub code: ErrorCode,
    pub message: Option<String>,
    pub records: Vec<InvalidRecord>,
}

impl From<ErrorCode> for ProduceError {
    fn from(code: ErrorCode) -> ProduceError {
        ProduceError { code, message: None, records: Vec::new() }
    }
}

/// Whom to tell of news if there is nothing to read at the moment of the look.
#[derive(Clone, Copy, Debug)]
pub struct Registration<'a> {
    pub wait: &'a Arc<FetchWait>,
    pub index: u32,
}

impl Partition {
    pub fn reader(&self) -> &LogReader {
        &self.reader
    }

    /// Appends what a producer sent. With `commit`, its slot is completed when the batch is
    /// committed or cannot be any more; with acks=1, it is as durable on return as the topic
    /// wants it.
    pub fn append(
        self: &Arc<Self>,
        batches: &[u8],
        acks: i16,
        commit: Option<(&Arc<ProduceWait>, usize)>,
    ) -> Result<Appended, ProduceError> {
        let effort = &mut { Effort::UNLIMITED };
        let appended = self.append_within(batches, acks, commit, None, effort)?;
        // Nothing takes more than that.
        appended.ok_or_else(|| ErrorCode::MessageTooLarge.into())
    }

    /// As [`Partition::append`], and `None`, with nothing done, if to validate the batch takes
    /// more effort than is left. With the guard of a verification, it may begin a transaction.
    pub fn append_within(
        self: &Arc<Self>,
        batches: &[u8],
        acks: i16,
        commit: Option<(&Arc<ProduceWait>, usize)>,
        guard: Option<VerificationGuard>,
        effort: &mut Effort,
    ) -> Result<Option<Appended>, ProduceError> {
        let Some(validated) = self.validate(batches, acks, effort)? else { return Ok(None) };
        let (appended, must_sync) = self.with(|state| {
            let epoch = state.core().check_produce(acks)?;
            let appended = self.append_in(state, &validated, epoch, guard, commit)?;
            let must_sync = acks == 1 && state.log().must_sync();
            // Nobody else needs to.
            state.is_sync_posted |= must_sync;
            Ok::<_, ProduceError>((appended, must_sync))
        })?;
        if must_sync {
            self.sync_in_place()?;
        }
        Ok(Some(appended))
    }

    /// Appends what a coordinator of this broker wrote, if it still leads in `epoch`.
    pub fn append_as_coordinator(
        self: &Arc<Self>,
        batches: &[u8],
        epoch: LeaderEpoch,
        guard: Option<VerificationGuard>,
        commit: Option<(&Arc<ProduceWait>, usize)>,
    ) -> Result<Appended, ProduceError> {
        self.with(|state| {
            if state.core().check_produce(-1)? != epoch {
                return Err(ErrorCode::NotLeaderOrFollower.into());
            }
            let (config, origin) = (state.log().config().clone(), Origin::Coordinator);
            let validated = Validated::new(batches, &config, &self.id, origin, clock::wall_ms());
            let validated = validated.map_err(|error| self.append_error(error))?;
            self.append_in(state, &validated, epoch, guard, commit)
        })
    }

    /// Appends what ends a transaction here, if this replica leads: in this epoch, if one is given.
    pub fn append_marker(
        self: &Arc<Self>,
        marker: &TransactionMarker,
        epoch: Option<LeaderEpoch>,
        commit: Option<(&Arc<ProduceWait>, usize)>,
    ) -> Result<Appended, ProduceError> {
        let encoded = marker.encode(clock::wall_ms());
        let validated = marker.validated(&encoded).map_err(|error| self.append_error(error))?;
        self.with(|state| {
            let leads_in = state.core().check_produce(-1)?;
            if epoch.is_some_and(|epoch| epoch != leads_in) {
                return Err(ErrorCode::NotLeaderOrFollower.into());
            }
            self.append_in(state, &validated, leads_in, None, commit)
        })
    }

    /// A transaction may begin here. `None`: nobody has to be asked, or it has begun; else its
    /// coordinator has to know of this partition before a batch comes with this guard.
    pub fn start_verification(
        self: &Arc<Self>,
        start: VerificationStart,
    ) -> Result<Option<VerificationGuard>, ErrorCode> {
        self.with(|state| {
            state.core().check_leader(-1)?;
            Ok(state.mutate_log(|log| log.start_verification(start, clock::wall_ms())))
        })
    }

    /// Checks all that needs no state of the partition, before its lock is taken.
    pub(super) fn validate<'a>(
        &self,
        batches: &'a [u8],
        acks: i16,
        effort: &mut Effort,
    ) -> Result<Option<Validated<'a>>, ProduceError> {
        let (config, now_ms, origin) = (self.log_config.load(), clock::wall_ms(), Origin::Client);
        if Validated::must_unpack(batches, &config) {
            // Before the work is done for nothing.
            self.look(|state| state.core().check_produce(acks))?;
        }
        let validated = Validated::within(batches, &config, &self.id, origin, now_ms, effort);
        validated.map_err(|error| {
            // Only a leader judges batches.
            match self.look(|state| state.core().check_produce(acks)) {
                Ok(_) => self.append_error(error),
                Err(code) => code.into(),
            }
        })
    }

    fn append_in(
        &self,
        state: &mut State,
        validated: &Validated<'_>,
        epoch: LeaderEpoch,
        guard: Option<VerificationGuard>,
        commit: Option<(&Arc<ProduceWait>, usize)>,
    ) -> Result<Appended, ProduceError> {
        let info = state
            .mutate_log(|log| log.append_verified(validated, epoch, clock::wall_ms(), guard))
            .map_err(|error| self.append_error(error))?;
        let ticket = commit.map(|(wait, slot)| {
            let (ticket, required) = (state.commits.issue(wait, slot), info.last_offset + 1);
            state.on(Event::AwaitCommit { ticket, required });
            Ticket { id: ticket, required }
        });
        Ok(Appended { info, ticket })
    }

    fn append_error(&self, error: AppendError) -> ProduceError {
        match error {
            AppendError::Invalid(invalid) => ProduceError {
                code: invalid.code,
                message: Some(invalid.message),
                records: invalid.records,
            },
            AppendError::Log(error) => ProduceError {
                code: storage_error(&self.id, &error),
                message: Some(error.to_string()),
                records: Vec::new(),
            },
        }
    }

    /// Nobody waits for this commit any more.
    pub fn cancel_commit(self: &Arc<Self>, ticket: Ticket) {
        let Ticket { id: ticket, required } = ticket;
        self.with(|state| {
            if state.commits.take(ticket).is_some() {
                state.on(Event::CancelWait { ticket, required });
            }
        });
    }

    /// What a consumer may read now. With `registration`, news after this look will be told if
    /// there is nothing to read yet.
    pub fn plan_consumer(
        &self,
        fetch: &ConsumerFetch,
        registration: Option<Registration<'_>>,
    ) -> Result<ReadPlan, ErrorCode> {
        self.look_mut(|state| {
            let log = state.log();
            let plan = state.core().consumer_fetch(fetch, &|epoch| epoch_end(log, epoch));
            if let (Some(Registration { wait, index }), true) = (registration, is_idle(&plan)) {
                state.consumers.add(wait, index);
            }
            plan
        })
    }

    /// The follower that a consumer at this offset should go to; `None`: it may stay.
    pub fn preferred_read_replica(&self, near: &[BrokerId], offset: Offset) -> Option<BrokerId> {
        let (now_ms, is_near) = (clock::monotonic_ms(), |id| near.contains(&id));
        self.look(|state| state.core().preferred_read_replica(now_ms, offset, &is_near))
    }

    /// A fetch of a follower: notes its position and says what it may read.
    pub fn note_follower(self: &Arc<Self>, fetch: &FollowerFetch) -> Result<ReadPlan, ErrorCode> {
        self.with(|state| state.note_follower(fetch))
    }

    /// What a waiting follower may read now; registers it as in `plan_consumer`.
    pub fn plan_follower(
        &self,
        fetch: &FollowerFetch,
        registration: Option<Registration<'_>>,
    ) -> Result<ReadPlan, ErrorCode> {
        self.look_mut(|state| {
            let log = state.log();
            let plan = state.core().follower_read(fetch, &|epoch| epoch_end(log, epoch));
            if let (Some(Registration { wait, index }), true) = (registration, is_idle(&plan)) {
                state.followers.add(wait, index);
            }
            plan
        })
    }

    /// Registers for any news, data at hand or not. Returns the high watermark at this moment.
    pub fn register(&self, is_follower: bool, wait: &Arc<FetchWait>, index: u32) -> Offset {
        self.look_mut(|state| {
            let waiters = if is_follower { &mut state.followers } else { &mut state.consumers };
            waiters.add(wait, index);
            state.core().high_watermark()
        })
    }

    pub fn check_leader(&self, current_leader_epoch: LeaderEpoch) -> Result<(), ErrorCode> {
        self.look(|state| state.core().check_leader(current_leader_epoch))
    }

    /// The "latest" offset of ListOffsets.
    pub fn latest_offset(&self, isolation: Isolation) -> Result<Offset, ErrorCode> {
        self.look(|state| state.core().latest_offset(isolation))
    }

    /// Below which offset a lookup by timestamp may answer, and what it says otherwise.
    pub fn timestamp_bound(
        &self,
        isolation: Isolation,
    ) -> Result<(Offset, Option<ErrorCode>), ErrorCode> {
        self.look(|state| state.core().timestamp_bound(isolation))
    }

    /// The producers that the log remembers.
    pub fn producers(&self) -> Vec<ProducerSnapshotEntry> {
        self.look(|state| state.log().producers())
    }

    /// The end of an epoch, for OffsetForLeaderEpoch.
    pub fn epoch_end_offset(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        self.look(|state| {
            state.core().epoch_end_offset(epoch, &|epoch| epoch_end(state.log(), epoch))
        })
    }

    /// Epoch of the record at an offset.
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.look(|state| state.log().epoch_of(offset))
    }

    /// The first record at or after a timestamp. May wait for the disk, and holds no lock then:
    /// appends go on.
    pub fn offset_for_timestamp(
        &self,
        timestamp: i64,
    ) -> Result<Option<TimestampOffset>, ErrorCode> {
        let found = self.reader.offset_for_timestamp(timestamp);
        found.map_err(|error| storage_error(&self.id, &error))
    }

    /// The record with the largest timestamp. May wait for the disk.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampOffset>, ErrorCode> {
        let found = self.reader.offset_of_max_timestamp();
        found.map_err(|error| storage_error(&self.id, &error))
    }

    /// DeleteRecords: moves the log start up. Returns what the low watermark has to reach.
    pub fn delete_records(self: &Arc<Self>, offset: Offset) -> Result<Offset, ErrorCode> {
        // Coordinators keep in memory what they read of these logs: nobody else may cut them.
        if topic_name::is_internal(&self.id.topic) {
            return Err(ErrorCode::InvalidTopicException);
        }
        self.with(|state| {
            state.core().check_leader(-1)?;
            let config = state.log().config();
            if config.compact && !config.delete {
                return Err(ErrorCode::PolicyViolation);
            }
            let high_watermark = state.core().high_watermark();
            let offset = if offset == -1 { high_watermark } else { offset };
            if offset < 0 || offset > high_watermark {
                return Err(ErrorCode::OffsetOutOfRange);
            }
            let deleted = state.mutate_log(|log| log.delete_records(offset, high_watermark));
            deleted.map_err(|error| storage_error(&self.id, &error))?;
            Ok(offset)
        })
    }

    /// The offset below which no live replica has records. Where it is below `required`, whoever is
    /// registered hears when a follower's log start moved.
    pub fn low_watermark(
        &self,
        image: &Image,
        required: Offset,
        registration: Registration<'_>,
    ) -> Result<Offset, ErrorCode> {
        let is_alive = |id| image.broker(id).is_some_and(|broker| !broker.fenced);
        self.look_mut(|state| {
            let low = state.core().low_watermark(&is_alive)?;
            if low < required {
                state.deletions.add(registration.wait, registration.index);
            }
            Ok(low)
        })
    }

    /// The controller's answer to an ISR proposal.
    pub fn isr_answer(self: &Arc<Self>, answer: IsrAnswer) {
        self.on(Event::IsrAnswer(answer));
    }
}

/// Nothing to read and nothing to say.
fn is_idle(plan: &Result<ReadPlan, ErrorCode>) -> bool {
    matches!(plan, Ok(plan) if plan.diverging.is_none() && plan.max_offset <= plan.from)
}
