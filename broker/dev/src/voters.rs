//! Lets as many brokers vote on metadata as the YAML wants, those with the lowest ids, as the
//! operator does: a cluster that grew since its last run keeps the voters that it had.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use client::Connection;
use wire::Str;
use wire::messages::{
    AddRaftVoterRequest, DescribeQuorumRequest, RemoveRaftVoterRequest, add_raft_voter_request,
    describe_quorum_request,
};

use super::plan::{BrokerPlan, ClusterPlan};
use super::topics;

/// How long a broker may take to catch up with the quorum before it votes.
const CATCH_UP_MS: i32 = 2_000;

/// Returns one line per change for the user. An error means that it has to be tried again.
pub async fn apply(plan: &ClusterPlan) -> Result<Vec<String>> {
    let connection = topics::connect(&plan.bootstrap()).await?;
    let voting = voters(&connection).await?;
    let is_wanted = |id: i32| id < plan.voters;
    let mut lines = Vec::new();
    for broker in plan.brokers.iter().filter(|b| is_wanted(b.id) && !voting.contains(&b.id)) {
        add(&connection, broker).await?;
        lines.push(format!("broker {} votes on metadata from now on", broker.id));
    }
    for id in voting.iter().filter(|id| !is_wanted(**id)) {
        remove(&connection, *id).await?;
        lines.push(format!("broker {id} votes on metadata no more"));
    }
    Ok(lines)
}

async fn voters(connection: &Connection) -> Result<BTreeSet<i32>> {
    let partition = describe_quorum_request::PartitionData { partition_index: 0 };
    let topic = describe_quorum_request::TopicData {
        topic_name: Str::from(base::topic_name::METADATA),
        partitions: vec![partition],
    };
    let response = connection.call_newest(&DescribeQuorumRequest { topics: vec![topic] }).await?;
    topics::check(response.error_code, response.error_message.as_deref())?;
    let quorum = response.topics.into_iter().flat_map(|topic| topic.partitions).next();
    let quorum = quorum.context("the answer has no partition")?;
    topics::check(quorum.error_code, quorum.error_message.as_deref())?;
    Ok(quorum.current_voters.iter().map(|voter| voter.replica_id).collect())
}

async fn add(connection: &Connection, broker: &BrokerPlan) -> Result<()> {
    let id = broker.id;
    let listener = add_raft_voter_request::Listener {
        name: Str::from("CONTROLLER"),
        host: Str::from("127.0.0.1"),
        port: u16::try_from(broker.controller_port).context("the quorum's port")?,
    };
    let request = AddRaftVoterRequest {
        cluster_id: None,
        timeout_ms: CATCH_UP_MS,
        voter_id: id,
        listeners: vec![listener],
        ..Default::default()
    };
    let response = connection.call_newest(&request).await?;
    let problem = || format!("broker {id} cannot vote yet");
    topics::check(response.error_code, response.error_message.as_deref()).with_context(problem)
}

async fn remove(connection: &Connection, id: i32) -> Result<()> {
    let request = RemoveRaftVoterRequest { cluster_id: None, voter_id: id, ..Default::default() };
    let response = connection.call_newest(&request).await?;
    let problem = || format!("broker {id} cannot stop to vote yet");
    topics::check(response.error_code, response.error_message.as_deref()).with_context(problem)
}
