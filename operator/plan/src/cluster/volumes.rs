//! Volumes that go with their pod: a claim that is being deleted waits for the pod that uses it, so
//! that a restart would complete the deletion. Such a broker comes back empty. It is restarted only
//! where other brokers have all that it has, in sync, which needs to be known of every partition.

use base::BrokerId;

use super::input::{StageInput, listed};
use crate::observed::{ClaimView, PartitionView};

/// What a restart would do to the volume of a broker.
pub(super) enum Volume {
    /// Nothing.
    Stays,
    /// It is given up, and nothing is lost by that.
    Spare,
    /// It may not be given up.
    Needed(String),
    /// Every partition has to be known first.
    Unknown,
}

pub(super) fn of(input: &StageInput<'_>, id: BrokerId) -> Volume {
    match input.seen.claims.get(&id) {
        Some(ClaimView { lost: true, .. }) => Volume::Needed(format!(
            "the volume of broker {id} no longer exists: it could not start again"
        )),
        Some(ClaimView { deleting: true, .. }) => going(input, id),
        _ => Volume::Stays,
    }
}

fn going(input: &StageInput<'_>, id: BrokerId) -> Volume {
    let needed = |what: &str| {
        let goes = format!("the volume of broker {id} is being deleted, and goes with its pod");
        Volume::Needed(format!("{goes}: {what}"))
    };
    let Some(quorum) = input.quorum().filter(|quorum| quorum.leader.is_some()) else {
        return needed("without an active controller nobody says who else has its data");
    };
    if quorum.voters.len() == 1 && quorum.voters.contains_key(&id) {
        return needed("it has the only copy of the metadata");
    }
    let Some(partitions) = input.partitions() else { return Volume::Unknown };
    let sole = partitions.iter().filter(|p| is_sole(p, id));
    let sole: Vec<String> = sole.map(PartitionView::name).collect();
    match sole.len() {
        0 => Volume::Spare,
        count => {
            needed(&format!("it has the only copy in sync of {}", listed(&sole, count as u64)))
        }
    }
}

/// Nobody else is known to have all of the partition.
fn is_sole(p: &PartitionView, id: BrokerId) -> bool {
    p.replicas.contains(&id) && p.isr.iter().all(|other| *other == id)
}

/// Why the broker may not be restarted; `Ok` where its volume stays or can be spared.
pub(super) fn can_stop(input: &StageInput<'_>, id: BrokerId) -> Result<(), String> {
    match of(input, id) {
        Volume::Stays | Volume::Spare => Ok(()),
        Volume::Needed(why) => Err(why),
        Volume::Unknown => Err(format!("what the volume of broker {id} holds is not known")),
    }
}

/// Whether partitions have to be asked for before one of these is restarted.
pub(super) fn are_unknown(input: &StageInput<'_>, ids: impl Iterator<Item = BrokerId>) -> bool {
    ids.into_iter().any(|id| matches!(of(input, id), Volume::Unknown))
}
