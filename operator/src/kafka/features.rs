//! The feature `barnabas.version`: which metadata records a cluster may write.

use metadata::BARNABAS_VERSION;
use plan::LevelView;
use wire::messages::update_features_request::FeatureUpdateKey;
use wire::messages::{ApiVersionsRequest, UpdateFeaturesRequest};
use wire::{ApiKey, Str};

use super::{Admin, Result};

/// Kafka's code of an update that only raises.
const UPGRADE: i8 = 1;

impl Admin {
    /// What is finalized, and what some broker's release can read; `None` where that release knows
    /// no levels.
    pub async fn level(&self) -> Result<Option<LevelView>> {
        let request = ApiVersionsRequest {
            client_software_name: Str::from("barnabas-operator"),
            client_software_version: Str::from(env!("CARGO_PKG_VERSION")),
            ..Default::default()
        };
        let response = self.read(&request).await?;
        self.check(ApiKey::ApiVersions, response.error_code, None).await?;
        let supported = response.supported_features.iter().find(|f| *f.name == *BARNABAS_VERSION);
        let finalized = response.finalized_features.iter().find(|f| *f.name == *BARNABAS_VERSION);
        Ok(supported.map(|supported| LevelView {
            finalized: finalized.map_or(0, |finalized| finalized.max_version_level),
            supported: supported.max_version,
        }))
    }

    /// Raises the level. The controller refuses while a registered broker cannot read it.
    pub async fn raise_level(&self, level: i16) -> Result<()> {
        let update = FeatureUpdateKey {
            feature: Str::from(BARNABAS_VERSION),
            max_version_level: level,
            upgrade_type: UPGRADE,
            ..Default::default()
        };
        let request = UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() };
        let response = self.call(&request).await?;
        let message = response.error_message.as_ref();
        self.check(ApiKey::UpdateFeatures, response.error_code, message).await?;
        for result in &response.results {
            self.check(ApiKey::UpdateFeatures, result.error_code, result.error_message.as_ref())
                .await?;
        }
        Ok(())
    }
}
