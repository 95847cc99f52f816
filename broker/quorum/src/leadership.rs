//! Publishes who leads, watches the leader's hold on its quorum, and ends the process when Raft
//! fails.

use std::sync::Arc;
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::Fatal;
use openraft::type_config::async_runtime::instant::Instant;

use crate::api::Leadership;
use crate::core::{Core, Metrics};
use crate::fatal::fatal_raft;
use crate::status::Followers;
use crate::types::{broker_id, node_id};

/// How often a leader looks whether its quorum still answers.
const CHECK: Duration = Duration::from_millis(100);
/// How long a resigning leader waits for its successor.
const RESIGN_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs as long as the node. Of what Raft measures of itself only a new leader wants to know at
/// once, until its term has begun: the rest changes with every heartbeat.
pub async fn run(core: Arc<Core>, followers: Arc<Followers>) {
    let Some(raft) = core.raft.get() else { return };
    let (mut changes, mut measured) = (raft.server_metrics(), raft.metrics());
    loop {
        changes.borrow_and_update();
        let (leads, alone) = {
            let metrics = measured.borrow_and_update();
            followers.observe(&metrics);
            publish(&core, &metrics);
            let nodes = metrics.membership_config.membership().nodes().count();
            (metrics.state == ServerState::Leader, nodes < 2)
        };
        let begins = leads && !core.leadership.borrow().is_self;
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { break },
            _ = measured.changed(), if begins => {}
            () = tokio::time::sleep(CHECK), if leads && !alone => {}
        }
    }
    // Raft has ended: by itself, or because it was told to.
    if let Err(error) = &measured.borrow_watched().running_state
        && !matches!(error, Fatal::Stopped)
    {
        fatal_raft(&error);
    }
}

fn publish(core: &Core, metrics: &Metrics) {
    let leads = metrics.state == ServerState::Leader && metrics.current_leader == Some(core.id);
    let holds = leads && holds_quorum(core, metrics);
    note_reign(core, leads.then_some(metrics.current_term));
    // The first entry of the term is applied, hence committed, and so is everything before it.
    let begun = metrics
        .last_applied
        .is_some_and(|id| id.committed_leader_id().term == metrics.current_term);
    let next = Leadership {
        leader: metrics.current_leader.filter(|_| !leads || holds).map(broker_id),
        term: metrics.current_term,
        is_self: holds && begun && !core.machine.waits(),
    };
    let is_named = next.leader == Some(broker_id(core.id));
    debug_assert!(!next.is_self || is_named, "leads and names another: {next:?}");
    core.leadership.send_if_modified(|current| {
        debug_assert!(next.term >= current.term, "a term goes back: {current:?}, {next:?}");
        let changed = *current != next;
        if changed {
            tracing::info!(leader = ?next.leader, term = next.term, is_self = next.is_self,
                "controller");
        }
        *current = next;
        changed
    });
}

fn note_reign(core: &Core, term: Option<u64>) {
    let mut reign = core.reign.lock();
    if reign.map(|(term, _)| term) != term {
        *reign = term.map(|term| (term, std::time::Instant::now()));
    }
}

/// A leader that has heard from no quorum for a while is only called so by itself: the others may
/// have another one.
fn holds_quorum(core: &Core, metrics: &Metrics) -> bool {
    let timing = &core.config.timing;
    let patience = timing.election_timeout_max * 3;
    let alone = metrics.membership_config.voter_ids().count() < 2;
    alone || metrics.last_quorum_acked.is_none_or(|at| at.elapsed() < patience)
}

/// Gives the leadership to the most advanced other voter, if this node leads and there is one.
pub async fn resign(core: &Core) {
    let (Some(raft), Some(metrics)) = (core.raft.get(), core.metrics()) else { return };
    if metrics.state != ServerState::Leader {
        return;
    }
    let recently = core.config.timing.election_timeout_max;
    let answers = |id: &u64| {
        let acked = metrics.heartbeat.as_ref().and_then(|h| h.get(id)).copied().flatten();
        acked.is_some_and(|at| at.elapsed() < recently)
    };
    let voters = metrics.membership_config.voter_ids();
    let voters = voters.filter(|id| *id != core.id && answers(id));
    let matched = |id: &u64| metrics.replication.as_ref().and_then(|r| r.get(id)).copied();
    let Some(successor) = voters.max_by_key(|id| matched(id).flatten().map(|id| id.index)) else {
        return;
    };
    if raft.trigger().transfer_leader(successor).await.is_ok() {
        let mut leadership = core.leadership.subscribe();
        let moved = leadership.wait_for(|l| l.leader.is_some_and(|l| node_id(l) != core.id));
        tokio::time::timeout(RESIGN_TIMEOUT, moved).await.ok();
    }
}

/// Takes a snapshot when the log's size asks for one.
pub async fn take_due_snapshots(core: Arc<Core>) {
    let Some(raft) = core.raft.get() else { return };
    loop {
        core.machine.snapshot_due.notified().await;
        raft.trigger().snapshot().await.ok();
    }
}
