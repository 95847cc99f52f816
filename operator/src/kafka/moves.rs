//! Moves of replicas between brokers, and of leaderships to the preferred replicas.

use std::collections::BTreeMap;

use base::{BrokerId, ErrorCode, TopicPartition};
use plan::moves::Move;
use plan::{MoveView, PartitionView};
use wire::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use wire::messages::{
    AlterPartitionReassignmentsRequest, ElectLeadersRequest, ListPartitionReassignmentsRequest,
    elect_leaders_request,
};
use wire::{ApiKey, Str};

use super::{Admin, ItemResult, Refused, Result};

/// Partitions of one request.
const PAGE: usize = 1_000;
const PREFERRED: i8 = 0;

type Answers = BTreeMap<TopicPartition, ItemResult<()>>;

impl Admin {
    /// Begins moves, or changes the aim of those in flight; answers by partition.
    pub async fn reassign(&self, moves: &[Move]) -> Result<Answers> {
        let targets = moves.iter().map(|m| (&m.partition, Some(&m.replicas[..])));
        self.alter_reassignments(targets.collect()).await
    }

    /// Takes moves in flight back; answers by partition. One that is over is no error.
    pub async fn cancel_reassignments(&self, partitions: &[TopicPartition]) -> Result<Answers> {
        let targets = partitions.iter().map(|p| (p, None)).collect();
        let mut answers = self.alter_reassignments(targets).await?;
        forgive(&mut answers, ErrorCode::NoReassignmentInProgress);
        Ok(answers)
    }

    async fn alter_reassignments(
        &self,
        targets: Vec<(&TopicPartition, Option<&[BrokerId]>)>,
    ) -> Result<Answers> {
        let mut all = Answers::new();
        for page in targets.chunks(PAGE) {
            let request = AlterPartitionReassignmentsRequest {
                timeout_ms: self.server_timeout_ms(),
                topics: by_topic(page),
                ..Default::default()
            };
            let response = self.call(&request).await?;
            let (code, message) = (response.error_code, response.error_message.as_ref());
            self.check(ApiKey::AlterPartitionReassignments, code, message).await?;
            for topic in response.responses {
                let name = topic.name.to_arc();
                for p in topic.partitions {
                    let id = TopicPartition::new(name.clone(), p.partition_index);
                    all.insert(id, Refused::check(p.error_code, p.error_message.as_ref()));
                }
            }
            self.answer_all(page.iter().map(|(id, _)| *id), &mut all).await;
        }
        Ok(all)
    }

    /// Moves in flight.
    pub async fn list_reassignments(&self) -> Result<Vec<MoveView>> {
        let request = ListPartitionReassignmentsRequest {
            timeout_ms: self.server_timeout_ms(),
            topics: None,
        };
        let response = self.read(&request).await?;
        let (code, message) = (response.error_code, response.error_message.as_ref());
        self.check(ApiKey::ListPartitionReassignments, code, message).await?;
        let mut moves = Vec::new();
        for topic in response.topics {
            let name = topic.name.to_arc();
            moves.extend(topic.partitions.into_iter().map(|p| MoveView {
                partition: TopicPartition::new(name.clone(), p.partition_index),
                replicas: p.replicas.into_iter().map(BrokerId).collect(),
                adding: p.adding_replicas.into_iter().map(BrokerId).collect(),
                removing: p.removing_replicas.into_iter().map(BrokerId).collect(),
                isr: Vec::new(),
            }));
        }
        Ok(moves)
    }

    /// Lets the preferred replicas of these partitions lead; answers by partition. One that leads
    /// already is no error.
    pub async fn elect_preferred(&self, partitions: &[TopicPartition]) -> Result<Answers> {
        let mut all = Answers::new();
        for page in partitions.chunks(PAGE) {
            let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
            for id in page {
                topics.entry(&id.topic).or_default().push(id.partition);
            }
            let topics = topics.into_iter().map(|(topic, partitions)| {
                elect_leaders_request::TopicPartitions { topic: Str::from(topic), partitions }
            });
            let request = ElectLeadersRequest {
                election_type: PREFERRED,
                topic_partitions: Some(topics.collect()),
                timeout_ms: self.server_timeout_ms(),
            };
            let response = self.call(&request).await?;
            self.check(ApiKey::ElectLeaders, response.error_code, None).await?;
            for topic in response.replica_election_results {
                let name = topic.topic.to_arc();
                for p in topic.partition_result {
                    let id = TopicPartition::new(name.clone(), p.partition_id);
                    all.insert(id, Refused::check(p.error_code, p.error_message.as_ref()));
                }
            }
            self.answer_all(page.iter(), &mut all).await;
        }
        forgive(&mut all, ErrorCode::ElectionNotNeeded);
        Ok(all)
    }

    /// Every partition asked for gets an answer, and what tells of the broker is noticed.
    async fn answer_all<'a>(
        &self,
        asked: impl Iterator<Item = &'a TopicPartition>,
        all: &mut Answers,
    ) {
        for id in asked {
            let answer = all.entry(id.clone()).or_insert_with(|| Err(Refused::unanswered()));
            if let Err(refused) = answer {
                self.notice(refused).await;
            }
        }
    }
}

/// Marks what is being added and removed. A move that is listed twice counts once.
pub(crate) fn mark(partitions: &mut [PartitionView], moves: &[MoveView]) {
    let moves: BTreeMap<(&str, i32), &MoveView> =
        moves.iter().map(|m| ((&*m.partition.topic, m.partition.partition), m)).collect();
    for p in partitions {
        if let Some(in_flight) = moves.get(&(p.topic.as_str(), p.partition)) {
            let there = |ids: &[BrokerId]| {
                ids.iter().copied().filter(|id| p.replicas.contains(id)).collect()
            };
            (p.adding, p.removing) = (there(&in_flight.adding), there(&in_flight.removing));
        }
    }
}

fn by_topic(targets: &[(&TopicPartition, Option<&[BrokerId]>)]) -> Vec<ReassignableTopic> {
    let mut topics: BTreeMap<&str, Vec<ReassignablePartition>> = BTreeMap::new();
    for (id, replicas) in targets {
        topics.entry(&id.topic).or_default().push(ReassignablePartition {
            partition_index: id.partition,
            replicas: replicas.map(|ids| ids.iter().map(|id| id.0).collect()),
        });
    }
    let topic = |(name, partitions)| ReassignableTopic { name: Str::from(name), partitions };
    topics.into_iter().map(topic).collect()
}

/// What is so already is no error.
fn forgive(answers: &mut Answers, code: ErrorCode) {
    for answer in answers.values_mut() {
        if matches!(answer, Err(refused) if refused.code == code) {
            *answer = Ok(());
        }
    }
}
