//! The session with the active controller, and the quick way to replace a controller that died.
//!
//! Every node keeps one connection to the leader. It carries the node's controller requests, it
//! tells the leader at once when the node is gone, and it tells the node when the leader is gone.
//!
//! **Quick election.** When the connection breaks, the voter connects again at once. If the
//! leader's host refuses the connection, or another process answers there, the leader's process
//! has ended and nobody needs to wait for the election timeout: the voters campaign, each a little
//! later than the one with the next smaller id, so that they do not split the votes. A candidate
//! of this kind says so in its vote request; a voter that is asked looks for itself (its own
//! connection, then a new attempt) and, if it agrees, answers although its leader lease has not
//! expired. A paused or unreachable leader gives no such evidence: its connection is accepted by
//! the kernel or not answered at all, and the election timeout decides as usual.
//!
//! **Why this is safe.** The lease only keeps a voter from disturbing a leader that is alive. That
//! there is one leader per term and that it has every committed entry follows from votes and logs
//! alone, which are checked as ever. Nothing in this project reads under a lease: proposals and
//! reads that matter go through the log.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;

use crate::api::{Session, SessionEvent};
use crate::core::Core;
use crate::messages::Member;
use crate::rpc::{Channel, ConnectError, Connection, Peer};
use crate::types::{NodeId, broker_id};

/// Attempts, and the pause between them, while the peer accepts and closes: a process that is
/// ending closes its listener a moment after its connections.
const CLOSING_ATTEMPTS: u32 = 5;
const CLOSING_PAUSE: Duration = Duration::from_millis(10);
/// How often a voter campaigns for a dead leader, and what it leaves a candidacy to succeed.
const CAMPAIGN_ROUNDS: u32 = 4;
const CAMPAIGN_PAUSE: Duration = Duration::from_millis(80);
/// The pause before the leader is tried again when it cannot be reached. Several attempts fit into
/// the time that a controller gives to a broker whose session broke.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// What one look at the leader's address showed.
enum Sight {
    Alive(Connection),
    Dead,
    /// Neither: unreachable, paused, or not willing.
    Unclear(ConnectError),
}

async fn look(core: &Core, leader: &Member, channel: Channel) -> Sight {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match core.dialer.connect(leader.id, &leader.address, channel).await {
            Ok(connection) => {
                let known = core.suspicion.incarnation_of(leader.id);
                if known.is_some_and(|known| known != connection.incarnation) {
                    return Sight::Dead;
                }
                return Sight::Alive(connection);
            }
            Err(ConnectError::Refused) => return Sight::Dead,
            Err(ConnectError::Closed(_)) if attempts < CLOSING_ATTEMPTS => {
                tokio::time::sleep(CLOSING_PAUSE).await;
            }
            Err(error) => return Sight::Unclear(error),
        }
    }
}

/// Looks whether the process at the other end of a session that broke has ended, and tells the
/// controller. A connection also breaks for other reasons, and then the broker is heard again soon.
pub async fn tell_if_ended(core: Arc<Core>, peer: Peer) {
    let Some(member) = core.member(peer.node) else { return };
    if matches!(look(&core, &member, Channel::Raft).await, Sight::Dead) {
        tracing::info!(node = peer.node, "a broker's process is gone");
        let (broker, session) = (broker_id(peer.node), peer.session);
        core.controller.session(SessionEvent::Ended { broker, session });
    }
}

/// Follows the leadership for ever.
pub async fn run(core: Arc<Core>) {
    let Some(raft) = core.raft.get() else { return };
    let mut metrics = raft.server_metrics();
    loop {
        let (leader, term) = {
            let now = metrics.borrow_and_update();
            core.dialer.addresses.learn(now.membership_config.membership().nodes());
            (now.current_leader, now.vote.leader_id.term)
        };
        let changed = async {
            loop {
                if metrics.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                let now = metrics.borrow_and_update();
                // Also of a member that came back with another disk.
                core.dialer.addresses.learn(now.membership_config.membership().nodes());
                if (now.current_leader, now.vote.leader_id.term) != (leader, term) {
                    return;
                }
            }
        };
        match leader {
            None => {
                publish(&core, None, None);
                changed.await;
            }
            Some(id) if id == core.id => {
                core.suspicion.clear();
                publish(&core, Some(id), None);
                changed.await;
            }
            Some(id) => {
                if !core.suspicion.is_dead(id, term) {
                    core.suspicion.clear();
                }
                tokio::select! {
                    () = changed => {}
                    () = follow(&core) => {}
                }
            }
        }
    }
}

fn publish(core: &Core, leader: Option<NodeId>, connection: Option<Arc<Connection>>) {
    let connected = connection.is_some() || leader == Some(core.id);
    let new_connection = connection.is_some();
    if let Some(old) = std::mem::replace(&mut *core.connection.lock(), connection) {
        // Requests to a controller that is no longer the one must not wait for it.
        old.close();
    }
    core.session.send_if_modified(|session| {
        let next = Session {
            leader: leader.map(broker_id),
            connected,
            generation: session.generation + u64::from(new_connection),
        };
        let changed = *session != next;
        *session = next;
        changed
    });
}

/// Keeps the session with the current leader; returns when its address is not known.
async fn follow(core: &Arc<Core>) {
    while let Some(leader) = core.known_leader() {
        match look(core, &leader, Channel::Controller).await {
            Sight::Alive(connection) => {
                *core.suspicion.seen.lock() = Some((leader.id, connection.incarnation));
                let connection = Arc::new(connection);
                publish(core, Some(leader.id), Some(connection.clone()));
                connection.closed().await;
                tracing::info!(leader = leader.id, "the session with the controller broke");
                publish(core, Some(leader.id), None);
                continue;
            }
            Sight::Dead => {
                publish(core, Some(leader.id), None);
                // Without a session before, a refusal may be a misconfigured network's.
                if core.suspicion.incarnation_of(leader.id).is_some() {
                    suspect(core, leader.id);
                }
                // Whoever answers there next is a new process.
                *core.suspicion.seen.lock() = None;
            }
            Sight::Unclear(error) => {
                publish(core, Some(leader.id), None);
                tracing::debug!(leader = leader.id, %error, "no session with the controller");
            }
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
    tokio::time::sleep(RETRY_PAUSE).await;
}

/// Notes that the leader died and, on a voter, campaigns after its turn.
fn suspect(core: &Arc<Core>, leader: NodeId) {
    let Some(metrics) = core.metrics() else { return };
    let term = metrics.current_term;
    if metrics.current_leader != Some(leader) || core.suspicion.is_dead(leader, term) {
        return;
    }
    *core.suspicion.dead.lock() = Some((leader, term));
    tracing::info!(leader, term, "the controller's process is gone");
    if core.machine.waits() {
        return;
    }
    let voters = metrics.membership_config.voter_ids().filter(|id| *id != leader);
    let mut voters: Vec<NodeId> = voters.collect();
    voters.sort_unstable();
    voters.dedup();
    let Some(turn) = voters.iter().position(|id| *id == core.id) else { return };
    tokio::spawn(campaign(core.clone(), leader, term, turn as u32));
}

/// Campaigns until there is a leader of a newer term, at most a few times: then the election
/// timeouts go on. The first time at once, which a voter's lease does not stand against; later,
/// after split votes or with a log that is behind another's, with a pre-vote, so that a node that
/// cannot win does not raise the term.
async fn campaign(core: Arc<Core>, leader: NodeId, term: u64, turn: u32) {
    let Some(raft) = core.raft.get() else { return };
    let mut metrics = raft.server_metrics();
    for round in 0..CAMPAIGN_ROUNDS {
        let pause = if round == 0 { Duration::ZERO } else { CAMPAIGN_PAUSE };
        let delay = pause + core.config.timing.election_stagger * turn;
        let replaced = metrics
            .wait_until(|now| now.vote.leader_id.term > term && now.current_leader.is_some());
        tokio::select! {
            _ = replaced => return,
            () = tokio::time::sleep(delay) => {}
        }
        // In the first round somebody else's candidacy may have come first: it gets its chance.
        let now = core.metrics_of(raft);
        let untouched = now.current_term == term && core.suspicion.is_dead(leader, term);
        if round > 0 || untouched {
            tracing::info!(leader, term, round, "campaigning before the election timeout");
            raft.trigger().elect(round > 0).await.ok();
        }
    }
}

/// Whether this node agrees with a candidate that its leader is dead. `true` only on evidence of
/// its own.
pub async fn confirm_leader_died(core: &Core, candidate: NodeId) -> bool {
    let Some(leader) = core.known_leader() else { return false };
    if leader.id == core.id || leader.id == candidate {
        return false;
    }
    let connection = core.connection.lock().clone();
    if core.suspicion.leader_died() {
        return true;
    }
    if let Some(connection) = connection.filter(|c| !c.is_closed()) {
        // The end of the connection may be on its way to this node.
        let waited = tokio::time::timeout(CLOSING_PAUSE, connection.closed()).await;
        if waited.is_err() {
            tracing::info!(leader = leader.id, candidate, "the controller is alive for this node");
            return false;
        }
    }
    matches!(look(core, &leader, Channel::Raft).await, Sight::Dead)
}
