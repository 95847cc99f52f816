//! Feature levels: which behaviour the whole cluster has agreed on.

use std::sync::Arc;

use base::ErrorCode;

use super::draft::Draft;
use super::error;
use crate::record::{FeatureLevelRecord, MetadataRecord};
use crate::request::{ControllerError, FeatureResult, FeatureUpdate, UpdateFeaturesRequest};

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

/// What this version supports. Levels are Kafka's: clients read them to choose their behaviour.
pub const SUPPORTED_FEATURES: &[SupportedFeature] = &[
    // Kafka's numbers of 4.3-IV0, which clusters of the first releases have, and of 4.4-IV2.
    feature("metadata.version", 30, 33, 33),
    feature("eligible.leader.replicas.version", 1, 1, 1),
];

pub(super) fn bootstrap() -> Vec<(Arc<str>, i16)> {
    let initial = SUPPORTED_FEATURES.iter().filter(|f| f.initial > 0);
    initial.map(|f| (f.name.into(), f.initial)).collect()
}

pub(super) fn bootstrap_records(
    features: &[(Arc<str>, i16)],
) -> impl Iterator<Item = MetadataRecord> + '_ {
    features.iter().map(|(name, level)| record(name.clone(), *level))
}

fn record(name: Arc<str>, level: i16) -> MetadataRecord {
    MetadataRecord::FeatureLevel(FeatureLevelRecord { name, level })
}

impl Draft<'_> {
    pub(super) fn update_features(&mut self, request: UpdateFeaturesRequest) -> Vec<FeatureResult> {
        let updates = request.updates.into_iter();
        updates
            .map(|update| {
                let result = self.update_feature(&update);
                FeatureResult { name: update.name, result }
            })
            .collect()
    }

    fn update_feature(&mut self, update: &FeatureUpdate) -> Result<(), ControllerError> {
        let name = &update.name;
        let Some(feature) = SUPPORTED_FEATURES.iter().find(|f| *f.name == **name) else {
            let message = format!("The controller does not support the given feature {name}.");
            return error(ErrorCode::FeatureUpdateFailed, message);
        };
        if !(feature.min..=feature.max).contains(&update.level) {
            let (level, min, max) = (update.level, feature.min, feature.max);
            let message = format!("Level {level} of {name} is not between {min} and {max}.");
            return error(ErrorCode::FeatureUpdateFailed, message);
        }
        let current = self.image.feature_level(name);
        if update.level < current && !update.allow_downgrade {
            let message = format!("{name} is at level {current}; a downgrade was not allowed.");
            return error(ErrorCode::FeatureUpdateFailed, message);
        }
        if update.level != current {
            self.push(record(name.clone(), update.level));
        }
        Ok(())
    }
}
