//! The next step of a cluster.

use crate::decision::{Phase, Plan, Step};
use crate::observed::Observed;

/// Decides the next step.
pub fn next_step(seen: &Observed) -> Plan {
    let set_replicas = seen.set.as_ref().map_or(seen.desired.replicas, |set| set.replicas);
    Plan {
        set_replicas,
        step: Step::Nothing,
        needs: Vec::new(),
        phase: Phase::Unknown,
        message: String::new(),
        refused: None,
        degraded: None,
        rebalance: None,
        brokers: Default::default(),
        requeue_ms: None,
    }
}
