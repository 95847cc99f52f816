//! ApiVersions: what this broker speaks, and the features that the cluster has finalized.

use std::sync::Arc;

use base::{BrokerId, ErrorCode};
use wire::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use wire::messages::{ApiVersionsRequest, ApiVersionsResponse};

use crate::broker::Broker;
use crate::dispatch;
use crate::request::RequestContext;

/// Features that this release implements, with the levels it knows. Clients switch behaviour on
/// them: what is not built must not be here.
const SUPPORTED_FEATURES: &[(&str, i16, i16)] = &[
    ("metadata.version", 7, 33),
    ("transaction.version", 0, 2),
    ("group.version", 0, 1),
    ("eligible.leader.replicas.version", 0, 1),
    (metadata::BARNABAS_VERSION, 0, metadata::LEVEL_MAX),
];

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: ApiVersionsRequest,
) -> ApiVersionsResponse {
    if cx.version >= 3 && !is_software_valid(&request) {
        let error_code = ErrorCode::InvalidRequest.code();
        return ApiVersionsResponse { error_code, ..ApiVersionsResponse::default() };
    }
    let image = broker.image();
    if is_misrouted(&request, image.cluster_id(), broker.id) {
        let error_code = ErrorCode::RebootstrapRequired.code();
        return ApiVersionsResponse { error_code, ..ApiVersionsResponse::default() };
    }
    let finalized_features = image
        .features()
        .filter(|(name, _)| SUPPORTED_FEATURES.iter().any(|&(known, _, _)| &***name == known))
        .map(|(name, level)| FinalizedFeatureKey {
            name: name.into(),
            max_version_level: level,
            min_version_level: level,
        })
        .collect();
    ApiVersionsResponse {
        api_keys: api_keys(),
        supported_features: supported_features(cx.version),
        finalized_features_epoch: image.offset(),
        finalized_features,
        ..ApiVersionsResponse::default()
    }
}

/// The answer, in version 0, to a version that this broker does not know.
pub fn unsupported(_broker: &Broker) -> ApiVersionsResponse {
    ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: api_keys(),
        ..ApiVersionsResponse::default()
    }
}

fn api_keys() -> Vec<ApiVersion> {
    dispatch::served()
        .map(|(api, versions)| ApiVersion {
            api_key: api.code(),
            min_version: *versions.start(),
            max_version: *versions.end(),
        })
        .collect()
}

/// Clients below version 4 cannot read a minimum of 0 (KAFKA-17011).
fn supported_features(version: i16) -> Vec<SupportedFeatureKey> {
    SUPPORTED_FEATURES
        .iter()
        .filter(|(_, min, _)| version >= 4 || *min > 0)
        .map(|&(name, min_version, max_version)| SupportedFeatureKey {
            name: name.into(),
            min_version,
            max_version,
        })
        .collect()
}

/// Whether the client means a node of another cluster, or another node of this one (KIP-1242): an
/// address that changed hands must not be taken for its former owner. Only version 5 says whom it
/// means.
fn is_misrouted(request: &ApiVersionsRequest, cluster_id: &str, id: BrokerId) -> bool {
    let told = request.cluster_id.as_deref();
    told.is_some_and(|told| told != cluster_id || request.node_id != id.0)
}

/// Kafka's rule for names and versions of client software.
fn is_software_valid(request: &ApiVersionsRequest) -> bool {
    let valid = |text: &str| {
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
        edge(text.bytes().next())
            && edge(text.bytes().last())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
    };
    valid(&request.client_software_name) && valid(&request.client_software_version)
}
