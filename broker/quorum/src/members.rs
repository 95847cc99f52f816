//! Changes of the members, by the leader, one at a time.
//!
//! Every operation states what should be and does what is missing, so that it can be repeated
//! after any failure: nodes call `join` until they see themselves in the members' list.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::ClientWriteResponse;
use openraft::{ChangeMembers, ServerState};

use crate::api::MemberError;
use crate::config::NodeAddress;
use crate::core::{Core, Metrics};
use crate::messages::{JoinCall, JoinReply, Member, RejoinReply};
use crate::types::{NodeId, Raft, TypeConfig, Vote, broker_id};

/// A learner this close to the end of the log is made a voter.
const CAUGHT_UP_ENTRIES: u64 = 100;

type Written =
    Result<ClientWriteResponse<TypeConfig>, RaftError<TypeConfig, ClientWriteError<TypeConfig>>>;

/// Raft and its state, if this node leads.
fn leading(core: &Core) -> Result<(&Raft, Metrics), MemberError> {
    let raft = core.raft.get().ok_or(MemberError::NotLeader { leader: None })?;
    let metrics = core.metrics_of(raft);
    if metrics.state == ServerState::Leader && metrics.current_leader == Some(core.id) {
        return Ok((raft, metrics));
    }
    let leader = metrics.current_leader.filter(|id| *id != core.id).map(broker_id);
    Err(MemberError::NotLeader { leader })
}

async fn commit(core: &Core, change: impl Future<Output = Written>) -> Result<(), MemberError> {
    match tokio::time::timeout(core.config.timing.request_timeout, change).await {
        Err(_) => Err(MemberError::Timeout),
        Ok(Ok(_)) => Ok(()),
        Ok(Err(RaftError::Fatal(_))) => Err(MemberError::Stopped),
        Ok(Err(RaftError::APIError(error))) => Err(MemberError::Rejected(error.to_string())),
    }
}

/// Ends a joint configuration that an earlier leader left behind.
async fn settle(core: &Core, raft: &Raft, metrics: &Metrics) -> Result<(), MemberError> {
    if metrics.membership_config.membership().get_joint_config().len() < 2 {
        return Ok(());
    }
    let nothing = ChangeMembers::AddVoterIds(BTreeSet::new());
    commit(core, raft.change_membership(nothing, false)).await
}

/// Makes the node a member at this address; a voter stays a voter.
async fn ensure_member(core: &Core, member: &Member) -> Result<(), MemberError> {
    let (raft, metrics) = leading(core)?;
    settle(core, raft, &metrics).await?;
    match metrics.membership_config.membership().get_node(&member.id) {
        Some(address) if *address == member.address => Ok(()),
        Some(_) => {
            // The node says so itself, on a connection that was made in its name.
            let nodes = BTreeMap::from([(member.id, member.address.clone())]);
            commit(core, raft.change_membership(ChangeMembers::SetNodes(nodes), true)).await
        }
        None => {
            let added = raft.add_learner(member.id, member.address.clone(), false);
            commit(core, added).await
        }
    }
}

/// Makes a member a voter once it has caught up. `Ok(false)`: it has not.
async fn ensure_voter(core: &Core, id: NodeId) -> Result<bool, MemberError> {
    let (raft, metrics) = leading(core)?;
    if metrics.membership_config.voter_ids().any(|voter| voter == id) {
        return Ok(true);
    }
    let matched = metrics.replication.as_ref().and_then(|r| r.get(&id)).and_then(|m| *m);
    let last = metrics.last_log_index.unwrap_or(0);
    if matched.is_none_or(|matched| matched.index + CAUGHT_UP_ENTRIES < last) {
        return Ok(false);
    }
    let promote = ChangeMembers::AddVoterIds(BTreeSet::from([id]));
    commit(core, raft.change_membership(promote, true)).await?;
    Ok(true)
}

/// Removes every trace of the node from the members, committed without its help.
async fn ensure_absent(core: &Core, id: NodeId) -> Result<(), MemberError> {
    let (raft, metrics) = leading(core)?;
    settle(core, raft, &metrics).await?;
    let members = &metrics.membership_config;
    if members.voter_ids().any(|voter| voter == id) {
        let remove = ChangeMembers::RemoveVoters(BTreeSet::from([id]));
        commit(core, raft.change_membership(remove, false)).await
    } else if members.membership().get_node(&id).is_some() {
        let remove = ChangeMembers::RemoveNodes(BTreeSet::from([id]));
        commit(core, raft.change_membership(remove, true)).await
    } else {
        // Nothing to remove, but a quorum must confirm that this node still leads.
        commit(core, raft.write_blank()).await
    }
}

pub async fn join(core: &Core, call: JoinCall) -> JoinReply {
    let _one_at_a_time = core.members.lock().await;
    let joined = async {
        ensure_member(core, &call.member).await?;
        if call.as_voter { ensure_voter(core, call.member.id).await } else { Ok(true) }
    };
    match joined.await {
        Ok(true) => JoinReply::Done,
        Ok(false) => JoinReply::CatchingUp,
        Err(MemberError::NotLeader { .. }) => JoinReply::NotLeader(other_leader(core)),
        Err(error) => JoinReply::Failed(error.to_string()),
    }
}

/// A node came back with an empty disk (see `admission`): it stops being a member before it may
/// become one again. The vote in the answer keeps it from following an older leader.
pub async fn forget(core: &Core, id: NodeId) -> RejoinReply {
    let _one_at_a_time = core.members.lock().await;
    let forgotten = async {
        ensure_absent(core, id).await?;
        // The leader of this term committed the removal, or a later one that has it in its log.
        leading(core).map(|(_, metrics)| metrics.current_term)
    };
    match forgotten.await {
        Ok(term) => RejoinReply::Forgotten { vote: Vote::new(term, core.id) },
        Err(MemberError::NotLeader { .. }) => RejoinReply::NotLeader(other_leader(core)),
        Err(error) => RejoinReply::Failed(error.to_string()),
    }
}

fn other_leader(core: &Core) -> Option<Member> {
    core.known_leader().filter(|leader| leader.id != core.id)
}

pub async fn add_observer(
    core: &Core,
    id: NodeId,
    address: NodeAddress,
) -> Result<(), MemberError> {
    let _one_at_a_time = core.members.lock().await;
    ensure_member(core, &Member { id, address }).await
}

pub async fn add_voter(core: &Core, id: NodeId, address: NodeAddress) -> Result<(), MemberError> {
    let _one_at_a_time = core.members.lock().await;
    ensure_member(core, &Member { id, address }).await?;
    match ensure_voter(core, id).await? {
        true => Ok(()),
        false => Err(MemberError::Rejected("the observer has not caught up".into())),
    }
}

pub async fn remove_voter(core: &Core, id: NodeId) -> Result<(), MemberError> {
    let _one_at_a_time = core.members.lock().await;
    let (raft, metrics) = leading(core)?;
    settle(core, raft, &metrics).await?;
    let remove = ChangeMembers::RemoveVoters(BTreeSet::from([id]));
    commit(core, raft.change_membership(remove, true)).await
}

pub async fn remove_member(core: &Core, id: NodeId) -> Result<(), MemberError> {
    let _one_at_a_time = core.members.lock().await;
    ensure_absent(core, id).await
}
