//! Which follower a consumer should read from (KIP-392), as the leader sees its followers.

use std::cmp::Reverse;

use base::{BrokerId, Offset};

use crate::partition::Partition;

impl Partition {
    /// The follower that a consumer at `fetch_offset` should go to, by the rule of Kafka's
    /// `RackAwareReplicaSelector`; `None` where it should stay here. `is_near`: the broker is
    /// alive, in the rack of the consumer and reachable for it.
    ///
    /// Only members of the ISR that have the offset come into question: one that lags would be
    /// chosen again and again while its readers fall behind. The one furthest ahead is taken, then
    /// the one that was caught up last, then the one with the highest id.
    pub fn preferred_read_replica(
        &self,
        now_ms: i64,
        fetch_offset: Offset,
        is_near: &dyn Fn(BrokerId) -> bool,
    ) -> Option<BrokerId> {
        let leader = self.leader_state.as_ref()?;
        if is_near(self.id) {
            return None;
        }
        let candidates = leader.followers.iter().filter_map(|follower| {
            let end = follower.end.filter(|&end| end >= fetch_offset)?;
            let has_it = follower.log_start <= fetch_offset && self.isr.contains(&follower.id);
            (has_it && is_near(follower.id)).then(|| {
                let behind_ms = now_ms.saturating_sub(follower.caught_up_ms);
                (end, Reverse(behind_ms), follower.id)
            })
        });
        candidates.max().map(|(_, _, id)| id)
    }
}
