//! `Partition`: the state of one replica and the dispatch of its events. A few hundred bytes when
//! idle: what only a leader needs hangs off one box.

use base::{BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionEpoch};

use crate::effect::Effect;
use crate::event::{Assignment, Event, LogOffsets, Settings};
use crate::leader_state::{Follower, Leader};
use crate::torn::Offline;
use crate::waiters::Waiters;

/// The role of this replica, as queries see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Leader,
    Follower {
        leader: BrokerId,
    },
    /// No leader is known, or the partition is not hosted here any more.
    Idle,
}

/// One replica of one partition.
#[derive(Debug)]
pub struct Partition {
    pub(crate) id: BrokerId,
    pub(crate) settings: Settings,
    pub(crate) log: LogOffsets,
    pub(crate) high_watermark: Offset,
    /// What of the own log counts for the high watermark, see [`Event::Durable`].
    pub(crate) durable_end: Offset,
    /// High watermark and last stable offset when consumers were last woken.
    pub(crate) noted_readable: (Offset, Offset),
    leader: Option<BrokerId>,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) partition_epoch: PartitionEpoch,
    pub(crate) replicas: Vec<BrokerId>,
    pub(crate) isr: Vec<BrokerId>,
    /// Present exactly while this replica leads.
    pub(crate) leader_state: Option<Box<Leader>>,
    /// Present while the log is torn.
    pub(crate) offline: Option<Box<Offline>>,
}

impl Partition {
    /// A replica on broker `id` whose log was just opened; `high_watermark` is the checkpointed
    /// one (bounded by the log here). Idle until the first `Event::Assign`.
    pub fn new(
        id: BrokerId,
        settings: Settings,
        log: LogOffsets,
        high_watermark: Offset,
    ) -> Partition {
        let high_watermark = high_watermark.clamp(log.start, log.end);
        Partition {
            id,
            settings,
            log,
            high_watermark,
            durable_end: Offset::MAX,
            noted_readable: (high_watermark, stable_offset(log, high_watermark)),
            leader: None,
            leader_epoch: -1,
            partition_epoch: -1,
            replicas: Vec::new(),
            isr: Vec::new(),
            leader_state: None,
            offline: None,
        }
    }

    /// Takes one event. Effects are appended, to be carried out in order.
    pub fn on(&mut self, now_ms: i64, event: Event, effects: &mut Vec<Effect>) {
        let before = self.marks();
        self.take(now_ms, event, effects);
        self.validate_after(before);
    }

    fn take(&mut self, now_ms: i64, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Assign(assignment) if self.is_offline() => {
                self.assigned_offline(now_ms, assignment, effects);
            }
            Event::Assign(assignment) => self.assign(now_ms, assignment, effects),
            Event::LogTorn => self.log_torn(effects),
            Event::LogReopened(log) => self.log_reopened(now_ms, log, effects),
            Event::Removed => self.resign(None, effects),
            Event::Settings(settings) => {
                self.settings = settings;
                self.settle(now_ms, effects);
            }
            Event::LogChanged(log) => self.log_changed(now_ms, log, effects),
            Event::Durable(end) => {
                self.durable_end = end;
                self.settle(now_ms, effects);
            }
            Event::Replicated { log, leader_high_watermark } => {
                self.log_changed(now_ms, log, effects);
                if !self.is_leader() {
                    self.follow_high_watermark(leader_high_watermark, effects);
                }
            }
            Event::AwaitCommit { ticket, required } => {
                self.await_commit(now_ms, ticket, required, effects);
            }
            Event::CancelWait { ticket, required } => {
                if let Some(leader) = self.leader_state.as_mut() {
                    leader.waiters.cancel(required, ticket);
                }
            }
            Event::Eligibility { broker, eligible } => {
                let leader = self.leader_state.as_mut();
                if let Some(follower) = leader.and_then(|l| l.follower_mut(broker)) {
                    follower.eligible = eligible;
                    if !eligible && !self.isr.contains(&broker) {
                        follower.forget_progress();
                    }
                    // It may have caught up while it was fenced; on an idle partition its next
                    // fetch is a long poll away.
                    self.expand_isr(now_ms, effects);
                    self.settle(now_ms, effects);
                }
            }
            Event::IsrAnswer(answer) => self.isr_answer(now_ms, answer, effects),
            Event::Tick => {
                self.doubt_refusal(now_ms, effects);
                self.shrink_isr(now_ms, effects);
                self.expand_isr(now_ms, effects);
                self.settle(now_ms, effects);
            }
        }
    }

    pub(crate) fn assign(&mut self, now_ms: i64, new: Assignment, effects: &mut Vec<Effect>) {
        if new.leader_epoch < self.leader_epoch || new.partition_epoch <= self.partition_epoch {
            return;
        }
        let new_epoch = new.leader_epoch > self.leader_epoch;
        let leader = new.leader.filter(|_| new.replicas.contains(&self.id));
        self.leader_epoch = new.leader_epoch;
        self.partition_epoch = new.partition_epoch;
        self.replicas = new.replicas;
        if leader != Some(self.id) {
            let changed = new_epoch || leader != self.leader;
            let dropped = self.isr.contains(&self.id) && !new.isr.contains(&self.id);
            self.isr = new.isr;
            match leader {
                _ if changed => self.resign(leader, effects),
                // Its position is told again, which a quiet partition gives no other reason for.
                Some(leader) if dropped => {
                    effects.push(Effect::Follow { leader, epoch: self.leader_epoch });
                }
                _ => {}
            }
            return;
        }
        if new_epoch || !self.is_leader() {
            self.isr = new.isr;
            self.lead(now_ms, effects);
        } else {
            self.adopt_isr(new.isr);
            self.match_followers(now_ms);
            self.expand_isr(now_ms, effects);
        }
        self.settle(now_ms, effects);
    }

    /// Starts an epoch as leader. What followers reported in an earlier epoch is forgotten: they
    /// may have truncated since. Waiting produces stay: their records are still in this log.
    fn lead(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        self.leader = Some(self.id);
        let waiters =
            self.leader_state.take().map_or_else(Waiters::default, |leader| leader.waiters);
        self.leader_state = Some(Box::new(Leader {
            epoch_start: self.log.end,
            followers: Vec::new(),
            pending: None,
            propose_not_before_ms: now_ms,
            waiters,
        }));
        self.match_followers(now_ms);
        let (epoch, start_offset) = (self.leader_epoch, self.log.end);
        effects.push(Effect::BecomeLeader { epoch, start_offset });
        effects.push(Effect::WakeConsumers);
        effects.push(Effect::WakeFollowers);
    }

    /// One follower state per other replica.
    fn match_followers(&mut self, now_ms: i64) {
        let Some(leader) = self.leader_state.as_mut() else { return };
        leader.followers.retain(|follower| self.replicas.contains(&follower.id));
        for &id in self.replicas.iter().filter(|&&id| id != self.id) {
            if leader.follower(id).is_none() {
                leader.followers.push(Follower::new(id, self.isr.contains(&id), now_ms));
            }
        }
    }

    /// Follows `leader`, or waits for one. Whoever waits here for a commit must ask elsewhere.
    pub(crate) fn resign(&mut self, leader: Option<BrokerId>, effects: &mut Vec<Effect>) {
        self.leader = leader;
        if let Some(mut state) = self.leader_state.take() {
            state.waiters.fail_all(ErrorCode::NotLeaderOrFollower, effects);
        }
        effects.push(match leader {
            Some(leader) => Effect::Follow { leader, epoch: self.leader_epoch },
            None => Effect::Idle,
        });
        effects.push(Effect::WakeConsumers);
        effects.push(Effect::WakeFollowers);
    }

    fn log_changed(&mut self, now_ms: i64, log: LogOffsets, effects: &mut Vec<Effect>) {
        let (before, grew) = (self.log.end, log.end > self.log.end);
        if grew {
            self.leader_grew(now_ms, before);
        }
        self.log = log;
        // A restart at the leader's log start moves it up, a truncation after an unclean
        // election down; neither happens to a leader.
        let high_watermark = self.high_watermark.clamp(log.start, log.end);
        if high_watermark != self.high_watermark {
            self.high_watermark = high_watermark;
            effects.push(Effect::HighWatermark(high_watermark));
        }
        if self.is_leader() {
            self.settle(now_ms, effects);
            if grew {
                effects.push(Effect::WakeFollowers);
            }
        } else {
            self.note_stable_offset(effects);
        }
    }

    /// A follower's high watermark: the leader's, bounded by the own log end. It does not follow
    /// a new leader that knows less yet: what was committed stays so.
    fn follow_high_watermark(&mut self, leaders: Offset, effects: &mut Vec<Effect>) {
        let high_watermark = leaders.min(self.log.end);
        if high_watermark > self.high_watermark {
            self.high_watermark = high_watermark;
            effects.push(Effect::HighWatermark(high_watermark));
            self.note_stable_offset(effects);
        }
    }

    fn await_commit(
        &mut self,
        now_ms: i64,
        ticket: u64,
        required: Offset,
        effects: &mut Vec<Effect>,
    ) {
        match self.leader_state.as_mut() {
            Some(leader) => {
                leader.waiters.push(required, ticket);
                self.settle(now_ms, effects);
            }
            None => {
                let result = Err(ErrorCode::NotLeaderOrFollower);
                effects.push(Effect::Complete { ticket, result });
            }
        }
    }

    // ---- views ----------------------------------------------------------------------------

    pub fn role(&self) -> Role {
        match self.leader {
            Some(leader) if leader == self.id => Role::Leader,
            Some(leader) => Role::Follower { leader },
            None => Role::Idle,
        }
    }

    pub fn is_leader(&self) -> bool {
        self.leader == Some(self.id)
    }

    pub fn leader(&self) -> Option<BrokerId> {
        self.leader
    }

    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    pub fn partition_epoch(&self) -> PartitionEpoch {
        self.partition_epoch
    }

    pub fn replicas(&self) -> &[BrokerId] {
        &self.replicas
    }

    /// The committed ISR, as the controller last told.
    pub fn isr(&self) -> &[BrokerId] {
        &self.isr
    }

    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    pub fn last_stable_offset(&self) -> Offset {
        stable_offset(self.log, self.high_watermark)
    }

    /// As last told by [`Event::Durable`].
    pub fn durable_end(&self) -> Offset {
        self.durable_end
    }

    pub fn log(&self) -> LogOffsets {
        self.log
    }

    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Produces that wait for a commit.
    pub fn waiting(&self) -> usize {
        self.leader_state.as_ref().map_or(0, |leader| leader.waiters.len())
    }

    /// The leader's ISR lacks a replica.
    pub fn is_under_replicated(&self) -> bool {
        self.is_leader() && self.isr.len() < self.replicas.len()
    }

    /// A leader with too few in-sync replicas to commit anything.
    pub fn is_under_min_isr(&self) -> bool {
        self.is_leader()
            && self.isr.len() < self.settings.min_insync_replicas.min(self.replicas.len())
    }

    /// On the leader: a follower's log end (once it fetched in this epoch) and the time at which
    /// it last was caught up.
    pub fn follower_position(&self, replica: BrokerId) -> Option<(Option<Offset>, i64)> {
        let follower = self.leader_state.as_ref()?.follower(replica)?;
        Some((follower.end, follower.caught_up_ms))
    }
}

/// The last stable offset: the high watermark, or the first record of an open transaction.
pub(crate) fn stable_offset(log: LogOffsets, high_watermark: Offset) -> Offset {
    log.first_unstable.map_or(high_watermark, |first| first.min(high_watermark)).max(log.start)
}
