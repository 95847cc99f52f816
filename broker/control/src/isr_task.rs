//! ISR changes on their way to the controller and back: what partitions propose while a request is
//! under way goes together into the next one. Answers are posted to the partitions: one that waits
//! for its disk holds up no other's.

use std::sync::Arc;
use std::time::Duration;

use metadata::{AlterIsrPartition, AlterIsrRequest, IsrMember, LeaderRecoveryState};
use replica::{IsrAnswer, IsrProposal};

use process::time::sleep;
use storage::Storage;
use storage::partition::Partition;

use crate::controller_client::ControllerClient;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause before proposals whose outcome is unknown are made again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

type Proposals = Vec<(Arc<Partition>, IsrProposal)>;

/// Runs until connections close.
pub async fn run(storage: Arc<Storage>, controller: ControllerClient) {
    let closing = storage.shutdown.connections_closing();
    tokio::pin!(closing);
    loop {
        let proposals = tokio::select! {
            biased;
            proposals = storage.partitions.outbox().isr_proposals.take() => proposals,
            () = &mut closing => return,
        };
        tokio::select! {
            biased;
            () = propose(&storage, &controller, proposals) => {}
            () = &mut closing => return,
        }
    }
}

async fn propose(storage: &Storage, controller: &ControllerClient, proposals: Proposals) {
    // Before the request: the image with the change may be applied before its answer is here.
    let image = storage.image();
    let isr_len = |p: &Partition| {
        image.partition(&p.id.topic, p.id.partition).map_or(0, |partition| partition.isr.len())
    };
    let before: Vec<usize> = proposals.iter().map(|(p, _)| isr_len(p)).collect();
    let request = AlterIsrRequest {
        broker_id: storage.id,
        broker_epoch: image.broker(storage.id).map_or(-1, |b| b.epoch),
        partitions: proposals
            .iter()
            .map(|(partition, p)| partition_request(partition, p))
            .collect(),
    };
    match controller.call_within(request, REQUEST_TIMEOUT).await {
        Ok(response) => {
            let mut results = response.partitions.into_iter();
            for ((partition, proposal), before) in proposals.into_iter().zip(before) {
                let result = results.next().map(|result| result.result);
                let answer = match result {
                    Some(Ok(state)) => {
                        count(storage, before, state.isr.len());
                        IsrAnswer::Accepted {
                            leader_epoch: state.leader_epoch,
                            partition_epoch: state.partition_epoch,
                        }
                    }
                    Some(Err(error)) => {
                        tracing::debug!(partition = %partition.id, ?error, "ISR change refused");
                        let partition_epoch = proposal.partition_epoch;
                        IsrAnswer::Rejected { partition_epoch, error }
                    }
                    None => IsrAnswer::Unknown { partition_epoch: proposal.partition_epoch },
                };
                partition.isr_answer(answer);
            }
        }
        Err(error) => {
            tracing::debug!(%error, "ISR changes have no answer");
            retry_later(proposals).await;
        }
    }
}

async fn retry_later(proposals: Proposals) {
    sleep(RETRY_PAUSE).await;
    for (partition, proposal) in proposals {
        partition.isr_answer(IsrAnswer::Unknown { partition_epoch: proposal.partition_epoch });
    }
}

fn count(storage: &Storage, before: usize, isr: usize) {
    storage.metrics.isr_shrinks.inc_by(before.saturating_sub(isr) as u64);
    storage.metrics.isr_expands.inc_by(isr.saturating_sub(before) as u64);
}

fn partition_request(partition: &Partition, proposal: &IsrProposal) -> AlterIsrPartition {
    let member = |&(broker_id, broker_epoch): &(_, _)| IsrMember { broker_id, broker_epoch };
    AlterIsrPartition {
        topic_id: partition.topic_id,
        partition: partition.id.partition,
        leader_epoch: proposal.leader_epoch,
        partition_epoch: proposal.partition_epoch,
        isr: proposal.isr.iter().map(member).collect(),
        leader_recovery_state: LeaderRecoveryState::Recovered,
    }
}
