//! The coordinator of a transaction is killed between its decision and its markers: its successor
//! writes them, and the client hears the same of the transaction as before.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base::ErrorCode;
use bytes::Bytes;
use e2e::raw::Raw;
use e2e::victim::choose;
use e2e::{Cluster, ClusterConfig, wait, with_cluster};
use record::{BatchBuilder, BatchOptions};
use wire::Request;
use wire::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use wire::messages::fetch_request::{FetchPartition, FetchTopic};
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::*;

const TOPIC: &str = "decided";
/// A broker that is paused leaves the ISRs within seconds; a slow machine takes its time.
const PATIENCE: Duration = Duration::from_secs(90);
const CALL: Duration = Duration::from_secs(30);

#[test]
fn what_is_decided_is_completed_by_the_next_coordinator() {
    with_cluster(ClusterConfig::new(3), |cluster| {
        // One replica each: the leader that is paused is the only one who can take the marker.
        cluster.admin()?.create_topic(TOPIC, 3, 1, &[])?;
        for (id, is_commit) in [("commits", true), ("aborts", false)] {
            let coordinator = transaction(cluster, id, is_commit).context(id)?;
            cluster.start_broker(coordinator)?;
            cluster.wait_broker(coordinator)?;
            cluster.wait_in_sync()?;
        }
        Ok(())
    });
}

/// Returns the coordinator, which was killed.
fn transaction(cluster: &mut Cluster, id: &str, is_commit: bool) -> Result<usize> {
    let any: Vec<usize> = cluster.ids().collect();
    coordinator_of(cluster, &any, id)?;
    // Leaderships that are still on their way home would move in the middle of the transaction.
    choose(&cluster.admin()?, "__transaction_state", false)?;
    let coordinator = coordinator_of(cluster, &any, id)?;
    let partitions = cluster.admin()?.partitions_agreed(&[TOPIC])?;
    let elsewhere = |leader: i32| leader >= 0 && leader as usize != coordinator;
    let ((_, partition), led) = partitions
        .into_iter()
        .find(|(_, partition)| elsewhere(partition.leader))
        .context("no other leader")?;
    let leader = usize::try_from(led.leader)?;
    let mut producer = Producer::start(cluster, coordinator, id)?;
    producer.add(partition)?;
    let mut at_leader = Raw::connect(&cluster.address(leader))?;
    let before = stable_end(&mut at_leader, partition)?;
    producer.produce(&mut at_leader, partition)?;
    ensure!(stable_end(&mut at_leader, partition)? == before, "what is open is stable");

    cluster.pause(leader)?;
    producer.end(is_commit)?;
    let mut state = String::new();
    describe(cluster, coordinator, id, &mut state)?;
    let prepared = if is_commit { "PrepareCommit" } else { "PrepareAbort" };
    ensure!(state == prepared, "{state} while the leader is paused");
    cluster.kill(coordinator)?;
    cluster.resume(leader)?;

    let others: Vec<usize> = cluster.ids().filter(|other| *other != coordinator).collect();
    let complete = if is_commit { "CompleteCommit" } else { "CompleteAbort" };
    wait::until(format!("{complete} of {id}"), PATIENCE, || {
        let next = coordinator_of(cluster, &others, id)?;
        let _ = describe(cluster, next, id, &mut state);
        Ok((state == complete).then_some(()))
    })?;
    // One record and its marker; the dead coordinator's request may have reached the leader too.
    let added = stable_end(&mut at_leader, partition)? - before;
    ensure!(added == 2 || added == 3, "{added} offsets for a record and its marker");
    let aborted = aborted(cluster, &mut at_leader, partition, before)?;
    let wanted = if is_commit { vec![] } else { vec![producer.id] };
    ensure!(aborted == wanted, "aborted: {aborted:?}, wanted {wanted:?}");
    let next = coordinator_of(cluster, &others, id)?;
    producer.at = Raw::connect(&cluster.address(next))?;
    producer.end(is_commit).context("the same again")?;
    Ok(coordinator)
}

/// A producer of the earlier generation, step by step.
struct Producer {
    at: Raw,
    transactional_id: String,
    id: i64,
    epoch: i16,
}

impl Producer {
    fn start(cluster: &Cluster, coordinator: usize, id: &str) -> Result<Producer> {
        let mut at = Raw::connect(&cluster.address(coordinator))?;
        let request = InitProducerIdRequest {
            transactional_id: Some(id.into()),
            transaction_timeout_ms: 600_000,
            producer_id: -1,
            producer_epoch: -1,
        };
        let answer = retried(&mut at, &request, 4, |answer| answer.error_code)?;
        let transactional_id = id.to_owned();
        let (id, epoch) = (answer.producer_id, answer.producer_epoch);
        Ok(Producer { at, transactional_id, id, epoch })
    }

    fn add(&mut self, partition: i32) -> Result<()> {
        let topic = AddPartitionsToTxnTopic { name: TOPIC.into(), partitions: vec![partition] };
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.transactional_id.as_str().into(),
            v3_and_below_producer_id: self.id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: vec![topic],
            ..Default::default()
        };
        retried(&mut self.at, &request, 3, |answer| {
            let topic = &answer.results_by_topic_v3_and_below[0];
            topic.results_by_partition[0].partition_error_code
        })?;
        Ok(())
    }

    fn produce(&self, leader: &mut Raw, partition: i32) -> Result<()> {
        let mut batch = BatchBuilder::new(BatchOptions {
            producer_id: self.id,
            producer_epoch: self.epoch,
            base_sequence: 0,
            transactional: true,
            ..Default::default()
        });
        batch.append(1_700_000_000_000, None, Some(b"v"), &[]);
        let records = Some(Bytes::from(batch.finish()));
        let partition_data = vec![PartitionProduceData { index: partition, records }];
        let request = ProduceRequest {
            transactional_id: Some(self.transactional_id.as_str().into()),
            acks: -1,
            timeout_ms: 10_000,
            topic_data: vec![TopicProduceData {
                name: TOPIC.into(),
                partition_data,
                ..Default::default()
            }],
        };
        retried(leader, &request, 11, |a| a.responses[0].partition_responses[0].error_code)?;
        Ok(())
    }

    fn end(&mut self, is_commit: bool) -> Result<()> {
        let request = EndTxnRequest {
            transactional_id: self.transactional_id.as_str().into(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            committed: is_commit,
        };
        retried(&mut self.at, &request, 3, |answer| answer.error_code)?;
        Ok(())
    }
}

/// Asks until the answer is not one that every client repeats.
fn retried<R: Request>(
    at: &mut Raw,
    request: &R,
    version: i16,
    code: impl Fn(&R::Response) -> i16,
) -> Result<R::Response> {
    const AGAIN: [ErrorCode; 4] = [
        ErrorCode::ConcurrentTransactions,
        ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotEnoughReplicas,
    ];
    wait::until(R::NAME, PATIENCE, || {
        let answer = at.call(request, version, CALL)?;
        let error = code(&answer);
        if AGAIN.iter().any(|again| again.code() == error) {
            return Ok(None);
        }
        ensure!(error == 0, "{}: error {error}", R::NAME);
        Ok(Some(answer))
    })
}

/// As some of these brokers tell.
fn coordinator_of(cluster: &Cluster, brokers: &[usize], id: &str) -> Result<usize> {
    wait::until(format!("the coordinator of {id}"), PATIENCE, || {
        let mut at = Raw::connect(&cluster.address(brokers[0]))?;
        let request = FindCoordinatorRequest { key: id.into(), key_type: 1, ..Default::default() };
        let answer = at.call(&request, 3, CALL)?;
        let node = usize::try_from(answer.node_id).ok();
        Ok(node.filter(|node| answer.error_code == 0 && brokers.contains(node)))
    })
}

fn describe(cluster: &Cluster, coordinator: usize, id: &str, state: &mut String) -> Result<()> {
    let mut at = Raw::connect(&cluster.address(coordinator))?;
    let request = DescribeTransactionsRequest { transactional_ids: vec![id.into()] };
    let answer = at.call(&request, 0, CALL)?;
    let described = answer.transaction_states.first().context("no state")?;
    ensure!(described.error_code == 0, "describe {id}: error {}", described.error_code);
    *state = described.transaction_state.as_str().to_owned();
    Ok(())
}

/// Where consumers of committed records stop.
fn stable_end(at: &mut Raw, partition: i32) -> Result<i64> {
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: 1,
        topics: vec![list_offsets_request::ListOffsetsTopic {
            name: TOPIC.into(),
            partitions: vec![list_offsets_request::ListOffsetsPartition {
                partition_index: partition,
                current_leader_epoch: -1,
                timestamp: -1,
            }],
        }],
        ..Default::default()
    };
    let answer = at.call(&request, 5, CALL)?;
    let found = &answer.topics[0].partitions[0];
    ensure!(found.error_code == 0, "ListOffsets: error {}", found.error_code);
    Ok(found.offset)
}

/// Producers of the aborted transactions that a consumer of committed records is told of.
fn aborted(cluster: &Cluster, at: &mut Raw, partition: i32, from: i64) -> Result<Vec<i64>> {
    let metadata = cluster.admin()?.metadata(&[TOPIC])?;
    let topic_id = metadata.topics.first().context("no topic")?.topic_id;
    let request = FetchRequest {
        max_wait_ms: 100,
        isolation_level: 1,
        topics: vec![FetchTopic {
            topic_id,
            partitions: vec![FetchPartition {
                partition,
                fetch_offset: from,
                partition_max_bytes: 1 << 20,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = at.call(&request, 13, CALL)?;
    let data = &answer.responses.first().context("no topic")?.partitions[0];
    ensure!(data.error_code == 0 && !data.records.is_empty(), "fetch: {}", data.error_code);
    let aborted = data.aborted_transactions.clone().unwrap_or_default();
    Ok(aborted.iter().map(|transaction| transaction.producer_id).collect())
}
