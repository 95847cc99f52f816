//! What the APIs of the metadata quorum share.

use base::{BrokerId, ErrorCode, TopicId};
use metadata::{ControllerError, Image};

/// The directory of a broker's metadata log: the first one that it registered.
pub(super) fn directory_id(image: &Image, broker: BrokerId) -> TopicId {
    image.broker(broker).and_then(|b| b.log_dirs.first()).copied().unwrap_or_default()
}

/// Whether the request may be about this broker and this cluster. A directory may be left out
/// (zero), or be any of those that the broker registered.
pub(super) fn check(
    image: &Image,
    cluster_id: Option<&str>,
    voter: BrokerId,
    directory: TopicId,
) -> Result<(), ControllerError> {
    if cluster_id.is_some_and(|id| id != &**image.cluster_id()) {
        let problem = format!("the cluster's id is {}", image.cluster_id());
        return Err(ControllerError::new(ErrorCode::InconsistentClusterId, problem));
    }
    if voter.0 < 0 {
        return Err(ControllerError::new(ErrorCode::InvalidRequest, "voter ids are not negative"));
    }
    let dirs = image.broker(voter).map(|b| &b.log_dirs[..]).unwrap_or_default();
    if directory.is_zero() || dirs.is_empty() || dirs.contains(&directory) {
        return Ok(());
    }
    let problem = format!("broker {voter} has no directory {directory}");
    Err(ControllerError::new(ErrorCode::InvalidVoterKey, problem))
}
