//! A member's way to its target. It gives up what it shall not have any more, and says so; then it
//! gets what is its own and free. So no partition ever has two owners.

use std::collections::BTreeSet;

use base::TopicId;

use super::request::TopicPartitionList;
use super::value::{Current, MemberState, OwnedPartitions, Partitions};

/// What a member's next step depends on.
pub(super) struct Step<'a> {
    pub(super) target_epoch: i32,
    pub(super) target: &'a Partitions,
    /// What the member says to own; `None` if it does not say.
    pub(super) owned: Option<&'a TopicPartitionList>,
    /// The topics that the member subscribes to.
    pub(super) topics: &'a BTreeSet<TopicId>,
    pub(super) has_subscription_changed: bool,
    /// Whether nobody holds a partition.
    pub(super) is_free: &'a dyn Fn(TopicId, i32) -> bool,
}

/// The member must begin anew: only a newer broker knows the state that it is in.
#[derive(Debug)]
pub(super) struct MustRejoin;

impl Step<'_> {
    /// Where the member stands after this step; `None` where it stood before.
    pub(super) fn take(&self, current: &Current) -> Result<Option<Current>, MustRejoin> {
        let next = match current.state {
            MemberState::Stable if current.epoch != self.target_epoch => {
                self.approach(current, current.epoch)
            }
            MemberState::Stable => return Ok(self.drop_unsubscribed(current)),
            MemberState::UnrevokedPartitions if self.owns_any(&current.revoking) => {
                return Ok(self.drop_unsubscribed(current));
            }
            // All is given up: the member has arrived in the epoch after its own.
            MemberState::UnrevokedPartitions => self.approach(current, current.epoch + 1),
            MemberState::UnreleasedPartitions => self.approach(current, current.epoch),
            MemberState::Unknown if self.owned.is_some_and(|owned| owned.is_empty()) => {
                self.approach(current, self.target_epoch)
            }
            MemberState::Unknown => return Err(MustRejoin),
        };
        let is_same = next.epoch == current.epoch
            && next.state == current.state
            && next.assigned == current.assigned
            && next.revoking == current.revoking;
        Ok((!is_same).then_some(next))
    }

    fn owns_any(&self, partitions: &OwnedPartitions) -> bool {
        let Some(owned) = self.owned else { return true };
        owned.iter().any(|(id, ps)| {
            partitions.get(id).is_some_and(|among| ps.iter().any(|p| among.contains_key(p)))
        })
    }

    /// `epoch`: the one that the member has reached.
    fn approach(&self, current: &Current, epoch: i32) -> Current {
        let mut assigned = OwnedPartitions::new();
        let mut revoking = OwnedPartitions::new();
        for (id, owned) in &current.assigned {
            let target = self.target.get(id).filter(|_| self.topics.contains(id));
            for (p, since) in owned {
                let keeps = target.is_some_and(|target| target.contains(p));
                let side = if keeps { &mut assigned } else { &mut revoking };
                side.entry(*id).or_default().insert(*p, *since);
            }
        }
        let (state, epoch) = if !revoking.is_empty() && self.owns_any(&revoking) {
            (MemberState::UnrevokedPartitions, epoch)
        } else {
            revoking.clear();
            let waits = self.add_free(current, &mut assigned);
            match waits {
                true => (MemberState::UnreleasedPartitions, self.target_epoch),
                false => (MemberState::Stable, self.target_epoch),
            }
        };
        Current { epoch, previous_epoch: current.epoch, state, assigned, revoking }
    }

    /// Adds what is the member's and free; true if some of it is not free yet.
    fn add_free(&self, current: &Current, assigned: &mut OwnedPartitions) -> bool {
        let mut waits = false;
        for (id, target) in self.target.iter().filter(|(id, _)| self.topics.contains(*id)) {
            let had = current.assigned.get(id);
            for p in target {
                if had.is_some_and(|had| had.contains_key(p)) {
                    continue;
                }
                if (self.is_free)(*id, *p) || held_by(current, *id, *p) {
                    assigned.entry(*id).or_default().insert(*p, self.target_epoch);
                } else {
                    waits = true;
                }
            }
        }
        waits
    }

    /// A target may be long in coming: what the member does not want any more goes at once.
    fn drop_unsubscribed(&self, current: &Current) -> Option<Current> {
        if !self.has_subscription_changed {
            return None;
        }
        let (assigned, dropped): (OwnedPartitions, OwnedPartitions) =
            current.assigned.clone().into_iter().partition(|(id, _)| self.topics.contains(id));
        if dropped.is_empty() {
            return None;
        }
        let mut next = Current { assigned, previous_epoch: current.epoch, ..current.clone() };
        if self.owns_any(&dropped) {
            next.state = MemberState::UnrevokedPartitions;
            for (id, partitions) in dropped {
                next.revoking.entry(id).or_default().extend(partitions);
            }
        }
        Some(next)
    }
}

/// What the member itself was to give up, and has: it is free once this step is taken.
fn held_by(current: &Current, id: TopicId, partition: i32) -> bool {
    current.revoking.get(&id).is_some_and(|among| among.contains_key(&partition))
}
