//! Conditions: a list by type, whose transition time changes only when the status does.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Types of the conditions of a `KafkaCluster`; a `Topic` has `READY` only.
pub mod kind {
    /// All brokers serve, and nothing is left to do.
    pub const READY: &str = "Ready";
    /// The operator is changing something.
    pub const PROGRESSING: &str = "Progressing";
    /// Something is broken that the operator alone cannot mend.
    pub const DEGRADED: &str = "Degraded";
    /// The user paused the operator.
    pub const PAUSED: &str = "Paused";
    /// Partitions move between brokers.
    pub const REBALANCING: &str = "Rebalancing";
    /// Nothing is wrong, and one failure more than one may think of would be felt.
    pub const AT_RISK: &str = "AtRisk";
    /// The spec can be had.
    pub const VALID: &str = "Valid";
}

/// Reasons of the condition `Ready` of a resource that stands for something in a cluster, a
/// `Topic` for one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum EntityReason {
    Created,
    InSync,
    WaitingForCluster,
    Conflict,
    AdoptionDiffers,
    InvalidConfig,
    InvalidReplicationFactor,
    NotSupported,
    KafkaError,
    Reassigning,
    Deleting,
    Paused,
    Unmanaged,
}

impl EntityReason {
    pub fn name(self) -> &'static str {
        match self {
            EntityReason::Created => "Created",
            EntityReason::InSync => "InSync",
            EntityReason::WaitingForCluster => "WaitingForCluster",
            EntityReason::Conflict => "Conflict",
            EntityReason::AdoptionDiffers => "AdoptionDiffers",
            EntityReason::InvalidConfig => "InvalidConfig",
            EntityReason::InvalidReplicationFactor => "InvalidReplicationFactor",
            EntityReason::NotSupported => "NotSupported",
            EntityReason::KafkaError => "KafkaError",
            EntityReason::Reassigning => "Reassigning",
            EntityReason::Deleting => "Deleting",
            EntityReason::Paused => "Paused",
            EntityReason::Unmanaged => "Unmanaged",
        }
    }
}

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionStatus {
    True,
    False,
    /// What it depends on could not be observed.
    Unknown,
}

impl ConditionStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            ConditionStatus::True => "True",
            ConditionStatus::False => "False",
            ConditionStatus::Unknown => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> ConditionStatus {
        if holds { ConditionStatus::True } else { ConditionStatus::False }
    }
}

/// What a condition is to say.
#[derive(Clone, Debug, PartialEq)]
pub struct NewCondition {
    /// One of [`kind`].
    pub kind: &'static str,
    pub status: ConditionStatus,
    /// One CamelCase word; never empty.
    pub reason: String,
    /// One sentence for people.
    pub message: String,
}

/// Most characters of a message; Kubernetes takes 32,768.
const MESSAGE_CHARS_MAX: usize = 2_000;

/// Sets one condition of the list, which is kept in the order of types. The transition time is
/// `now` only where the status changes. Returns whether anything changed.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    new: NewCondition,
    generation: Option<i64>,
    now: &Time,
) -> bool {
    let status = new.status.as_str();
    let position = conditions.iter().position(|c| c.type_ == new.kind);
    let since = match position.map(|i| &conditions[i]) {
        Some(old) if old.status == status => old.last_transition_time.clone(),
        _ => now.clone(),
    };
    let condition = Condition {
        type_: new.kind.to_owned(),
        status: status.to_owned(),
        reason: new.reason,
        message: new.message.chars().take(MESSAGE_CHARS_MAX).collect(),
        observed_generation: generation,
        last_transition_time: since,
    };
    match position {
        Some(i) if conditions[i] == condition => return false,
        Some(i) => conditions[i] = condition,
        None => {
            conditions.push(condition);
            conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
        }
    }
    true
}

/// The condition of a type.
pub fn find_condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == kind)
}

/// Takes the condition of a type away. Returns whether there was one.
pub fn remove_condition(conditions: &mut Vec<Condition>, kind: &str) -> bool {
    let before = conditions.len();
    conditions.retain(|c| c.type_ != kind);
    conditions.len() != before
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(seconds: &str) -> Time {
        serde_json::from_str(&format!("\"2026-01-01T00:00:{seconds}Z\"")).unwrap()
    }

    fn new(kind: &'static str, holds: bool, message: &str) -> NewCondition {
        let (reason, message) = ("Because".to_owned(), message.to_owned());
        NewCondition { kind, status: holds.into(), reason, message }
    }

    #[test]
    fn the_transition_time_follows_the_status_alone() {
        let mut all = Vec::new();
        assert!(set_condition(&mut all, new(kind::READY, false, "a"), Some(1), &at("01")));
        assert!(!set_condition(&mut all, new(kind::READY, false, "a"), Some(1), &at("02")));
        assert!(set_condition(&mut all, new(kind::READY, false, "b"), Some(2), &at("03")));
        assert_eq!(all[0].last_transition_time, at("01"));
        assert_eq!(all[0].observed_generation, Some(2));
        assert!(set_condition(&mut all, new(kind::READY, true, "b"), Some(2), &at("04")));
        assert_eq!(all[0].last_transition_time, at("04"));
    }

    #[test]
    fn one_condition_per_type_in_one_order() {
        let mut all = Vec::new();
        for kind in [kind::VALID, kind::READY, kind::DEGRADED, kind::READY] {
            set_condition(&mut all, new(kind, true, ""), None, &at("01"));
        }
        let kinds: Vec<&str> = all.iter().map(|c| c.type_.as_str()).collect();
        assert_eq!(kinds, ["Degraded", "Ready", "Valid"]);
        assert!(find_condition(&all, kind::VALID).is_some());
        assert!(remove_condition(&mut all, kind::VALID));
        assert!(!remove_condition(&mut all, kind::VALID));
    }
}
