//! The metadata quorum: who votes, who follows how closely, and changes of the voters.

use std::collections::BTreeMap;
use std::time::Duration;

use base::topic_name::METADATA as METADATA_TOPIC;
use base::{BrokerId, ErrorCode, TopicId};
use wire::messages::describe_quorum_response::{PartitionData, ReplicaState};
use wire::messages::{
    AddRaftVoterRequest, DescribeQuorumRequest, RemoveRaftVoterRequest, add_raft_voter_request,
    describe_quorum_request,
};
use wire::{ApiKey, Str};

use super::{Admin, AdminError, Result};

/// An observer that lacks so few entries has caught up: the log goes on meanwhile.
const LAG_MAX: i64 = 100;
/// A member that did not fetch for longer is not following.
const SILENCE_MAX_MS: i64 = 2_000;
/// How long the controller may wait for a voter to be: short, since a pass looks again anyway.
const CHANGE_MAX: Duration = Duration::from_secs(10);

/// The quorum as the active controller sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct QuorumInfo {
    pub leader: Option<BrokerId>,
    pub epoch: i32,
    pub high_watermark: i64,
    pub voters: BTreeMap<BrokerId, Member>,
    /// They follow without a vote.
    pub observers: BTreeMap<BrokerId, Member>,
}

/// A member of the quorum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Member {
    /// Id of its metadata directory; zero where it is not known.
    pub directory: TopicId,
    pub log_end_offset: i64,
    /// Entries that the leader has and it lacks.
    pub lag: i64,
    /// It follows the leader closely, or is the leader.
    pub caught_up: bool,
}

impl QuorumInfo {
    /// As the planner takes it.
    pub fn view(&self) -> plan::QuorumView {
        let voter = |(id, member): (&BrokerId, &Member)| {
            (*id, plan::VoterView { caught_up: member.caught_up })
        };
        let observer = |(id, member): (&BrokerId, &Member)| {
            (*id, plan::ObserverView { caught_up: member.caught_up })
        };
        plan::QuorumView {
            leader: self.leader,
            voters: self.voters.iter().map(voter).collect(),
            observers: self.observers.iter().map(observer).collect(),
        }
    }
}

impl Admin {
    /// Voters, observers and the leader.
    pub async fn describe_quorum(&self) -> Result<QuorumInfo> {
        let partition = describe_quorum_request::PartitionData { partition_index: 0 };
        let topic = describe_quorum_request::TopicData {
            topic_name: Str::from(METADATA_TOPIC),
            partitions: vec![partition],
        };
        let response = self.read(&DescribeQuorumRequest { topics: vec![topic] }).await?;
        let api = ApiKey::DescribeQuorum;
        self.check(api, response.error_code, response.error_message.as_ref()).await?;
        let partition = response.topics.into_iter().flat_map(|topic| topic.partitions).next();
        let Some(partition) = partition else {
            let reason = "the answer has no partition".into();
            return Err(AdminError::Protocol { api, reason });
        };
        self.check(api, partition.error_code, partition.error_message.as_ref()).await?;
        Ok(info(&partition))
    }

    /// Makes an observer a voter; `directory` is the one that [`Admin::describe_quorum`] says (or
    /// zero), the address the one that the broker itself uses. Done already is no error.
    pub async fn add_raft_voter(
        &self,
        voter: BrokerId,
        directory: TopicId,
        host: &str,
        port: u16,
    ) -> Result<()> {
        let listener = add_raft_voter_request::Listener {
            name: Str::from("CONTROLLER"),
            host: Str::from(host),
            port,
        };
        let request = AddRaftVoterRequest {
            cluster_id: None,
            timeout_ms: i32::try_from(CHANGE_MAX.as_millis()).unwrap_or(i32::MAX),
            voter_id: voter.0,
            voter_directory_id: directory,
            listeners: vec![listener],
            ..Default::default()
        };
        let response = self.call_within(&request, CHANGE_MAX + Duration::from_secs(5)).await?;
        if response.error_code == ErrorCode::DuplicateVoter.code() {
            return Ok(());
        }
        let message = response.error_message.as_ref();
        self.check(ApiKey::AddRaftVoter, response.error_code, message).await
    }

    /// Takes the vote of a member away. Done already is no error.
    pub async fn remove_raft_voter(&self, voter: BrokerId, directory: TopicId) -> Result<()> {
        let request = RemoveRaftVoterRequest {
            cluster_id: None,
            voter_id: voter.0,
            voter_directory_id: directory,
        };
        let response = self.call_within(&request, CHANGE_MAX + Duration::from_secs(5)).await?;
        if response.error_code == ErrorCode::VoterNotFound.code() {
            return Ok(());
        }
        let message = response.error_message.as_ref();
        self.check(ApiKey::RemoveRaftVoter, response.error_code, message).await
    }
}

fn info(partition: &PartitionData) -> QuorumInfo {
    let leader = partition.leader_id;
    let all = || partition.current_voters.iter().chain(&partition.observers);
    let leading = all().find(|state| state.replica_id == leader);
    // Times are compared with the leader's own, which is its clock.
    let (end, now) = match leading {
        Some(state) => (state.log_end_offset, state.last_caught_up_timestamp),
        None => (partition.high_watermark, 0),
    };
    let member = |state: &ReplicaState| {
        let lag = end.saturating_sub(state.log_end_offset).max(0);
        let silent = now.saturating_sub(state.last_fetch_timestamp) > SILENCE_MAX_MS;
        let caught_up = state.replica_id == leader || (lag <= LAG_MAX && !silent);
        let member = Member {
            directory: state.replica_directory_id,
            log_end_offset: state.log_end_offset,
            lag,
            caught_up: caught_up && leader >= 0,
        };
        (BrokerId(state.replica_id), member)
    };
    QuorumInfo {
        leader: (leader >= 0).then_some(BrokerId(leader)),
        epoch: partition.leader_epoch,
        high_watermark: partition.high_watermark,
        voters: partition.current_voters.iter().map(member).collect(),
        observers: partition.observers.iter().map(member).collect(),
    }
}
