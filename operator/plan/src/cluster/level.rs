//! The level of the metadata (`barnabas.version`) rises once every broker runs the release that can
//! read it. It comes last, with every broker whole and no restart due, because it cannot be taken
//! back once records of the level are written. The controller looks at each broker again, and
//! refuses by name.

use super::input::StageInput;
use super::{Notes, StageResult};
use crate::decision::{Phase, Step};

pub(super) fn stage(input: &StageInput<'_>, notes: &mut Notes) -> StageResult {
    let Some(cluster) = input.cluster() else { return StageResult::Done };
    let Some(level) = cluster.level.filter(|level| level.finalized < level.supported) else {
        return StageResult::Done;
    };
    // One that is on its way out may run an older release for as long as it runs.
    let mut all = input.seen.pods.keys().chain(cluster.brokers.keys());
    if all.any(|id| !input.fleet().has(*id)) {
        return StageResult::Done;
    }
    let all_whole = input.ids().all(|id| input.flaw(id).is_none());
    if notes.to_restart > 0 || !all_whole || !input.fleet().surplus().is_empty() {
        return StageResult::Done;
    }
    let text = format!("all brokers can read metadata of level {}", level.supported);
    StageResult::Act(Step::RaiseLevel(level.supported), Phase::Rolling, text)
}
