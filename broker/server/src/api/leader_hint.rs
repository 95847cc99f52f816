//! KIP-951: an answer that says "not the leader" names the leader and where it listens, so that the
//! client goes there without asking for metadata first.

use std::collections::BTreeSet;
use std::sync::Arc;

use base::{BrokerId, ErrorCode, LeaderEpoch};
use metadata::{Endpoint, Image};

use storage::partition::Partition;

/// Leaders that one response names.
#[derive(Debug, Default)]
pub struct LeaderHints {
    leaders: BTreeSet<BrokerId>,
}

/// A node that the response describes.
#[derive(Clone, Debug)]
pub struct HintedNode {
    pub id: BrokerId,
    pub endpoint: Endpoint,
    pub rack: Option<Arc<str>>,
}

impl LeaderHints {
    /// Whether an error asks for a hint.
    pub fn is_asked_for(code: ErrorCode) -> bool {
        matches!(code, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch)
    }

    /// The leader to name for a partition: what its replica here knows, else what the image says.
    pub fn note(
        &mut self,
        image: &Image,
        topic: &str,
        number: i32,
        partition: Option<&Partition>,
    ) -> Option<(BrokerId, LeaderEpoch)> {
        let (leader, epoch) = match partition {
            Some(partition) => partition.current_leader(),
            None => {
                let state = image.partition(topic, number)?;
                (state.leader, state.leader_epoch)
            }
        };
        let leader = leader?;
        self.leaders.insert(leader);
        Some((leader, epoch))
    }

    /// Where the named leaders are, on the client's own listener.
    pub fn nodes(&self, image: &Image, listener: &str) -> Vec<HintedNode> {
        let node = |&id: &BrokerId| {
            let broker = image.broker(id)?;
            let endpoint = broker.listener(listener)?.clone();
            Some(HintedNode { id, endpoint, rack: broker.rack.clone() })
        };
        self.leaders.iter().filter_map(node).collect()
    }
}
