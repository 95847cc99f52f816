//! Tests of the core by events in, effects out. Broker 1 is the replica under test.
#![allow(clippy::unwrap_used)]

mod fetch;
mod follower;
mod isr;
mod leader;
mod offline;
mod random;
mod selector;

use base::{BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionEpoch};

use crate::*;

pub(super) const LAG_MS: i64 = 1_000;
pub(super) const ME: BrokerId = BrokerId(1);
pub(super) const B2: BrokerId = BrokerId(2);
pub(super) const B3: BrokerId = BrokerId(3);

/// A replica with a toy log: the start offset of each epoch, and an end.
pub(super) struct Replica {
    pub(super) core: Partition,
    pub(super) epochs: Vec<(LeaderEpoch, Offset)>,
    pub(super) now_ms: i64,
}

pub(super) fn ids(list: &[i32]) -> Vec<BrokerId> {
    list.iter().copied().map(BrokerId).collect()
}

pub(super) fn log(start: Offset, end: Offset) -> LogOffsets {
    LogOffsets { start, end, first_unstable: None }
}

pub(super) fn settings(min_insync_replicas: usize) -> Settings {
    Settings { min_insync_replicas, lag_time_max_ms: LAG_MS, tells_commits: false }
}

pub(super) fn end_of(
    epochs: &[(LeaderEpoch, Offset)],
    end: Offset,
    epoch: LeaderEpoch,
) -> Option<EpochEnd> {
    let at = epochs.iter().rposition(|&(known, _)| known <= epoch)?;
    let end_offset = epochs.get(at + 1).map_or(end, |&(_, start)| start);
    Some(EpochEnd { epoch: epochs[at].0, end_offset })
}

/// A fetch of a consumer that takes any replica's answer, and knows no epoch.
pub(super) fn consumer(fetch_offset: Offset) -> ConsumerFetch {
    ConsumerFetch {
        current_leader_epoch: -1,
        fetch_offset,
        last_fetched_epoch: -1,
        isolation: Isolation::ReadUncommitted,
        any_replica: true,
    }
}

impl Replica {
    pub(super) fn new(min_isr: usize, end: Offset, high_watermark: Offset) -> Replica {
        let core = Partition::new(ME, settings(min_isr), log(0, end), high_watermark);
        Replica { core, epochs: vec![(0, 0)], now_ms: 10_000 }
    }

    /// Leader in epoch 1 of replicas 1, 2, 3 with this ISR and an empty log.
    pub(super) fn leader(min_isr: usize, isr: &[i32]) -> Replica {
        let mut replica = Replica::new(min_isr, 0, 0);
        replica.assign(Some(1), 1, 1, isr);
        replica
    }

    pub(super) fn on(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.core.on(self.now_ms, event, &mut effects);
        for effect in &effects {
            if let Effect::BecomeLeader { epoch, start_offset } = effect {
                self.epochs.retain(|&(_, start)| start < *start_offset);
                self.epochs.push((*epoch, *start_offset));
            }
        }
        self.core.validate();
        effects
    }

    pub(super) fn assign(
        &mut self,
        leader: Option<i32>,
        leader_epoch: LeaderEpoch,
        partition_epoch: PartitionEpoch,
        isr: &[i32],
    ) -> Vec<Effect> {
        self.on(Event::Assign(Assignment {
            leader: leader.map(BrokerId),
            leader_epoch,
            partition_epoch,
            replicas: ids(&[1, 2, 3]),
            isr: ids(isr),
        }))
    }

    pub(super) fn append(&mut self, end: Offset) -> Vec<Effect> {
        self.on(Event::LogChanged(log(0, end)))
    }

    pub(super) fn fetch_of(&self, replica: BrokerId, fetch_offset: Offset) -> FollowerFetch {
        FollowerFetch {
            replica,
            broker_epoch: 7,
            eligible: true,
            current_leader_epoch: self.core.leader_epoch(),
            fetch_offset,
            last_fetched_epoch: -1,
            log_start: 0,
        }
    }

    pub(super) fn fetch_with(
        &mut self,
        fetch: FollowerFetch,
    ) -> (Result<ReadPlan, ErrorCode>, Vec<Effect>) {
        let (epochs, end) = (self.epochs.clone(), self.core.log().end);
        let mut effects = Vec::new();
        let lookup = |epoch| end_of(&epochs, end, epoch);
        let plan = self.core.follower_fetch(self.now_ms, &fetch, &lookup, &mut effects);
        self.core.validate();
        (plan, effects)
    }

    /// A good fetch of a follower.
    pub(super) fn fetch(&mut self, replica: BrokerId, fetch_offset: Offset) -> Vec<Effect> {
        let (plan, effects) = self.fetch_with(self.fetch_of(replica, fetch_offset));
        assert_eq!(plan.unwrap().diverging, None);
        // A wake-up for deletions, which has a test of its own.
        effects.into_iter().filter(|effect| *effect != Effect::LowWatermark).collect()
    }

    pub(super) fn hw(&self) -> Offset {
        self.core.high_watermark()
    }
}

pub(super) fn proposals(effects: &[Effect]) -> Vec<Vec<BrokerId>> {
    let isr = |proposal: &IsrProposal| proposal.isr.iter().map(|&(id, _)| id).collect();
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::ProposeIsr(proposal) => Some(isr(proposal)),
            _ => None,
        })
        .collect()
}
