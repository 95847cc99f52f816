//! UpdateFeatures (key 57, KIP-584): raises and lowers feature levels of the whole cluster.

use std::sync::Arc;

use metadata::{ControllerError, FeatureResult, FeatureUpdate, Image};
use wire::Str;
use wire::messages::update_features_request::FeatureUpdateKey;
use wire::messages::update_features_response::UpdatableFeatureResult;
use wire::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};

use super::forward::{await_image, forward, outcome};
use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: UpdateFeaturesRequest,
) -> UpdateFeaturesResponse {
    let updates: Vec<FeatureUpdate> =
        request.feature_updates.iter().map(|update| core_update(cx.version, update)).collect();
    let validate_only = request.validate_only;
    let asked = metadata::UpdateFeaturesRequest { updates: updates.clone(), validate_only };
    match forward(broker, asked).await {
        Err(error) => whole(&error),
        Ok(results) => {
            if !validate_only && results.iter().all(|r| r.result.is_ok()) {
                let shows =
                    |u: &FeatureUpdate, image: &Image| image.feature_level(&u.name) == u.level;
                await_image(broker, |image| updates.iter().all(|u| shows(u, image))).await;
            }
            answer(cx.version, results)
        }
    }
}

fn core_update(version: i16, update: &FeatureUpdateKey) -> FeatureUpdate {
    FeatureUpdate {
        name: update.feature.to_arc(),
        level: update.max_version_level,
        allow_downgrade: update.allow_downgrade,
        upgrade_type: (version >= 1).then_some(update.upgrade_type),
    }
}

fn whole(error: &ControllerError) -> UpdateFeaturesResponse {
    UpdateFeaturesResponse {
        error_code: error.code.code(),
        error_message: Some(Str::from(&error.message)),
        ..Default::default()
    }
}

/// From version 2 on there is one error for the whole, the first that counts: those of the others
/// only say that they were not done either.
fn answer(version: i16, results: Vec<FeatureResult>) -> UpdateFeaturesResponse {
    if version < 2 {
        let result = |r: FeatureResult| {
            let (error_code, error_message) = outcome(&r.result);
            UpdatableFeatureResult { feature: Str::from(&r.name), error_code, error_message }
        };
        let results = results.into_iter().map(result).collect();
        return UpdateFeaturesResponse { results, ..Default::default() };
    }
    let errors = || results.iter().filter_map(|r| r.result.as_ref().err());
    let follows = |e: &&ControllerError| e.code == base::ErrorCode::FeatureUpdateFailed;
    let error = errors().find(|e| !follows(e)).or_else(|| errors().next());
    let failed = |error: &ControllerError| {
        let message = format!(
            "The update failed for all features since the following feature had an error: {}",
            error.message
        );
        whole(&ControllerError::new(error.code, message))
    };
    error.map(failed).unwrap_or_default()
}
