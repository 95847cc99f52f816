//! Groups as their members see them: in one generation a partition has one owner, an assignment
//! belongs to the generation that the member was told, and no fetch of offsets shows less than
//! what was acknowledged before it was asked.

use std::collections::BTreeMap;

use base::{LeaderEpoch, Offset};

use super::{Check, Property, violated};

#[derive(Default)]
pub struct Groups {
    owners: BTreeMap<(String, i32, i32), String>,
    floors: BTreeMap<(String, i32), BTreeMap<LeaderEpoch, Offset>>,
}

impl Groups {
    /// A member got this assignment with a Sync of its generation. `made_for` is the generation
    /// that the assigning member wrote into it.
    pub fn assigned(
        &mut self,
        group: &str,
        member: &str,
        generation: i32,
        made_for: i32,
        partitions: &[i32],
    ) -> Check {
        if made_for != generation {
            return violated(
                Property::GroupAssignment,
                format!("{group}: {member} in generation {generation} got one of {made_for}"),
            );
        }
        for &partition in partitions {
            let key = (group.to_owned(), generation, partition);
            let owner = self.owners.entry(key).or_insert_with(|| member.to_owned());
            if owner != member {
                return violated(
                    Property::GroupAssignment,
                    format!("{group} {generation}: {partition} owned by {owner} and {member}"),
                );
            }
        }
        Ok(())
    }

    /// A commit was acknowledged by the coordinator of this epoch.
    pub fn committed(&mut self, group: &str, partition: i32, epoch: LeaderEpoch, offset: Offset) {
        let floors = self.floors.entry((group.to_owned(), partition)).or_default();
        let floor = floors.entry(epoch).or_insert(-1);
        *floor = (*floor).max(offset);
    }

    /// What was acknowledged so far: to be kept with a request, for `fetched`.
    pub fn floor(&self, group: &str, partition: i32) -> BTreeMap<LeaderEpoch, Offset> {
        self.floors.get(&(group.to_owned(), partition)).cloned().unwrap_or_default()
    }

    /// A coordinator of this epoch answered. One that was deposed and does not know it yet may
    /// not know what its successor has acknowledged.
    pub fn fetched(
        &self,
        group: &str,
        partition: i32,
        floors: &BTreeMap<LeaderEpoch, Offset>,
        epoch: LeaderEpoch,
        offset: Offset,
    ) -> Check {
        let floor = floors.range(..=epoch).map(|(_, &floor)| floor).max();
        if floor.is_none_or(|floor| offset >= floor) {
            return Ok(());
        }
        violated(
            Property::CommittedOffset,
            format!("{group} partition {partition}: committed {floors:?}, fetched {offset}"),
        )
    }
}
