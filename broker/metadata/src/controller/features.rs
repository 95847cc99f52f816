//! Feature levels: which behaviour the whole cluster has agreed on.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{BrokerEpoch, BrokerId, ErrorCode};

use super::draft::Draft;
use super::failure::error;
use super::supported::SUPPORTED_FEATURES;
use crate::image::Image;
use crate::level::BARNABAS_VERSION;
use crate::record::{BrokerLevelRecord, FeatureLevelRecord, MetadataRecord};
use crate::request::{
    ControllerError, FeatureResult, FeatureUpdate, UpdateFeaturesRequest, UpgradeType,
};

pub(super) fn bootstrap_records(
    features: &[(Arc<str>, i16)],
) -> impl Iterator<Item = MetadataRecord> + '_ {
    features.iter().map(|(name, level)| record(name.clone(), *level))
}

fn record(name: Arc<str>, level: i16) -> MetadataRecord {
    MetadataRecord::FeatureLevel(FeatureLevelRecord { name, level })
}

/// The highest `barnabas.version` of each broker, as its incarnation told this controller. Before
/// level 1 the metadata cannot say it.
#[derive(Clone, Default, Debug)]
pub(super) struct Supports(BTreeMap<BrokerId, (BrokerEpoch, i16)>);

impl Supports {
    pub fn told(&mut self, broker: BrokerId, epoch: BrokerEpoch, supports: i16) {
        self.0.insert(broker, (epoch, supports));
    }

    fn of(&self, image: &Image, id: BrokerId) -> Option<i16> {
        let broker = image.broker(id)?;
        let told = self.0.get(&id).filter(|(epoch, _)| *epoch == broker.epoch);
        told.map(|(_, supports)| *supports).or(broker.supports)
    }
}

fn invalid(name: &str, level: i16, why: impl std::fmt::Display) -> Result<(), ControllerError> {
    let message = format!("Invalid update version {level} for feature {name}. {why}");
    error(ErrorCode::InvalidUpdateVersion, message)
}

impl Draft<'_> {
    /// Notes in the metadata what the broker supports, once that kind of record may be written.
    pub(super) fn note_support(&mut self, id: BrokerId, supports: i16) {
        let Some(broker) = self.image.broker(id) else { return };
        if self.image.level() >= 1 && broker.supports != Some(supports) {
            let broker_epoch = broker.epoch;
            self.push(MetadataRecord::BrokerLevel(BrokerLevelRecord {
                broker_id: id,
                broker_epoch,
                supports,
            }));
        }
    }

    /// All updates, or none: a client must not find half of what it asked for.
    pub(super) fn update_features(
        &mut self,
        supports: &Supports,
        request: UpdateFeaturesRequest,
    ) -> Vec<FeatureResult> {
        let before = (self.image.clone(), self.records.len());
        let updates = request.updates.into_iter();
        let mut results: Vec<FeatureResult> = updates
            .map(|update| {
                let result = self.update_feature(supports, &update);
                FeatureResult { name: update.name, result }
            })
            .collect();
        if results.iter().any(|r| r.result.is_err()) {
            self.image = before.0;
            self.records.truncate(before.1);
            let why = "The update failed for all features, since another one had an error.";
            for result in results.iter_mut().filter(|r| r.result.is_ok()) {
                result.result = error(ErrorCode::FeatureUpdateFailed, why);
            }
        }
        results
    }

    fn update_feature(
        &mut self,
        supports: &Supports,
        update: &FeatureUpdate,
    ) -> Result<(), ControllerError> {
        let (name, level) = (&update.name, update.level);
        let current = self.image.feature_level(name);
        let upgrade = match update.upgrade_type() {
            Some(upgrade) => upgrade,
            None => {
                let why = "The controller does not support the given upgrade type.";
                return invalid(name, level, why);
            }
        };
        if level < 0 {
            return invalid(name, level, "A feature version cannot be less than 0.");
        }
        let Some(feature) = SUPPORTED_FEATURES.iter().find(|f| *f.name == **name) else {
            let id = self.image.controller().unwrap_or(BrokerId(-1));
            return invalid(name, level, format!("Controller {id} does not support this feature."));
        };
        if !(feature.min..=feature.max).contains(&level) {
            let (id, min, max) = (self.image.controller(), feature.min, feature.max);
            let id = id.unwrap_or(BrokerId(-1));
            let why = format!("Controller {id} only supports versions {min}-{max}");
            return invalid(name, level, why);
        }
        if level < current && upgrade == UpgradeType::Upgrade {
            let why = "Can't downgrade the version of this feature without setting the upgrade \
                       type to either safe or unsafe downgrade.";
            return invalid(name, level, why);
        }
        if level > current && upgrade != UpgradeType::Upgrade {
            return invalid(name, level, "Can't downgrade to a newer version.");
        }
        if **name == *BARNABAS_VERSION {
            self.check_level(supports, level)?;
        }
        if level != current {
            self.push(record(name.clone(), level));
        }
        Ok(())
    }

    /// Every registered broker must be able to read what the level allows, fenced or not; and what
    /// is written already must be allowed.
    fn check_level(&self, supports: &Supports, level: i16) -> Result<(), ControllerError> {
        let name = BARNABAS_VERSION;
        let written = self.image.written_level();
        if level < written {
            let why = format!(
                "The metadata has records of version {written}, which a broker of version \
                 {level} cannot read."
            );
            return invalid(name, level, why);
        }
        if level <= self.image.level() {
            return Ok(());
        }
        for broker in self.image.brokers() {
            let id = broker.id;
            match supports.of(&self.image, id) {
                Some(most) if most >= level => {}
                Some(most) => {
                    let why = format!("Broker {id} only supports versions 0-{most}");
                    return invalid(name, level, why);
                }
                None => {
                    let why = format!(
                        "Broker {id} is offline, and what it supports is not known: start it, or \
                         unregister it."
                    );
                    return invalid(name, level, why);
                }
            }
        }
        Ok(())
    }
}
