//! The features that this version has, and their levels.

use std::sync::Arc;

use crate::level::{BARNABAS_VERSION, LEVEL_MAX};

/// A feature and the levels that this version can be set to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SupportedFeature {
    pub name: &'static str,
    pub min: i16,
    pub max: i16,
    /// The level that a new cluster starts with; 0 leaves the feature off.
    pub initial: i16,
}

const fn feature(name: &'static str, min: i16, max: i16, initial: i16) -> SupportedFeature {
    SupportedFeature { name, min, max, initial }
}

/// What this version can be set to. Kafka's features have Kafka's levels, because clients read
/// them to choose their behaviour; what they may do does not change with them.
pub const SUPPORTED_FEATURES: &[SupportedFeature] = &[
    // Kafka's numbers of 4.3-IV0, which clusters of the first releases have, and of 4.4-IV2.
    feature("metadata.version", 30, 33, 33),
    feature("transaction.version", 0, 2, 2),
    feature("group.version", 0, 1, 1),
    feature("eligible.leader.replicas.version", 1, 1, 1),
    feature(BARNABAS_VERSION, 0, LEVEL_MAX, LEVEL_MAX),
];

pub(super) fn bootstrap() -> Vec<(Arc<str>, i16)> {
    let initial = SUPPORTED_FEATURES.iter().filter(|f| f.initial > 0);
    initial.map(|f| (f.name.into(), f.initial)).collect()
}
