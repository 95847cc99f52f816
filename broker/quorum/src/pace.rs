//! Raft's clock, wound only where somebody looks at it. openraft ticks several times per heartbeat
//! on every node, which costs an idle broker most of what it costs at all. Only a voter that
//! follows needs ticks, to see that the leader has gone silent. A leader's heartbeats are sent from
//! here, if there is anybody to hear them.

use std::sync::Arc;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use tokio::time::{MissedTickBehavior, interval};

use crate::core::Core;

/// Runs as long as the node.
pub async fn run(core: Arc<Core>) {
    let Some(raft) = core.raft.get() else { return };
    let mut changes = raft.server_metrics();
    let mut heartbeats = interval(core.config.timing.heartbeat);
    heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let (leads, votes, others) = {
            let now = changes.borrow_and_update();
            let members = &now.membership_config;
            let votes = members.voter_ids().any(|id| id == core.id);
            let others = members.membership().nodes().any(|(id, _)| *id != core.id);
            (now.state == ServerState::Leader, votes, others)
        };
        raft.runtime_config().tick(votes && !leads);
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            _ = heartbeats.tick(), if leads && others => {
                // Refused where it no longer leads, of which the next change tells.
                raft.trigger().heartbeat().await.ok();
            }
        }
    }
}
