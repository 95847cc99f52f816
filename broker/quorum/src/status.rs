//! What DescribeQuorum tells, gathered from Raft's metrics.

use std::collections::HashMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use openraft::ServerState;
use openraft::type_config::async_runtime::instant::Instant as _;
use parking_lot::Mutex;

use crate::api::{QuorumStatus, ReplicaStatus};
use crate::core::{Core, Metrics};
use crate::types::{NodeId, broker_id};

/// When each follower was last seen to have the whole log. Raft's metrics do not tell it.
#[derive(Default)]
pub struct Followers {
    caught_up: Mutex<HashMap<NodeId, Instant>>,
}

impl Followers {
    pub fn observe(&self, metrics: &Metrics) {
        let mut caught_up = self.caught_up.lock();
        let Some(replication) = &metrics.replication else {
            caught_up.clear();
            return;
        };
        caught_up.retain(|id, _| replication.contains_key(id));
        for (id, matched) in replication {
            if matched.map(|id| id.index) >= metrics.last_log_index {
                caught_up.insert(*id, Instant::now());
            }
        }
    }
}

fn end_offset(index: Option<u64>) -> i64 {
    index.map_or(0, |index| index as i64 + 1)
}

pub fn status(core: &Core, followers: &Followers) -> QuorumStatus {
    let applied_offset = core.machine.applied_offset() + 1;
    let Some(metrics) = core.metrics() else {
        return QuorumStatus { applied_offset, ..QuorumStatus::default() };
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
    let leads = metrics.state == ServerState::Leader;
    let members = metrics.membership_config.membership();
    let caught_up = followers.caught_up.lock();
    let replica = |id: NodeId| {
        let address = members.get_node(&id).cloned().unwrap_or_default();
        let mut status = ReplicaStatus {
            id: broker_id(id),
            address,
            log_end_offset: -1,
            last_fetch_timestamp: -1,
            last_caught_up_timestamp: -1,
        };
        if id == core.id {
            status.log_end_offset = end_offset(metrics.last_log_index);
            if leads {
                status.last_fetch_timestamp = now;
                status.last_caught_up_timestamp = now;
            }
            return status;
        }
        if let Some(matched) = metrics.replication.as_ref().and_then(|r| r.get(&id)) {
            status.log_end_offset = end_offset(matched.map(|id| id.index));
        }
        if let Some(Some(acked)) = metrics.heartbeat.as_ref().and_then(|h| h.get(&id)) {
            status.last_fetch_timestamp = now - acked.elapsed().as_millis() as i64;
        }
        if let Some(at) = caught_up.get(&id) {
            status.last_caught_up_timestamp = now - at.elapsed().as_millis() as i64;
        }
        status
    };
    let mut voters: Vec<NodeId> = members.voter_ids().collect();
    voters.sort_unstable();
    voters.dedup();
    QuorumStatus {
        leader: metrics.current_leader.map(broker_id),
        epoch: i32::try_from(metrics.current_term).unwrap_or(i32::MAX),
        high_watermark: end_offset(metrics.local_committed.map(|id| id.index)),
        applied_offset,
        log_end_offset: end_offset(metrics.last_log_index),
        voters: voters.into_iter().map(replica).collect(),
        observers: members.learner_ids().map(replica).collect(),
    }
}
