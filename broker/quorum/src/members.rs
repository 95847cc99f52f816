//! Changes of the members, by the leader, one at a time.
//!
//! Every operation states what should be and does what is missing, so that it can be repeated
//! after any failure: nodes call `join` until they see themselves in the members' list.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::TopicId;
use openraft::errors::{ClientWriteError, ForwardReason, RaftError};
use openraft::raft::ClientWriteResponse;
use openraft::type_config::async_runtime::instant::Instant as _;
use openraft::{ChangeMembers, ServerState};

use crate::api::MemberError;
use crate::config::{LEASE_PAUSE, NodeAddress, may_be_same};
use crate::core::{Core, Metrics};
use crate::machine::Raft;
use crate::messages::{JoinCall, JoinReply, Member, RejoinReply};
use crate::types::{NodeId, TypeConfig, Vote, broker_id};

/// An observer this close to the end of the log is made a voter.
const CAUGHT_UP_ENTRIES: u64 = 100;
/// Between two looks at an observer that is to become a voter.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(20);
/// Between two looks of the leader at what is left to do.
const UPKEEP_PAUSE: Duration = Duration::from_secs(1);

type Written =
    Result<ClientWriteResponse<TypeConfig>, RaftError<TypeConfig, ClientWriteError<TypeConfig>>>;

/// Raft and its state, if this node leads.
fn leading(core: &Core) -> Result<(&Raft, Metrics), MemberError> {
    let raft = core.raft.get().ok_or(MemberError::NotLeader { leader: None })?;
    let metrics = core.metrics_of(raft);
    if metrics.state == ServerState::Leader && metrics.current_leader == Some(core.id) {
        return Ok((raft, metrics));
    }
    Err(MemberError::NotLeader { leader: core.elsewhere(metrics.current_leader) })
}

/// Commits a change, which may be begun several times: a leader whose heartbeats are not answered
/// yet, as one that is new or on a busy machine, takes nothing, and has written nothing then.
async fn commit<F: Future<Output = Written>>(
    core: &Core,
    change: impl Fn() -> F,
) -> Result<(), MemberError> {
    let committed = async {
        loop {
            let written = change().await;
            let early = match &written {
                Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => {
                    to.reason == ForwardReason::LeaseExpired
                }
                _ => false,
            };
            if !early || leading(core).is_err() {
                return written;
            }
            tokio::time::sleep(LEASE_PAUSE).await;
        }
    };
    match tokio::time::timeout(core.config.timing.request_timeout, committed).await {
        Err(_) => Err(MemberError::Timeout),
        Ok(Ok(_)) => Ok(()),
        Ok(Err(RaftError::Fatal(_))) => Err(MemberError::Stopped),
        Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to)))) => {
            Err(MemberError::NotLeader { leader: core.elsewhere(to.leader_id) })
        }
        Ok(Err(RaftError::APIError(error))) => Err(MemberError::Rejected(error.to_string())),
    }
}

/// Ends a joint configuration that an earlier leader left behind.
async fn settle(core: &Core, raft: &Raft, metrics: &Metrics) -> Result<(), MemberError> {
    if metrics.membership_config.membership().get_joint_config().len() < 2 {
        return Ok(());
    }
    let nothing = ChangeMembers::AddVoterIds(BTreeSet::new());
    commit(core, || raft.change_membership(nothing.clone(), false)).await
}

/// What to tell a node whose id another one has, with another disk.
pub fn taken(id: NodeId, directory: TopicId, known: &NodeAddress) -> String {
    format!(
        "node {id} is known at {known} with directory {}, not {directory}: if that broker is to \
         stay, stop this one or give it another node.id; if this one is to replace it, stop that \
         one and start this one with an empty metadata directory",
        known.directory
    )
}

/// Makes the node a member at this address; a voter stays a voter. Another disk under its id is
/// another node, for which this one has to be forgotten first.
async fn ensure_member(core: &Core, member: &Member) -> Result<(), MemberError> {
    let (raft, metrics) = leading(core)?;
    settle(core, raft, &metrics).await?;
    let (id, mut address) = (member.id, member.address.clone());
    match metrics.membership_config.membership().get_node(&id) {
        Some(known) if !may_be_same(known.directory, address.directory) => {
            Err(MemberError::Rejected(taken(id, address.directory, known)))
        }
        Some(known) => {
            // An older version does not tell it.
            if address.directory.is_zero() {
                address.directory = known.directory;
            }
            if *known == address {
                return Ok(());
            }
            // The node says so itself, on a connection that was made in its name.
            let nodes = BTreeMap::from([(id, address)]);
            let moved = ChangeMembers::SetNodes(nodes);
            commit(core, || raft.change_membership(moved.clone(), true)).await
        }
        None => {
            let added = || raft.add_learner(member.id, member.address.clone(), false);
            commit(core, added).await
        }
    }
}

/// Why the member cannot be a voter yet: unknown, silent, or behind. `None`: it can.
fn unready(core: &Core, metrics: &Metrics, id: NodeId) -> Option<String> {
    if metrics.membership_config.membership().get_node(&id).is_none() {
        return Some("it never joined the quorum as an observer".to_owned());
    }
    if !answers(metrics, id, core.config.timing.election_timeout_max * 3) {
        return Some("it does not answer".to_owned());
    }
    let matched = metrics.replication.as_ref().and_then(|r| r.get(&id)).and_then(|m| *m);
    let last = metrics.last_log_index.unwrap_or(0);
    match matched {
        None => Some("its log is not known yet".to_owned()),
        Some(matched) if matched.index + CAUGHT_UP_ENTRIES < last => {
            Some(format!("it is {} entries behind", last - matched.index))
        }
        Some(_) => None,
    }
}

/// Whether the member acknowledged something within the last `patience`.
fn answers(metrics: &Metrics, id: NodeId, patience: Duration) -> bool {
    let acked = metrics.heartbeat.as_ref().and_then(|h| h.get(&id)).copied().flatten();
    acked.is_some_and(|at| at.elapsed() < patience)
}

/// Makes a member a voter if it has caught up.
async fn ensure_voter(core: &Core, id: NodeId) -> Result<(), MemberError> {
    let (raft, metrics) = leading(core)?;
    settle(core, raft, &metrics).await?;
    if is_voter(&metrics, id) {
        return Ok(());
    }
    if let Some(why) = unready(core, &metrics, id) {
        return Err(MemberError::NotReady { id: broker_id(id), why });
    }
    let promote = ChangeMembers::AddVoterIds(BTreeSet::from([id]));
    commit(core, || raft.change_membership(promote.clone(), true)).await
}

fn is_voter(metrics: &Metrics, id: NodeId) -> bool {
    metrics.membership_config.voter_ids().any(|voter| voter == id)
}

/// Removes every trace of the node from the members, committed without its help.
async fn ensure_absent(core: &Core, id: NodeId) -> Result<(), MemberError> {
    let (raft, metrics) = leading(core)?;
    settle(core, raft, &metrics).await?;
    let members = &metrics.membership_config;
    if members.voter_ids().any(|voter| voter == id) {
        let remove = ChangeMembers::RemoveVoters(BTreeSet::from([id]));
        commit(core, || raft.change_membership(remove.clone(), false)).await
    } else if members.membership().get_node(&id).is_some() {
        let remove = ChangeMembers::RemoveNodes(BTreeSet::from([id]));
        commit(core, || raft.change_membership(remove.clone(), true)).await
    } else {
        // Nothing to remove, but a quorum must confirm that this node still leads.
        commit(core, || raft.write_blank()).await
    }
}

pub async fn join(core: &Core, call: JoinCall) -> JoinReply {
    let _one_at_a_time = core.members.lock().await;
    let joined = async {
        ensure_member(core, &call.member).await?;
        if call.as_voter { ensure_voter(core, call.member.id).await } else { Ok(()) }
    };
    match joined.await {
        Ok(()) => JoinReply::Done,
        Err(MemberError::NotReady { .. }) => JoinReply::CatchingUp,
        Err(MemberError::NotLeader { .. }) => JoinReply::NotLeader(other_leader(core)),
        Err(error) => JoinReply::Failed(error.to_string()),
    }
}

/// Why the member may still be alive, for which an empty node of the same id must not be taken: the
/// empty one answers nothing that a leader sends, so whoever does is another process. A new leader
/// has heard from nobody, and waits.
fn may_live(core: &Core, metrics: &Metrics, id: NodeId, directory: TopicId) -> Option<String> {
    let known = metrics.membership_config.membership().get_node(&id)?;
    let patience = core.config.timing.election_timeout_max * 3;
    if answers(metrics, id, patience) {
        return Some(format!("it is alive: {}", taken(id, directory, known)));
    }
    let reign = *core.reign.lock();
    let is_new = reign.is_none_or(|(_, since)| since.elapsed() < patience);
    is_new.then(|| format!("whether node {id} at {known} is alive is not known yet"))
}

/// A node came back with an empty disk (see `admission`): it stops being a member before it may
/// become one again. The vote in the answer keeps it from following an older leader.
pub async fn forget(core: &Core, id: NodeId, directory: TopicId) -> RejoinReply {
    let _one_at_a_time = core.members.lock().await;
    let forgotten = async {
        let (_, metrics) = leading(core)?;
        if let Some(why) = may_live(core, &metrics, id, directory) {
            return Err(MemberError::NotReady { id: broker_id(id), why });
        }
        ensure_absent(core, id).await?;
        // The leader of this term committed the removal, or a later one that has it in its log.
        leading(core).map(|(_, metrics)| metrics.current_term)
    };
    match forgotten.await {
        Ok(term) => RejoinReply::Forgotten { vote: Vote::new(term, core.id).into() },
        Err(MemberError::NotLeader { .. }) => RejoinReply::NotLeader(other_leader(core)),
        Err(MemberError::NotReady { why, .. }) => RejoinReply::Failed(why),
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

/// An observer becomes a voter. It gets some time to catch up, in which other changes may happen.
pub async fn add_voter(core: &Core, id: NodeId, patience: Duration) -> Result<(), MemberError> {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        let promoted = {
            let _one_at_a_time = core.members.lock().await;
            let (_, metrics) = leading(core)?;
            if is_voter(&metrics, id) {
                return Err(MemberError::AlreadyVoter(broker_id(id)));
            }
            ensure_voter(core, id).await
        };
        match promoted {
            Err(MemberError::NotReady { .. }) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(CATCH_UP_PAUSE).await;
            }
            done => return done,
        }
    }
}

/// A voter becomes an observer. Not this node, which leads, and not the last one.
pub async fn remove_voter(core: &Core, id: NodeId) -> Result<(), MemberError> {
    let _one_at_a_time = core.members.lock().await;
    let (raft, metrics) = leading(core)?;
    settle(core, raft, &metrics).await?;
    let voters: BTreeSet<NodeId> = metrics.membership_config.voter_ids().collect();
    if !voters.contains(&id) {
        return Err(MemberError::NotAVoter(broker_id(id)));
    }
    if voters.len() == 1 {
        return Err(MemberError::LastVoter(broker_id(id)));
    }
    if id == core.id {
        return Err(MemberError::IsLeader(broker_id(id)));
    }
    let remove = ChangeMembers::RemoveVoters(BTreeSet::from([id]));
    commit(core, || raft.change_membership(remove.clone(), true)).await
}

pub async fn remove_member(core: &Core, id: NodeId) -> Result<(), MemberError> {
    let _one_at_a_time = core.members.lock().await;
    ensure_absent(core, id).await
}

/// What the leader does by itself, for ever: it ends a change that its predecessor began, and
/// forgets observers that are gone for good.
pub async fn upkeep(core: Arc<Core>) {
    let mut gone: HashMap<NodeId, Instant> = HashMap::new();
    loop {
        tokio::time::sleep(UPKEEP_PAUSE).await;
        let Ok((raft, metrics)) = leading(&core) else {
            gone.clear();
            continue;
        };
        let due = note_gone(&core, &metrics, &mut gone);
        if metrics.membership_config.membership().get_joint_config().len() > 1 {
            let _one_at_a_time = core.members.lock().await;
            let settled = settle(&core, raft, &core.metrics_of(raft)).await;
            tracing::info!(?settled, "ended a change of voters that was left half-way");
        }
        for id in due {
            gone.remove(&id);
            let forgotten = remove_member(&core, id).await;
            tracing::info!(id, ?forgotten, "forget an observer that is unregistered and silent");
        }
    }
}

/// Keeps account of the silent observers without a registration; returns those whose time is up.
fn note_gone(core: &Core, metrics: &Metrics, gone: &mut HashMap<NodeId, Instant>) -> Vec<NodeId> {
    let image = core.machine.image();
    let silence = core.config.timing.election_timeout_max * 3;
    let learners = metrics.membership_config.membership().learner_ids();
    let silent: BTreeSet<NodeId> = learners
        .filter(|id| image.broker(broker_id(*id)).is_none() && !answers(metrics, *id, silence))
        .collect();
    gone.retain(|id, _| silent.contains(id));
    for id in silent {
        gone.entry(id).or_insert_with(Instant::now);
    }
    let patience = core.config.timing.forget_after;
    gone.iter().filter(|(_, since)| since.elapsed() >= patience).map(|(id, _)| *id).collect()
}
