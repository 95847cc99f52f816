//! RemoveRaftVoter (key 81, KIP-853): a voter of the metadata quorum becomes an observer. The
//! active controller hands over before it is removed.

use std::sync::Arc;
use std::time::Duration;

use base::BrokerId;
use metadata::ControllerError;
use wire::Str;
use wire::messages::{RemoveRaftVoterRequest, RemoveRaftVoterResponse};

use super::voters::{self, Change};
use crate::{Broker, RequestContext};

const LIMIT: Duration = Duration::from_secs(15);

pub async fn handle(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    request: RemoveRaftVoterRequest,
) -> RemoveRaftVoterResponse {
    let (voter, directory) = (BrokerId(request.voter_id), request.voter_directory_id);
    let cluster_id = request.cluster_id.as_deref();
    if let Err(error) = voters::check(&broker.image(), cluster_id, voter, directory) {
        return refused(&error);
    }
    let change = Change::Remove { voter };
    let done = voters::at_controller(broker, cx, &request, LIMIT, change, |r| r.error_code).await;
    done.unwrap_or_else(|error| refused(&error))
}

fn refused(error: &ControllerError) -> RemoveRaftVoterResponse {
    RemoveRaftVoterResponse {
        error_code: error.code.code(),
        error_message: Some(Str::from(&error.message)),
        ..Default::default()
    }
}
