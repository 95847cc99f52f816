//! A node whose release cannot read what comes next in the metadata, because a newer one wrote it.
//! It does not guess and does not end: its image stands still, and it waits to be upgraded. As a
//! voter it still votes and stores entries, which need not be understood for that, so that the
//! others can go on; but it does not lead.

use std::sync::Arc;
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;

use crate::core::Core;
use crate::leadership;
use crate::rpc::{Refusal, kind};

/// Entries that are stored while none is applied: they are in memory, and no snapshot frees them.
const ENTRIES_MAX: usize = 100_000;
/// Between two attempts to hand the leadership over.
const RESIGN_PAUSE: Duration = Duration::from_millis(200);

/// What a waiting node does not take part in.
pub fn check(core: &Core, kind: u8) -> Result<(), Refusal> {
    let Some(unreadable) = core.machine.unreadable().borrow().clone() else { return Ok(()) };
    let refused = match kind {
        kind::SNAPSHOT | kind::TRANSFER_LEADER => true,
        kind::APPEND => core.log.entries() >= ENTRIES_MAX,
        _ => false,
    };
    if refused { Err(Refusal::Other(unreadable.to_string())) } else { Ok(()) }
}

/// Runs as long as the node.
pub async fn run(core: Arc<Core>) {
    let Some(raft) = core.raft.get() else { return };
    let mut unreadable = core.machine.unreadable();
    if unreadable.wait_for(Option::is_some).await.is_err() {
        return;
    }
    raft.runtime_config().elect(false);
    let mut metrics = raft.server_metrics();
    loop {
        let leads = metrics.borrow_and_update().state == ServerState::Leader;
        if leads {
            leadership::resign(&core).await;
        }
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RESIGN_PAUSE), if leads => {}
        }
    }
}
