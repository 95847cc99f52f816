//! RemoveRaftVoter (key 81, KIP-853): a voter of the metadata quorum becomes an observer. The
//! active controller hands over before it is removed.

use std::sync::Arc;

use base::BrokerId;
use metadata::VoterChange;
use wire::messages::{RemoveRaftVoterRequest, RemoveRaftVoterResponse};

use super::forward::{forward, outcome};
use super::voters;
use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    _: &RequestContext,
    request: RemoveRaftVoterRequest,
) -> RemoveRaftVoterResponse {
    let (voter, directory) = (BrokerId(request.voter_id), request.voter_directory_id);
    let cluster_id = request.cluster_id.as_deref();
    let changed = match voters::check(&broker.image(), cluster_id, voter, directory) {
        Ok(()) => forward(broker, VoterChange::Remove { voter }).await,
        Err(error) => Err(error),
    };
    let (error_code, error_message) = outcome(&changed);
    RemoveRaftVoterResponse { error_code, error_message, ..Default::default() }
}
