//! What a pass comes to for one resource: its condition and numbers, from the plan and from what
//! the brokers answered.

use crd::{
    Condition, ConditionStatus, EntityReason, NewCondition, Time, find_condition, kind,
    set_condition,
};

use super::resource::{Entity, Entry, Status};
use crate::kafka::AdminError;

/// The condition and the numbers of one resource.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome<E: Entity> {
    pub ready: bool,
    pub reason: EntityReason,
    pub message: String,
    pub numbers: E::Numbers,
}

/// A request about an entity that did not do what it should.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    pub reason: EntityReason,
    pub message: String,
    /// It may pass by itself: the user hears of it only if it does not.
    pub passing: bool,
}

impl Failure {
    /// The whole request failed.
    pub fn of_request(error: &AdminError) -> Failure {
        Failure {
            reason: EntityReason::KafkaError,
            message: error.to_string(),
            passing: error.is_retriable(),
        }
    }
}

/// The status of a resource after a pass; `None` where it says so already.
pub fn status<E: Entity>(entry: &Entry<E>, outcome: &Outcome<E>, now: &Time) -> Option<E::Status> {
    let old = entry.status.clone().unwrap_or_default();
    let mut new = old.clone();
    E::note(&mut new, &entry.wish, &outcome.numbers);
    let (generation, conditions) = new.common_mut();
    *generation = entry.generation;
    let said = find_condition(old.conditions(), kind::READY);
    if !outcome.ready || !said.is_some_and(|said| still_says(said, entry, outcome)) {
        let condition = NewCondition {
            kind: kind::READY,
            status: ConditionStatus::from(outcome.ready),
            reason: outcome.reason.name().to_owned(),
            message: outcome.message.clone(),
        };
        set_condition(conditions, condition, entry.generation, now);
    }
    (new != old).then_some(new)
}

/// An entity that was created and is now found to be as wanted stays `Created`: nothing happened
/// that anybody would have to be told.
fn still_says<E: Entity>(said: &Condition, entry: &Entry<E>, outcome: &Outcome<E>) -> bool {
    let settled = outcome.reason == EntityReason::InSync;
    let was = said.reason == EntityReason::Created.name() || said.reason == outcome.reason.name();
    settled && was && said.status == "True" && said.observed_generation == entry.generation
}
