//! The level of the metadata (`barnabas.version`) rises once every broker runs the release that can
//! read it. It comes last, with every broker whole and no restart due, because it cannot be taken
//! back once records of the level are written. The controller looks at each broker again, and
//! refuses by name.

use super::facts::Facts;
use super::{Notes, Verdict};
use crate::decision::{Phase, Step};

pub(super) fn stage(facts: &Facts<'_>, notes: &mut Notes) -> Verdict {
    let Some(cluster) = facts.cluster() else { return Verdict::Done };
    let Some(level) = cluster.level.filter(|level| level.finalized < level.supported) else {
        return Verdict::Done;
    };
    // One that is on its way out may run an older release for as long as it runs.
    let mut all = facts.seen.pods.keys().chain(cluster.brokers.keys());
    if all.any(|id| id.0 >= facts.size) {
        return Verdict::Done;
    }
    let all_whole = facts.ids().all(|id| facts.flaw(id).is_none());
    if notes.to_restart > 0 || !all_whole || !facts.surplus().is_empty() {
        return Verdict::Done;
    }
    let text = format!("all brokers can read metadata of level {}", level.supported);
    Verdict::Act(Step::RaiseLevel(level.supported), Phase::Rolling, text)
}
