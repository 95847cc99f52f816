//! Elections on request, and the return of leadership to preferred replicas.

use std::collections::BTreeMap;

use base::{BrokerId, ErrorCode, TopicPartition};

use super::change::Election;
use super::draft::Draft;
use super::failure::error;
use crate::request::{
    ControllerError, ElectLeadersRequest, ElectionType, PartitionResult, TopicPartitions,
};

/// Leaderships that one rebalance moves at most: each move interrupts its partition for a moment.
const REBALANCE_MOVES_MAX: usize = 1000;

impl Draft<'_> {
    pub(super) fn elect_leaders(&mut self, request: ElectLeadersRequest) -> Vec<PartitionResult> {
        let election = request.election;
        let Some(partitions) = request.partitions else {
            // Every partition that needs an election is without its preferred leader.
            let candidates: Vec<TopicPartition> = self.image.imbalanced().cloned().collect();
            let results = candidates.into_iter().map(|tp| self.elect_leader(tp, election));
            let needed = |r: &PartitionResult| {
                r.result.as_ref().map_err(|e| e.code) != Err(ErrorCode::ElectionNotNeeded)
            };
            return results.filter(needed).collect();
        };
        flatten(partitions).map(|tp| self.elect_leader(tp, election)).collect()
    }

    fn elect_leader(&mut self, tp: TopicPartition, election: ElectionType) -> PartitionResult {
        let result = self.try_elect(&tp, election);
        PartitionResult { topic: tp.topic, partition: tp.partition, result }
    }

    fn try_elect(
        &mut self,
        tp: &TopicPartition,
        election: ElectionType,
    ) -> Result<(), ControllerError> {
        let Some(partition) = self.image.partition(&tp.topic, tp.partition) else {
            return error(ErrorCode::UnknownTopicOrPartition, format!("No such partition as {tp}"));
        };
        let has_leader = match election {
            ElectionType::Preferred => !partition.is_imbalanced(),
            ElectionType::Unclean => partition.leader.is_some(),
        };
        if has_leader {
            return Err(ErrorCode::ElectionNotNeeded.into());
        }
        let (preferred, before) = (partition.preferred_leader(), partition.leader);
        let Some(mut change) = self.change(tp, self.rules(&tp.topic)) else {
            return Err(ErrorCode::UnknownTopicOrPartition.into());
        };
        change.election = match election {
            ElectionType::Preferred => Election::Preferred,
            ElectionType::Unclean => Election::Unclean,
        };
        self.finish(change);
        let after = self.image.partition(&tp.topic, tp.partition).and_then(|p| p.leader);
        match election {
            ElectionType::Preferred if after == preferred => Ok(()),
            ElectionType::Preferred => Err(ErrorCode::PreferredLeaderNotAvailable.into()),
            ElectionType::Unclean if after != before => Ok(()),
            ElectionType::Unclean => Err(ErrorCode::EligibleLeadersNotAvailable.into()),
        }
    }

    /// Gives leaderships back to preferred replicas, for brokers that lack more of theirs than the
    /// settings tolerate.
    pub(super) fn rebalance_leaders(&mut self) {
        // Costs a look at every partition, so only when there is something to balance.
        if self.image.imbalanced().next().is_none() {
            return;
        }
        let mut preferred: BTreeMap<BrokerId, usize> = BTreeMap::new();
        for topic in self.image.topics() {
            for broker in topic.partitions.iter().filter_map(|p| p.preferred_leader()) {
                *preferred.entry(broker).or_default() += 1;
            }
        }
        let mut missing: BTreeMap<BrokerId, Vec<TopicPartition>> = BTreeMap::new();
        for tp in self.image.imbalanced() {
            let Some(partition) = self.image.partition(&tp.topic, tp.partition) else { continue };
            let Some(broker) = partition.preferred_leader() else { continue };
            if partition.in_isr(broker) {
                missing.entry(broker).or_default().push(tp.clone());
            }
        }
        let tolerated = self.settings.leader_imbalance_percent;
        let too_many = |broker: &BrokerId, count: usize| {
            let total = preferred.get(broker).copied().unwrap_or(0);
            count * 100 > total * tolerated
        };
        let mut moves: Vec<TopicPartition> = missing
            .into_iter()
            .filter(|(broker, partitions)| too_many(broker, partitions.len()))
            .flat_map(|(_, partitions)| partitions)
            .take(REBALANCE_MOVES_MAX)
            .collect();
        moves.sort();
        self.reconsider(moves, |change| change.election = Election::Preferred);
    }
}

pub(super) fn flatten(topics: Vec<TopicPartitions>) -> impl Iterator<Item = TopicPartition> {
    topics.into_iter().flat_map(|topic| {
        let name = topic.topic;
        topic.partitions.into_iter().map(move |index| TopicPartition::new(name.clone(), index))
    })
}
