//! How a node comes to take part: the first start of a cluster, joining it, and coming back with
//! an empty disk.
//!
//! A voter that lost its disk has forgotten whom it voted for and which entries it acknowledged.
//! If it simply took part again, it could help to elect a second leader of a term, or a leader
//! without entries that are committed. So a node takes part only when its disk says that it was
//! admitted (the file `admitted`). An empty node asks the configured voters what they have (any
//! member may be listed, voter or not):
//!
//! | the others have                 | this node                                              |
//! |---------------------------------|--------------------------------------------------------|
//! | nothing, and all answered       | the voter with the smallest id admits all, then begins |
//! |                                 | the quorum, if it may; the others wait for it          |
//! | somebody has a vote or entries  | asks the leader whether it was a voter, and to forget  |
//! |                                 | it (`Rejoin`), keeps the vote of the answer and joins  |
//! |                                 | as an observer; a former voter becomes one again when  |
//! |                                 | it has caught up                                       |
//! | neither                         | waits: a quorum may be hidden behind those that do not |
//! |                                 | answer                                                 |
//!
//! Why rejoining is safe: until the leader answered, the node neither votes nor takes entries. The
//! removal is committed by a majority of the voters without it. Any majority in which the
//! forgotten votes or entries mattered shares a voter with that majority, so what it decided is
//! in the leader's log or the leader would not have got its answer. From the removal on the node
//! counts for nothing; the vote in its file keeps it from following a leader of an older term.
//! With one or two voters no majority is left without the lost one: one voter begins a new
//! cluster, of two the other cannot go on alone.
//!
//! Who lost its disk and who only took a living voter's id, as a second broker with the same
//! `node.id`, the empty node itself cannot tell. The leader can: while the member answers it, and
//! until a new leader had the time to hear from it, nobody else is taken for it. A node that is
//! known with one directory and comes with another one, which is not empty, holds the disk of a
//! broker that was replaced; it stays out, too.
//!
//! From the beginning on, the committed membership alone tells who votes, and only `AddRaftVoter`
//! and `RemoveRaftVoter` change it. A node that returns empty has its former role written down
//! (the file `returning`) before it asks to be forgotten, because afterwards nobody knows it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use base::TopicId;
use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;
use openraft::storage::RaftLogStorage;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::CallError;
use crate::config::{NodeAddress, may_be_same};
use crate::core::Core;
use crate::formats::{decode, encode};
use crate::log::atomic_file::{self, ADMITTED, DIRECTORY, RETURNING};
use crate::machine::Raft;
use crate::members;
use crate::messages::{
    BootstrapReply, JoinCall, JoinReply, Member, RejoinCall, RejoinReply, Standing, StatusReply,
};
use crate::rpc::{Channel, kind};
use crate::types::{NodeId, StoredMembership, Vote, node_id};

const ADMITTED_FILE: &str = "admitted";
const RETURNING_FILE: &str = "returning";
const DIRECTORY_FILE: &str = "directory";
/// Between two lines that tell what an empty node waits for.
const SAY_AGAIN: Duration = Duration::from_secs(10);
/// Between two rounds of questions.
const ROUND_PAUSE: Duration = Duration::from_millis(100);
const QUESTION_TIMEOUT: Duration = Duration::from_millis(500);
/// Between two looks at the members' list by a node that is a member.
const MEMBER_CHECK: Duration = Duration::from_secs(2);

/// Whether the node was admitted before; an error if the directory is another node's.
pub fn read_mark(dir: &Path, id: NodeId) -> std::io::Result<bool> {
    let Some(content) = atomic_file::read(&dir.join(ADMITTED_FILE), ADMITTED)? else {
        return Ok(false);
    };
    let owner: NodeId = decode(&content)?;
    if owner != id {
        let what = format!("{} belongs to node {owner}, not {id}", dir.display());
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, what));
    }
    Ok(true)
}

/// The id of the directory: the one that it was given first. It stays for as long as the files
/// beside it, whose votes and entries it stands for.
pub fn read_directory(dir: &Path, given: TopicId) -> std::io::Result<TopicId> {
    let path = dir.join(DIRECTORY_FILE);
    match atomic_file::read(&path, DIRECTORY)? {
        Some(content) => decode(&content),
        None if given.is_zero() => Ok(given),
        None => {
            atomic_file::write(&path, DIRECTORY, &encode(&given)?);
            Ok(given)
        }
    }
}

/// Whether the node is on its way back to being a voter.
pub fn read_returning(dir: &Path) -> std::io::Result<bool> {
    let content = atomic_file::read(&dir.join(RETURNING_FILE), RETURNING)?;
    content.map_or(Ok(false), |content| decode(&content))
}

fn mark_returning(core: &Core, returning: bool) -> std::io::Result<()> {
    let path = core.config.dir.join(RETURNING_FILE);
    if returning {
        atomic_file::write(&path, RETURNING, &encode(&true)?);
    } else {
        atomic_file::remove(&path);
    }
    core.returning.store(returning, Ordering::Relaxed);
    Ok(())
}

fn mark_admitted(core: &Core) -> std::io::Result<()> {
    let mut admitted = core.admitted.lock();
    if !*admitted {
        let content = encode(&core.id)?;
        atomic_file::write(&core.config.dir.join(ADMITTED_FILE), ADMITTED, &content);
        *admitted = true;
        core.admission.notify_waiters();
    }
    Ok(())
}

/// The smallest voter begins a quorum and counts on this node.
pub fn accept_bootstrap(core: &Core) -> BootstrapReply {
    let is_new = core.standing() != Standing::Initialized && core.config.may_begin;
    let accepted = is_new && mark_admitted(core).is_ok();
    BootstrapReply { accepted, directory: core.config.advertised.directory }
}

async fn ask<Q: Serialize, A: DeserializeOwned>(
    core: &Core,
    to: &Member,
    kind: u8,
    question: &Q,
    timeout: Duration,
) -> Result<A, CallError> {
    let unreadable = |e: std::io::Error| CallError::NoAnswer(e.to_string());
    let connected = core.dialer.connect(to.id, &to.address, Channel::Raft).await;
    let connection = connected.map_err(|e| CallError::Unreachable(e.to_string()))?;
    let payload = Bytes::from(encode(question).map_err(unreadable)?);
    let answer = connection.call(kind, payload, timeout).await?;
    decode(&answer).map_err(unreadable)
}

/// The configured voters but this node.
fn others_configured(core: &Core) -> Vec<Member> {
    let voters = core.config.voters.iter();
    let voters = voters.map(|v| Member { id: node_id(v.id), address: v.address.clone() });
    voters.filter(|v| v.id != core.id).collect()
}

/// Whom to ask who leads: the voters that this node's log knows, and the configured ones.
fn contacts(core: &Core) -> Vec<Member> {
    let mut contacts = others_configured(core);
    if let Some(metrics) = core.metrics() {
        let membership = metrics.membership_config.membership();
        for id in membership.voter_ids().filter(|id| *id != core.id) {
            let known = contacts.iter().any(|contact| contact.id == id);
            if let Some(address) = membership.get_node(&id).filter(|_| !known) {
                contacts.push(Member { id, address: address.clone() });
            }
        }
    }
    contacts
}

async fn ask_all(core: &Core, whom: &[Member]) -> Vec<Option<StatusReply>> {
    let questions = whom.iter().map(|member| async move {
        ask::<_, StatusReply>(core, member, kind::STATUS, &(), QUESTION_TIMEOUT).await.ok()
    });
    futures::future::join_all(questions).await
}

fn is_smallest_voter(core: &Core) -> bool {
    core.configured_voters().first() == Some(&core.id)
}

/// Returns when this node may take part.
pub async fn admit(core: &Core) -> std::io::Result<()> {
    let mut said: Option<Instant> = None;
    while core.standing() == Standing::Empty {
        let admitted = core.admission.notified();
        let others = ask_all(core, &others_configured(core)).await;
        let initialized =
            others.iter().flatten().any(|status| status.standing == Standing::Initialized);
        let mut refused = None;
        if initialized {
            match rejoin(core, others.iter().flatten()).await? {
                Rejoined::Yes => return Ok(()),
                Rejoined::NotYet(why) => refused = why,
            }
        } else if core.config.may_begin
            && is_smallest_voter(core)
            && others.iter().all(Option::is_some)
        {
            return mark_admitted(core);
        }
        if said.is_none_or(|at| at.elapsed() >= SAY_AGAIN) {
            said = Some(Instant::now());
            let answered = others.iter().flatten().count();
            if let Some(why) = refused {
                tracing::warn!("this empty node may not join the quorum yet: {why}");
            }
            tracing::info!(
                asked = others.len(),
                answered,
                initialized,
                may_begin = core.config.may_begin,
                "this node has no metadata and waits for a quorum to join or to begin"
            );
        }
        tokio::select! {
            () = admitted => {}
            () = tokio::time::sleep(ROUND_PAUSE) => {}
        }
    }
    // A mark is missing beside other content only if the node was stopped between the two writes.
    mark_admitted(core)
}

/// Whether an empty node may take part now, or why not, where somebody said so.
enum Rejoined {
    Yes,
    NotYet(Option<String>),
}

async fn rejoin(
    core: &Core,
    others: impl Iterator<Item = &StatusReply>,
) -> std::io::Result<Rejoined> {
    let newest = others.max_by_key(|status| status.term).and_then(|status| status.leader.clone());
    let Some(leader) = newest else { return Ok(Rejoined::NotYet(None)) };
    let directory = core.config.advertised.directory;
    if leader.id == core.id {
        // Or it was this one, which nobody has missed yet.
        return Ok(Rejoined::NotYet(Some(members::taken(core.id, directory, &leader.address))));
    }
    let timeout = core.config.timing.request_timeout;
    let status = ask::<_, StatusReply>(core, &leader, kind::STATUS, &(), QUESTION_TIMEOUT).await;
    let Ok(StatusReply { asker_votes: Some(votes), .. }) = status else {
        return Ok(Rejoined::NotYet(None));
    };
    // It may be asked again and again.
    if votes && !core.returning.load(Ordering::Relaxed) {
        mark_returning(core, true)?;
    }
    let call = RejoinCall { id: core.id, directory };
    match ask(core, &leader, kind::REJOIN, &call, timeout).await {
        Ok(RejoinReply::Forgotten { vote }) => {
            let vote = Vote::from(vote);
            tracing::info!(leader = leader.id, %vote, "this empty node may join the quorum");
            core.log.clone().save_vote(&vote).await?;
            mark_admitted(core)?;
            Ok(Rejoined::Yes)
        }
        Ok(RejoinReply::NotLeader(_)) => Ok(Rejoined::NotYet(None)),
        Ok(RejoinReply::Failed(why)) => Ok(Rejoined::NotYet(Some(why))),
        Err(error) => {
            tracing::debug!(leader = leader.id, %error, "the leader did not answer");
            Ok(Rejoined::NotYet(None))
        }
    }
}

/// On the smallest voter: begins the quorum once every configured voter agreed to be in it.
pub async fn initialize(core: &Core, raft: &Raft) {
    while is_smallest_voter(core) && core.standing() == Standing::Blank {
        let others = ask_all(core, &others_configured(core)).await;
        let all_new =
            others.iter().all(|s| s.as_ref().is_some_and(|s| s.standing != Standing::Initialized));
        let members = if all_new { admit_all(core).await } else { None };
        if let Some(members) = members {
            match raft.initialize(members).await {
                Ok(()) => {
                    raft.trigger().elect(false).await.ok();
                }
                Err(error) => tracing::warn!(%error, "the quorum was not initialized"),
            }
            return;
        }
        tokio::time::sleep(ROUND_PAUSE).await;
    }
}

/// All voters with their disks, if every one agreed.
async fn admit_all(core: &Core) -> Option<BTreeMap<NodeId, NodeAddress>> {
    let others = others_configured(core);
    let questions = others.iter().map(|voter| async move {
        let timeout = core.config.timing.request_timeout;
        let reply = ask::<_, BootstrapReply>(core, voter, kind::BOOTSTRAP, &(), timeout).await;
        let directory = reply.ok().filter(|reply| reply.accepted)?.directory;
        Some((voter.id, voter.address.clone().in_directory(directory)))
    });
    let others: Option<Vec<_>> = futures::future::join_all(questions).await.into_iter().collect();
    let own = core.config.voters.iter().find(|voter| node_id(voter.id) == core.id)?;
    let own = own.address.clone().in_directory(core.config.advertised.directory);
    Some(others?.into_iter().chain([(core.id, own)]).collect())
}

/// How this node stands in its own list of members.
struct Place {
    /// It can be reached: at its address, with its disk or an unknown one.
    reachable: bool,
    /// Nothing is missing or outdated.
    exact: bool,
    votes: bool,
}

fn place(core: &Core, now: &StoredMembership) -> Place {
    let own = &core.config.advertised;
    let listed = now.membership().get_node(&core.id);
    Place {
        reachable: listed.is_some_and(|l| l.is_at(own) && may_be_same(l.directory, own.directory)),
        exact: listed == Some(own),
        votes: now.voter_ids().any(|voter| voter == core.id),
    }
}

/// Sees to it, for ever, that this node is in the members' list at its address, and a voter if it
/// was one before it lost its disk.
pub async fn stay_member(core: Arc<Core>) {
    let Some(raft) = core.raft.get() else { return };
    let mut metrics = raft.server_metrics();
    let mut said: Option<Instant> = None;
    loop {
        let place = place(&core, &metrics.borrow_and_update().membership_config);
        let mut returning = core.returning.load(Ordering::Relaxed);
        if place.votes && returning {
            // A file that stays asks for nothing more than what is.
            returning = mark_returning(&core, false).is_err();
        }
        let satisfied = place.exact && (place.votes || !returning);
        // Until the quorum begins, a node that agreed to be in it waits.
        let refused = match core.standing() {
            Standing::Initialized => ask_to_join(&core, satisfied, returning).await,
            _ => None,
        };
        if let Some(why) = &refused
            && said.is_none_or(|at| at.elapsed() >= SAY_AGAIN)
        {
            said = Some(Instant::now());
            tracing::warn!("this node is not a member of the quorum yet: {why}");
        }
        // An older leader does not note directories, and a refusal stands for a while.
        let patient = refused.is_some() || place.reachable && (place.votes || !returning);
        let pause = if satisfied || patient { MEMBER_CHECK } else { ROUND_PAUSE };
        tokio::select! {
            changed = metrics.changed() => {
                if changed.is_err() {
                    return;
                }
                tokio::time::sleep(ROUND_PAUSE).await;
            }
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Returns why the leader refused, if it did.
async fn ask_to_join(core: &Core, satisfied: bool, as_voter: bool) -> Option<String> {
    let leader = match core.known_leader() {
        // A member that hears of a leader needs nothing.
        Some(_) if satisfied => return None,
        Some(leader) => Some(leader),
        None => {
            // One that hears of none may have been forgotten while it was away.
            let others = ask_all(core, &contacts(core)).await.into_iter().flatten();
            // Another one that wants to join is in the newest term too, and knows no more.
            let led = others.filter_map(|status| Some((status.term, status.leader?)));
            led.max_by_key(|(term, _)| *term).map(|(_, leader)| leader)
        }
    };
    let leader = leader?;
    let call = JoinCall { member: core.myself(), as_voter };
    if leader.id == core.id {
        // It leads itself, and its place is outdated; or another process has its id.
        return match members::join(core, call).await {
            JoinReply::Failed(why) => Some(why),
            _ => None,
        };
    }
    let timeout = core.config.timing.request_timeout;
    match ask(core, &leader, kind::JOIN, &call, timeout).await {
        Ok(JoinReply::Done | JoinReply::CatchingUp | JoinReply::NotLeader(_)) => None,
        Ok(JoinReply::Failed(why)) => Some(why),
        Err(error) => {
            tracing::debug!(leader = leader.id, %error, "the leader did not answer");
            None
        }
    }
}
